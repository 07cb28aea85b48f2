//! Whether a bundle's command can be executed: shells and scripts tell by the code 127 or 126 that it could not.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use serde_json::Value;

use crate::error::{Error, Result, SysContext};
use crate::snapshot;

/// What is where the command should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file to execute, or something that only the container sees.
    Something,
    /// A file that is none to execute.
    NotExecutable,
    /// Nothing.
    Nothing,
}

/// Looks in the root filesystem of `bundle`, whose config.json is whole, as the runtime will.
pub fn look(bundle: &Path) -> Result<Found> {
    let path = bundle.join("config.json");
    let bytes = std::fs::read(&path).sys("open", path.display())?;
    let spec: Value = serde_json::from_slice(&bytes).map_err(|error| Error::corrupt(path.display(), error))?;
    let mut best = Found::Nothing;
    for place in places(&spec["process"]) {
        match file(&spec, &bundle.join("rootfs"), &place)? {
            Found::Something => return Ok(Found::Something),
            Found::NotExecutable => best = Found::NotExecutable,
            Found::Nothing => (),
        }
    }
    Ok(best)
}

/// Where execvp(3) looks.
fn places(process: &Value) -> Vec<PathBuf> {
    let name = process["args"][0].as_str().unwrap_or_default();
    let directory = Path::new(process["cwd"].as_str().unwrap_or("/"));
    if name.contains('/') {
        return vec![directory.join(name)];
    }
    let variables = process["env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let path = variables.filter_map(|variable| variable.strip_prefix("PATH=")).next_back().unwrap_or_default();
    path.split(':').map(|part| directory.join(part).join(name)).collect()
}

fn file(spec: &Value, rootfs: &Path, place: &Path) -> Result<Found> {
    // What is mounted there is not looked at.
    let mut mounts = spec["mounts"].as_array().into_iter().flatten().filter_map(|mount| mount["destination"].as_str());
    if mounts.any(|destination| place.starts_with(destination)) {
        return Ok(Found::Something);
    }
    let root = snapshot::open_dir(rootfs)?;
    let relative = place.strip_prefix("/").unwrap_or(place);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // A link may lead into a mount.
    let Ok(found) = openat2(&root, relative, flags, Mode::empty(), resolve) else {
        let is_link = openat2(&root, relative, flags | OFlags::NOFOLLOW, Mode::empty(), resolve).is_ok();
        return Ok(if is_link { Found::Something } else { Found::Nothing });
    };
    let stat = fstat(&found).sys("fstat", place.display())?;
    let may = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o111 != 0;
    Ok(if may { Found::Something } else { Found::NotExecutable })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use serde_json::json;

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn commands_are_looked_for_as_they_are_executed() {
        let dir = TempDir::new("command");
        let bin = dir.path().join("rootfs/usr/bin");
        std::fs::create_dir_all(&bin).expect("mkdir");
        for (name, mode) in [("tool", 0o755), ("text", 0o644)] {
            std::fs::write(bin.join(name), "x").expect("write");
            std::fs::set_permissions(bin.join(name), PermissionsExt::from_mode(mode)).expect("chmod");
        }
        symlink("/usr/bin", dir.path().join("rootfs/bin")).expect("symlink");
        symlink("/mnt/tool", bin.join("dangling")).expect("symlink");
        let look = |name: &str| {
            let spec = json!({
                "process": {"args": [name], "env": ["PATH=/nowhere:/bin"], "cwd": "/usr"},
                "mounts": [{"destination": "/mnt"}],
            });
            std::fs::write(dir.path().join("config.json"), spec.to_string()).expect("write");
            super::look(dir.path()).expect("look")
        };
        for (name, found) in [
            ("tool", Found::Something),
            ("/bin/tool", Found::Something),
            ("bin/tool", Found::Something),
            ("/bin/../../../usr/bin/tool", Found::Something),
            ("dangling", Found::Something),
            ("/mnt/anything", Found::Something),
            ("text", Found::NotExecutable),
            ("/bin", Found::NotExecutable),
            ("absent", Found::Nothing),
            ("./tool", Found::Nothing),
            ("/mntx", Found::Nothing),
        ] {
            assert_eq!(look(name), found, "{name}");
        }
    }
}
