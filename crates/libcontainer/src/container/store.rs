//! The state store: one directory per container below the root, one `state.json` in it, one lock on it.
//!
//! A directory without a state is what a create leaves that was killed before it made anything else. A state is replaced
//! by rename, so a reader sees the old or the new one, never a part.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::remains;
use super::state::{Init, State};
use crate::cgroups::Cgroup;
use crate::error::{During, Error, Kind, Phase, Result, SysContext};
use crate::host::read_all;

const STATE: &str = "state.json";
const NEW_STATE: &str = "state.json.new";
/// How long a command waits for another one of the same container.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(2);

/// A directory that holds one sub-directory per container.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at `root` (`/run/creel` unless the user says otherwise); made at the first `create`.
    pub fn new(root: &Path) -> Store {
        Store { root: root.to_owned() }
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the directory of a new container, and locks it.
    ///
    /// # Errors
    /// [`Kind::Exists`] if the id is in use, [`Kind::Invalid`] if it cannot be an id.
    pub(crate) fn create(&self, id: &str) -> Result<Entry> {
        check_id(id).during(Phase::State)?;
        let in_use = || {
            Error::new(Kind::Exists, "container with given ID already exists")
                .cause(format!("\"{id}\" is in use"))
                .remedy("choose another id or delete that container")
        };
        loop {
            match self.make_directory(id).during(Phase::State) {
                Err(error) if error.errno() == Some(Errno::EXIST) => return Err(in_use()),
                other => other?,
            }
            // Until the lock is held, a `delete --force` may remove what was just made, and another create make it anew.
            match self.open_locked(id) {
                Err(error) if error.kind() == Kind::NotFound => {}
                Ok(entry) if entry.has_state() => return Err(in_use()),
                other => return other,
            }
        }
    }

    fn make_directory(&self, id: &str) -> Result<()> {
        let path = self.root.join(id);
        let owner_only = Mode::RWXU;
        let made = match rustix::fs::mkdir(&path, owner_only) {
            // Only the runtime's user may look into it (CVE-2021-41103).
            Err(Errno::NOENT) => {
                std::fs::create_dir_all(self.root.parent().unwrap_or(Path::new("/")))
                    .sys("mkdir", self.root.display())?;
                match rustix::fs::mkdir(&self.root, owner_only) {
                    Ok(()) | Err(Errno::EXIST) => rustix::fs::mkdir(&path, owner_only),
                    error => error,
                }
            }
            other => other,
        };
        let remedy = "name a directory of your own with --root, or set XDG_RUNTIME_DIR, as a login session does";
        made.sys("mkdir", path.display()).map_err(|error| match error.errno() {
            Some(Errno::ACCESS | Errno::PERM) => error.remedy(remedy),
            _ => error,
        })?;
        self.refuse_others().inspect_err(|_| {
            let _ = rustix::fs::rmdir(&path);
        })
    }

    /// Whoever owns the root, or may write to it, could put another state in a container's place: a process to kill, hooks to
    /// run.
    fn refuse_others(&self) -> Result<()> {
        let stat = rustix::fs::stat(&self.root).sys("stat", self.root.display())?;
        let own = rustix::process::geteuid().as_raw();
        let shared = stat.st_mode & 0o022 != 0 && stat.st_mode & 0o1000 == 0;
        if !shared && (stat.st_uid == own || stat.st_uid == 0) {
            return Ok(());
        }
        let why =
            if shared { "others may write to it".to_owned() } else { format!("it belongs to user {}", stat.st_uid) };
        Err(Error::invalid(format!("the state's directory {}", self.root.display()), why)
            .remedy("name another one with --root, or chown and chmod 700 this one"))
    }

    /// The directory of a container that exists.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none.
    pub(crate) fn open(&self, id: &str) -> Result<Entry> {
        check_id(id).during(Phase::State)?;
        let path = self.root.join(id);
        match open_directory(&path) {
            Err(error) if error.errno() == Some(Errno::NOENT) => Err(missing(id)),
            other => Ok(Entry { directory: other.during(Phase::State)?, lock: None, path }),
        }
    }

    /// [`Store::open`], and waits until no other command works on that container.
    pub(crate) fn open_locked(&self, id: &str) -> Result<Entry> {
        loop {
            let mut entry = self.open(id)?;
            entry.lock().during(Phase::State)?;
            // Whoever held the lock may have deleted the container; there may even be a new one of its id.
            if entry.is_linked().during(Phase::State)? {
                return Ok(entry);
            }
        }
    }

    /// The ids of all containers, sorted.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.sys("opendir", self.root.display()).during(Phase::State)?,
        };
        let mut ids: Vec<String> = entries
            .filter_map(|entry| entry.ok().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|id| check_id(id).is_ok())
            .collect();
        ids.sort();
        Ok(ids)
    }
}

/// These words, and those for an id in use, are what engines look for in a runtime's messages; so they come first.
pub(super) fn missing(id: &str) -> Error {
    Error::new(Kind::NotFound, "container does not exist").cause(format!("there is no container \"{id}\" here"))
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).sys("open", path.display())
}

/// An id is one path component of letters, digits and `_ + - .`, as in runc.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if !id.is_empty() && id.chars().all(allowed) && !matches!(id, "." | "..") && id.len() <= 255 {
        return Ok(());
    }
    let why = if id.is_empty() { "it must not be empty".to_owned() } else { format!("invalid id format: \"{id}\"") };
    Err(Error::invalid("container id", why).remedy("use up to 255 letters, digits and _ + - ."))
}

