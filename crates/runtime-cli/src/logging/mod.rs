//! The log in the two formats of runc (logrus): engines read the last error from it.

mod sink;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::sync::OnceLock;

use anyhow::{Result, bail};
use libcontainer::container::Trace;
use serde::Serialize;

use sink::Sink;

/// `--log`, `--log-format`, `--log-level` and `--debug`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The file to append to, or crun's name for a log daemon; stderr if empty.
    pub file: OsString,
    /// `text`, `json`, or empty for text.
    pub format: OsString,
    /// `error`, `warning`, `debug`, or empty for warning.
    pub level: OsString,
    /// Whether messages for the developer are wanted, whatever the level.
    pub debug: bool,
}

/// The one log of this program, for those who cannot be handed it.
static LOG: OnceLock<Log> = OnceLock::new();

/// Where messages go. Errors also go to stderr, in plain words, when the log is elsewhere.
#[derive(Debug, Default)]
pub struct Log {
    sink: Option<Sink>,
    json: bool,
    level: Level,
}

/// From what only developers want to know to what nobody may miss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Debug,
    #[default]
    Warning,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }

    fn named(name: &[u8]) -> Option<Level> {
        [Level::Debug, Level::Warning, Level::Error].into_iter().find(|level| level.name().as_bytes() == name)
    }

    /// syslog(3).
    fn severity(self) -> u8 {
        match self {
            Level::Debug => 7,
            Level::Warning => 4,
            Level::Error => 3,
        }
    }
}

impl Log {
    /// Opens the log as the options say.
    ///
    /// # Errors
    /// For a format or a level that there is not, and for a log that cannot be opened.
    pub fn open(options: &LogOptions) -> Result<Log> {
        let json = match options.format.as_encoded_bytes() {
            b"" | b"text" => false,
            b"json" => true,
            _ => bail!("invalid log-format: {}", options.format.display()),
        };
        let level = match (options.debug, options.level.as_encoded_bytes()) {
            (true, _) => Level::Debug,
            (false, b"") => Level::default(),
            (false, name) => match Level::named(name) {
                Some(level) => level,
                None => bail!("invalid log-level: {}", options.level.display()),
            },
        };
        let sink = (!options.file.is_empty()).then(|| Sink::open(&options.file)).transpose()?;
        Ok(Log { sink, json, level })
    }

    /// Makes this the one log of this program.
    pub fn share(self) -> &'static Log {
        LOG.get_or_init(|| self)
    }

    /// Where the library tells its steps; nowhere unless that is asked for.
    pub fn trace(&self) -> Trace {
        let tell = |step: &str| LOG.get().into_iter().for_each(|log| log.debug(|| step));
        Trace((self.level == Level::Debug).then_some(tell))
    }

    /// A message for the developer, shown if asked for; made only if it is shown.
    pub fn debug<D: Display>(&self, message: impl FnOnce() -> D) {
        if self.level == Level::Debug {
            self.write(Level::Debug, &message().to_string());
        }
    }

    /// Logs what the library found wrong without calling it an error.
    pub fn warnings(&self, warnings: &[String]) {
        warnings.iter().for_each(|warning| self.warning(warning));
    }

    /// Something that went wrong without stopping us.
    pub fn warning(&self, message: impl Display) {
        self.write(Level::Warning, &message.to_string());
    }

    /// What ends this program.
    pub fn error(&self, message: impl Display) {
        let message = message.to_string();
        self.write(Level::Error, &message);
        if self.sink.is_some() {
            to_stderr(&format!("{}\n", message.trim_end_matches('\n')));
        }
    }

    fn write(&self, level: Level, message: &str) {
        if level < self.level {
            return;
        }
        let line = line(self.json, level, message, &now());
        let Some(sink) = &self.sink else { return to_stderr(&line) };
        let text = if self.json || sink.wants_whole_lines() { &line } else { message };
        if let Err(error) = sink.put(level, text) {
            to_stderr(&format!("cannot write to the log: {error}\n"));
        }
    }
}

/// The text of an error without Rust's "(os error 2)", in lower case as C and Go programs print it.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// There is nobody left to tell when stderr cannot be written to.
fn to_stderr(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn line(json: bool, level: Level, message: &str, time: &str) -> String {
    #[derive(Serialize)]
    struct Entry<'a> {
        level: Level,
        msg: &'a str,
        time: &'a str,
    }
    if json && let Ok(text) = serde_json::to_string(&Entry { level, msg: message, time }) {
        return text + "\n";
    }
    format!("time={} level={} msg={}\n", value(time), level.name(), value(message))
}

/// A value of the text format: in quotes unless it is one plain word.
fn value(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { quoted(text) }
}

/// As Go's %q writes it.
fn quoted(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 2);
    result.push('"');
    for c in text.chars() {
        match c {
            '"' => result.push_str("\\\""),
            '\\' => result.push_str("\\\\"),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            c if c.is_ascii_control() => result.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => result.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => result.push(c),
        }
    }
    result.push('"');
    result
}

/// Now, as log lines have it: RFC 3339, in seconds.
fn now() -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    libcontainer::container::rfc3339(std::time::Duration::from_secs(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-22T12:40:51Z";

    #[test]
    fn text_lines_are_what_logrus_writes() {
        assert_eq!(
            line(false, Level::Error, "runc: \"state\" requires exactly 1 argument(s)", TIME),
            "time=\"2026-11-22T12:40:51Z\" level=error msg=\"runc: \\\"state\\\" requires exactly 1 argument(s)\"\n"
        );
        assert_eq!(
            line(false, Level::Warning, "No help\ttopic\n\u{1b}\u{85}", TIME),
            "time=\"2026-11-22T12:40:51Z\" level=warning msg=\"No help\\ttopic\\n\\x1b\\u0085\"\n"
        );
        assert!(line(false, Level::Debug, "one-word_", TIME).ends_with("level=debug msg=one-word_\n"));
        assert!(line(false, Level::Debug, "déjà", TIME).ends_with("msg=\"déjà\"\n"));
    }

    #[test]
    fn json_lines_have_level_message_and_time() {
        assert_eq!(
            line(true, Level::Error, "a \"b\"\n", TIME),
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\n\",\"time\":\"2026-11-22T12:40:51Z\"}\n"
        );
    }

    #[test]
    fn a_wrong_format_and_a_missing_directory_are_refused() {
        let open = |file: &str, format: &str| {
            Log::open(&LogOptions { file: file.into(), format: format.into(), ..LogOptions::default() })
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(open("", "xml"), "invalid log-format: xml");
        assert_eq!(open("/nowhere/log", "json"), "open /nowhere/log: no such file or directory");
    }

    #[test]
    fn debug_goes_before_a_level() {
        let level = |level: &str, debug| Log::open(&LogOptions { level: level.into(), debug, ..LogOptions::default() });
        assert_eq!(level("", false).expect("a log").level, Level::Warning);
        assert_eq!(level("error", false).expect("a log").level, Level::Error);
        assert_eq!(level("error", true).expect("a log").level, Level::Debug);
        assert_eq!(level("loud", false).expect_err("none").to_string(), "invalid log-level: loud");
    }
}
