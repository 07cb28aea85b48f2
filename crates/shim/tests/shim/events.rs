//! A containerd that is slow to take events, or takes none: calls are answered all the same, and every event comes, in order.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::ForwardRequest;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::{Request, Response};

use crate::common::{Pod, with_shim};

const LIFE: [&str; 4] = ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"];

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("creel-test-containerd-{name}-{}", std::process::id()))
}

/// The next event's topic; None if the shim has hung up.
fn take(stream: &mut UnixStream) -> Option<(u32, String)> {
    let mut header = [0; 10];
    stream.read_exact(&mut header).ok()?;
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four"));
    let mut message = vec![0; number(0) as usize];
    stream.read_exact(&mut message).ok()?;
    let request = Request::parse_from_bytes(&message).expect("a request");
    let forwarded = ForwardRequest::parse_from_bytes(&request.payload).expect("an event");
    Some((number(4), forwarded.envelope.topic.clone()))
}

fn answer(stream: &mut UnixStream, number: u32) {
    let message = Response::new().write_to_bytes().expect("bytes");
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    let _ = stream.write_all(&[&length[..], &number.to_be_bytes()[..], &[2, 0], &message].concat());
}

/// A containerd that behaves badly on each connection as `bad` says for its number, until that says that it does not; from
/// then on it takes events, the first of them after a number of seconds. Gives what it took.
fn containerd(
    path: &Path,
    mut seconds: u64,
    bad: impl Fn(usize, &mut UnixStream) -> bool + Send + 'static,
) -> Receiver<String> {
    let listener = UnixListener::bind(path).expect("bind");
    let (sender, topics) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("accept");
            if bad(number, &mut stream) {
                continue;
            }
            while let Some((number, topic)) = take(&mut stream) {
                std::thread::sleep(Duration::from_secs(std::mem::take(&mut seconds)));
                let is_last = topic == LIFE[3];
                answer(&mut stream, number);
                if sender.send(topic).is_err() || is_last {
                    return;
                }
            }
        }
    });
    topics
}

/// A container's whole life, in which no call waits for an event.
fn live(pod: &Pod) {
    pod.fill_rootfs();
    let began = Instant::now();
    pod.create("exit 3", &[], "", "").expect("create");
    pod.start_task().expect("start");
    assert_eq!(pod.wait(), 3);
    pod.state().expect("state");
    pod.delete().expect("delete");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

fn assert_life(topics: &Receiver<String>, limit: Duration) {
    let deadline = Instant::now() + limit;
    let next = || topics.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect("an event");
    assert_eq!(std::array::from_fn::<String, 4, _>(|_| next()), LIFE);
}

fn scenario(name: &str, seconds: u64, limit: u64, bad: impl Fn(usize, &mut UnixStream) -> bool + Send + 'static) {
    let path = path(name);
    let own = path.clone();
    with_shim(&format!("events-{name}"), &path, move |pod| {
        let topics = containerd(&own, seconds, bad);
        live(pod);
        assert_life(&topics, Duration::from_secs(limit));
    });
    let _ = std::fs::remove_file(&path);
}

#[test]
fn an_answer_that_takes_five_seconds() {
    scenario("slow", 5, 12, |_, _| false);
}

#[test]
fn no_answer_until_it_hangs_up() {
    scenario("never", 0, 10, |number, stream| {
        if number > 0 {
            return false;
        }
        take(stream).expect("an event");
        std::thread::sleep(Duration::from_secs(3));
        true
    });
}

#[test]
fn connections_that_close_in_the_middle() {
    scenario("middle", 0, 20, |number, stream| {
        // Before, within and after a request, and within an answer.
        let mut some = [0; 7];
        match number {
            0 => {}
            1 => stream.read_exact(&mut some).expect("some"),
            2 => drop(take(stream).expect("an event")),
            3 => {
                take(stream).expect("an event");
                let _ = stream.write_all(&[0, 0, 0, 4, 0, 0]);
            }
            _ => return false,
        }
        true
    });
}

#[test]
fn nobody_there_for_a_while() {
    let path = path("down");
    let own = path.clone();
    with_shim("events-down", &path, move |pod| {
        live(pod);
        std::thread::sleep(Duration::from_secs(5));
        let topics = containerd(&own, 0, |_, _| false);
        assert_life(&topics, Duration::from_secs(5));
    });
    let _ = std::fs::remove_file(&path);
}
