//! What containerd is told: events, in the order in which they came about, over a connection to its events service.
//!
//! While containerd is down they wait, up to a limit; one is only forgotten when containerd has taken it, so after a lost
//! connection the last may come twice.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use containerd_shim_protos::api::ForwardRequest;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::shim::event::Envelope;

use crate::ttrpc::client::Client;

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";
const METHOD: &str = "Forward";
/// How many wait at most; an event has about 200 bytes.
const MOST: usize = 4096;
/// How often one is tried that containerd itself refuses.
const ATTEMPTS: u32 = 5;
/// Between attempts to connect: the first and the longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The queue and its connection.
#[derive(Debug)]
pub struct Publisher {
    address: Option<PathBuf>,
    namespace: String,
    /// Encoded requests; the first is under way if `client` is there.
    queue: VecDeque<Vec<u8>>,
    client: Option<Client>,
    /// How often the first was refused.
    refused: u32,
    pause: Duration,
    retry_at: Option<Instant>,
    /// How many had to be dropped, since anybody was told.
    dropped: usize,
}

/// An event of containerd's: its topic, its type's name, and itself.
pub trait Event: Message {
    /// Where subscribers look for it.
    const TOPIC: &'static str;
    /// The full name of its message type.
    const TYPE: &'static str;
}

macro_rules! events {
    ($($name:ident: $topic:literal),* $(,)?) => {
        $(impl Event for containerd_shim_protos::events::task::$name {
            const TOPIC: &'static str = $topic;
            const TYPE: &'static str = concat!("containerd.events.", stringify!($name));
        })*
    };
}

events! {
    TaskCreate: "/tasks/create",
    TaskStart: "/tasks/start",
    TaskExit: "/tasks/exit",
    TaskDelete: "/tasks/delete",
    TaskExecAdded: "/tasks/exec-added",
    TaskExecStarted: "/tasks/exec-started",
    TaskPaused: "/tasks/paused",
    TaskResumed: "/tasks/resumed",
    TaskOOM: "/tasks/oom",
}

impl Publisher {
    /// To containerd's ttrpc socket; without an address, nobody is told anything.
    pub fn new(address: &str, namespace: &str) -> Publisher {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        Publisher {
            address: (!path.is_empty()).then(|| PathBuf::from(path)),
            namespace: namespace.to_owned(),
            queue: VecDeque::new(),
            client: None,
            refused: 0,
            pause: PAUSES.0,
            retry_at: None,
            dropped: 0,
        }
    }

    /// Adds an event, and sends it if none is under way.
    pub fn publish<E: Event>(&mut self, event: &E) {
        if self.address.is_none() {
            return;
        }
        let any = Any { type_url: E::TYPE.to_owned(), value: encode(event), ..Any::default() };
        let envelope = Envelope {
            timestamp: MessageField::some(timestamp(SystemTime::now())),
            namespace: self.namespace.clone(),
            topic: E::TOPIC.to_owned(),
            event: MessageField::some(any),
            ..Envelope::default()
        };
        let request = ForwardRequest { envelope: MessageField::some(envelope), ..ForwardRequest::default() };
        if self.queue.len() >= MOST {
            // The first may be under way, and counts as such until its answer comes.
            self.queue.remove(usize::from(self.client.is_some()));
            self.dropped += 1;
        }
        self.queue.push_back(encode(&request));
        // Otherwise the one under way, or the pause, comes first.
        if self.client.is_none() && self.retry_at.is_none() || self.queue.len() == 1 {
            self.send_first();
        }
    }

    fn send_first(&mut self) {
        let (Some(address), Some(first)) = (&self.address, self.queue.front()) else { return };
        if self.client.is_none() {
            match Client::connect(address) {
                Ok(client) => {
                    self.client = Some(client);
                    self.pause = PAUSES.0;
                    self.retry_at = None;
                }
                Err(_) => return self.try_again_later(),
            }
        }
        if let Some(client) = &mut self.client {
            client.call(SERVICE, METHOD, first.clone());
            self.check();
        }
    }

