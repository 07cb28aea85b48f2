//! Platforms: what an image was built for, in Go's terms, and which manifest of an index suits.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};
use crate::manifest::{Descriptor, Index, PlatformSpec};

/// A platform in its normal form: `linux/amd64`, `linux/arm/v7`, `linux/arm64`.
///
/// ```
/// use creel_image::platform::Platform;
/// let platform: Platform = "linux/aarch64".parse()?;
/// assert_eq!(platform.to_string(), "linux/arm64");
/// # Ok::<(), creel_image::error::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: String,
}

impl Platform {
    /// The platform that this program was built for.
    pub fn host() -> Self {
        Self::normal("linux", std::env::consts::ARCH, "")
    }

    /// What a document says, in its normal form.
    pub fn of(spec: &PlatformSpec) -> Self {
        Self::normal(&spec.os, &spec.architecture, &spec.variant)
    }

    /// The names that the kernel, Debian and Go use for the same thing become Go's.
    fn normal(os: &str, architecture: &str, variant: &str) -> Self {
        let (os, architecture, variant) = (os.to_lowercase(), architecture.to_lowercase(), variant.to_lowercase());
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
            ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            ("powerpc64le" | "ppc64el", variant) => ("ppc64le", variant),
            (architecture, variant) => (architecture, variant),
        };
        Platform { architecture: architecture.to_owned(), variant: variant.to_owned(), os }
    }

    /// How well content for `offered` runs here: nothing if not at all, the more the better.
    fn suits(&self, offered: &Platform) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        // Within arm, arm64 and amd64 a machine runs what was built for an earlier variant.
        match (level(&self.variant), level(&offered.variant)) {
            (mine, theirs) if mine == theirs && self.variant == offered.variant => Some(u32::MAX),
            (Some(mine), Some(theirs)) if theirs < mine => Some(theirs),
            (_, None) => (self.variant == offered.variant).then_some(u32::MAX),
            _ => None,
        }
    }

    /// Whether what was built for `other` runs on this platform.
    pub fn runs(&self, other: &Platform) -> bool {
        self.suits(other).is_some()
    }

    /// The manifest of `index` for this platform: the one that fits best, the first of equals.
    pub fn select<'a>(&self, index: &'a Index) -> Result<&'a Descriptor> {
        let mut best: Option<(u32, &Descriptor)> = None;
        for descriptor in &index.manifests {
            let Some(score) = descriptor.platform.as_ref().and_then(|spec| self.suits(&Platform::of(spec))) else {
                continue;
            };
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, descriptor));
            }
        }
        if let Some((_, descriptor)) = best {
            return Ok(descriptor);
        }
        // A layout's or an old list's only manifest may say no platform; its configuration is checked later.
        match index.manifests.as_slice() {
            [only] if only.platform.is_none() => Ok(only),
            _ => Err(self.none_in(index)),
        }
    }

    fn none_in(&self, index: &Index) -> Error {
        let specs = index.manifests.iter().filter_map(|descriptor| descriptor.platform.as_ref());
        let mut offered: Vec<_> = specs.map(|spec| Platform::of(spec).to_string()).collect();
        offered.retain(|name| name != "unknown/unknown");
        offered.dedup();
        offered.truncate(20);
        let error = Error::new(Kind::NotFound, format!("there is no image for {self}"));
        match offered.is_empty() {
            true => error.cause("the index names no platform"),
            false => error.remedy(format!("name one of those it has with --platform: {}", offered.join(", "))),
        }
    }
}

/// The number of a variant such as `v7`; no variant is the lowest.
fn level(variant: &str) -> Option<u32> {
    match variant {
        "" => Some(0),
        variant => variant.strip_prefix('v')?.parse().ok(),
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let well_formed = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 3 || !parts.iter().all(|part| well_formed(part)) {
            return Err(Error::invalid(
                format!("platform {text:?}"),
                "must be of the form linux/arm64 or linux/arm/v7",
            ));
        }
        Ok(match parts.as_slice() {
            ["linux"] => Self::normal("linux", std::env::consts::ARCH, ""),
            [architecture] => Self::normal("linux", architecture, ""),
            [os, architecture] => Self::normal(os, architecture, ""),
            [os, architecture, variant, ..] => Self::normal(os, architecture, variant),
            [] => Self::host(),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::manifest::MediaType;

    fn index(platforms: &[&str]) -> Index {
        let manifests = platforms.iter().map(|name| {
            let mut parts = name.split('/').map(str::to_owned);
            let mut descriptor = Descriptor::of(MediaType::OciManifest, name.as_bytes());
            descriptor.platform = Some(PlatformSpec {
                os: parts.next().unwrap_or_default(),
                architecture: parts.next().unwrap_or_default(),
                variant: parts.next().unwrap_or_default(),
                os_version: String::new(),
            });
            descriptor
        });
        Index { manifests: manifests.collect(), annotations: BTreeMap::new() }
    }

    fn selected(wanted: &str, offered: &[&str]) -> Result<String> {
        let platform: Platform = wanted.parse()?;
        let index = index(offered);
        let descriptor = platform.select(&index)?;
        Ok(offered
            .iter()
            .find(|name| Descriptor::of(MediaType::OciManifest, name.as_bytes()).digest == descriptor.digest))
        .map(|name| name.map_or_else(String::new, |name| (*name).to_owned()))
    }

    #[test]
    fn the_best_manifest_is_selected() {
        let arms = ["linux/amd64", "linux/arm/v5", "linux/arm/v7", "linux/arm64/v8", "windows/amd64"];
        assert_eq!(selected("linux/arm64", &arms), Ok("linux/arm64/v8".into()));
        assert_eq!(selected("linux/arm/v6", &arms), Ok("linux/arm/v5".into()));
        assert_eq!(selected("armhf", &arms), Ok("linux/arm/v7".into()));
        assert_eq!(selected("amd64", &["linux/amd64/v3", "linux/amd64"]), Ok("linux/amd64".into()));
        assert_eq!(selected("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"]), Ok("linux/amd64/v2".into()));
    }

    #[test]
    fn a_missing_platform_is_told_with_what_there_is() {
        let error = selected("linux/s390x", &["linux/amd64", "unknown/unknown"]).expect_err("none").to_string();
        assert!(
            error.contains("linux/s390x") && error.contains("linux/amd64") && !error.contains("unknown"),
            "{error}"
        );
    }

    #[test]
    fn nonsense_is_no_platform() {
        for text in ["", "/", "linux/", "a/b/c/d", "linux/am d64", "é"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
