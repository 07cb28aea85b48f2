//! The shim itself: one thread, one loop, from its first client to `Shutdown`.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libcontainer::cgroups::OomWatch;
use libcontainer::container;
use libcontainer::error::Result;
use libcontainer::process::sealed_exe::Sealed;
use libcontainer::process::signals;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::Pid;

use containerd_shim_protos::events::task::TaskOOM;

use crate::backlog::Lingering;
use crate::events::{Event, Publisher};
use crate::io::pump::Pump;
use crate::log::Log;
use crate::poll::{Poll, Token};
use crate::process::{Caller, Container};
use crate::reaper::Stranger;
use crate::service::Job;
use crate::service::creating::Creating;
use crate::service::parting::Parting;
use crate::ttrpc::Connection;
use crate::ttrpc::connection::Reply;
use crate::worker::{Outcome, Worker};

/// How long a shim waits for its first, or next, container. A containerd that was killed after it had started a shim, or
/// before it could tell it to end, does not always remember it.
const LONGEST_EMPTY: Duration = Duration::from_secs(60);
/// How long a shim that was told to end tries to be rid of its last events.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// What a shim is started with.
#[derive(Debug)]
pub struct Setup {
    /// It listens; containerd connects to it.
    pub listener: OwnedFd,
    /// Where, to remove it at the end.
    pub socket: PathBuf,
    /// containerd's namespace.
    pub namespace: String,
    /// containerd's events service.
    pub events: String,
    /// For what nobody else is told.
    pub log: Log,
    /// Containers' processes may be made.
    pub sealed: Sealed,
}

/// Everything it knows.
#[derive(Debug)]
pub struct Shim {
    pub(crate) namespace: String,
    pub(crate) sealed: Sealed,
    pub(crate) log: Log,
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) creating: BTreeMap<String, Creating>,
    pub(crate) strangers: Vec<Stranger>,
    pub(crate) lingering: Vec<Lingering>,
    pub(crate) partings: Vec<Parting>,
    listener: OwnedFd,
    socket: PathBuf,
    signals: OwnedFd,
    pub(crate) poll: Poll,
    publisher: Publisher,
    connections: BTreeMap<u32, Connection>,
    workers: BTreeMap<u32, (Worker, Job)>,
    pub(crate) pumps: BTreeMap<u32, Pump>,
    /// By container.
    memory: BTreeMap<String, (u32, OomWatch)>,
    pub(crate) hung_up_until: Option<Instant>,
    /// Since when there is no container.
    empty_since: Option<Instant>,
    /// Told to end: with the last event taken, or at this time.
    ending: Option<Instant>,
    numbers: u32,
}

