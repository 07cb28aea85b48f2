//! Failures of requests, and whether the same request may succeed later.

use std::time::{Duration, SystemTime};

use crate::error::{Error, Kind};

/// How often a request is made before it has failed; a download that goes on begins to count anew.
pub const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(400);
/// A registry that wants a longer pause is not waited for.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A request that failed.
#[derive(Debug)]
pub struct Failure {
    /// What to tell if nothing helps.
    pub error: Error,
    /// Whether to try again.
    pub again: Again,
}

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It will not.
    No,
    /// It may.
    Soon,
    /// It may after this time, as the registry says (Retry-After).
    After(Duration),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, again: Again::No }
    }
}

impl Failure {
    /// The network failed.
    pub fn network(what: impl std::fmt::Display) -> Self {
        Failure { error: Error::new(Kind::Network, what.to_string()), again: Again::Soon }
    }

    /// How long to wait before the attempt after the `attempt`th; nothing if there should be none.
    pub fn pause(&self, attempt: u32) -> Option<Duration> {
        if attempt >= ATTEMPTS {
            return None;
        }
        match self.again {
            Again::No => None,
            Again::Soon => Some(FIRST_PAUSE * 2u32.pow(attempt.saturating_sub(1)) + jitter()),
            Again::After(pause) => (pause <= LONGEST_PAUSE).then_some(pause),
        }
    }
}

/// Up to 100 ms, so that many clients do not come back at one moment.
fn jitter() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_micros(u64::from(now.subsec_nanos()) % 100_000)
}

/// Makes a request until it succeeds or there is no use.
pub fn retry<T>(mut request: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut attempt = 1;
    loop {
        let failure = match request() {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        let Some(pause) = failure.pause(attempt) else { return Err(failure) };
        std::thread::sleep(pause);
        attempt += 1;
    }
}

/// `Retry-After`: seconds, or a date.
pub fn retry_after(header: Option<&str>) -> Again {
    let Some(text) = header.map(str::trim) else { return Again::Soon };
    if let Ok(seconds) = text.parse() {
        return Again::After(Duration::from_secs(seconds));
    }
    match httpdate::parse_http_date(text) {
        Ok(date) => Again::After(date.duration_since(SystemTime::now()).unwrap_or_default()),
        Err(_) => Again::Soon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let failure = Failure::network("x");
        let pauses: Vec<_> = (1..=ATTEMPTS).map(|attempt| failure.pause(attempt)).collect();
        assert!(pauses[0] < pauses[1] && pauses[1] < pauses[2] && pauses[ATTEMPTS as usize - 1].is_none());
    }

    #[test]
    fn the_registry_s_own_time_counts_within_reason() {
        assert_eq!(retry_after(Some("3")), Again::After(Duration::from_secs(3)));
        assert_eq!(retry_after(Some("Sun, 06 Nov 1994 08:49:37 GMT")), Again::After(Duration::ZERO));
        assert_eq!((retry_after(Some("soon")), retry_after(None)), (Again::Soon, Again::Soon));
        let failure = Failure { again: Again::After(Duration::from_secs(3600)), ..Failure::network("x") };
        assert_eq!(failure.pause(1), None);
    }
}
