//! Numbers as headers write them: octal digits, or GNU's base-256 for what is too large or negative.

use crate::error::{Error, Result};

/// A field of a header that holds a number; `what` names it in messages.
pub fn parse(field: &[u8], what: &str) -> Result<i64> {
    match field.first() {
        Some(byte) if byte & 0x80 != 0 => base256(field).ok_or_else(|| out_of_range(what)),
        _ => octal(field, what),
    }
}

/// As [`parse`], of what cannot be negative.
pub fn unsigned(field: &[u8], what: &str) -> Result<u64> {
    u64::try_from(parse(field, what)?).map_err(|_| out_of_range(what))
}

fn out_of_range(what: &str) -> Error {
    Error::corrupt(what, "the number is out of range")
}

/// Digits between spaces, ended by a space or NUL; nothing at all is 0.
fn octal(field: &[u8], what: &str) -> Result<i64> {
    let begin = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let field = &field[begin..];
    let end = field.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(field.len());
    let (digits, rest) = field.split_at(end);
    if !rest.iter().all(|byte| matches!(byte, b' ' | 0)) {
        return Err(Error::corrupt(what, "the number has more after its end"));
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) {
            return Err(Error::corrupt(what, "the number is not octal"));
        }
        value = value.checked_mul(8).ok_or_else(|| out_of_range(what))? + i64::from(digit - b'0');
    }
    Ok(value)
}

/// Big-endian two's complement; the first bit only marks the form.
fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (index, byte) in field.iter().enumerate() {
        let byte = match (index, negative) {
            (0, false) => byte & 0x7f,
            (0, true) => byte | 0x80,
            _ => *byte,
        };
        value = (value << 8) | i128::from(byte);
        // Once it is larger than any field's worth it stays so; shifting on could only wrap.
        i64::try_from(value).ok()?;
    }
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_as_the_tools_write_it() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"00000000017\0", 15),
            (b"777777777777", 0o777_777_777_777),
            (b"\0\0\0\0", 0),
            (b"    ", 0),
        ] {
            assert_eq!(parse(field, "size"), Ok(value), "{field:?}");
        }
        for field in [&b"0000648\0"[..], b"12\x0034\0", b"-1\0", b"0x12", b"\xff\xff"] {
            assert!(unsigned(field, "size").is_err(), "{field:?}");
        }
    }

    #[test]
    fn base_256_with_its_sign() {
        let field = |value: i64, width: usize| {
            let mut field = vec![if value < 0 { 0xff } else { 0 }; width];
            field[width - 8..].copy_from_slice(&value.to_be_bytes());
            field[0] |= 0x80;
            field
        };
        for value in [0, 1, -1, 8 << 30, i64::MAX, i64::MIN, -1_000_000] {
            assert_eq!(parse(&field(value, 12), "mtime"), Ok(value));
        }
        let mut huge = vec![0; 12];
        (huge[0], huge[2]) = (0x80, 1);
        assert!(parse(&huge, "size").is_err());
        assert!(unsigned(&field(-1, 12), "uid").is_err());
        assert_eq!(parse(&[0x80, 0, 0, 0, 0x80, 0, 0, 5], "uid"), Ok(0x8000_0005));
    }
}
