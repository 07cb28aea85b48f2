//! Readers of a container's output that stop or go: neither the shim nor the other stream waits for them.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode};

use crate::common::{Pod, eventually, with_shim};

pub fn fifo(pod: &Pod, name: &str) -> PathBuf {
    let path = pod.base.join(name);
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).expect("mkfifo");
    path
}

/// Opens it as containerd does, before the process is there.
pub fn reader(path: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).expect("open")
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The count that a script keeps in the file `n` of its root goes on.
fn counts_on(pod: &Pod) {
    let count = || std::fs::metadata(pod.bundle.join("rootfs/n")).map_or(0, |file| file.len());
    let before = count();
    eventually("the container goes on", || count() >= before + 20);
    // So does the shim.
    let began = Instant::now();
    assert_eq!(pod.state().expect("state").status.value(), 2, "running");
    assert!(began.elapsed() < Duration::from_secs(2));
}

/// Each line more than a pipe takes in a few. Not by the first process of a PID namespace, which no SIGPIPE kills.
const WRITE_AND_COUNT: &str =
    "line=$(busybox seq 1 2000); (while :; do echo \"$line\"; printf x >> /n; done) & wait $!; exit 9";

fn as_applets(script: &str) -> String {
    script.replace("busybox ", "/bin/busybox ")
}

#[test]
fn a_reader_that_stops_holds_up_its_own_stream_only() {
    with_shim("full", Path::new(""), |pod| {
        pod.fill_rootfs();
        let (out, err) = (fifo(pod, "out"), fifo(pod, "err"));
        let (stuck, read) = (reader(&out), reader(&err));
        rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::empty()).expect("blocking");
        let script = "(while :; do echo full; done) & while :; do echo alive >&2; done";
        pod.create(script, &[], text(&out), text(&err)).expect("create");
        pod.start_task().expect("start");
        let mut lines = BufReader::new(read).lines();
        for _ in 0..20_000 {
            assert_eq!(lines.next().expect("a line").expect("text"), "alive");
        }
        assert_eq!(pod.state().expect("state").status.value(), 2, "running");
        drop(stuck);
    });
}

#[test]
fn a_reader_that_goes_does_not_break_the_pipe() {
    with_shim("closed", Path::new(""), |pod| {
        pod.fill_rootfs();
        let (out, err) = (fifo(pod, "out"), fifo(pod, "err"));
        let readers = (reader(&out), reader(&err));
        // A write that fails would end the shell.
        pod.create(
            "(i=0; while [ $i -lt 500 ]; do echo $i; echo $i >&2; i=$((i+1)); done; exit 4) & wait $!; exit $?",
            &[],
            text(&out),
            text(&err),
        )
        .expect("create");
        drop(readers);
        pod.start_task().expect("start");
        assert_eq!(pod.wait(), 4);
        let mut kept = reader(&out);
        pod.delete().expect("delete");
        // Who comes back finds what was written meanwhile.
        let mut words = String::new();
        kept.read_to_string(&mut words).expect("read");
        assert_eq!(words.lines().count(), 500);
    });
}

#[test]
fn a_full_disk_does_not_stop_the_process() {
    with_shim("disk", Path::new(""), |pod| {
        pod.fill_rootfs();
        let disk = pod.base.join("disk");
        std::fs::create_dir(&disk).expect("mkdir");
        rustix::mount::mount("none", &disk, "tmpfs", rustix::mount::MountFlags::empty(), Some(c"size=64k"))
            .expect("tmpfs");
        let log = format!("file://{}/log", disk.display());
        pod.create(&as_applets(WRITE_AND_COUNT), &[], &log, "").expect("create");
        pod.start_task().expect("start");
        eventually("the disk is full", || std::fs::metadata(disk.join("log")).is_ok_and(|file| file.len() >= 64 << 10));
        counts_on(pod);
        pod.kill().expect("kill");
        pod.wait();
        pod.delete().expect("delete");
        rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::empty()).expect("nobody has the file open");
    });
}

/// A shell script as logger, its directory given.
fn logger(pod: &Pod, script: &str) -> String {
    let path = pod.base.join("logger");
    std::fs::write(&path, format!("#!/bin/sh\ncd {}\n{script}\n", pod.base.display())).expect("write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    format!("binary://{}", path.display())
}

#[test]
fn a_logger_that_dies_takes_no_process_with_it() {
    with_shim("logger", Path::new(""), |pod| {
        pod.fill_rootfs();
        let uri = logger(pod, "exec 5>&-\nread line <&3\necho \"$line\" > first\nread more <&3");
        pod.create(&as_applets(WRITE_AND_COUNT), &[], &uri, "").expect("create");
        pod.start_task().expect("start");
        eventually("the logger logs", || {
            std::fs::read_to_string(pod.base.join("first")).is_ok_and(|line| line == "1\n")
        });
        counts_on(pod);
        pod.kill().expect("kill");
        assert_eq!(pod.wait(), 137, "by us, not by SIGPIPE");
        pod.delete().expect("delete");
    });
}

#[test]
fn a_logger_that_dies_before_its_process_begins_takes_none_with_it() {
    with_shim("no-logger", Path::new(""), |pod| {
        pod.fill_rootfs();
        let uri = logger(pod, "exec 5>&-");
        pod.create(&as_applets(WRITE_AND_COUNT), &[], &uri, "").expect("create");
        pod.start_task().expect("start");
        counts_on(pod);
        pod.kill().expect("kill");
        assert_eq!(pod.wait(), 137);
    });
}

#[test]
fn a_logger_that_stops_reading_holds_up_one_stream_and_is_ended_with_its_process() {
    with_shim("stuck-logger", Path::new(""), |pod| {
        pod.fill_rootfs();
        let uri = logger(pod, "exec 5>&-\nexec cat <&4 > /dev/null & trap '' TERM; exec sleep 1000");
        let script = "(while :; do echo full; done) & while :; do echo alive >&2; printf x >> /n; done";
        pod.create(script, &[], &uri, "").expect("create");
        pod.start_task().expect("start");
        counts_on(pod);
        pod.kill().expect("kill");
        assert_eq!(pod.wait(), 137);
        let began = Instant::now();
        pod.delete().expect("delete");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "it took {took:?} though it ignores SIGTERM");
    });
}
