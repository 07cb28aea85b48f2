//! Comparing lines of a schemata file, which the kernel shows in another form than it was given.

/// Whether what `line` asks for is what the group that shows `existing` has. Of the caches, or domains, only those that
/// the line names count. `step` is that of memory bandwidth: the kernel has rounded it up to one.
pub(super) fn agrees(line: &str, existing: &str, step: Option<u32>) -> bool {
    let Some((resource, wanted)) = parts(line) else { return false };
    let Some(has) = existing.lines().filter_map(parts).find(|(name, _)| *name == resource).map(|(_, has)| has) else {
        return false;
    };
    let is_bandwidth = resource.ends_with("MB");
    let value = |text: &str| {
        if !is_bandwidth {
            return u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        }
        let value: u64 = text.parse().ok()?;
        Some(step.filter(|_| resource == "MB").map_or(value, |step| value.next_multiple_of(u64::from(step.max(1)))))
    };
    domains(wanted).all(|(domain, wanted)| {
        let found = domains(has).find(|(name, _)| *name == domain).map(|(_, has)| has);
        found.is_some_and(|found| found == wanted || value(found).is_some_and(|found| value(wanted) == Some(found)))
    })
}

/// `L3:0=ff;1=f` as `L3` and the rest.
fn parts(line: &str) -> Option<(&str, &str)> {
    line.split_once(':').map(|(resource, domains)| (resource.trim(), domains))
}

/// Each `0=ff`.
fn domains(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').map_or((part, ""), |(domain, value)| (domain.trim(), value.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_form_is_compared_by_meaning() {
        let existing = "    MB:0=100;1= 40\n    L3:0=000ff;1=fffff\n  SMBA:0=2048\n";
        for line in ["L3:0=ff", "L3: 1=FFFFF; 0=0ff;", "MB:0=100;1=31", "MB:1=40", "SMBA:0=2048", "L3:"] {
            assert!(agrees(line, existing, Some(10)), "{line}");
        }
        for line in ["L3:0=f", "L3:2=ff", "MB:1=41", "SMBA:0=2041", "L2:0=ff", "L3", "L3:0=", "L3:0"] {
            assert!(!agrees(line, existing, Some(10)), "{line}");
        }
        assert!(!agrees("MB:1=31", existing, None));
    }
}
