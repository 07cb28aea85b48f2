//! `--version`: the first lines are read by engines.

use std::fmt::Write;

use anyhow::Result;
use libcontainer::{seccomp, spec};

use crate::output;

/// creel's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from; empty if unknown.
pub const COMMIT: &str = env!("CREEL_COMMIT");

/// Prints the versions of what this program is made of.
pub fn run() -> Result<u8> {
    let mut text = format!("creel version {VERSION}\n");
    if !COMMIT.is_empty() {
        writeln!(text, "commit: {COMMIT}")?;
    }
    writeln!(text, "spec: {}", spec::VERSION)?;
    writeln!(text, "rust: {}", env!("CREEL_RUSTC"))?;
    if let Some(version) = seccomp::library_version() {
        writeln!(text, "libseccomp: {version}")?;
    }
    output::print(text)?;
    Ok(0)
}