/// One container's directory.
#[derive(Debug)]
pub(crate) struct Entry {
    directory: OwnedFd,
    /// A descriptor of its own for the lock, which lasts as long as any process has it open.
    lock: Option<OwnedFd>,
    path: PathBuf,
}

impl Entry {
    /// Its path, for what must be found by name (sockets, mount sources).
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the container's lock; it ends with this process, so a killed command leaves none. It does not wait for
    /// ever: what holds it may be a command whose hook hangs, or that waits for this one.
    fn lock(&mut self) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&self.directory, c".", flags, Mode::empty()).sys("open", self.path.display())?;
        let deadline = Instant::now() + LONGEST_WAIT;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::new(Kind::WrongState, "another command is at work on this container")
                        .cause("it, or a hook that it runs, does not finish")
                        .remedy("wait for it, or end it, and try again"));
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system("flock", self.path.display(), errno)),
            }
        }
        self.lock = Some(lock);
        Ok(())
    }

    /// Whether it is still in the store. While its lock is held, nobody else can take it out or put another in its place.
    fn is_linked(&self) -> Result<bool> {
        Ok(rustix::fs::fstat(&self.directory).sys("fstat", self.path.display())?.st_nlink > 0)
    }

    /// Whether a create has got as far as to save a state.
    fn has_state(&self) -> bool {
        rustix::fs::statat(&self.directory, STATE, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Closes the lock's descriptor. A cloned process must do so at once: it would hold the lock for as long as it
    /// lives, and the commands that are to kill it would wait for it.
    pub(crate) fn leave_lock(&mut self) {
        self.lock = None;
    }

    /// The container's state; `None` if its create was killed before it saved one.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the file is not ours or damaged.
    pub(crate) fn load(&self) -> Result<Option<State>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, STATE, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.sys("openat", self.path.join(STATE).display()).during(Phase::State)?,
        };
        let bytes = read_all(&file).sys("read", self.path.join(STATE).display()).during(Phase::State)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::invalid(self.path.join(STATE).display(), error)
                .remedy("`creel delete --force` removes what is left of the container")
                .during(Phase::State)
        })
    }

    /// Init and its cgroup, as far as a state that cannot be read still tells of them.
    pub(crate) fn salvage(&self) -> (Option<Init>, Option<Cgroup>) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, STATE, flags, Mode::empty());
        file.ok().and_then(|file| read_all(&file).ok()).map_or((None, None), |bytes| remains::of(&bytes))
    }

    /// Saves the state: durable when this returns, and never half there.
    pub(crate) fn save(&self, state: &State) -> Result<()> {
        let save = || {
            let name = || self.path.join(NEW_STATE);
            let text = serde_json::to_vec(state)
                .map_err(|error| Error::new(Kind::System, format!("the state cannot be written: {error}")))?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            let file = rustix::fs::openat(&self.directory, NEW_STATE, flags, mode).sys("openat", name().display())?;
            let mut file = File::from(file);
            file.write_all(&text).sys("write", name().display())?;
            // Free on the tmpfs that /run is; on a disk it is the price of the promise.
            rustix::fs::fdatasync(&file).sys("fdatasync", name().display())?;
            rustix::fs::renameat(&self.directory, NEW_STATE, &self.directory, STATE).sys("rename", name().display())
        };
        save().during(Phase::State)
    }

    /// Removes the directory and all that is in it. The lock must be held.
    pub(crate) fn remove(&self) -> Result<()> {
        if !self.is_linked().during(Phase::State)? {
            return Ok(());
        }
        for name in [NEW_STATE, "exec.fifo", "exec.result", STATE] {
            match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(errno) => return Err(Error::system("unlink", name, errno).during(Phase::State)),
            }
        }
        let removed = match rustix::fs::rmdir(&self.path) {
            // Something more is there: the notify socket's directory, or what an older version left.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                std::fs::remove_dir_all(&self.path).sys("rmdir", self.path.display())
            }
            Err(Errno::NOENT) => Ok(()),
            other => other.sys("rmdir", self.path.display()),
        };
        removed.during(Phase::State)
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_path_component() {
        for id in ["a", "A_b+c-d.e", "...", "0"] {
            check_id(id).expect(id);
        }
        for id in ["", ".", "..", "a/b", "a b", "é", "a\n", &"x".repeat(256)] {
            assert_eq!(check_id(id).expect_err(id).kind(), Kind::Invalid);
        }
    }

    #[test]
    fn an_entry_is_made_once_found_and_removed() {
        let root = std::env::temp_dir().join(format!("creel-test-store-{}", std::process::id()));
        let store = Store::new(&root);
        assert_eq!(store.ids().expect("no root yet"), Vec::<String>::new());
        assert_eq!(store.open("c1").expect_err("missing").kind(), Kind::NotFound);
        let entry = store.create("c1").expect("create");
        assert_eq!(store.create("c1").expect_err("in use").kind(), Kind::Exists);
        assert!(entry.load().expect("load").is_none());
        assert_eq!(store.ids().expect("ids"), ["c1"]);
        std::fs::write(root.join("c1/state.json"), "{").expect("write");
        assert_eq!(entry.load().expect_err("damaged").kind(), Kind::Invalid);
        entry.remove().expect("remove");
        entry.remove().expect("twice");
        std::fs::remove_dir(&root).expect("rmdir");
    }
}
