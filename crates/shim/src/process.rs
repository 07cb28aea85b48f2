//! What the shim knows of containers and their processes.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::SystemTime;

use libcontainer::container::Store;
use rustix::process::Pid;

use crate::io::Stdio;
use crate::options::Options;
use crate::ttrpc::Status;

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The connection's number.
    pub connection: u32,
    /// The stream on it.
    pub stream: u32,
}

/// A process of a container, by the names that containerd has for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The container.
    pub container: String,
    /// Empty for its init.
    pub exec: String,
}

impl Name {
    /// A container's init.
    pub fn init(container: &str) -> Name {
        Name { container: container.to_owned(), exec: String::new() }
    }

    /// Whether it is an init.
    pub fn is_init(&self) -> bool {
        self.exec.is_empty()
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// As a shell tells it: 128 and the signal's number if it was killed.
    pub status: u32,
    /// When it was found.
    pub at: SystemTime,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is there, or asked for, and waits for `start`.
    Created,
    /// A worker is starting it.
    Starting,
    /// It runs.
    Running,
    /// It has ended, and everybody was told.
    Stopped,
}

/// What a process leaves open here until it is deleted.
#[derive(Debug, Default)]
pub struct Held {
    /// Output FIFOs.
    pub outputs: Vec<OwnedFd>,
    /// The input FIFO, until it is closed.
    pub input: Option<OwnedFd>,
    /// The terminal's master.
    pub console: Option<OwnedFd>,
    /// The pump of what is typed.
    pub typed: Option<u32>,
    /// The pumps of its output.
    pub pumps: Vec<u32>,
    /// The program that takes its output.
    pub logger: Option<Pid>,
}

impl Held {
    /// What is left of another process's output, together with this one's.
    pub fn join(&mut self, other: Held) {
        self.outputs.extend(other.outputs);
        self.pumps.extend(other.pumps);
    }
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Its streams, as containerd named them.
    pub stdio: Stdio,
    /// 0 until it is known.
    pub pid: i32,
    /// Where it is in its life.
    pub stage: Stage,
    /// How it ended.
    pub exit: Option<Exit>,
    /// Who waits for its end.
    pub waiters: Vec<Caller>,
    /// What it leaves open here.
    pub held: Held,
    /// What is to be executed, as JSON, until it is started; an init's is in the bundle.
    pub spec: Vec<u8>,
}

impl Process {
    /// One that is not there yet.
    pub fn new(stdio: Stdio, spec: Vec<u8>) -> Process {
        let (pid, stage, exit) = (0, Stage::Created, None);
        Process { stdio, pid, stage, exit, waiters: Vec::new(), held: Held::default(), spec }
    }
}

/// A container.
#[derive(Debug)]
pub struct Container {
    /// Its directory.
    pub bundle: PathBuf,
    /// Where its state is.
    pub store: Store,
    /// What its creator wants.
    pub options: Options,
    /// Its first process.
    pub init: Process,
    /// The others, by containerd's names.
    pub execs: BTreeMap<String, Process>,
    /// Frozen by `pause`.
    pub is_paused: bool,
    /// It has no PID namespace of its own, so its processes do not die with init.
    pub shares_pids: bool,
    /// Init has ended, but an exec's end has to be told first.
    pub init_exit: Option<Exit>,
}

impl Container {
    /// A process of it.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn process(&self, exec: &str) -> Result<&Process, Status> {
        match exec {
            "" => Ok(&self.init),
            _ => self.execs.get(exec).ok_or_else(|| Status::not_found(format!("process {exec} does not exist"))),
        }
    }

    /// [`Container::process`], to change it.
    ///
    /// # Errors
    /// As [`Container::process`].
    pub fn process_mut(&mut self, exec: &str) -> Result<&mut Process, Status> {
        match exec {
            "" => Ok(&mut self.init),
            _ => self.execs.get_mut(exec).ok_or_else(|| Status::not_found(format!("process {exec} does not exist"))),
        }
    }

    /// Whether the end of an exec is still to come.
    pub fn has_live_execs(&self) -> bool {
        self.execs.values().any(|exec| matches!(exec.stage, Stage::Starting | Stage::Running))
    }
}
