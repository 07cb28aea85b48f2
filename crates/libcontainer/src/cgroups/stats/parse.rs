//! The formats of the kernel's files. What a newer kernel adds is passed over, and a number that is none is absent.

use std::collections::BTreeMap;

use super::types::{IoEntry, MemoryEvents, OomControl, Pressure, RdmaEntry, Stall, SwapEvents, UNLIMITED};

/// A number, or `max`.
pub(in crate::cgroups) fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(UNLIMITED),
        number => number.parse().ok(),
    }
}

/// `name number` lines, in order.
pub(in crate::cgroups) fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| line.split_once(' ')).filter_map(|(name, value)| Some((name, number(value)?)))
}

/// `name number` lines, by name.
pub(super) fn table(text: &str) -> BTreeMap<String, u64> {
    pairs(text).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The number of the line with this name.
pub(in crate::cgroups) fn value_of(text: &str, name: &str) -> Option<u64> {
    pairs(text).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Numbers divided by white space.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().map_while(|number| number.parse().ok()).collect()
}

/// `cpuacct.usage_all`: a line of titles, and for each processor its number, time in user mode and time in the kernel.
/// Gives the two columns of times.
pub(super) fn usage_all(text: &str) -> (Vec<u64>, Vec<u64>) {
    let row = |line: &str| match *numbers(line) {
        [_cpu, user, kernel, ..] => Some((user, kernel)),
        _ => None,
    };
    text.lines().skip(1).filter_map(row).unzip()
}

/// A list of numbers and ranges, such as `0-3,8`.
pub(super) fn list(text: &str) -> Vec<u16> {
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(part).flatten().collect()
}

/// `memory.oom_control`.
pub(super) fn oom_control(text: &str) -> OomControl {
    let mut control = OomControl::default();
    for (name, value) in pairs(text) {
        match name {
            "oom_kill_disable" => control.oom_kill_disable = value,
            "under_oom" => control.under_oom = value,
            "oom_kill" => control.oom_kill = value,
            _ => {}
        }
    }
    control
}

/// `memory.events`.
pub(super) fn memory_events(text: &str) -> MemoryEvents {
    let mut events = MemoryEvents::default();
    for (name, value) in pairs(text) {
        match name {
            "low" => events.low = value,
            "high" => events.high = value,
            "max" => events.max = value,
            "oom" => events.oom = value,
            "oom_kill" => events.oom_kill = value,
            "oom_group_kill" => events.oom_group_kill = value,
            _ => {}
        }
    }
    events
}

/// `memory.swap.events`.
pub(super) fn swap_events(text: &str) -> SwapEvents {
    let mut events = SwapEvents::default();
    for (name, value) in pairs(text) {
        match name {
            "high" => events.high = value,
            "max" => events.max = value,
            "fail" => events.fail = value,
            _ => {}
        }
    }
    events
}

/// A file of pressure stall information.
pub(super) fn pressure(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("some", rest)) => pressure.some = stall(rest),
            Some(("full", rest)) => pressure.full = stall(rest),
            _ => {}
        }
    }
    pressure
}

fn stall(text: &str) -> Stall {
    let mut stall = Stall::default();
    for (name, value) in text.split_whitespace().filter_map(|field| field.split_once('=')) {
        let percent = || value.parse().unwrap_or_default();
        match name {
            "avg10" => stall.avg10 = percent(),
            "avg60" => stall.avg60 = percent(),
            "avg300" => stall.avg300 = percent(),
            "total" => stall.total = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    stall
}

/// A device's numbers, such as `8:16`.
fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// v1's files of block devices: `8:16 Read 4096`, or without the operation; the sum over all devices is left out.
pub(super) fn blkio(text: &str) -> Vec<IoEntry> {
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (place, op, value) = match *fields {
            [place, op, value] => (place, op, value),
            [place, value] => (place, "", value),
            _ => return None,
        };
        let (major, minor) = device(place)?;
        Some(IoEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? })
    };
    text.lines().filter_map(entry).collect()
}

/// v2's `io.stat`: `8:16 rbytes=1459200 wbytes=0 …`. Gives the key with each entry, whose operation is still empty.
pub(super) fn io_stat(text: &str) -> impl Iterator<Item = (&str, IoEntry)> {
    text.lines().flat_map(|line| {
        let (place, fields) = line.split_once(' ').unwrap_or_default();
        let place = device(place);
        fields.split_whitespace().filter_map(move |field| {
            let ((major, minor), (key, value)) = (place?, field.split_once('=')?);
            Some((key, IoEntry { major, minor, op: String::new(), value: value.parse().ok()? }))
        })
    })
}

