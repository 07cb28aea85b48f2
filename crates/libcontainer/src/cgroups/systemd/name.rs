//! `linux.cgroupsPath` as systemd's driver has it: `slice:prefix:name`.

use std::path::PathBuf;

use crate::dbus::ManagerKind;
use crate::error::{Error, Result};

const FIELD: &str = "linux.cgroupsPath";

/// What a scope's name begins with if the config names none.
const PREFIX: &str = "creel";

/// systemd's limit (`UNIT_NAME_MAX`), without the final zero.
const LONGEST: usize = 255;

/// A unit's name and place.
#[derive(Debug, PartialEq)]
pub(super) struct Name {
    /// The unit.
    pub(super) unit: String,
    /// The slice that it is in.
    pub(super) slice: String,
    /// Its cgroup, relative to the manager's.
    pub(super) path: PathBuf,
}

impl Name {
    /// The unit of container `id`: `prefix-name.scope`, or the slice that `name` is.
    pub(super) fn of(cgroups_path: &str, id: &str, manager: ManagerKind) -> Result<Name> {
        let (slice, prefix, name) = split(cgroups_path, id)?;
        if name.ends_with(".slice") {
            return slice_unit(slice, name);
        }
        let slice = match (slice, manager) {
            ("", ManagerKind::System) => "system.slice",
            ("", ManagerKind::User) => "user.slice",
            ("-", _) => "-.slice",
            (slice, _) => slice,
        };
        let unit = format!("{prefix}-{name}.scope");
        check(&unit)?;
        let path = expand(slice)?.join(&unit);
        Ok(Name { unit, slice: slice.to_owned(), path })
    }

    pub(super) fn is_scope(&self) -> bool {
        self.unit.ends_with(".scope")
    }
}

fn split<'a>(cgroups_path: &'a str, id: &'a str) -> Result<(&'a str, &'a str, &'a str)> {
    if cgroups_path.is_empty() {
        return Ok(("", PREFIX, id));
    }
    let parts: Vec<&str> = cgroups_path.split(':').collect();
    match *parts.as_slice() {
        [_, _, ""] => Err(invalid(format!("\"{cgroups_path}\" ends without a name"))),
        [slice, prefix, name] => Ok((slice, prefix, name)),
        _ => Err(invalid(format!(
            "with --systemd-cgroup it must be of the form slice:prefix:name, not \"{cgroups_path}\""
        ))
        .remedy("such as system.slice:creel:c1; or leave out --systemd-cgroup")),
    }
}

/// A slice has its place by its name; `slice` may say the same, and nothing else.
fn slice_unit(slice: &str, name: &str) -> Result<Name> {
    check(name)?;
    let path = expand(name)?;
    let parent = match path.parent().and_then(|parent| parent.file_name()) {
        _ if path.as_os_str().is_empty() => return Err(invalid("\"-.slice\" is not the container's own")),
        Some(parent) => parent.to_string_lossy().into_owned(),
        None => "-.slice".to_owned(),
    };
    if !matches!(slice, "" | "-") && slice != parent || slice == "-" && parent != "-.slice" {
        return Err(invalid(format!("systemd puts {name} into {parent}, not into {slice}")));
    }
    Ok(Name { unit: name.to_owned(), slice: parent, path })
}

/// The directories that a slice's name stands for: `a-b.slice` is `a.slice/a-b.slice` (systemd.slice(5)).
fn expand(slice: &str) -> Result<PathBuf> {
    let wrong =
        || invalid(format!("\"{slice}\" is not the name of a slice")).remedy("name one like system.slice or a-b.slice");
    check(slice)?;
    let name = slice.strip_suffix(".slice").ok_or_else(wrong)?;
    if name == "-" {
        return Ok(PathBuf::new());
    }
    let mut path = PathBuf::new();
    let mut so_far = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return Err(wrong());
        }
        so_far.push_str(part);
        path.push(format!("{so_far}.slice"));
        so_far.push('-');
    }
    Ok(path)
}

