//! Extended headers (POSIX.1-2001, pax): `LENGTH KEY=VALUE\n` records that override a header's fields.

use super::{Segment, sparse};
use crate::error::{Error, Result};

/// An attribute in the form in which star, GNU tar and Go store it.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What an extended header says about the next member.
#[derive(Debug, Default)]
pub struct Extended {
    /// The name.
    pub path: Option<Vec<u8>>,
    /// What a link leads to.
    pub linkpath: Option<Vec<u8>>,
    /// The bytes of data that follow.
    pub size: Option<u64>,
    /// The owner.
    pub uid: Option<u64>,
    /// The group.
    pub gid: Option<u64>,
    /// Seconds and nanoseconds.
    pub mtime: Option<(i64, u32)>,
    /// Extended attributes, by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// GNU's sparse files in the formats 0.0, 0.1 and 1.0.
    pub sparse: Sparse,
}

/// GNU.sparse.*
#[derive(Debug, Default)]
pub struct Sparse {
    /// Format 1.0: the map is at the beginning of the data.
    pub major: Option<u64>,
    /// With `major`.
    pub minor: Option<u64>,
    /// The name, where `path` has one for tools that know nothing of this.
    pub name: Option<Vec<u8>>,
    /// The size with its holes.
    pub size: Option<u64>,
    /// Formats 0.0 and 0.1.
    pub map: Option<Vec<Segment>>,
    /// Format 0.0: an offset that waits for its length.
    offset: Option<u64>,
}

impl Sparse {
    /// Whether any of it is there.
    pub fn is_present(&self) -> bool {
        self.major.is_some() || self.size.is_some() || self.map.is_some()
    }
}

impl Extended {
    /// Reads the records.
    pub fn parse(mut bytes: &[u8]) -> Result<Extended> {
        let mut extended = Extended::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes)?;
            extended.set(key, value)?;
            bytes = rest;
        }
        Ok(extended)
    }

    /// Whether a record of `bytes` would change how members are read; asked of global headers, which Go's readers skip
    /// and GNU tar obeys.
    pub fn acts(mut bytes: &[u8]) -> Result<bool> {
        while !bytes.is_empty() {
            let (key, _, rest) = record(bytes)?;
            let known = [&b"path"[..], b"linkpath", b"size", b"uid", b"gid", b"mtime"];
            if known.contains(&key) || key.starts_with(XATTR) || key.starts_with(b"GNU.sparse.") {
                return Ok(true);
            }
            bytes = rest;
        }
        Ok(false)
    }

    /// An empty value takes a record back (POSIX): the header's own field counts.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let some = (!value.is_empty()).then_some(value);
        if let Some(name) = key.strip_prefix(XATTR) {
            self.xattrs.retain(|(known, _)| known != name);
            self.xattrs.push((name.to_owned(), value.to_owned()));
            return Ok(());
        }
        match key {
            b"path" => self.path = some.map(text).transpose()?,
            b"linkpath" => self.linkpath = some.map(text).transpose()?,
            b"size" => self.size = some.map(decimal).transpose()?,
            b"uid" => self.uid = some.map(decimal).transpose()?,
            b"gid" => self.gid = some.map(decimal).transpose()?,
            b"mtime" => self.mtime = some.map(time).transpose()?,
            _ => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(key, value)?;
                }
            }
        }
        Ok(())
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"major" => self.major = Some(decimal(value)?),
            b"minor" => self.minor = Some(decimal(value)?),
            b"name" => self.name = Some(text(value)?),
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"numblocks" => self.map = Some(Vec::new()),
            b"map" => self.map = Some(sparse::from_list(value)?),
            b"offset" if self.offset.is_none() => self.offset = Some(decimal(value)?),
            b"numbytes" => {
                let Some(offset) = self.offset.take() else { return Err(bad("GNU.sparse.numbytes has no offset")) };
                self.map.get_or_insert_default().push(Segment { offset, length: decimal(value)? });
            }
            b"offset" => return Err(bad("GNU.sparse.offset has no numbytes")),
            _ => (),
        }
        Ok(())
    }
}

fn bad(why: &str) -> Error {
    Error::corrupt("extended header", why)
}

/// The first record of `bytes`: its key, its value, and what follows it.
fn record(bytes: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(|| bad("a record has no length"))?;
    let length = usize::try_from(decimal(&bytes[..space])?).map_err(|_| bad("a record is too long"))?;
    let record = bytes.get(space + 1..length).ok_or_else(|| bad("a record's length is wrong"))?;
    let record = record.strip_suffix(b"\n").ok_or_else(|| bad("a record does not end with its line"))?;
    let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(|| bad("a record has no value"))?;
    if equals == 0 {
        return Err(bad("a record has no key"));
    }
    Ok((&record[..equals], &record[equals + 1..], &bytes[length..]))
}

/// A name: a NUL would end it for some readers and not for others.
fn text(value: &[u8]) -> Result<Vec<u8>> {
    if value.contains(&0) {
        return Err(bad("a name has a NUL"));
    }
    Ok(value.to_owned())
}

/// Decimal digits and nothing else.
pub fn decimal(value: &[u8]) -> Result<u64> {
    let text = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| bad("a number is not one, or too large"))
}

/// `-12.5` is half a second after -13. What is finer than a nanosecond is cut off.
fn time(value: &[u8]) -> Result<(i64, u32)> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(value) => (true, value),
        None => (false, value),
    };
    let dot = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let seconds = i64::try_from(decimal(&value[..dot])?).map_err(|_| bad("a time is out of range"))?;
    let digits = value.get(dot + 1..).unwrap_or_default();
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad("a time is not a number"));
    }
    let nanoseconds =
        (0..9).fold(0, |sum, index| sum * 10 + u32::from(digits.get(index).map_or(0, |digit| digit - b'0')));
    Ok(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_and_between_seconds() {
        for (text, wanted) in [
            (&b"0"[..], (0, 0)),
            (b"1234567890.123456789", (1_234_567_890, 123_456_789)),
            (b"5.1", (5, 100_000_000)),
            (b"5.", (5, 0)),
            (b"-1", (-1, 0)),
            (b"-1.5", (-2, 500_000_000)),
            (b"7.1234567899", (7, 123_456_789)),
        ] {
            assert_eq!(time(text), Ok(wanted));
        }
        for text in [&b""[..], b".5", b"1.-5", b"--1", b"99999999999999999999", b"1e5"] {
            assert!(time(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn records_must_be_exactly_as_long_as_they_say() {
        for bytes in
            [&b"9 path=ab\n"[..], b"12 path=ab\n", b"path=ab\n", b"0 \n", b"99999999999999999999 a=b\n", b"6 =ab\n"]
        {
            assert!(Extended::parse(bytes).is_err(), "{bytes:?}");
        }
        let extended = Extended::parse(b"10 path=a\n10 size=7\n8 size=\n21 SCHILY.xattr.u=\0\n\n").expect("records");
        assert_eq!((extended.path.as_deref(), extended.size), (Some(&b"a"[..]), None));
        assert_eq!(extended.xattrs, [(b"u".to_vec(), b"\0\n".to_vec())]);
        assert!(Extended::parse(b"11 path=a\0\n").is_err());
    }
}
