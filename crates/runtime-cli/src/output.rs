//! Writing to stdout: what cannot be written is an error, not a panic.

use std::io::Write;

use anyhow::{Result, anyhow};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::logging::plain;

/// Prints `text` as it is.
///
/// # Errors
/// If stdout is full or closed.
pub fn print(text: impl AsRef<[u8]>) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_ref()).and_then(|()| stdout.flush());
    written.map_err(|error| anyhow!("write /dev/stdout: {}", plain(&error)))
}

/// `value` as JSON on one line, with its end.
///
/// # Errors
/// If it cannot be serialised.
pub fn json_line(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

/// `value` as JSON, one member per line.
///
/// # Errors
/// If it cannot be serialised.
pub fn json_indented(value: &impl Serialize, indent: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(indent.as_bytes())))?;
    Ok(bytes)
}