/// systemd.unit(5): what a unit's name is made of.
fn check(unit: &str) -> Result<()> {
    let fits = |character: char| character.is_ascii_alphanumeric() || ":-_.\\@".contains(character);
    if let Some(wrong) = unit.chars().find(|character| !fits(*character)) {
        let error = invalid(format!("a systemd unit cannot be named \"{unit}\": it must not have '{wrong}' in it"));
        return Err(error.remedy("without a cgroupsPath the unit is named after the container's id"));
    }
    if unit.len() > LONGEST {
        return Err(invalid(format!("a systemd unit's name has at most {LONGEST} characters, \"{unit}\" is longer")));
    }
    Ok(())
}

fn invalid(why: impl Into<String>) -> Error {
    Error::invalid(FIELD, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> Name {
        Name::of(path, "c1", ManagerKind::System).expect(path)
    }

    fn expected(unit: &str, slice: &str, path: &str) -> Name {
        Name { unit: unit.to_owned(), slice: slice.to_owned(), path: path.into() }
    }

    #[test]
    fn a_scope_is_in_the_directories_of_its_slice() {
        assert_eq!(name(""), expected("creel-c1.scope", "system.slice", "system.slice/creel-c1.scope"));
        assert_eq!(name(":docker:0a"), expected("docker-0a.scope", "system.slice", "system.slice/docker-0a.scope"));
        assert_eq!(
            name("a-b-c.slice:p:n"),
            expected("p-n.scope", "a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice/p-n.scope")
        );
        assert_eq!(name("-.slice:p:n"), expected("p-n.scope", "-.slice", "p-n.scope"));
        assert_eq!(name("-:p:n"), name("-.slice:p:n"));
        assert_eq!(name("machine.slice::n"), expected("-n.scope", "machine.slice", "machine.slice/-n.scope"));
        let user = Name::of("", "c1", ManagerKind::User).expect("name");
        assert_eq!(user, expected("creel-c1.scope", "user.slice", "user.slice/creel-c1.scope"));
        assert!(name("").is_scope());
    }

    #[test]
    fn a_slice_is_where_its_name_says() {
        let pod = expected("kubepods-pod1.slice", "kubepods.slice", "kubepods.slice/kubepods-pod1.slice");
        assert_eq!(name("::kubepods-pod1.slice"), pod);
        assert_eq!(name("kubepods.slice:ignored:kubepods-pod1.slice"), pod);
        assert_eq!(name(":x:top.slice"), expected("top.slice", "-.slice", "top.slice"));
        assert_eq!(name("-:x:top.slice"), name("-.slice:x:top.slice"));
        assert!(!pod.is_scope());
    }

    #[test]
    fn what_systemd_would_not_take_is_refused_by_field() {
        let long = format!(":p:{}", "n".repeat(300));
        for (path, text) in [
            ("/a/b", "must be of the form slice:prefix:name, not \"/a/b\""),
            ("a.slice:b", "must be of the form"),
            ("a.slice:b:c:d", "must be of the form"),
            ("a.slice:b:", "ends without a name"),
            ("a:b:c", "\"a\" is not the name of a slice"),
            ("a--b.slice:c:d", "\"a--b.slice\" is not the name"),
            ("-a.slice:c:d", "\"-a.slice\" is not the name"),
            (".slice:c:d", "\".slice\" is not the name"),
            ("user.slice/user-1.slice:c:d", "it must not have '/' in it"),
            (":a b:c", "it must not have ' ' in it"),
            (":a:b+c", "it must not have '+' in it"),
            ("system.slice:x:a-b.slice", "systemd puts a-b.slice into a.slice, not into system.slice"),
            ("::-.slice", "not the container's own"),
            (&long, "at most 255 characters"),
        ] {
            let error = Name::of(path, "c1", ManagerKind::System).expect_err(path).to_string();
            assert!(error.starts_with("linux.cgroupsPath: ") && error.contains(text), "{error}");
        }
        let error = Name::of("", "a+b", ManagerKind::System).expect_err("plus").to_string();
        assert!(error.contains("creel-a+b.scope") && error.contains("named after the container's id"), "{error}");
    }
}