    fn try_again_later(&mut self) {
        self.client = None;
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSES.1);
    }

    fn check(&mut self) {
        if self.client.as_ref().is_some_and(Client::is_over) {
            match self.queue.is_empty() {
                true => self.client = None,
                false => self.try_again_later(),
            }
        }
    }

    /// The connection can be read from or written to. Gives what is worth a line in the log.
    pub fn serve(&mut self) -> Option<String> {
        let client = self.client.as_mut()?;
        client.flush();
        let outcome = client.read();
        let complaint = match outcome {
            None => {
                self.check();
                return None;
            }
            Some(Ok(())) => {
                self.refused = 0;
                self.queue.pop_front();
                let dropped = std::mem::take(&mut self.dropped);
                (dropped > 0).then(|| format!("{dropped} events were dropped while containerd took none"))
            }
            Some(Err(status)) if self.refused < ATTEMPTS => {
                self.refused += 1;
                self.try_again_later();
                return Some(format!("containerd refuses an event: {}", status.message));
            }
            Some(Err(status)) => {
                self.refused = 0;
                self.queue.pop_front();
                Some(format!("an event was dropped, since containerd refuses it: {}", status.message))
            }
        };
        self.check();
        if self.client.is_some() {
            self.send_first();
        }
        complaint
    }

    /// When to call [`Publisher::retry`].
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Connects anew, if it is time.
    pub fn retry(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.send_first();
        }
    }

    /// Whether everything was taken.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// The connection, and whether there is something to write to it.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.client.as_ref().map(|client| (client.as_fd(), client.wants_to_write()))
    }
}

/// Writing to memory does not fail.
pub fn encode(message: &impl Message) -> Vec<u8> {
    message.write_to_bytes().unwrap_or_default()
}

/// protobuf's form of a time.
pub fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
    Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or(0),
        ..Timestamp::default()
    }
}

/// The address as containerd gives it to a shim that was started in the old way.
pub fn address_from_environment() -> String {
    std::env::var("TTRPC_ADDRESS").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use containerd_shim_protos::events::task::{TaskExit, TaskStart};
    use containerd_shim_protos::ttrpc::Request;

    use super::*;
    use crate::ttrpc::connection::Connection;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("creel-test-shim-{name}-{}", std::process::id()))
    }

    fn accept(listener: &UnixListener) -> Connection {
        let (socket, _) = listener.accept().expect("accept");
        socket.set_nonblocking(true).expect("nonblocking");
        Connection::new(socket.into())
    }

    fn topic(request: &Request) -> String {
        let forwarded = ForwardRequest::parse_from_bytes(&request.payload).expect("forward");
        forwarded.envelope.topic.clone()
    }

    fn start(pid: u32) -> TaskStart {
        TaskStart { container_id: "c".into(), pid, ..TaskStart::default() }
    }

    #[test]
    fn events_wait_for_containerd_and_come_in_order() {
        let path = path("events");
        let mut publisher = Publisher::new(&format!("unix://{}", path.display()), "ns");
        publisher.publish(&start(1));
        publisher.publish(&TaskExit::default());
        assert!(publisher.retry_at().is_some() && !publisher.is_idle());
        let listener = UnixListener::bind(&path).expect("bind");
        publisher.retry(Instant::now() + Duration::from_secs(2));
        // It dies without an answer: the first event comes again.
        drop(accept(&listener));
        publisher.serve();
        publisher.retry(Instant::now() + Duration::from_secs(2));
        let mut server = accept(&listener);
        for expected in ["/tasks/start", "/tasks/exit"] {
            let calls = server.read();
            assert_eq!(calls.len(), 1, "one at a time");
            let call = calls.first().expect("one");
            assert_eq!((topic(&call.request).as_str(), call.request.service.as_str()), (expected, SERVICE));
            server.answer(call.stream, Ok(Vec::new()));
            assert_eq!(publisher.serve(), None);
        }
        assert!(publisher.is_idle());
        std::fs::remove_file(&path).expect("remove");
    }

    #[test]
    fn what_waits_has_a_limit() {
        let mut publisher = Publisher::new(&path("nobody").to_string_lossy(), "ns");
        for pid in 0..(MOST as u32 + 10) {
            publisher.publish(&start(pid));
        }
        assert_eq!((publisher.queue.len(), publisher.dropped), (MOST, 10));
        assert!(Publisher::new("", "ns").is_idle());
    }
}
