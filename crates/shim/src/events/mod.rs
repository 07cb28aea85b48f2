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

#[cfg(test)]
mod tests;

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";
const METHOD: &str = "Forward";
/// How much waits at most; an event has about 200 bytes, that of a create as many as its mounts' options.
const MOST_BYTES: usize = 512 << 10;
/// How long containerd may take for an answer. One that has hung may be one that was stopped: its sockets take calls, and
/// nobody reads them.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
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
    /// How long they are together.
    bytes: usize,
    client: Option<Client>,
    /// When the call under way is given up.
    answer_by: Option<Instant>,
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
            bytes: 0,
            client: None,
            answer_by: None,
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
        let request = encode(&request);
        self.bytes += request.len();
        self.queue.push_back(request);
        self.keep_within_limit();
        // Otherwise the one under way, or the pause, comes first.
        if self.client.is_none() && self.retry_at.is_none() || self.queue.len() == 1 {
            self.send_first();
        }
    }

    /// Drops the oldest, but not the first while it is under way: it counts as such until its answer comes.
    fn keep_within_limit(&mut self) {
        let oldest = usize::from(self.client.is_some());
        while self.bytes > MOST_BYTES && self.queue.len() > oldest + 1 {
            let dropped = self.queue.remove(oldest);
            self.bytes -= dropped.map_or(0, |request| request.len());
            self.dropped += 1;
        }
    }

    /// The first is done with.
    fn forget_first(&mut self) {
        self.refused = 0;
        self.bytes -= self.queue.pop_front().map_or(0, |request| request.len());
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
            self.answer_by = Some(Instant::now() + ANSWER_LIMIT);
            self.check();
        }
    }

    fn try_again_later(&mut self) {
        self.client = None;
        self.answer_by = None;
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSES.1);
    }

    fn check(&mut self) {
        if self.client.as_ref().is_some_and(Client::is_over) {
            match self.queue.is_empty() {
                true => {
                    self.client = None;
                    self.answer_by = None;
                }
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
                self.forget_first();
                let dropped = std::mem::take(&mut self.dropped);
                (dropped > 0).then(|| format!("{dropped} events were dropped while containerd took none"))
            }
            Some(Err(status)) if self.refused < ATTEMPTS => {
                self.refused += 1;
                self.try_again_later();
                return Some(format!("containerd refuses an event: {}", status.message));
            }
            Some(Err(status)) => {
                self.forget_first();
                Some(format!("an event was dropped, since containerd refuses it: {}", status.message))
            }
        };
        self.answer_by = None;
        self.check();
        if self.client.is_some() {
            self.send_first();
        }
        complaint
    }

    /// When to call [`Publisher::retry`].
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at.or(self.answer_by)
    }

    /// Connects anew, if it is time.
    pub fn retry(&mut self, now: Instant) {
        if self.answer_by.is_some_and(|by| by <= now) {
            self.try_again_later();
        }
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