/// `rdma.current` and `rdma.max`: `mlx4_0 hca_handle=2 hca_object=max`.
pub(super) fn rdma(text: &str) -> Vec<RdmaEntry> {
    let entry = |line: &str| {
        let (device, fields) = line.split_once(' ')?;
        let mut entry = RdmaEntry { device: device.to_owned(), ..RdmaEntry::default() };
        for (name, value) in fields.split_whitespace().filter_map(|field| field.split_once('=')) {
            let value = number(value).map_or(0, |value| u32::try_from(value).unwrap_or(u32::MAX));
            match name {
                "hca_handle" => entry.hca_handles = value,
                "hca_object" => entry.hca_objects = value,
                _ => {}
            }
        }
        Some(entry)
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(major: u64, minor: u64, op: &str, value: u64) -> IoEntry {
        IoEntry { major, minor, op: op.to_owned(), value }
    }

    #[test]
    fn numbers_tables_and_lists() {
        assert_eq!(number("67108864\n"), Some(67_108_864));
        assert_eq!(number("max\n"), Some(UNLIMITED));
        assert_eq!(number("-1\n"), None);
        assert_eq!(number(""), None);
        let stat = "anon 4096\nfile 12288\nstrange\nshmem many\nsock 0\n";
        assert_eq!(table(stat), [("anon", 4096), ("file", 12288), ("sock", 0)].map(|(n, v)| (n.to_owned(), v)).into());
        assert_eq!(value_of(stat, "file"), Some(12288));
        assert_eq!(value_of(stat, "fil"), None);
        assert_eq!(numbers("64591638 3090530 \n"), [64_591_638, 3_090_530]);
        assert_eq!(
            usage_all("cpu user system\n0 60000000 4000000\n1 7 8 9\nx\n"),
            (vec![60_000_000, 7], vec![4_000_000, 8])
        );
        assert_eq!(list("0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(list("\n"), Vec::<u16>::new());
    }

    #[test]
    fn what_memory_tells() {
        let control = oom_control("oom_kill_disable 0\nunder_oom 1\noom_kill 7\n");
        assert_eq!(control, OomControl { oom_kill_disable: 0, under_oom: 1, oom_kill: 7 });
        let events = memory_events("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 9\n");
        assert_eq!(events, MemoryEvents { low: 1, high: 2, max: 3, oom: 4, oom_kill: 5, oom_group_kill: 6 });
        assert_eq!(swap_events("high 1\nmax 2\nfail 3\n"), SwapEvents { high: 1, max: 2, fail: 3 });
    }

    #[test]
    fn pressure_of_old_and_new_kernels() {
        let text =
            "some avg10=1.50 avg60=0.25 avg300=0.05 total=231424\nfull avg10=0.00 avg60=0.10 avg300=0.00 total=7\n";
        let some = Stall { avg10: 1.5, avg60: 0.25, avg300: 0.05, total: 231_424 };
        let full = Stall { avg60: 0.1, total: 7, ..Stall::default() };
        assert_eq!(pressure(text), Pressure { some: some.clone(), full });
        // Before Linux 5.13 there is no "full" for processors.
        let (line, _) = text.split_once('\n').expect("two lines");
        assert_eq!(pressure(line), Pressure { some, full: Stall::default() });
    }

    #[test]
    fn block_devices_of_v1() {
        let text = "8:0 Read 100\n8:0 Write 0\n8:0 Discard 3\n8:0 Total 103\n253:2 77\nTotal 180\n";
        let wanted = [
            entry(8, 0, "Read", 100),
            entry(8, 0, "Write", 0),
            entry(8, 0, "Discard", 3),
            entry(8, 0, "Total", 103),
            entry(253, 2, "", 77),
        ];
        assert_eq!(blkio(text), wanted);
        assert_eq!(blkio("Total 0\n"), []);
    }

    #[test]
    fn block_devices_of_v2() {
        let text = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0 cost.usage=5\n\
                    8:0 \n7:7 rbytes=x\nnone rbytes=1\n";
        let got: Vec<_> = io_stat(text).map(|(key, entry)| (key, entry.major, entry.minor, entry.value)).collect();
        let wanted = [
            ("rbytes", 8, 16, 1_459_200),
            ("wbytes", 8, 16, 314_773_504),
            ("rios", 8, 16, 192),
            ("wios", 8, 16, 353),
            ("dbytes", 8, 16, 0),
            ("dios", 8, 16, 0),
            ("cost.usage", 8, 16, 5),
        ];
        assert_eq!(got, wanted);
    }

    #[test]
    fn rdma_devices() {
        let wanted = [("mlx4_0", 2, 2000), ("ocrdma1", 3, u32::MAX)].map(|(device, hca_handles, hca_objects)| {
            RdmaEntry { device: device.to_owned(), hca_handles, hca_objects }
        });
        assert_eq!(rdma("mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=3 hca_object=max\n"), wanted);
    }
}
