//! The cache on a real file system: what is found there, and what must not be believed.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;
use crate::testing::is_root;

/// A directory of the test's own, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("creel-test-cache-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("mkdir");
        Place(path)
    }

    fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    fn entries(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.cache()).expect("the cache");
        entries.map(|entry| entry.expect("entry").path()).collect()
    }

    fn only(&self) -> PathBuf {
        let [entry] = <[PathBuf; 1]>::try_from(self.entries()).expect("one entry");
        entry
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn compile_in(plan: &SeccompPlan, place: &Path) -> Result<Filter> {
    compile_with(plan, &[place.to_owned()])
}

/// A profile that is worth it, and differs by `errno`.
fn profile(errno: u16) -> SeccompPlan {
    let calls = "read write open close stat fstat lstat poll lseek mmap mprotect munmap brk ioctl pread64 pwrite64 readv \
        writev access pipe select sched_yield mremap msync mincore madvise shmget shmat shmctl dup dup2 pause nanosleep";
    let names: Vec<String> = calls.split_whitespace().map(str::to_owned).collect();
    assert!(names.len() >= WORTH);
    let rules = vec![Rule { names, action: Action::Allow, conditions: Vec::new() }];
    SeccompPlan { default_action: Some(Action::Errno(errno)), rules, flags: 4, ..SeccompPlan::default() }
}

/// A filter that nobody compiles: to be seen again, it must have been read.
fn planted() -> Vec<u8> {
    super::super::filter::Instruction { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }.to_bytes().to_vec()
}

#[test]
fn a_profile_is_compiled_once() {
    let place = Place::new("once");
    let plan = profile(1);
    let first = compile_in(&plan, &place.cache()).expect("compile");
    assert_eq!(first, compile(&plan).expect("compile"));
    let path = place.only();
    assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(place.cache()).expect("stat").permissions().mode() & 0o7777, 0o700);
    // What is there is what counts.
    std::fs::write(&path, entry(&key(&plan).expect("key"), &planted())).expect("write");
    assert_eq!(compile_in(&plan, &place.cache()).expect("cached").program, planted());
    // Flags are not of the program.
    let flags = compile_in(&SeccompPlan { flags: 6, ..plan.clone() }, &place.cache()).expect("cached");
    assert_eq!((flags.program, flags.flags), (planted(), 6));
    // Another profile is another entry.
    assert_ne!(compile_in(&profile(2), &place.cache()).expect("compile").program, first.program);
    assert_eq!(place.entries().len(), 2);
}

#[test]
fn what_is_damaged_or_of_another_profile_is_replaced() {
    let place = Place::new("damaged");
    let plan = profile(1);
    let good = compile_in(&plan, &place.cache()).expect("compile");
    let path = place.only();
    let whole = std::fs::read(&path).expect("read");
    let mut flipped = whole.clone();
    *flipped.last_mut().expect("a byte") ^= 1;
    let no_end = entry(&key(&plan).expect("key"), &planted()[..7]);
    let out_of_bounds = [&[0x15, 0, 9, 9, 0, 0, 0, 0], planted().as_slice()].concat();
    for (what, wrong) in [
        ("cut off", whole[..whole.len() - 8].to_vec()),
        ("one bit", flipped),
        ("empty", Vec::new()),
        ("noise", vec![0xa5; 4096]),
        ("huge", vec![0; LONGEST + 1]),
        ("of another profile", entry(&key(&profile(2)).expect("key"), &planted())),
        ("a program that does not end", no_end),
        ("a jump out of the program", entry(&key(&plan).expect("key"), &out_of_bounds)),
        ("no program", entry(&key(&plan).expect("key"), &[])),
    ] {
        std::fs::write(&path, &wrong).expect("write");
        assert_eq!(compile_in(&plan, &place.cache()).expect(what), good, "{what}");
        assert!(std::fs::read(&path).expect("read") == whole, "{what}: it was not replaced");
    }
}

