//! Filters as libseccomp compiles them and as the kernel carries them out.

use std::os::fd::AsFd;

use libseccomp::{ScmpArch, ScmpSyscall};
use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::io::Errno;

use super::compile::NATIVE;
use super::enosys::X32_BIT;
use super::machine::{Call, instructions, listing, run};
use super::names::audit_arch;
use super::*;
use crate::error::{Kind, Result};
use crate::sys::seccomp::probe;
use crate::testing::{in_own_thread, is_root};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

pub(super) fn planned(json: &str) -> SeccompPlan {
    plan(&serde_json::from_str(json).expect("seccomp")).expect("plan")
}

fn compiled(json: &str) -> Result<Filter> {
    compile(&planned(json))
}

/// A profile that allows everything but what `rules` say.
fn allowing(rules: &str) -> Filter {
    compiled(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rules}]}}"#)).expect("compile")
}

/// Runs `body` in a thread that has loaded `filter`, and takes it along into its end.
pub(super) fn under(filter: Filter, body: impl FnOnce() + Send + 'static) {
    in_own_thread(move || {
        rustix::thread::set_no_new_privs(true).expect("no_new_privs");
        load(&filter).expect("load");
        body();
    });
}

/// What the filter says to a system call without arguments.
fn answer(filter: &Filter, arch: &str, number: u32) -> u32 {
    let audit_arch = audit_arch(arch).expect("an architecture of this byte order");
    run(&instructions(&filter.program), &Call { audit_arch, number, arguments: [0; 6] })
}

fn number(name: &str, arch: &str) -> u32 {
    let arch: ScmpArch = arch.parse().expect("architecture");
    ScmpSyscall::from_name_by_arch(name, arch).expect(name).as_raw_syscall() as u32
}

#[test]
fn errno_is_what_the_rule_says_or_eperm() {
    let filter = allowing(
        r#"{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"},
           {"names":["rmdir","unlinkat"],"action":"SCMP_ACT_ERRNO","errnoRet":42},
           {"names":["no_such_system_call"],"action":"SCMP_ACT_KILL_PROCESS"}"#,
    );
    under(filter, || {
        assert_eq!(rustix::fs::mkdir("/nonexistent/x", 0o700.into()), Err(Errno::PERM));
        assert_eq!(rustix::fs::rmdir("/nonexistent/x"), Err(Errno::from_raw_os_error(42)));
        assert_eq!(rustix::process::chdir("/nonexistent/x"), Err(Errno::NOENT));
    });
}

#[test]
fn trace_without_a_tracer_is_enosys_and_log_allows() {
    let filter = allowing(
        r#"{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_TRACE","errnoRet":7},
           {"names":["chdir"],"action":"SCMP_ACT_LOG"}"#,
    );
    under(filter, || {
        assert_eq!(rustix::fs::mkdir("/nonexistent/x", 0o700.into()), Err(Errno::NOSYS));
        assert_eq!(rustix::process::chdir("/nonexistent/x"), Err(Errno::NOENT));
    });
}

#[test]
fn every_operator_compares_all_64_bits() {
    const BIG: u64 = 1 << 32;
    type Case = (&'static str, u64, u64, &'static [u64], &'static [u64]);
    let cases: [Case; 7] = [
        ("NE", BIG + 5, 0, &[5, BIG, BIG + 4, 2 * BIG + 5], &[BIG + 5]),
        ("LT", BIG + 5, 0, &[0, 6, BIG + 4], &[BIG + 5, BIG + 6, 2 * BIG]),
        ("LE", BIG + 5, 0, &[0, 6, BIG + 5], &[BIG + 6, 2 * BIG + 4]),
        ("EQ", BIG + 5, 0, &[BIG + 5], &[5, BIG + 4, 2 * BIG + 5]),
        ("GE", BIG + 5, 0, &[BIG + 5, BIG + 6, 2 * BIG], &[0, 6, BIG + 4]),
        ("GT", BIG + 5, 0, &[BIG + 6, 2 * BIG + 4], &[0, 6, BIG + 5]),
        (
            "MASKED_EQ",
            BIG + 0xf0,
            BIG + 0x30,
            &[BIG + 0x30, 3 * BIG + 0x13f],
            &[0x30, BIG + 0x31 + 0x40, 2 * BIG + 0x30],
        ),
    ];
    for (operator, value, value_two, refused, allowed) in cases {
        let filter = allowing(&format!(
            r#"{{"names":["lseek"],"action":"SCMP_ACT_ERRNO","errnoRet":99,"args":[
                 {{"index":1,"value":{value},"valueTwo":{value_two},"op":"SCMP_CMP_{operator}"}}]}}"#
        ));
        under(filter, move || {
            let file = rustix::fs::memfd_create("creel-test", MemfdFlags::CLOEXEC).expect("memfd");
            let seek = |offset| rustix::fs::seek(&file, SeekFrom::Start(offset));
            for &offset in refused {
                assert_eq!(seek(offset), Err(Errno::from_raw_os_error(99)), "{operator} {offset:#x}");
            }
            for &offset in allowed {
                assert_eq!(seek(offset), Ok(offset), "{operator} {offset:#x}");
            }
        });
    }
}

