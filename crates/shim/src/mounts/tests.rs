//! On the real kernel, each in a thread and a mount namespace of its own.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;

use libcontainer::namespaces::with_mounts_aside;

use super::*;

/// A directory, in a mount namespace of the calling thread's own; without root, nothing is tested.
fn with_directory(test: &str, body: impl FnOnce(&Path) + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {test} needs root");
        return;
    }
    let base = std::env::temp_dir().join(format!("creel-test-shim-{test}-{}", std::process::id()));
    let own = base.clone();
    let thread = std::thread::spawn(move || {
        with_mounts_aside(|| {
            std::fs::create_dir_all(&own).expect("mkdir");
            // Another file system than the host's may be: a temporary directory can be an overlay, and those nest badly.
            rustix::mount::mount("none", &own, "tmpfs", MountFlags::empty(), None).expect("tmpfs");
            body(&own);
            Ok(())
        })
    });
    let ended = thread.join();
    std::fs::remove_dir_all(&base).expect("remove");
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).expect("namespace");
}

fn directory(base: &Path, name: &str) -> PathBuf {
    let path = base.join(name);
    std::fs::create_dir_all(&path).expect("mkdir");
    path
}

fn mount(kind: &str, source: &Path, options: &[String]) -> Mount {
    Mount {
        type_: kind.into(),
        source: source.to_string_lossy().into_owned(),
        options: options.to_vec(),
        ..Mount::default()
    }
}

fn strings(options: &[&str]) -> Vec<String> {
    options.iter().map(|option| (*option).to_owned()).collect()
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = std::fs::metadata(path).expect("stat");
    (metadata.uid(), metadata.gid())
}

fn is_mounted(target: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    mounts.lines().any(|line| line.split(' ').nth(4) == target.to_str())
}

/// tmpfs, which these tests are on, has idmapped mounts since Linux 6.3.
fn has_mapped_tmpfs(mounted: Result<()>) -> bool {
    let Err(error) = mounted else { return true };
    assert!(release() < (6, 3) && error.to_string().contains("no id-mapped mounts on this kernel"), "{error}");
    println!("skipped: Linux before 6.3 has no idmapped tmpfs");
    false
}

const MAPS: [&str; 2] = ["uidmap=0:100000:1000", "gidmap=0:200000:1000"];

#[test]
fn a_bind_mount_is_made_and_undone() {
    with_directory("binds", |base| {
        let (source, target) = (directory(base, "source"), directory(base, "target"));
        std::fs::write(source.join("file"), "x").expect("write");
        let bind = mount("bind", &source, &strings(&["rbind", "ro"]));
        mount_all(&[bind.clone(), bind.clone()], &target).expect("mount");
        assert!(target.join("file").exists());
        assert!(std::fs::write(target.join("file"), "y").is_err(), "read-only");
        let wrong = mount("overlay", Path::new("overlay"), &strings(&["nonsense"]));
        let error = mount_all(&[bind, wrong], &target).expect_err("wrong option").to_string();
        assert!(error.contains("rootfs[1]") && !target.join("file").exists(), "{error}");
        unmount_all(&target).expect("nothing there");
    });
}

#[test]
fn the_ids_of_a_bind_mount_are_mapped() {
    with_directory("mapped-binds", |base| {
        let (source, target) = (directory(base, "source"), directory(base, "target"));
        std::fs::write(source.join("file"), "x").expect("write");
        chown(source.join("file"), Some(7), Some(8)).expect("chown");
        let options = [strings(&MAPS), strings(&["bind", "ro"])].concat();
        if !has_mapped_tmpfs(mount_all(&[mount("bind", &source, &options)], &target)) {
            return;
        }
        assert_eq!(owner(&target.join("file")), (100_007, 200_008));
        assert_eq!(owner(&source.join("file")), (7, 8), "the source is as it was");
        assert!(std::fs::write(target.join("file"), "y").is_err(), "read-only");
        unmount_all(&target).expect("unmount");
        assert!(!is_mounted(&target));
    });
}

