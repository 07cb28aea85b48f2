//! Time as people read it.

use std::time::Duration;

/// Time since 1970 as RFC 3339 in UTC with nanoseconds, e.g. `2026-11-22T12:30:00.000000001Z`.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(libcontainer::container::rfc3339(Duration::new(951_782_400, 1)), "2000-02-29T00:00:00.000000001Z");
/// ```
pub fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since_epoch.subsec_nanos())
}

/// Year, month and day of a day count since 1970 in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}
