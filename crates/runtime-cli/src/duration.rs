//! Durations as Go writes them (`1h30m`, `1.5s`, `100ms`), which runc's users give.

use std::time::Duration;

/// Go's units, in nanoseconds; both of Unicode's micro signs.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];

/// The most that Go's 64 bits hold, some 292 years.
const MOST: f64 = i64::MAX as f64;

/// Parses a duration; one below zero is zero.
///
/// # Errors
/// In the words of Go's flags.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanoseconds = if unsigned == "0" { Some(0.0) } else { sum(unsigned) };
    let nanoseconds = nanoseconds.filter(|sum| *sum <= MOST).ok_or("parse error")?;
    Ok(if negative { Duration::ZERO } else { Duration::from_nanos(nanoseconds as u64) })
}

/// A number and a unit, once or more.
fn sum(mut text: &str) -> Option<f64> {
    let mut sum = 0.0;
    loop {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(end);
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(end);
        let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum += number.parse::<f64>().ok()? * nanoseconds;
        if rest.is_empty() {
            return Some(sum);
        }
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_does() {
        for (text, milliseconds) in [
            ("5s", 5_000),
            ("100ms", 100),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1.s", 1_000),
            ("1h1m1s", 3_661_000),
            ("0s1ms", 1),
            ("+2m", 120_000),
            ("0", 0),
            ("-0", 0),
            ("-3s", 0),
            ("3000µs", 3),
            ("3000μs", 3),
            ("2000000ns", 2),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "-", "5", "s", ".s", "5x", "5 s", "1s5", "1.2.3s", "300000h30000000h", "∞s"] {
            assert_eq!(parse(text), Err("parse error"), "{text}");
        }
    }
}
