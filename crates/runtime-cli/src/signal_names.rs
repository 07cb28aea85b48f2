//! Signals by name and number (signal(7)).

use anyhow::{Result, anyhow};

/// The names without `SIG`, for x86, Arm and most others; the number is the index and one.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];
/// As the C library counts: it keeps the kernel's first two real-time signals to itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A signal by its number, or by its name in any case, with or without `SIG`; also `RTMIN+3` and `RTMAX-1`.
///
/// # Errors
/// If there is no such signal.
pub fn parse(text: &str) -> Result<i32> {
    number(text).ok_or_else(|| anyhow!("unknown signal {text:?}"))
}

fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return (0..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().zip(1..).chain(ALIASES.iter().map(|(name, number)| (name, *number)));
    named.into_iter().find(|(known, _)| **known == name).map(|(_, number)| number).or_else(|| real_time(name))
}

fn real_time(name: &str) -> Option<i32> {
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => RTMIN,
        (_, Some("")) => RTMAX,
        (Some(offset), _) => RTMIN.checked_add(offset.strip_prefix('+')?.parse().ok()?)?,
        (_, Some(offset)) => RTMAX.checked_sub(offset.strip_prefix('-')?.parse().ok()?)?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// A signal's name with `SIG`, or its number where it has none.
pub fn name(signal: i32) -> String {
    let index = usize::try_from(signal).ok().and_then(|number| number.checked_sub(1));
    match index.and_then(|index| NAMES.get(index)) {
        Some(name) => format!("SIG{name}"),
        None => signal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_by_number() {
        for (text, expected) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("hup", 1),
            ("SYS", 31),
            ("winch", 28),
            ("SIGPOLL", 29),
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMAX-2", 62),
        ] {
            assert_eq!(parse(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal() {
        for text in ["", "FOO", "SIG", "-9", "65", "RTMIN+31", "RTMAX-31", "RTMIN-1", "9 ", "RTMAX--1"] {
            let error = parse(text).expect_err(text).to_string();
            assert_eq!(error, format!("unknown signal {text:?}"));
        }
    }

    #[test]
    fn names_go_both_ways() {
        for signal in 1..=31 {
            assert_eq!(parse(&name(signal)).expect("known"), signal);
        }
        assert_eq!(name(40), "40");
    }
}
