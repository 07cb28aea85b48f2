//! The parent's side: clones the container's process and leads it through the protocol of [`super::channel`].

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdGetfdFlags, Signal};

use super::birth::{Birth, Place, clone_error, clone_into};
use super::channel::{Channel, Message, garbled};
use super::posture::Posture;
use super::sealed_exe::Sealed;
use super::sources::Fetcher;
use super::wait::{self, Ended};
use crate::attributes;
use crate::error::{During, Error, Kind, Phase, Result, SysContext};
use crate::rootfs::HostTree;
use crate::seccomp::{self, Filter, SeccompPlan};
use crate::sys::clone::{Cloned, SingleThreaded, exit_now};
use crate::sys::signal;

/// The cause of a death that may have causes of its own, such as lack of memory.
pub(crate) const KILLED: &str = "it was killed by signal 9";

/// A child on its way to the payload. Dropped before [`Launching::finish`], it is killed and collected.
#[derive(Debug)]
pub(crate) struct Launching {
    pid: Pid,
    /// Taken by `finish`.
    pidfd: Option<OwnedFd>,
    channel: Channel,
}

/// Clones a process that runs `child` and exits; what `child` returns an error for is sent to the parent.
///
/// `at_once` is the child's first act, before it can be stopped in a frozen cgroup. `child` gets the channel to give it up
/// (drop it) when it can no longer be used.
pub(crate) fn launch(
    _: Sealed,
    birth: Birth<'_>,
    at_once: impl FnOnce(),
    child: impl FnOnce(Channel, SingleThreaded) -> Result<()>,
) -> Result<Launching> {
    let proof = SingleThreaded::prove()
        .sys("stat", "/proc/self/task: the caller of libcontainer must have one thread")
        .during(Phase::Launch)?;
    // With SIGCHLD ignored, which a caller may have passed on, the kernel would collect our children itself.
    signal::reset(libc::SIGCHLD);
    let (ours, theirs) = Channel::pair().during(Phase::Launch)?;
    let posture = Posture::take(birth)?;
    let cloned = clone_into(&proof, birth).map_err(|errno| clone_error(birth, errno)).during(Phase::Launch);
    let (cloned, place) = match cloned {
        Err(error) => return posture.give_up().and(Err(error)),
        Ok(cloned) => cloned,
    };
    match cloned {
        Cloned::Child(alone) => {
            at_once();
            drop(ours);
            die_with_parent();
            if theirs.is_closed() {
                exit_now(1); // the parent was gone before that took effect
            }
            // What this program or its caller ignored (SIGPIPE, SIGHUP) the payload must not inherit.
            signal::reset_all();
            let joined = match place {
                Place::Inside | Place::Fetched => birth.membership.join_self_v1(),
                Place::Outside => birth.membership.join_self(),
            };
            let begun = joined.during(Phase::Cgroup).and_then(|()| attributes::run_on(&birth.scheduling.final_cpus));
            // The child reports its own failures: what is left of the outcome is the exit status.
            let outcome = match begun {
                Ok(()) => child(theirs, alone),
                Err(error) => Err(report(&theirs, error)),
            };
            exit_now(i32::from(outcome.is_err()))
        }
        Cloned::Parent(pid, pidfd) => {
            drop(theirs);
            let launching = Launching { pid, pidfd: Some(pidfd), channel: ours };
            posture.give_up()?;
            let launching = if birth.staged { launching.after_stage()? } else { launching };
            if place == Place::Fetched {
                birth.membership.fetch(launching.pid)?;
            }
            launching.told(birth.staged)
        }
    }
}

