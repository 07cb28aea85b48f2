//! Telling how far a command is: bars on a terminal, plain lines otherwise, JSON lines for programs, or nothing.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::digest::Digest;

/// How often JSON tells of a layer that is coming.
const INTERVAL: Duration = Duration::from_millis(250);

/// Where progress goes.
#[derive(Debug)]
pub enum Progress {
    /// Nowhere.
    Quiet,
    /// A line on stderr for each layer that is done.
    Lines,
    /// A bar on the terminal for each layer.
    Bars(MultiProgress),
    /// JSON objects on stdout, one on each line.
    Json,
}

#[derive(Serialize)]
struct Event<'a> {
    event: &'a str,
    digest: &'a Digest,
    current: u64,
    total: u64,
}

impl Progress {
    /// Bars if stderr is a terminal, else lines.
    pub fn for_stderr() -> Self {
        if std::io::stderr().is_terminal() { Progress::Bars(MultiProgress::new()) } else { Progress::Lines }
    }

    /// A layer that is now beginning.
    pub fn layer(&self, digest: &Digest, total: u64) -> Layer<'_> {
        let bar = match self {
            Progress::Bars(bars) => Some(bars.add(bar(digest, total))),
            _ => None,
        };
        let layer =
            Layer { progress: self, digest: digest.clone(), total, bar, state: Mutex::new((0, Instant::now())) };
        layer.tell_json("begin", 0);
        layer
    }

    /// A line about the whole; not among JSON.
    pub fn line(&self, text: &str) {
        match self {
            Progress::Lines => to_stderr(text),
            // A bar that could not be drawn is no reason to stop.
            Progress::Bars(bars) => drop(bars.println(text)),
            Progress::Quiet | Progress::Json => {}
        }
    }
}

fn bar(digest: &Digest, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_prefix(digest.short().to_owned());
    match ProgressStyle::with_template("{prefix} [{bar:32}] {bytes:>10}/{total_bytes:<10} {msg}") {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

fn to_stderr(text: &str) {
    // There is nowhere left to say that stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The progress of one layer.
#[derive(Debug)]
pub struct Layer<'a> {
    progress: &'a Progress,
    digest: Digest,
    total: u64,
    bar: Option<ProgressBar>,
    state: Mutex<(u64, Instant)>,
}

impl Layer<'_> {
    /// `bytes` more have come.
    pub fn advance(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.0 += bytes;
        if matches!(self.progress, Progress::Json) && state.1.elapsed() >= INTERVAL {
            state.1 = Instant::now();
            self.tell_json("progress", state.0);
        }
    }

    /// The layer has come to its end: `downloaded`, `present`.
    pub fn done(&self, what: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.total);
                bar.finish_with_message(what.to_owned());
            }
            None if matches!(self.progress, Progress::Lines) => {
                to_stderr(&format!("{}: {what} ({} bytes)", self.digest.short(), self.total));
            }
            None => self.tell_json(what, self.total),
        }
    }

    fn tell_json(&self, event: &str, current: u64) {
        if !matches!(self.progress, Progress::Json) {
            return;
        }
        let event = Event { event, digest: &self.digest, current, total: self.total };
        if let Ok(line) = serde_json::to_string(&event) {
            // Who does not read is not told.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}
