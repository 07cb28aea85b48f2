//! Names of images, as users write them: `alpine`, `quay.io/a/b:tag`, `localhost:5000/c@sha256:…`.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

/// The registry of names without a host.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME: usize = 255;

/// A checked name, complete: registry, repository, and a tag or a digest or both.
///
/// ```
/// use creel_image::reference::Reference;
/// let name: Reference = "alpine".parse()?;
/// assert_eq!(name.to_string(), "docker.io/library/alpine:latest");
/// # Ok::<(), creel_image::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The host, with its port if one was named.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; none where a digest alone names the image.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that the image must have.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest, if there is one, since a tag may move.
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.as_deref().unwrap_or(DEFAULT_TAG).to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|why| {
            let shown: String = text.chars().take(MAX_NAME).collect();
            Error::new(Kind::Invalid, format!("image name {shown:?}: {why}"))
        })
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|error| error.to_string())?)),
        None => (text, None),
    };
    let (registry, path) = split_registry(rest);
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) => (path, Some(check_tag(tag)?)),
        None => (path, None),
    };
    if registry.is_none() && tag.is_none() && path.len() == 64 && path.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("64 hexadecimal digits are not a name; write name@sha256:<digest>".to_owned());
    }
    let registry = match registry {
        None | Some("index.docker.io" | "registry-1.docker.io") => DEFAULT_REGISTRY,
        Some(registry) => check_registry(registry)?,
    };
    let repository = match registry == DEFAULT_REGISTRY && !path.contains('/') {
        true => format!("library/{path}"),
        false => path.to_owned(),
    };
    check_repository(path)?;
    if registry.len() + 1 + repository.len() > MAX_NAME {
        return Err(format!("is longer than {MAX_NAME} characters"));
    }
    let tag = match (tag, &digest) {
        (None, None) => Some(DEFAULT_TAG.to_owned()),
        (tag, _) => tag.map(str::to_owned),
    };
    Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
}

/// The first component is a registry if it could not be a path: with a dot, a colon or a capital letter, or `localhost`.
fn split_registry(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

fn check_registry(registry: &str) -> Result<&str, String> {
    let wrong = || format!("{registry:?} is not a registry; it must be host, host:port or [IPv6]:port");
    let (host, port) = match registry.rfind(']') {
        Some(end) => (&registry[..=end], registry[end + 1..].strip_prefix(':')),
        None => registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port))),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return Err(wrong());
    }
    let valid = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => {
            registry.len() == host.len() + port.map_or(0, |port| port.len() + 1)
                && address.parse::<std::net::Ipv6Addr>().is_ok()
        }
        None => host.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    if valid { Ok(registry) } else { Err(wrong()) }
}

fn check_repository(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("has no repository".to_owned());
    }
    for component in path.split('/') {
        if component.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!("{component:?} has upper-case letters, and a repository is written in lower case"));
        }
        if !well_formed(component) {
            return Err(format!(
                "{component:?} is not part of a name; it must be lower-case letters and digits, separated by `.`, `_`, `__` or dashes"
            ));
        }
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn well_formed(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = (component.bytes().next(), component.bytes().next_back());
    let (Some(first), Some(last)) = ends else { return false };
    if !alphanumeric(&first) || !alphanumeric(&last) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn check_tag(tag: &str) -> Result<&str, String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let valid = tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if valid {
        return Ok(tag);
    }
    Err(format!("tag {tag:?} must be up to 128 letters, digits, `_`, `.` and `-`, and not begin with `.` or `-`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_users_expect() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let cases = [
            ("alpine".to_owned(), "docker.io/library/alpine:latest".to_owned()),
            ("alpine:3.20".into(), "docker.io/library/alpine:3.20".into()),
            ("user/app".into(), "docker.io/user/app:latest".into()),
            ("index.docker.io/alpine".into(), "docker.io/library/alpine:latest".into()),
            ("localhost/app".into(), "localhost/app:latest".into()),
            ("127.0.0.1:5000/a/b_c/d--e:T".into(), "127.0.0.1:5000/a/b_c/d--e:T".into()),
            ("[::1]:5000/a".into(), "[::1]:5000/a:latest".into()),
            (format!("a.io/b@{digest}"), format!("a.io/b@{digest}")),
            (format!("a.io/b:c@{digest}"), format!("a.io/b:c@{digest}")),
        ];
        for (text, whole) in cases {
            let reference: Reference = text.parse().expect(&text);
            assert_eq!(reference.to_string(), whole);
            assert_eq!(whole.parse::<Reference>().expect("the whole name"), reference);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let hex = "a".repeat(64);
        let long = format!("a.io/{}", "b/".repeat(130));
        for text in [
            "",
            ":",
            "@",
            "/",
            "a:",
            "Alpine",
            "a//b",
            "a/../b",
            "a.io/",
            "a b",
            "a:b:c",
            "a@sha256:1",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a.io:99999/b",
            "a.io:+1/b",
            "[::1/b",
            "[::1]x:1/b",
            "a.io/b:-x",
            "é",
            &hex,
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn whatever_is_a_name_means_the_same_when_written_whole() {
        let seeds = ["a.io:5000/b/c-d:tag", "[::1]:5000/a", "library/alpine:3.20", "localhost/x__y@sha256:"];
        let mut random = crate::testing::Random::new();
        let (mut names, mut refused) = (0, 0);
        for round in 0..20_000_usize {
            let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
            random.damage(&mut bytes);
            let text = String::from_utf8_lossy(&bytes);
            match text.parse::<Reference>() {
                Ok(name) => {
                    names += 1;
                    assert_eq!(name.to_string().parse::<Reference>(), Ok(name), "{text}");
                }
                Err(_) => refused += 1,
            }
        }
        assert!(names > 100 && refused > 1000, "{names} names, {refused} refused");
    }
}