#[test]
fn conditions_on_several_arguments_must_all_hold_and_on_one_any() {
    let rule = |second: &str| {
        allowing(&format!(
            r#"{{"names":["lseek"],"action":"SCMP_ACT_ERRNO","args":[
                 {{"index":1,"value":7,"op":"SCMP_CMP_EQ"}},{second}]}}"#
        ))
    };
    let seek = |to| {
        let file = rustix::fs::memfd_create("creel-test", MemfdFlags::CLOEXEC).expect("memfd");
        rustix::fs::seek(&file, to)
    };
    under(rule(r#"{"index":2,"value":1,"op":"SCMP_CMP_EQ"}"#), move || {
        assert_eq!(seek(SeekFrom::Start(7)), Ok(7));
        assert_eq!(seek(SeekFrom::Current(8)), Ok(8));
        assert_eq!(seek(SeekFrom::Current(7)), Err(Errno::PERM));
    });
    under(rule(r#"{"index":1,"value":9,"op":"SCMP_CMP_EQ"}"#), move || {
        assert_eq!(seek(SeekFrom::Start(7)), Err(Errno::PERM));
        assert_eq!(seek(SeekFrom::Start(8)), Ok(8));
        assert_eq!(seek(SeekFrom::Start(9)), Err(Errno::PERM));
    });
}

#[test]
fn what_is_newer_than_the_profile_gets_enosys() {
    assert_ne!(probe(libc::SYS_process_mrelease), Err(Errno::NOSYS), "the kernel itself knows it");
    // The default profile as it was before process_mrelease (448) came.
    let mut profile = super::default_profile::profile();
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| ScmpSyscall::from_name(name).is_ok_and(|call| call.as_raw_syscall() <= 441));
    }
    under(compile(&plan(&profile).expect("plan")).expect("compile"), || {
        assert_eq!(probe(libc::SYS_process_mrelease), Err(Errno::NOSYS));
        assert_eq!(probe(libc::SYS_set_mempolicy_home_node), Err(Errno::NOSYS));
        assert_eq!(probe(libc::SYS_io_uring_setup), Err(Errno::PERM), "older, and refused on purpose");
        assert_eq!(probe(libc::SYS_getppid), Ok(()));
    });
}