/// Makes this process die with its parent, at every step: until the state is saved with it, nobody else knows of it. To
/// be done anew after a change of credentials, which ends it (PR_SET_PDEATHSIG(2const)).
pub(crate) fn die_with_parent() {
    // If it cannot be had, the end of the channel tells at the next message.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

/// From here on this process is on record, and outlives its parent.
pub(crate) fn outlive_parent() {
    let _ = rustix::process::set_parent_process_death_signal(None);
}

/// Tells the parent of a failure; if the parent is gone, nobody is left to be told.
pub(super) fn report(channel: &Channel, error: Error) -> Error {
    let error = error.shortened();
    let _ = channel.send(&Message::Failed(error.clone()), None);
    error
}

impl Launching {
    /// The child's pid, as the caller's PID namespace numbers it.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// What was launched is the stage: collects it, and goes on with the process that it cloned.
    fn after_stage(mut self) -> Result<Launching> {
        // Killed after the clone and before its message, it leaves a process that holds the channel open and waits for us.
        if !self.says_something()? {
            return Err(self.explain_death());
        }
        let (pid, pidfd) = match self.channel.receive()? {
            Some((Message::Cloned(pid), Some(pidfd))) => (Pid::from_raw(pid).ok_or_else(garbled)?, pidfd),
            Some(_) => return Err(garbled()),
            None => return Err(self.explain_death()),
        };
        if let Some(stage) = self.pidfd.replace(pidfd) {
            wait::reap(stage.as_fd()).during(Phase::Launch)?;
        }
        self.pid = pid;
        Ok(self)
    }

    /// What a stage has cloned waits until it is known, and where it belongs.
    fn told(mut self, waits: bool) -> Result<Launching> {
        if waits {
            self.proceed()?;
        }
        Ok(self)
    }

    /// Waits for a message; false if the child has ended without one.
    fn says_something(&self) -> Result<bool> {
        let pidfd = self.pidfd.as_ref().ok_or_else(garbled)?;
        let mut watched = [self.channel.as_fd(), pidfd.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, None)).sys("poll", "the stage")?;
        // What it said before it ended is there: a message is sent whole, by a call that was over then.
        let [channel, _] = &mut watched;
        if channel.revents().is_empty() {
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            return Ok(rustix::event::poll(std::slice::from_mut(channel), Some(&now)).sys("poll", "the stage")? > 0);
        }
        Ok(true)
    }

    /// Tells the child that it is known, or that the ids of its user namespace are mapped.
    pub(crate) fn proceed(&mut self) -> Result<()> {
        self.channel.send(&Message::Proceed, None).map_err(|error| self.prefer_childs(error))
    }

    /// The pidfd of the child.
    pub(crate) fn pidfd(&self) -> Option<&OwnedFd> {
        self.pidfd.as_ref()
    }

    /// What the child died of, if it has: the parent's own failure is then only a consequence.
    pub(crate) fn prefer_childs(&mut self, error: Error) -> Error {
        let is_dead = |pidfd: &OwnedFd| wait::wait_for_end(pidfd.as_fd(), Duration::ZERO).unwrap_or(false);
        // With its end closed or itself gone, what is left in the channel is there to be read without waiting.
        let is_gone = error.errno() == Some(Errno::PIPE) || self.pidfd.as_ref().is_some_and(is_dead);
        match is_gone.then(|| self.channel.receive()) {
            Some(Err(childs)) => childs,
            Some(Ok(_)) => self.explain_death(),
            None => error,
        }
    }

    /// Leads the child up to the point where all is set up but the filter: `on_rootfs` runs when its mounts are made.
    /// Gives the terminal's master, if it has one.
    pub(crate) fn until_ready(
        &mut self,
        fetcher: Fetcher<'_>,
        on_rootfs: impl FnOnce(&OwnedFd) -> Result<()>,
    ) -> Result<Option<OwnedFd>> {
        let mut on_rootfs = Some(on_rootfs);
        loop {
            match (self.channel.receive()?, on_rootfs.take()) {
                (Some((Message::Source(tree), _)), Some(later)) => {
                    self.hand_in(&tree, fetcher)?;
                    on_rootfs = Some(later);
                }
                (Some((Message::RootfsReady, _)), Some(on_rootfs)) => {
                    on_rootfs(self.pidfd.as_ref().ok_or_else(garbled)?)?;
                    let sent = self.channel.send(&Message::HooksDone, None);
                    sent.map_err(|error| self.prefer_childs(error))?;
                }
                (Some((Message::Ready, console)), _) => return Ok(console),
                (Some(_), _) => return Err(garbled()),
                (None, _) => return Err(self.explain_death()),
            }
        }
    }

    /// Gives the child a tree that it may not reach itself, or the reason why it cannot have it.
    fn hand_in(&self, tree: &HostTree, fetcher: Fetcher<'_>) -> Result<()> {
        match fetcher.fetch(self.pid.as_raw_pid(), tree) {
            Ok(opened) => self.channel.send(&Message::Tree, Some(opened.as_fd())),
            Err(error) => self.channel.send(&Message::Failed(error), None),
        }
    }

    /// Lets the child finish, under `filter`: returns when it waits at the gate or has executed its payload. `on_listener`
    /// gets the filter's listener, if it has one.
    pub(crate) fn finish(
        mut self,
        filter: Option<Filter>,
        must_live: bool,
        on_listener: impl FnOnce(OwnedFd) -> Result<()>,
    ) -> Result<(Pid, OwnedFd)> {
        let bytes = filter.map(|filter| filter.to_bytes()).unwrap_or_default();
        self.channel.send(&Message::Run(bytes), None).map_err(|error| self.prefer_childs(error))?;
        let mut message = self.channel.receive()?;
        if let Some((Message::Listening(number), _)) = message {
            on_listener(self.take_descriptor(number)?)?;
            self.channel.send(&Message::Heard, None).map_err(|error| self.prefer_childs(error))?;
            message = self.channel.receive()?;
        }
        if message.is_some() {
            return Err(garbled());
        }
        let pidfd = self.pidfd.take().ok_or_else(garbled)?;
        if wait::wait_for_end(pidfd.as_fd(), Duration::ZERO)? {
            // It may have run already; but was it executed? Until it is collected, its stat tells.
            let stat = wait::stat(self.pid.as_raw_pid());
            if must_live || stat.is_some_and(|stat| !stat.has_executed) {
                self.pidfd = Some(pidfd);
                return Err(self.explain_death());
            }
        }
        Ok((self.pid, pidfd))
    }

    /// A copy of a descriptor of the child's.
    fn take_descriptor(&self, number: RawFd) -> Result<OwnedFd> {
        let pidfd = self.pidfd.as_ref().ok_or_else(garbled)?;
        rustix::process::pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty())
            .sys("pidfd_getfd", "the seccomp listener")
            .during(Phase::Seccomp)
    }

    /// Why a child that said nothing is gone.
    fn explain_death(&mut self) -> Error {
        let error = Error::new(Kind::System, "the container's process died while it was set up").during(Phase::Launch);
        let Some(pidfd) = self.pidfd.take() else { return error };
        let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
        match wait::reap(pidfd.as_fd()) {
            Ok(Ended::Killed(libc::SIGKILL)) => error.cause(KILLED),
            Ok(Ended::Killed(signal)) => error.cause(format!("it was killed by signal {signal}")),
            Ok(Ended::Exited(status)) => error.cause(format!("it exited with status {status}")),
            Err(_) => error,
        }
    }
}

