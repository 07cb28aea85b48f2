//! The last words of a process whose reader is slow: they come before its end is told where they can, and before its
//! deletion is answered.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::common::{Pod, with_shim};
use crate::streams::{fifo, reader, text};

/// More than a FIFO of 4 KiB, and the relay, take: the rest stays in the terminal.
const LINES: usize = 2000;
/// Less than that.
const FEW: usize = 800;
const A_MOMENT: Duration = Duration::from_millis(20);

fn sequence(lines: usize) -> String {
    format!("exec /bin/busybox seq 1 {lines}")
}

/// A FIFO that takes little, and its reader.
fn narrow(pod: &Pod, name: &str) -> (String, File) {
    let path = fifo(pod, name);
    let reader = reader(&path);
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).expect("F_SETPIPE_SZ");
    (text(&path).to_owned(), reader)
}

/// Reads until the end in small portions, one each time that `pause` is over, from `after` on.
struct Slow {
    read: Arc<AtomicUsize>,
    thread: JoinHandle<String>,
}

impl Slow {
    fn begin(mut fifo: File, after: Duration, pause: Duration) -> Slow {
        let read = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&read);
        let thread = std::thread::spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(30);
            let (mut words, mut portion) = (Vec::new(), [0u8; 512]);
            sleep(after);
            while Instant::now() < deadline {
                match fifo.read(&mut portion) {
                    // So it is too before the first writer comes.
                    Ok(0) if !words.is_empty() => return String::from_utf8(words).expect("UTF-8"),
                    Ok(count) => words.extend_from_slice(&portion[..count]),
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                }
                counter.store(words.len(), Ordering::SeqCst);
                sleep(pause);
            }
            panic!("the output has no end; {} bytes came", words.len());
        });
        Slow { read, thread }
    }

    fn so_far(&self) -> usize {
        self.read.load(Ordering::SeqCst)
    }

    fn expect(self, lines: usize) {
        let words = self.thread.join().expect("reader");
        let expected: Vec<String> = (1..=lines).map(|number| number.to_string()).collect();
        assert_eq!(words.split_whitespace().count(), lines, "it ends: {:?}", &words[words.len().saturating_sub(20)..]);
        assert!(words.split_whitespace().eq(expected));
    }
}

#[test]
fn a_terminals_reader_that_is_late_gets_all_though_it_is_deleted() {
    with_shim("late", Path::new(""), |pod| {
        pod.fill_rootfs();
        let (out, late) = narrow(pod, "out");
        pod.create_on_terminal(&sequence(LINES), &out).expect("create");
        pod.start_task().expect("start");
        let began = Instant::now();
        assert_eq!(pod.wait(), 0);
        assert!(began.elapsed() < Duration::from_secs(5), "its end is told to who does not read");
        let slow = Slow::begin(late, Duration::from_secs(2), A_MOMENT);
        pod.delete().expect("delete");
        assert!(slow.so_far() > 2048, "{}: the deletion waits", slow.so_far());
        slow.expect(LINES);
    });
}

#[test]
fn an_execs_reader_that_is_late_gets_all_though_all_is_deleted_and_the_shim_told_to_end() {
    with_shim("late-exec", Path::new(""), |pod| {
        pod.fill_rootfs();
        pod.create("exec /bin/busybox sleep 1000", &[], "", "").expect("create");
        pod.start_task().expect("start");
        let ((out, late), (other, forgotten)) = (narrow(pod, "out"), narrow(pod, "other"));
        pod.exec("e", &sequence(LINES), true, &out);
        pod.exec("f", &sequence(LINES), true, &other);
        assert_eq!((pod.wait_for("e"), pod.wait_for("f")), (0, 0));
        std::thread::scope(|scope| {
            let deletion = scope.spawn(|| pod.delete_process("e"));
            sleep(Duration::from_millis(200));
            pod.kill().expect("kill");
            assert_eq!(pod.wait(), 137);
            // The other one is never deleted, and goes with the container.
            let deletions = [deletion, scope.spawn(|| pod.delete())];
            sleep(Duration::from_millis(500));
            pod.shutdown();
            let slow = [late, forgotten].map(|fifo| Slow::begin(fifo, Duration::from_secs(1), A_MOMENT));
            slow.into_iter().for_each(|slow| slow.expect(LINES));
            for deletion in deletions {
                deletion.join().expect("thread").expect("delete");
            }
        });
    });
}

#[test]
fn the_end_is_told_when_a_slow_reader_has_all() {
    for (test, terminal) in [("slow", false), ("slow-terminal", true)] {
        with_shim(test, Path::new(""), move |pod| {
            pod.fill_rootfs();
            let (out, fifo) = narrow(pod, "out");
            let (lines, created) = match terminal {
                true => (LINES, pod.create_on_terminal(&sequence(LINES), &out)),
                false => (FEW, pod.create(&sequence(FEW), &[], &out, "")),
            };
            created.expect("create");
            let slow = Slow::begin(fifo, Duration::from_millis(100), Duration::from_millis(100));
            pod.start_task().expect("start");
            assert_eq!(pod.wait(), 0);
            let all = (1..=lines).map(|number| number.to_string().len() + 1 + usize::from(terminal)).sum::<usize>();
            assert!(slow.so_far() + 512 >= all, "{} of {all}: a client may give up the rest now", slow.so_far());
            pod.delete().expect("delete");
            slow.expect(lines);
        });
    }
}

#[test]
fn who_never_reads_keeps_nobody_waiting_for_ever() {
    with_shim("never", Path::new(""), |pod| {
        pod.fill_rootfs();
        let (out, stuck) = narrow(pod, "out");
        pod.create_on_terminal("while :; do echo full; done", &out).expect("create");
        pod.start_task().expect("start");
        sleep(Duration::from_millis(300));
        pod.kill().expect("kill");
        let began = Instant::now();
        assert_eq!(pod.wait(), 137);
        assert!(began.elapsed() < Duration::from_secs(5), "its end took {:?}", began.elapsed());
        pod.delete().expect("delete");
        assert!(began.elapsed() < Duration::from_secs(20), "its deletion took {:?}", began.elapsed());
        drop(stuck);
    });
}

#[test]
fn what_a_process_has_left_writes_to_its_log_until_the_deletion() {
    with_shim("left", Path::new(""), |pod| {
        pod.fill_rootfs();
        pod.create("exec /bin/busybox sleep 1000", &[], "", "").expect("create");
        pod.start_task().expect("start");
        let log = pod.base.join("log");
        pod.exec("e", "(/bin/busybox sleep 1; echo later) & echo at once", false, &format!("file://{}", log.display()));
        assert_eq!(pod.wait_for("e"), 0);
        sleep(Duration::from_secs(2));
        let began = Instant::now();
        pod.delete_process("e").expect("delete");
        assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
        assert_eq!(std::fs::read_to_string(log).expect("log"), "at once\nlater\n");
    });
}