#[test]
fn the_ids_of_an_overlays_layers_are_mapped() {
    with_directory("mapped-overlays", |base| {
        let [one, two, upper, work, target] =
            ["one", "two", "upper", "work", "target"].map(|name| directory(base, name));
        for layer in [&one, &two] {
            let name = layer.file_name().expect("name");
            std::fs::write(layer.join(name), "x").expect("write");
            chown(layer.join(name), Some(7), Some(8)).expect("chown");
        }
        let layers = format!("lowerdir={}:{}", one.display(), two.display());
        let writable = [format!("upperdir={}", upper.display()), format!("workdir={}", work.display()), layers];
        let options = [strings(&MAPS), writable.to_vec()].concat();
        let before = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        if !has_mapped_tmpfs(mount_all(&[mount("overlay", Path::new("overlay"), &options)], &target)) {
            return;
        }
        for name in ["one", "two"] {
            assert_eq!(owner(&target.join(name)), (100_007, 200_008), "{name}");
        }
        std::fs::write(target.join("new"), "x").expect("write");
        chown(target.join("new"), Some(100_001), Some(200_001)).expect("chown");
        assert_eq!(owner(&upper.join("new")), (100_001, 200_001), "what is written is not mapped");
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        assert_eq!(mounts.lines().count(), before.lines().count() + 1, "no other mount is left: {mounts}");
        unmount_all(&target).expect("unmount");
        assert_eq!(owner(&one.join("one")), (7, 8), "the layer is as it was");
    });
}

#[test]
fn an_overlay_of_more_layers_than_a_page_can_name() {
    with_directory("layers", |base| {
        let target = directory(base, "target");
        // From their common directory it is still more than a page.
        let names: Vec<String> = (0..60).map(|number| format!("{}-{number}", "layer".repeat(20))).collect();
        for name in &names {
            std::fs::write(directory(base, name).join(name), "x").expect("write");
        }
        let paths: Vec<String> = names.iter().map(|name| base.join(name).to_string_lossy().into_owned()).collect();
        let options = [format!("lowerdir={}", paths.join(":")), "nodev".to_owned()];
        match mount_all(&[mount("overlay", Path::new("overlay"), &options)], &target) {
            Ok(()) => {
                assert!(names.iter().all(|name| target.join(name).exists()));
                unmount_all(&target).expect("unmount");
            }
            Err(error) => assert!(error.to_string().contains("6.7") && release() < (6, 7), "{error}"),
        }
        let short = [format!("lowerdir={}", paths.iter().take(36).cloned().collect::<Vec<_>>().join(":"))];
        assert!(short[0].len() > overlay::LONGEST_DATA);
        mount_all(&[mount("overlay", Path::new("overlay"), &short)], &target).expect("from the common directory");
        assert!(names.iter().take(36).all(|name| target.join(name).exists()));
    });
}

/// The kernel's.
fn release() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    (numbers.next().expect("major"), numbers.next().expect("minor"))
}

#[test]
fn a_file_is_mounted_and_its_device_freed() {
    with_directory("loops", |base| {
        let Some(image) = image(base) else { return println!("skipped: there is no mkfs.ext4, or no loop device") };
        let target = directory(base, "target");
        let before = devices_of(&image);
        mount_all(&[mount("ext4", &image, &strings(&["loop", "ro"]))], &target).expect("mount");
        assert!(target.join("lost+found").exists() && std::fs::write(target.join("file"), "x").is_err());
        assert_eq!((before, devices_of(&image)), (0, 1), "it shows a device");
        unmount_all(&target).expect("unmount");
        assert_eq!(devices_of(&image), 0, "the device is free");

        let options = [strings(&MAPS), strings(&["loop"])].concat();
        mount_all(&[mount("ext4", &image, &options)], &target).expect("mapped");
        assert_eq!(owner(&target.join("lost+found")), (100_000, 200_000));
        unmount_all(&target).expect("unmount");
        assert_eq!(devices_of(&image), 0, "the device is free again");

        let error = mount_all(&[mount("ext4", &image, &strings(&["loop", "nonsense"]))], &target).expect_err("wrong");
        assert!(error.to_string().contains("rootfs[0]"), "{error}");
        assert_eq!(devices_of(&image), 0, "so it is after a failure");
        let missing = mount_all(&[mount("ext4", &base.join("none"), &strings(&["loop"]))], &target).expect_err("none");
        assert!(missing.to_string().contains("none: open: no such file"), "{missing}");
    });
}

fn image(base: &Path) -> Option<PathBuf> {
    let path = base.join("image");
    std::fs::File::create(&path).expect("create").set_len(4 << 20).expect("length");
    let made = std::process::Command::new("/usr/sbin/mkfs.ext4").arg("-qF").arg(&path).status();
    (made.is_ok_and(|status| status.success()) && Path::new("/dev/loop-control").exists()).then_some(path)
}

/// How many loop devices show a file: it is told by its name, which is our test's alone.
fn devices_of(image: &Path) -> usize {
    let backing = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("loop/backing_file")).ok();
    let entries = std::fs::read_dir("/sys/block").expect("/sys/block").flatten();
    // The name is that of the mount that the file was opened on, seen from wherever one looks.
    let name = image.strip_prefix(std::env::temp_dir()).expect("below").to_owned();
    let is_ours = |text: &String| text.contains(&*name.to_string_lossy()) || text.trim() == "/image";
    entries.filter_map(backing).filter(is_ours).count()
}
