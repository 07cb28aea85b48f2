//! Helpers for tests on the real kernel: each body runs in a thread of its own, so that the mount namespace, the
//! seccomp filter or the capabilities that it changes end with it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::sys::namespace::unshare;

/// Whether this process may make namespaces and mounts; says so if not, since a skipped test must be seen.
pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {test} needs root");
    }
    root
}

/// Runs `body` in a thread that is thrown away.
pub(crate) fn in_own_thread(body: impl FnOnce() + Send + 'static) {
    if let Err(panic) = std::thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `body` in a thread with a mount namespace of its own, in which no mount propagates to the host.
pub(crate) fn in_private_mounts(body: impl FnOnce() + Send + 'static) {
    in_own_thread(move || {
        unshare(libc::CLONE_NEWNS as u64).expect("unshare(CLONE_NEWNS)");
        let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).expect("make / private");
        body();
    });
}

/// How much slower than usual this machine is: BLACKBOX_PATIENCE.
pub(crate) fn patience() -> f64 {
    std::env::var("BLACKBOX_PATIENCE").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1.0)
}

/// Waits until something holds, for ten seconds; longer on slow machines, by the factor `BLACKBOX_PATIENCE`.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10).mul_f64(patience());
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Compares a plan with the golden file at `path`, which `CREEL_UPDATE_GOLDEN=1` writes anew.
pub(crate) fn assert_golden(path: &Path, plan: &impl Serialize) {
    let text = serde_json::to_string_pretty(plan).expect("serialise") + "\n";
    if std::env::var_os("CREEL_UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).expect("write");
    }
    let wanted = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text == wanted, "{} differs; the plan is now\n{text}", path.display());
}
