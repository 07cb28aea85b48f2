//! Events for people: a row per interval. Every cell is short enough for the narrowest column, so that rows stand below
//! each other though they are printed one by one.

use std::time::{Duration, Instant, UNIX_EPOCH};

use libcontainer::cgroups::stats::{IoEntry, Stats};
use libcontainer::container::rfc3339;

use crate::table;

/// From here on a limit is none: v1 shows a number close to the highest signed one.
const NO_LIMIT: u64 = 1 << 62;

/// What a row needs to know of the one before.
#[derive(Default)]
pub struct Table {
    last: Option<(Instant, u64)>,
}

impl Table {
    /// The titles.
    pub fn header() -> String {
        let titles = ["TIME", "CPU", "CPU%", "MEMORY", "LIMIT", "PEAK", "PIDS", "READ", "WRITTEN"];
        table::render(&[titles.map(str::to_owned)])
    }

    /// What was used so far; the share of a processor since the row before.
    pub fn row(&mut self, stats: &Stats) -> String {
        let (now, used) = (Instant::now(), stats.cpu.usage.total.unwrap_or(0));
        let last = self.last.replace((now, used));
        let share = last.map(|(then, before)| share(used.saturating_sub(before), now - then));
        let memory = &stats.memory.usage;
        let none = || "-".to_owned();
        table::render(&[[
            time(),
            seconds(used),
            share.unwrap_or_else(none),
            memory.usage.map_or_else(none, size),
            memory.limit.map_or_else(none, size),
            memory.max_usage.map_or_else(none, size),
            stats.pids.current.map_or_else(none, |count| count.to_string()),
            size(total(&stats.io.service_bytes, "Read")),
            size(total(&stats.io.service_bytes, "Write")),
        ]])
    }

    /// Lack of memory.
    pub fn oom() -> String {
        table::render(&[[time(), "out of memory".to_owned()]])
    }
}

/// Of the day, UTC.
fn time() -> String {
    let now = rfc3339(Duration::from_secs(UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()));
    now.split_once('T').map_or(String::new(), |(_, time)| time.to_owned())
}

fn share(nanoseconds: u64, passed: Duration) -> String {
    let share = Duration::from_nanos(nanoseconds).as_secs_f64() / passed.as_secs_f64().max(1e-9);
    format!("{:.1}%", share * 100.0)
}

fn seconds(nanoseconds: u64) -> String {
    match nanoseconds / 1_000_000_000 {
        whole @ 10_000.. => format!("{whole}s"),
        _ => format!("{:.3}s", Duration::from_nanos(nanoseconds).as_secs_f64()),
    }
}

fn size(bytes: u64) -> String {
    if bytes >= NO_LIMIT {
        return "none".to_owned();
    }
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in units {
        // What would be shown as 1024.0 is one of the next.
        if value < 1023.95 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes}B") } else { format!("{value:.1}{unit}") }
}

fn total(entries: &[IoEntry], op: &str) -> u64 {
    entries.iter().filter(|entry| entry.op == op).map(|entry| entry.value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_short_and_rows_stand_below_the_header() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (1_048_575, "1.0MiB"),
            (1_048_576, "1.0MiB"),
            (1_072_693_248, "1023.0MiB"),
            (9_223_372_036_854_771_712, "none"),
            (u64::MAX, "none"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(seconds(67_682_168), "0.068s");
        assert_eq!(seconds(12_345_000_000_000), "12345s");
        assert_eq!(share(1_500_000_000, Duration::from_secs(1)), "150.0%");
        let mut stats = Stats::default();
        stats.pids.current = Some(7_777_777);
        let (header, row) = (Table::header(), Table::default().row(&stats));
        assert_eq!(header.find("PIDS"), row.find("7777777"));
        assert_eq!(header.find("WRITTEN"), row.rfind("0B"));
    }

    #[test]
    fn the_share_is_that_since_the_row_before() {
        let mut table = Table::default();
        let mut stats = Stats::default();
        assert!(table.row(&stats).contains(" - "), "nothing to compare with");
        stats.cpu.usage.total = Some(1);
        assert!(table.row(&stats).contains("0.0%"));
    }
}
