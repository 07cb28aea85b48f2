//! Where the state is kept: `--root`, else /run/creel, else below `$XDG_RUNTIME_DIR` for who is not the host's root.

use std::ffi::OsStr;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use libcontainer::container::Store;
use libcontainer::host::in_user_namespace;

use crate::logging::plain;

const DEFAULT: &str = "/run/creel";

/// The store, and whether the user has named its directory.
#[derive(Debug)]
pub struct Root {
    /// The store.
    pub store: Store,
    /// Whether `--root` was given.
    pub is_explicit: bool,
}

/// Applies the rule; makes the directory below `$XDG_RUNTIME_DIR` if that is what is used.
///
/// # Errors
/// If the directory is `/`, or the one below `$XDG_RUNTIME_DIR` cannot be made.
pub fn find(option: Option<&Path>) -> Result<Root> {
    if let Some(path) = option {
        let root = absolute(path)?;
        if root == Path::new("/") {
            bail!("Option --root argument should not be set to /");
        }
        return Ok(Root { store: Store::new(&root), is_explicit: true });
    }
    let root = match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty() && is_honoured()) {
        Some(dir) => {
            let root = Path::new(&dir).join("creel");
            make_sticky(&root)
                .with_context(|| format!("$XDG_RUNTIME_DIR must be writable by the user: {}", root.display()))?;
            root
        }
        None => PathBuf::from(DEFAULT),
    };
    Ok(Root { store: Store::new(&root), is_explicit: false })
}

/// The XDG specification: what has the sticky bit is not cleaned up after a while.
fn make_sticky(root: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(|error| anyhow!(plain(&error)))?;
    std::fs::set_permissions(root, Permissions::from_mode(0o1700)).map_err(|error| anyhow!(plain(&error)))
}

/// The host's root may have inherited a user's `$XDG_RUNTIME_DIR`; root of a user namespace is in truth that user.
fn is_honoured() -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    in_user_namespace() && std::env::var_os("USER").as_deref() != Some(OsStr::new("root"))
}

/// `path` from the root on, `.` and `..` taken away by their names, as Go's filepath.Abs does.
///
/// # Errors
/// If the working directory is gone and `path` is relative to it.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    let mut result = PathBuf::from("/");
    let base = if path.is_absolute() { PathBuf::new() } else { working_directory()? };
    for component in base.components().chain(path.components()) {
        match component {
            Component::Normal(name) => result.push(name),
            Component::ParentDir => drop(result.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(result)
}

fn working_directory() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| anyhow!("getwd: {}", plain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_clean() {
        let clean = |path: &str| absolute(Path::new(path)).expect(path);
        assert_eq!(clean("/a/./b/../../c//d/"), Path::new("/c/d"));
        assert_eq!(clean("/../.."), Path::new("/"));
        assert_eq!(clean("x/.."), std::env::current_dir().expect("cwd"));
    }

    #[test]
    fn the_root_directory_is_refused_however_it_is_spelled() {
        for path in ["/", "//", "/run/..", "/.."] {
            let error = find(Some(Path::new(path))).expect_err(path);
            assert_eq!(error.to_string(), "Option --root argument should not be set to /");
        }
        let root = find(Some(Path::new("/tmp/x/../creel-root"))).expect("a root");
        assert!(root.is_explicit);
        assert_eq!(root.store.root(), Path::new("/tmp/creel-root"));
    }
}