#[test]
fn enosys_depends_on_the_default_action() {
    let beyond = |action: &str| {
        let rule = r#"{"names":["read"],"action":"SCMP_ACT_TRAP"},{"names":["write"],"action":"SCMP_ACT_ALLOW"}"#;
        let filter =
            compiled(&format!(r#"{{"defaultAction":"SCMP_ACT_{action}","syscalls":[{rule}]}}"#)).expect(action);
        assert_eq!(answer(&filter, NATIVE, number("read", NATIVE)), libc::SECCOMP_RET_TRAP, "{action}");
        assert_eq!(answer(&filter, NATIVE, number("write", NATIVE)), ALLOW, "{action}");
        answer(&filter, NATIVE, 100_000)
    };
    for action in ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ERRNO"] {
        assert_eq!(beyond(action), ENOSYS, "{action}");
    }
    assert_eq!(beyond("ALLOW"), ALLOW);
    assert_eq!(beyond("LOG"), libc::SECCOMP_RET_LOG);
    assert_eq!(beyond("TRACE"), libc::SECCOMP_RET_TRACE | libc::EPERM as u32);
}

#[test]
fn every_action_is_what_the_kernel_calls_it() {
    let cases = [
        ("KILL\"", libc::SECCOMP_RET_KILL_THREAD),
        ("KILL_THREAD\"", libc::SECCOMP_RET_KILL_THREAD),
        ("KILL_PROCESS\"", libc::SECCOMP_RET_KILL_PROCESS),
        ("TRAP\"", libc::SECCOMP_RET_TRAP),
        ("ERRNO\"", EPERM),
        ("ERRNO\",\"errnoRet\":4094", libc::SECCOMP_RET_ERRNO | 4094),
        ("TRACE\",\"errnoRet\":65535", libc::SECCOMP_RET_TRACE | 65535),
        ("LOG\"", libc::SECCOMP_RET_LOG),
    ];
    for (action, expected) in cases {
        let filter = allowing(&format!(r#"{{"names":["mkdirat"],"action":"SCMP_ACT_{action}}}"#));
        assert_eq!(answer(&filter, NATIVE, number("mkdirat", NATIVE)), expected, "{action}");
        assert_eq!(answer(&filter, NATIVE, number("read", NATIVE)), ALLOW, "{action}");
    }
}

#[test]
fn each_architecture_is_judged_and_the_native_one_always() {
    let old = ["AARCH64", "ARM", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PPC64LE", "RISCV64", "X32", "X86", "X86_64"];
    for name in KNOWN_ARCHS {
        let profile = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":["{name}"],
                 "syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW"}}]}}"#
        );
        match compiled(&profile) {
            Ok(filter) => {
                for arch in [name, NATIVE] {
                    let read = number("read", arch);
                    assert_eq!(answer(&filter, arch, read), ALLOW, "{arch} with {name}");
                    assert_eq!(answer(&filter, arch, read + 1), ENOSYS, "{arch} with {name}");
                }
            }
            // Of the other byte order, or newer than this libseccomp.
            Err(error) => {
                assert_eq!(error.kind(), Kind::Unsupported);
                let field = format!("linux.seccomp.architectures[0]: {name}: this libseccomp does not know it, or ");
                assert!(error.to_string().starts_with(&field), "{error}");
                assert!(!old.contains(&name.trim_start_matches("SCMP_ARCH_")), "{error}");
            }
        }
    }
}

#[test]
fn an_architecture_that_is_not_listed_is_killed() {
    let filter = allowing("");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(answer(&filter, NATIVE, 0), ALLOW);
        assert_eq!(answer(&filter, "SCMP_ARCH_X86", 3), libc::SECCOMP_RET_KILL_THREAD);
        assert_eq!(answer(&filter, "SCMP_ARCH_X32", X32_BIT), libc::SECCOMP_RET_KILL_THREAD);
    }
}

#[test]
fn of_two_rules_for_the_same_the_first_holds() {
    let filter =
        allowing(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO"},{"names":["write","read"],"action":"SCMP_ACT_TRAP"}"#);
    assert_eq!(answer(&filter, NATIVE, number("read", NATIVE)), EPERM);
    assert_eq!(answer(&filter, NATIVE, number("write", NATIVE)), libc::SECCOMP_RET_TRAP);
}

#[test]
fn no_filter_is_loaded_for_an_empty_profile() {
    let filter = compiled("{}").expect("compile");
    assert_eq!(filter, Filter::default());
    in_own_thread(move || {
        load(&filter).expect("nothing to do");
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("status");
        assert!(status.contains("\nSeccomp:\t0\n"), "{status}");
    });
}

#[test]
fn a_flag_that_the_kernel_lacks_is_left_out_only_if_that_is_harmless() {
    // A kernel before 4.17, or 4.14, as far as the thread can tell.
    let refuse = |flag: u64| {
        allowing(&format!(
            r#"{{"names":["seccomp"],"action":"SCMP_ACT_ERRNO","errnoRet":22,"args":[
                 {{"index":1,"value":{flag},"valueTwo":{flag},"op":"SCMP_CMP_MASKED_EQ"}}]}}"#
        ))
    };
    let rule = r#"{"names":["chdir"],"action":"SCMP_ACT_ERRNO","errnoRet":99}"#;
    let filter = Filter { flags: libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, ..allowing(rule) };
    under(refuse(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW), move || {
        load(&filter).expect("without the flag");
        assert_eq!(rustix::process::chdir("/nonexistent/x"), Err(Errno::from_raw_os_error(99)));
    });
    let both = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW | libc::SECCOMP_FILTER_FLAG_LOG;
    let filter = Filter { flags: both, ..allowing(rule) };
    under(refuse(libc::SECCOMP_FILTER_FLAG_LOG), move || {
        assert_eq!(load(&filter).expect_err("logging was asked for").errno(), Some(Errno::INVAL));
    });
}

