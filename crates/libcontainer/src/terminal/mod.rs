//! The container's terminal: a pseudo-terminal of its own devpts, its slave on stdio and on /dev/console, its master
//! handed to whoever attends it.
//!
//! `process.terminal` and `process.consoleSize` need no decision, so there is no plan beyond [`TerminalPlan`].

mod apply;
mod socket;

pub use apply::{Terminal, attend, open};
pub use socket::{connect, send_descriptor};

use serde::Serialize;

/// The terminal that a process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TerminalPlan {
    /// Rows and columns; absent: the kernel's default (0 by 0).
    pub size: Option<crate::spec::ConsoleSize>,
    /// Whether it is also bound to /dev/console, as init's is.
    pub console: bool,
}
