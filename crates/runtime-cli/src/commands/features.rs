//! `features`: what this build recognises.

use anyhow::Result;
use libcontainer::features::features;

use super::version;
use crate::output;

/// Prints the features.
pub fn run() -> Result<u8> {
    let mut text = output::json_indented(&features(version::VERSION, version::COMMIT), "    ")?;
    text.push(b'\n');
    output::print(text)?;
    Ok(0)
}