#[test]
fn flags_reach_the_kernel() {
    let filter = allowing("");
    for flags in [0, libc::SECCOMP_FILTER_FLAG_LOG, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW] {
        under(Filter { flags, ..filter.clone() }, || {});
    }
    in_own_thread(move || {
        rustix::thread::set_no_new_privs(true).expect("no_new_privs");
        let error = load(&Filter { flags: 1 << 20, ..filter }).expect_err("no such flag").to_string();
        assert!(error.starts_with("setting up seccomp: linux.seccomp: seccomp: invalid argument: "), "{error}");
    });
}

#[test]
fn without_privilege_the_error_says_what_it_takes() {
    if !is_root("without_privilege_the_error_says_what_it_takes") {
        return;
    }
    in_own_thread(|| {
        let none = rustix::thread::CapabilitySet::empty();
        let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets).expect("capset");
        let error = load(&allowing("")).expect_err("neither").to_string();
        assert!(
            error.ends_with("permission denied: it takes no_new_privs or CAP_SYS_ADMIN (set process.noNewPrivileges)"),
            "{error}"
        );
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_small_profile_compiles_to_the_golden_listing() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/seccomp/small.txt");
    let profile = include_str!("../../../../tests/golden/seccomp/small.json");
    let listed = listing(&instructions(&compiled(profile).expect("compile").program));
    if std::env::var_os("CREEL_UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &listed).expect("write");
    }
    assert_eq!(listed, std::fs::read_to_string(golden).expect(golden), "CREEL_UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn loading_a_filter_that_asks_gives_its_listener() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/agent","syscalls":[
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    let filter = compiled(json).expect("compile");
    in_own_thread(move || {
        rustix::thread::set_no_new_privs(true).expect("no_new_privs");
        let listener = load(&filter).expect("load").expect("a listener");
        let flags = rustix::io::fcntl_getfd(&listener).expect("F_GETFD");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        drop(listener);
        assert_eq!(rustix::fs::mkdir("/nonexistent/x", 0o700.into()), Err(Errno::NOSYS), "nobody listens");
        let error = load(&compiled(json).expect("compile")).map(drop);
        error.expect("a listener may follow one that is gone");
    });
}

#[test]
fn an_agent_gets_the_listener_and_the_state() {
    let path = std::env::temp_dir().join(format!("creel-agent-{}", rustix::process::getpid().as_raw_pid()));
    let _ = std::fs::remove_file(&path);
    let agent = std::os::unix::net::UnixListener::bind(&path).expect("bind");
    let listener = Listener { path: path.clone(), metadata: "m".to_owned() };
    let file = rustix::fs::memfd_create("creel-test", MemfdFlags::CLOEXEC).expect("memfd");
    hand_over(&listener, file.as_fd(), 7, br#"{"id":"c1"}"#).expect("hand over");
    let (mut connection, _) = agent.accept().expect("accept");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut connection, &mut text).expect("until the end of the connection");
    let wanted = r#"{"ociVersion":"1.3.0","fds":["seccompFd"],"pid":7,"metadata":"m","state":{"id":"c1"}}"#;
    assert_eq!(text, wanted);
    std::fs::remove_file(&path).expect("remove");
    let error = hand_over(&listener, file.as_fd(), 7, b"{}").expect_err("nobody listens").to_string();
    assert!(error.contains("linux.seccomp.listenerPath") && error.contains("seccomp agent"), "{error}");
}