impl Shim {
    /// Ready to serve.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn new(setup: Setup) -> Result<Shim> {
        let mut shim = Shim {
            publisher: Publisher::new(&setup.events, &setup.namespace),
            namespace: setup.namespace,
            sealed: setup.sealed,
            log: setup.log,
            containers: BTreeMap::new(),
            creating: BTreeMap::new(),
            strangers: Vec::new(),
            lingering: Vec::new(),
            partings: Vec::new(),
            listener: setup.listener,
            socket: setup.socket,
            signals: signals::signalfd()?,
            poll: Poll::new()?,
            connections: BTreeMap::new(),
            workers: BTreeMap::new(),
            pumps: BTreeMap::new(),
            memory: BTreeMap::new(),
            hung_up_until: None,
            empty_since: Some(Instant::now()),
            ending: None,
            numbers: 0,
        };
        shim.poll.watch(Token::Listener, &shim.listener, EventFlags::IN);
        shim.poll.watch(Token::Signals, &shim.signals, EventFlags::IN);
        Ok(shim)
    }

    /// Serves until it is told to end.
    ///
    /// # Errors
    /// If the kernel refuses to let it wait.
    pub fn run(&mut self) -> Result<()> {
        while !self.is_over() {
            for (token, flags) in self.poll.wait(self.deadline())? {
                self.serve(token, flags);
            }
            self.keep_time();
        }
        let _ = std::fs::remove_file(&self.socket);
        Ok(())
    }

    fn serve(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Listener => self.accept(),
            Token::Signals => self.serve_signals(),
            Token::Publisher => self.serve_publisher(),
            Token::Connection(number) => self.serve_connection(number, flags),
            Token::Worker(number) => self.serve_worker(number),
            Token::Source(number) | Token::Sink(number) => self.serve_pump(number),
            Token::Memory(number) => self.serve_memory(number),
        }
    }

    /// A number that nothing else has.
    pub(crate) fn number(&mut self) -> u32 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }

    // Clients.

    fn accept(&mut self) {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(&self.listener, flags) {
                // The socket is only for its owner already; this is also for one who could be root by another name.
                Ok(socket)
                    if rustix::net::sockopt::socket_peercred(&socket)
                        .is_ok_and(|peer| peer.uid == rustix::process::geteuid()) =>
                {
                    let number = self.number();
                    let connection = Connection::new(socket);
                    self.poll.watch(Token::Connection(number), &connection, EventFlags::IN);
                    self.connections.insert(number, connection);
                }
                Ok(_) | Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => return,
            }
        }
    }

    fn serve_connection(&mut self, number: u32, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if flags.contains(EventFlags::OUT) {
            connection.flush();
        }
        for call in connection.read() {
            let caller = Caller { connection: number, stream: call.stream };
            self.handle(caller, call.request);
        }
        self.settle(number);
    }

    /// Watches a connection for what it needs now, or lets it go.
    fn settle(&mut self, number: u32) {
        let Some(connection) = self.connections.get(&number) else { return };
        let token = Token::Connection(number);
        if connection.is_over() {
            self.poll.watch(token, connection, EventFlags::empty());
            self.connections.remove(&number);
            // Nobody is there to be told any more.
            for container in self.containers.values_mut() {
                for process in std::iter::once(&mut container.init).chain(container.execs.values_mut()) {
                    process.waiters.retain(|waiter| waiter.connection != number);
                }
            }
            return;
        }
        let flags = if connection.wants_to_write() { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        self.poll.watch(token, connection, flags);
    }

    /// Answers a call, if the client is still there.
    pub(crate) fn answer(&mut self, caller: Caller, reply: Reply) {
        if let Some(connection) = self.connections.get_mut(&caller.connection) {
            connection.answer(caller.stream, reply);
            self.settle(caller.connection);
        }
    }

    // Workers.

    /// Has a worker do something, and `job` go on with what it reports.
    pub(crate) fn employ(&mut self, job: Job, work: impl FnOnce() -> Outcome) {
        match Worker::start(work) {
            Ok(worker) => {
                let number = self.number();
                self.poll.watch(Token::Worker(number), &worker, EventFlags::IN);
                self.workers.insert(number, (worker, job));
            }
            Err(failed) => self.go_on(job, Err(failed)),
        }
    }

    fn serve_worker(&mut self, number: u32) {
        let Some((worker, job)) = self.workers.remove(&number) else { return };
        self.poll.watch(Token::Worker(number), &worker, EventFlags::empty());
        let outcome = worker.outcome();
        if let Ok(report) = &outcome {
            report.warnings.iter().for_each(|warning| self.log.warning(warning));
        }
        self.go_on(job, outcome);
        if self.workers.is_empty() {
            // Whoever has ended unknown now stays so.
            self.strangers.clear();
        }
    }

    /// Whether `pid` is a worker's, whose end tells nothing that its report does not.
    pub(crate) fn is_worker(&self, pid: Pid) -> bool {
        self.workers.values().any(|(worker, _)| worker.pid() == pid)
    }

    /// Whether a worker may yet report a process that has ended already.
    pub(crate) fn awaits_processes(&self) -> bool {
        !self.workers.is_empty()
    }

    fn serve_signals(&mut self) {
        while let Some(signal) = signals::read_signal(&self.signals) {
            // Whoever stops it by hand; the containers go on, and containerd calls `delete` for them.
            if matches!(signal, libc::SIGTERM | libc::SIGINT) {
                self.end();
            }
        }
        self.reap();
    }

    // Lack of memory.

    /// Watches a container that was just created, before it can use any.
    pub(crate) fn watch_memory(&mut self, id: &str) {
        let Some(one) = self.containers.get(id) else { return };
        match container::watch_oom(&one.store, id) {
            Ok(Some(watch)) => {
                let number = self.number();
                // Of poll(2)'s flags these two are epoll's by the same numbers.
                let flags = EventFlags::from_bits_retain(u32::from(watch.interest().bits()));
                self.poll.watch(Token::Memory(number), &watch, flags);
                self.memory.insert(id.to_owned(), (number, watch));
            }
            Ok(None) => {}
            Err(error) => self.log.warning(error),
        }
    }

    fn serve_memory(&mut self, number: u32) {
        if let Some(id) = self.memory.iter().find(|(_, (one, _))| *one == number).map(|(id, _)| id.clone()) {
            self.look_at_memory(&id);
        }
    }

    fn look_at_memory(&mut self, id: &str) {
        let Some((_, watch)) = self.memory.get_mut(id) else { return };
        let seen = watch.read();
        if seen.as_ref().is_ok_and(|seen| seen.oom) {
            self.publish(&TaskOOM { container_id: id.to_owned(), ..TaskOOM::default() });
        }
        if !seen.is_ok_and(|seen| !seen.gone) {
            self.unwatch_memory(id);
        }
    }

    /// A container's init has ended: looks once more, while its cgroup is still there, and no more.
    pub(crate) fn finish_memory(&mut self, id: &str) {
        self.look_at_memory(id);
        self.unwatch_memory(id);
    }

    fn unwatch_memory(&mut self, id: &str) {
        if let Some((number, watch)) = self.memory.remove(id) {
            self.poll.watch(Token::Memory(number), &watch, EventFlags::empty());
        }
    }

    // Events.

    /// Tells containerd.
    pub(crate) fn publish<E: Event>(&mut self, event: &E) {
        self.unwatch_publisher();
        self.publisher.publish(event);
        self.watch_publisher();
    }

    fn serve_publisher(&mut self) {
        self.unwatch_publisher();
        let complaint = self.publisher.serve();
        self.watch_publisher();
        if let Some(complaint) = complaint {
            self.log.warning(complaint);
        }
    }

    /// Its connection may be another one after each step.
    fn unwatch_publisher(&mut self) {
        if let Some((fd, _)) = self.publisher.interest() {
            self.poll.watch(Token::Publisher, fd, EventFlags::empty());
        }
    }

    fn watch_publisher(&mut self) {
        if let Some((fd, writes)) = self.publisher.interest() {
            let flags = if writes { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            self.poll.watch(Token::Publisher, fd, flags);
        }
    }

    // Time.

    fn deadline(&self) -> Option<Instant> {
        let partings = self.partings.iter().map(Parting::deadline).min();
        let empty = self.empty_since.filter(|_| self.ending.is_none()).map(|since| since + LONGEST_EMPTY);
        let lingering = self.lingering.iter().map(Lingering::deadline).min();
        let ending = self.ending.filter(|_| self.partings.is_empty());
        [self.publisher.retry_at(), self.hung_up_until, ending, partings, empty, lingering].into_iter().flatten().min()
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.publisher.retry_at().is_some_and(|at| at <= now) {
            self.unwatch_publisher();
            self.publisher.retry(now);
            self.watch_publisher();
        }
        self.retry_hung_up(now);
        self.look_after_partings(now);
        self.stop_lingering(now);
        match self.is_empty() {
            true if *self.empty_since.get_or_insert(now) + LONGEST_EMPTY <= now => self.end(),
            true => {}
            false => self.empty_since = None,
        }
    }

    /// Whether there is no container, nor will be one.
    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.creating.is_empty()
    }

    /// `Shutdown`: end when the last output and the last events are taken.
    pub(crate) fn end(&mut self) {
        self.ending.get_or_insert(Instant::now() + LAST_EVENTS);
    }

    fn is_over(&self) -> bool {
        let answered = !self.connections.values().any(Connection::wants_to_write);
        let ends = self.ending.is_some_and(|at| answered && self.publisher.is_idle() || at <= Instant::now());
        // They end by themselves.
        ends && self.partings.is_empty()
    }
}
