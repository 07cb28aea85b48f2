//! The command line: what there is, and what it is called.

use clap::{Parser, Subcommand};

/// Pull, store and unpack OCI images.
#[derive(Debug, Parser)]
#[command(name = "creel-image", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do; without one, help is shown.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {}