impl Drop for Launching {
    fn drop(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            if wait::wait_for_end(pidfd.as_fd(), wait::DEATH_LIMIT).unwrap_or(false) {
                let _ = wait::try_reap(pidfd.as_fd());
            }
        }
    }
}

/// Compiles the filter, or finds it compiled, while the child makes its mounts.
pub(crate) fn compile(seccomp: Option<&SeccompPlan>) -> Result<Option<Filter>> {
    seccomp.map(seccomp::compile_cached).transpose().during(Phase::Seccomp)
}

/// The child's side of [`Launching::finish`]: says that it is ready and waits for the filter.
///
/// # Errors
/// If the parent has died: nobody would ever start this process.
pub(crate) fn await_run(channel: &Channel, console: Option<&OwnedFd>) -> Result<Option<Filter>> {
    channel.send(&Message::Ready, console.map(AsFd::as_fd))?;
    match channel.receive()? {
        Some((Message::Run(bytes), _)) if bytes.is_empty() => Ok(None),
        Some((Message::Run(bytes), _)) => Filter::from_bytes(&bytes).map(Some),
        _ => Err(garbled()),
    }
}

/// The child's side of [`Launching::proceed`].
pub(crate) fn await_proceed(channel: &Channel) -> Result<()> {
    match channel.receive()? {
        Some((Message::Proceed, _)) => Ok(()),
        _ => Err(garbled()),
    }
}

/// The child's side of [`Launching::until_ready`]'s hooks.
pub(crate) fn await_hooks(channel: &Channel) -> Result<()> {
    channel.send(&Message::RootfsReady, None)?;
    match channel.receive()? {
        Some((Message::HooksDone, _)) => Ok(()),
        _ => Err(garbled()),
    }
}

/// The child's side of [`Message::Source`].
pub(crate) fn ask_for(channel: &Channel, tree: &HostTree) -> Result<OwnedFd> {
    channel.send(&Message::Source(tree.clone()), None)?;
    match channel.receive()? {
        Some((Message::Tree, Some(descriptor))) => Ok(descriptor),
        _ => Err(garbled()),
    }
}

/// The child's side of [`Launching::finish`]'s listener: lets the parent take it, then closes it.
pub(crate) fn give_listener(channel: &Channel, listener: OwnedFd) -> Result<()> {
    match channel.ask_plainly(&Message::Listening(listener.as_raw_fd()))? {
        Some(Message::Heard) => Ok(()),
        _ => Err(garbled()),
    }
}
