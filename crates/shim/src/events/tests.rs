//! With real sockets, and a containerd that does as a test wants.

use std::os::unix::net::UnixListener;

use containerd_shim_protos::events::task::{TaskExit, TaskStart};
use containerd_shim_protos::ttrpc::{Code, Request};

use super::*;
use crate::ttrpc::Status;
use crate::ttrpc::connection::Connection;

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("creel-test-shim-{name}-{}", std::process::id()))
}

/// A listener at a path that is removed at the end.
struct Containerd(UnixListener, PathBuf);

impl Containerd {
    fn at(name: &str) -> Containerd {
        let path = path(name);
        Containerd(UnixListener::bind(&path).expect("bind"), path)
    }

    fn publisher(&self) -> Publisher {
        Publisher::new(&self.1.to_string_lossy(), "ns")
    }

    fn accept(&self) -> Connection {
        let (socket, _) = self.0.accept().expect("accept");
        socket.set_nonblocking(true).expect("nonblocking");
        Connection::new(socket.into())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.1);
    }
}

fn envelope(request: &Request) -> Envelope {
    let forwarded = ForwardRequest::parse_from_bytes(&request.payload).expect("forward");
    forwarded.envelope.unwrap_or_default()
}

fn start(pid: u32) -> TaskStart {
    TaskStart { container_id: "c".into(), pid, ..TaskStart::default() }
}

/// The pid of the one start that has come.
fn pid_of_next(server: &mut Connection) -> (u32, u32) {
    let calls = server.read();
    assert_eq!(calls.len(), 1, "one at a time");
    let event = envelope(&calls[0].request).event;
    (TaskStart::parse_from_bytes(&event.value).expect("start").pid, calls[0].stream)
}

fn later(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[test]
fn events_wait_for_containerd_and_come_in_order() {
    let mut publisher = Publisher::new(&format!("unix://{}", path("order").display()), "ns");
    publisher.publish(&start(1));
    publisher.publish(&TaskExit::default());
    assert!(publisher.retry_at().is_some() && !publisher.is_idle());
    let containerd = Containerd::at("order");
    publisher.retry(later(2));
    // It dies without an answer: the first event comes again.
    drop(containerd.accept());
    publisher.serve();
    publisher.retry(later(2));
    let mut server = containerd.accept();
    for expected in ["/tasks/start", "/tasks/exit"] {
        let calls = server.read();
        assert_eq!(calls.len(), 1, "one at a time");
        let call = calls.first().expect("one");
        assert_eq!((envelope(&call.request).topic.as_str(), call.request.service.as_str()), (expected, SERVICE));
        server.answer(call.stream, Ok(Vec::new()));
        assert_eq!(publisher.serve(), None);
    }
    assert!(publisher.is_idle());
}

#[test]
fn one_that_never_answers_is_given_up_and_asked_again() {
    let containerd = Containerd::at("never");
    let mut publisher = containerd.publisher();
    publisher.publish(&start(1));
    publisher.publish(&start(2));
    let mut stuck = containerd.accept();
    assert_eq!(pid_of_next(&mut stuck).0, 1);
    let due = publisher.retry_at().expect("a limit");
    assert!(due > later(20), "an answer after five seconds is in time");
    publisher.retry(later(5));
    assert_eq!(publisher.retry_at(), Some(due), "nothing is done before");
    publisher.retry(due);
    let mut server = containerd.accept();
    for pid in [1, 2] {
        let (found, stream) = pid_of_next(&mut server);
        assert_eq!(found, pid, "in order");
        server.answer(stream, Ok(Vec::new()));
        // What the first connection says now is too late, and not heard.
        stuck.answer(1, Err(Status::new(Code::INTERNAL, "late")));
        assert_eq!(publisher.serve(), None);
    }
    assert!(publisher.is_idle() && publisher.retry_at().is_none());
}

#[test]
fn an_event_that_is_refused_is_tried_again_and_then_dropped() {
    let containerd = Containerd::at("refuses");
    let mut publisher = containerd.publisher();
    publisher.publish(&start(1));
    publisher.publish(&start(2));
    for attempt in 0..=ATTEMPTS {
        let mut server = containerd.accept();
        let (pid, stream) = pid_of_next(&mut server);
        assert_eq!(pid, 1, "attempt {attempt}");
        server.answer(stream, Err(Status::new(Code::UNKNOWN, "no")));
        assert!(publisher.serve().expect("a complaint").contains("no"));
        if attempt == ATTEMPTS {
            assert_eq!(pid_of_next(&mut server).0, 2, "the next one");
            break;
        }
        publisher.retry(later(2));
    }
}

#[test]
fn what_waits_has_a_limit() {
    let mut publisher = Publisher::new(&path("nobody").to_string_lossy(), "ns");
    for pid in 0..20_000 {
        publisher.publish(&start(pid));
    }
    let held: usize = publisher.queue.iter().map(Vec::len).sum();
    assert_eq!(publisher.bytes, held);
    assert!((MOST_BYTES - 1000..=MOST_BYTES).contains(&held), "{held} bytes");
    assert_eq!(publisher.dropped + publisher.queue.len(), 20_000);
    assert!(Publisher::new("", "ns").is_idle());
    // The oldest are gone, the others come in order, and the log is told.
    let dropped = u32::try_from(publisher.dropped).expect("few");
    let containerd = Containerd::at("nobody");
    publisher.retry(later(2));
    let mut server = containerd.accept();
    for pid in dropped..20_000 {
        let (found, stream) = pid_of_next(&mut server);
        assert_eq!(found, pid);
        server.answer(stream, Ok(Vec::new()));
        let said = publisher.serve();
        assert_eq!(said.is_some(), pid == dropped, "{said:?}");
    }
    assert!(publisher.is_idle());
    assert_eq!(publisher.bytes, 0);
}

#[test]
fn the_one_under_way_is_never_dropped() {
    let containerd = Containerd::at("full");
    let mut publisher = containerd.publisher();
    for pid in 0..20_000 {
        publisher.publish(&start(pid));
    }
    let mut server = containerd.accept();
    let (first, stream) = pid_of_next(&mut server);
    assert_eq!(first, 0);
    server.answer(stream, Ok(Vec::new()));
    assert!(publisher.serve().expect("told").contains("events were dropped"));
    assert_eq!(pid_of_next(&mut server).0, u32::try_from(20_000 - publisher.queue.len()).expect("few"));
}