#[test]
fn what_others_may_have_written_is_not_read() {
    let place = Place::new("others");
    let plan = profile(1);
    let good = compile_in(&plan, &place.cache()).expect("compile");
    let path = place.only();
    let forged = entry(&key(&plan).expect("key"), &planted());
    let elsewhere = place.0.join("elsewhere");
    std::fs::write(&elsewhere, &forged).expect("write");
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
    mode(&elsewhere, 0o600);
    let check = |what: &str, plant: &dyn Fn()| {
        let _ = std::fs::remove_file(&path);
        plant();
        assert_eq!(compile_in(&plan, &place.cache()).expect(what), good, "{what}");
    };
    check("a symbolic link", &|| symlink(&elsewhere, &path).expect("symlink"));
    check("a hard link", &|| std::fs::hard_link(&elsewhere, &path).expect("link"));
    check("a file that others can write", &|| {
        std::fs::write(&path, &forged).expect("write");
        mode(&path, 0o602);
    });
    check("a FIFO", &|| {
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, &path, fifo, Mode::RUSR | Mode::WUSR, 0).expect("mkfifo");
    });
    if is_root("a file of another user") {
        check("a file of another user", &|| {
            std::fs::write(&path, &forged).expect("write");
            mode(&path, 0o600);
            std::os::unix::fs::chown(&path, Some(1000), None).expect("chown");
        });
    }
    assert!(std::fs::read(&elsewhere).expect("read") == forged, "nothing is written through a link");
    // The same for the directory.
    std::fs::write(&path, &forged).expect("write");
    mode(&path, 0o600);
    assert_eq!(compile_in(&plan, &place.cache()).expect("cached").program, planted());
    mode(&place.cache(), 0o770);
    assert_eq!(compile_in(&plan, &place.cache()).expect("compile"), good);
    mode(&place.cache(), 0o700);
    let link = place.0.join("link");
    symlink(place.cache(), &link).expect("symlink");
    assert_eq!(compile_in(&plan, &link).expect("compile"), good);
}

#[test]
fn without_a_place_it_is_compiled() {
    let plan = profile(1);
    for nowhere in ["/proc/creel-cache", "/nonexistent/creel/cache", "/dev/null"] {
        assert_eq!(compile_in(&plan, Path::new(nowhere)).expect(nowhere), compile(&plan).expect("compile"));
    }
    // Small profiles, and programs that are given, are not worth a file.
    let place = Place::new("small");
    let small = SeccompPlan { rules: Vec::new(), ..plan.clone() };
    let given = SeccompPlan { program: Some(planted()), ..plan };
    compile_in(&small, &place.cache()).expect("compile");
    assert_eq!(compile_in(&given, &place.cache()).expect("given").program, planted());
    assert!(!place.cache().exists());
}

#[test]
fn the_next_place_serves_where_the_first_does_not() {
    let place = Place::new("next");
    compile_with(&profile(1), &["/proc/creel-cache".into(), place.cache()]).expect("compile");
    assert_eq!(place.entries().len(), 1);
    assert!(places().contains(&PathBuf::from("/run/creel-filters")));
}

/// Entries outlive a build: if this fails, compiled programs are others than before.
#[test]
fn another_compiler_has_another_number() {
    let program = compile(&profile(1)).expect("compile").program;
    if (library_version().as_deref(), NATIVE) == (Some("2.5.4"), "SCMP_ARCH_X86_64") {
        assert_eq!(
            (COMPILER, checksum(&program)),
            (1, 0xf050_5308_0cbd_0006),
            "raise COMPILER, and say here what it makes"
        );
    }
}

#[test]
fn there_are_never_too_many() {
    let place = Place::new("many");
    compile_in(&profile(1), &place.cache()).expect("compile");
    for number in 0..MOST {
        std::fs::write(place.cache().join(format!("{number:016x}.1")), "left by what was killed").expect("write");
    }
    compile_in(&profile(2), &place.cache()).expect("compile");
    assert_eq!(place.entries().len(), 1);
}

#[test]
fn many_at_once_disturb_nobody() {
    let place = Place::new("at-once");
    let plans: Vec<SeccompPlan> = (1..4).map(profile).collect();
    let wanted: Vec<Filter> = plans.iter().map(|plan| compile(plan).expect("compile")).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..30 {
                    let index = round % plans.len();
                    assert_eq!(compile_in(&plans[index], &place.cache()).expect("a filter"), wanted[index]);
                    if round % 10 == 9 {
                        let _ = std::fs::remove_dir_all(place.cache());
                    }
                }
            });
        }
    });
}
