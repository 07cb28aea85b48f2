//! Root file systems that the shim mounts: gone after `Delete`, and after `delete` when the shim was killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Pod, eventually, with_shim};
use containerd_shim_protos::types::mount::Mount;

fn mount(kind: &str, source: &Path, options: &[String]) -> Mount {
    Mount {
        type_: kind.into(),
        source: source.to_string_lossy().into_owned(),
        options: options.to_vec(),
        ..Mount::default()
    }
}

/// An image of a file system with a busybox; none where the tools are missing.
fn image(pod: &Pod) -> Option<PathBuf> {
    let (path, tree) = (pod.base.join("image"), pod.base.join("tree"));
    ["bin", "proc", "dev"].iter().for_each(|name| std::fs::create_dir_all(tree.join(name)).expect("mkdir"));
    std::fs::copy("/bin/busybox", tree.join("bin/busybox")).expect("copy");
    std::fs::File::create(&path).expect("create").set_len(16 << 20).expect("length");
    let made = Command::new("/usr/sbin/mkfs.ext4").args(["-qF", "-d"]).arg(&tree).arg(&path).status();
    let ready = made.is_ok_and(|status| status.success()) && Path::new("/dev/loop-control").exists();
    if !ready {
        println!("skipped: there is no mkfs.ext4, or no loop device");
    }
    ready.then_some(path)
}

fn is_mounted(pod: &Pod) -> bool {
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    mounts.contains(&*pod.bundle.join("rootfs").to_string_lossy())
}

fn has_device(pod: &Pod) -> bool {
    let image = pod.base.join("image");
    let devices = std::fs::read_dir("/sys/block").expect("/sys/block").flatten();
    let backing = |device: std::fs::DirEntry| std::fs::read_to_string(device.path().join("loop/backing_file")).ok();
    devices.filter_map(backing).any(|file| Path::new(file.trim()) == image)
}

/// Who collects it, now that its parent is gone, is not ours to say.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ"))
}

#[test]
fn an_image_in_a_file_is_mounted_and_its_device_is_free_after_delete() {
    with_shim("loop", Path::new(""), |pod| {
        let Some(image) = image(pod) else { return };
        let image = mount("ext4", &image, &["loop".into()]);
        pod.create("echo x > /file && exit 3", &[image], "", "").expect("create");
        assert!(is_mounted(pod) && has_device(pod));
        pod.start_task().expect("start");
        assert_eq!(pod.wait(), 3);
        pod.delete().expect("delete");
        assert!(!is_mounted(pod));
        eventually("the device is free", || !has_device(pod));
    });
}

#[test]
fn so_it_is_when_the_shim_was_killed() {
    with_shim("killed", Path::new(""), |pod| {
        let Some(image) = image(pod) else { return };
        let image = mount("ext4", &image, &["loop".into()]);
        let pid = pod.create("while :; do :; done", &[image], "", "").expect("create");
        pod.start_task().expect("start");
        pod.crash();
        assert!(is_mounted(pod) && has_device(pod) && is_alive(pid));
        pod.run_delete();
        assert!(!is_mounted(pod) && !is_alive(pid));
        eventually("the device is free", || !has_device(pod));
        // Once more does no harm.
        pod.run_delete();
    });
}

#[test]
fn a_create_that_fails_leaves_no_mount() {
    with_shim("fails", Path::new(""), |pod| {
        let Some(image) = image(pod) else { return };
        let image = mount("ext4", &image, &["loop".into(), "ro".into()]);
        std::fs::create_dir_all(pod.base.join("other")).expect("mkdir");
        let wrong = mount("bind", &pod.base.join("other"), &["rbind".into(), "uidmap=0:1:1".into()]);
        let error = pod.create("true", &[image.clone(), wrong], "", "").expect_err("no gidmap").to_string();
        assert!(error.contains("rootfs[1]: option uidmap: there is no gidmap beside it"), "{error}");
        let error = pod.create("true", &[image], "/no/such/fifo", "").expect_err("no FIFO").to_string();
        assert!(error.contains("/no/such/fifo"), "{error}");
        assert!(!is_mounted(pod));
        eventually("the device is free", || !has_device(pod));
    });
}

#[test]
fn an_overlay_with_mapped_ids_is_a_containers_root() {
    with_shim("mapped", Path::new(""), |pod| {
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| pod.base.join("layers").join(name));
        std::fs::create_dir_all(pod.base.join("layers")).expect("mkdir");
        rustix::mount::mount("none", pod.base.join("layers"), "tmpfs", rustix::mount::MountFlags::empty(), None)
            .expect("tmpfs");
        [lower.join("bin"), upper.clone(), work.clone()]
            .iter()
            .for_each(|path| std::fs::create_dir_all(path).expect("mkdir"));
        std::fs::copy("/bin/busybox", lower.join("bin/busybox")).expect("copy");
        let options = [
            format!("lowerdir={}", lower.display()),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
            "uidmap=0:100000:65536".to_owned(),
            "gidmap=0:100000:65536".to_owned(),
        ];
        let overlay = mount("overlay", Path::new("overlay"), &options);
        // The owner of its executable, as it sees it.
        let script = "test $(/bin/busybox stat -c %u:%g /bin/busybox) = 100000:100000";
        match pod.create(script, &[overlay], "", "") {
            Err(error) if error.to_string().contains("no idmapped mounts on this kernel") => {
                return println!("skipped: {error}");
            }
            created => drop(created.expect("create")),
        }
        pod.start_task().expect("start");
        assert_eq!(pod.wait(), 0);
        pod.delete().expect("delete");
        assert!(!is_mounted(pod));
        rustix::mount::unmount(pod.base.join("layers"), rustix::mount::UnmountFlags::empty())
            .expect("nothing uses them");
    });
}
