//! Where containerd wants a stream to go: a FIFO's path, or a URI.

use std::path::PathBuf;

use crate::ttrpc::{Code, Status};

/// A stream's other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    Null,
    /// A FIFO that containerd, or its client, has made.
    Fifo(PathBuf),
    /// A file that is appended to.
    File(PathBuf),
    /// A program that takes both output streams.
    Logger(LoggerUri),
}

/// `binary://PATH?KEY=VALUE&…`: the keys and values are the program's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggerUri {
    /// The executable.
    pub path: PathBuf,
    /// After its name.
    pub args: Vec<String>,
    /// `binary-v2://`: it has to say that it is ready, not only close the descriptor for that.
    pub says_ready: bool,
}

impl Target {
    /// Reads what a request says for a stream.
    ///
    /// # Errors
    /// If the scheme is none of containerd's.
    pub fn parse(text: &str) -> Result<Target, Status> {
        if text.is_empty() {
            return Ok(Target::Null);
        }
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(Target::Fifo(PathBuf::from(text))) };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = PathBuf::from(decode(path));
        match scheme {
            "fifo" => Ok(Target::Fifo(path)),
            "file" => Ok(Target::File(path)),
            "binary" | "binary-v2" => {
                let args = query.split('&').filter(|pair| !pair.is_empty()).flat_map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    [decode(&key.replace('+', " ")), decode(&value.replace('+', " "))]
                });
                Ok(Target::Logger(LoggerUri { path, args: args.collect(), says_ready: scheme == "binary-v2" }))
            }
            _ => Err(Status::new(Code::INVALID_ARGUMENT, format!("unknown STDIO scheme {scheme}"))),
        }
    }
}

/// `%20` and the like (RFC 3986); what is not of that form stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes() {
        assert_eq!(Target::parse(""), Ok(Target::Null));
        assert_eq!(Target::parse("/run/f"), Ok(Target::Fifo("/run/f".into())));
        assert_eq!(Target::parse("fifo:///run/f"), Ok(Target::Fifo("/run/f".into())));
        assert_eq!(Target::parse("file:///a%20b"), Ok(Target::File("/a b".into())));
        let logger = LoggerUri {
            path: "/l".into(),
            args: vec!["k".into(), "a b&".into(), "x".into(), "".into()],
            says_ready: false,
        };
        assert_eq!(Target::parse("binary:///l?k=a+b%26&x"), Ok(Target::Logger(logger)));
        assert!(matches!(Target::parse("binary-v2:///l"), Ok(Target::Logger(LoggerUri { says_ready: true, .. }))));
        assert!(Target::parse("npipe://x").expect_err("windows").message.contains("npipe"));
    }

    #[test]
    fn what_is_not_an_escape_stays() {
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(decode("%e2%82%ac"), "€");
    }
}
