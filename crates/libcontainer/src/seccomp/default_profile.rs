//! seccomp-profiles/default.json, as a container's process meets it.

use std::io::{Read, Write};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};

use super::enosys::AUDIT_ARCH_X86_64;
use super::machine::{Call, instructions, run};
use super::tests::under;
use super::*;
use crate::spec::Seccomp;
use crate::sys::namespace::unshare;
use crate::sys::seccomp::probe;

pub(super) fn profile() -> Seccomp {
    serde_json::from_str(include_str!("../../../../seccomp-profiles/default.json")).expect("default.json")
}

fn in_profile(body: impl FnOnce() + Send + 'static) {
    under(compile(&plan(&profile()).expect("plan")).expect("compile"), body);
}

#[test]
fn everyday_work_goes_on() {
    in_profile(|| {
        let path = std::env::temp_dir().join(format!("creel-test-{}-seccomp", std::process::id()));
        std::fs::create_dir(&path).expect("mkdir");
        std::fs::write(path.join("file"), "text").expect("write");
        std::fs::rename(path.join("file"), path.join("other")).expect("rename");
        let read = std::fs::read_to_string(path.join("other"));
        std::fs::remove_dir_all(&path).expect("remove");
        assert_eq!(read.expect("read"), "text");

        // glibc starts processes and threads with clone3, and falls back on clone.
        let output = std::process::Command::new("/bin/sh").args(["-c", "echo one | cat"]).output().expect("sh");
        assert_eq!(output.stdout, b"one\n");
        assert_eq!(std::thread::spawn(|| 7).join().expect("thread"), 7);

        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        let mut client = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        client.write_all(b"hello").expect("send");
        let mut received = [0; 5];
        listener.accept().expect("accept").0.read_exact(&mut received).expect("receive");
        assert_eq!(&received, b"hello");
    });
}

#[test]
fn what_could_leave_the_container_is_refused() {
    in_profile(|| {
        let mounted = rustix::mount::mount("none", "/nonexistent", "tmpfs", rustix::mount::MountFlags::empty(), None);
        assert_eq!(mounted, Err(Errno::PERM));
        assert_eq!(unshare(libc::CLONE_NEWUSER as u64), Err(Errno::PERM));
        for number in [
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_perf_event_open,
            libc::SYS_setns,
            libc::SYS_userfaultfd,
        ] {
            assert_eq!(probe(number), Err(Errno::PERM), "{number}");
        }
        assert_eq!(probe(libc::SYS_clone3), Err(Errno::NOSYS));
    });
}

#[test]
fn only_two_address_families_are_refused() {
    in_profile(|| {
        let of = |family: i32| socket(AddressFamily::from_raw(family as u16), SocketType::STREAM, None).map(drop);
        for family in [libc::AF_ALG, libc::AF_VSOCK] {
            assert_eq!(of(family), Err(Errno::PERM), "{family}");
        }
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
            assert_eq!(of(family), Ok(()), "{family}");
        }
    });
    // Asking the kernel for a rare family makes it look for a module, so the program alone is asked.
    if cfg!(target_arch = "x86_64") {
        let program = instructions(&compile(&plan(&profile()).expect("plan")).expect("compile").program);
        let number = libc::SYS_socket as u32;
        let of = |family| Call { audit_arch: AUDIT_ARCH_X86_64, number, arguments: [family, 0, 0, 0, 0, 0] };
        let allowed = |family: &u64| run(&program, &of(*family)) == libc::SECCOMP_RET_ALLOW;
        assert_eq!((0..100).filter(|family| !allowed(family)).collect::<Vec<_>>(), [38, 40]);
    }
}

#[test]
fn every_rule_has_its_comment() {
    let text = include_str!("../../../../seccomp-profiles/default.json");
    let profile: serde_json::Value = serde_json::from_str(text).expect("default.json");
    let rules = profile["syscalls"].as_array().expect("rules");
    assert!(rules.iter().all(|rule| rule["comment"].as_str().is_some_and(|comment| !comment.is_empty())));
}
