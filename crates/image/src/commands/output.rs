//! What commands say on stdout.

use std::io::Write;

use creel_image::error::{Error, Kind, Result, SysContext};
use serde::Serialize;

/// Prints one line. Who has stopped reading (`| head`) has seen enough.
pub fn line(text: impl std::fmt::Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.sys("write", "stdout"),
    }
}

/// Prints a value as JSON on one line.
pub fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(value).map_err(|error| Error::new(Kind::System, error.to_string()))?)
}

/// Says something on stderr that is no error.
pub fn note(text: impl std::fmt::Display) -> Result<()> {
    writeln!(std::io::stderr(), "creel-image: {text}").sys("write", "stderr")
}
