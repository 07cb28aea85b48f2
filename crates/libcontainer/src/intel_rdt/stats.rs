//! What a class of service has, and what its processes were seen to use; the members are runc's.

use std::path::Path;

use rustix::fs::{Dir, OFlags};
use serde::Serialize;

use super::apply::RdtGroup;
use crate::host::Resctrl;

/// All that resctrl tells of a container's group. Monitored is the container alone if it has a monitoring group, and all
/// that share its class of service if not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RdtStats {
    /// What the L3 cache can be divided into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    /// The line of the default class of service for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    /// The group's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    /// What memory bandwidth can be divided into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemBwInfo>,
    /// The line of the default class of service for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    /// The group's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// All lines of the group's schemata.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// Memory traffic, a member for each domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<BandwidthStats>>,
    /// Cache in use, a member for each domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<CacheStats>>,
}

/// `info/L3`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the files' names
pub struct L3CacheInfo {
    pub cbm_mask: String,
    pub min_cbm_bits: u64,
    pub num_closids: u64,
}

/// `info/MB`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct MemBwInfo {
    pub bandwidth_gran: u64,
    pub delay_linear: u64,
    pub min_bandwidth: u64,
    pub num_closids: u64,
}

/// In bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct BandwidthStats {
    pub mbm_total_bytes: u64,
    pub mbm_local_bytes: u64,
}

/// In bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct CacheStats {
    pub llc_occupancy: u64,
}

impl RdtGroup {
    /// Reads them; nothing where the group is gone.
    pub fn stats(&self) -> RdtStats {
        Resctrl::at(&self.mountpoint).map(|resctrl| self.stats_in(&resctrl)).unwrap_or_default()
    }

    pub(super) fn stats_in(&self, resctrl: &Resctrl) -> RdtStats {
        let text = |path: String| resctrl.read(path).unwrap_or_default();
        let (root, own) = (text("schemata".to_owned()), text(self.file("schemata")));
        let mut stats = RdtStats { schemata: own.lines().map(trimmed).collect(), ..RdtStats::default() };
        if resctrl.open("info/L3", OFlags::PATH).is_ok() {
            let mask = text("info/L3/cbm_mask".to_owned());
            stats.l3_cache_info = Some(L3CacheInfo {
                cbm_mask: trimmed(&mask),
                min_cbm_bits: number(resctrl, "info/L3/min_cbm_bits"),
                num_closids: number(resctrl, "info/L3/num_closids"),
            });
            (stats.l3_cache_schema_root, stats.l3_cache_schema) = (line(&root, "L3"), line(&own, "L3"));
        }
        if resctrl.open("info/MB", OFlags::PATH).is_ok() {
            stats.mem_bw_info = Some(MemBwInfo {
                bandwidth_gran: number(resctrl, "info/MB/bandwidth_gran"),
                delay_linear: number(resctrl, "info/MB/delay_linear"),
                min_bandwidth: number(resctrl, "info/MB/min_bandwidth"),
                num_closids: number(resctrl, "info/MB/num_closids"),
            });
            (stats.mem_bw_schema_root, stats.mem_bw_schema) = (line(&root, "MB"), line(&own, "MB"));
        }
        self.add_monitored(resctrl, &mut stats);
        stats
    }

    fn add_monitored(&self, resctrl: &Resctrl, stats: &mut RdtStats) {
        let features = resctrl.read("info/L3_MON/mon_features").unwrap_or_default();
        let has = |prefix: &str| features.lines().any(|feature| feature.starts_with(prefix));
        let data = self.monitoring_dir().map_or_else(|| self.file("mon_data"), |dir| format!("{dir}/mon_data"));
        let (bandwidth, cache) = (has("mbm_"), has("llc_occupancy"));
        let domains = if bandwidth || cache { names(resctrl, &data) } else { Vec::new() };
        let read = |domain: &String, file: &str| number(resctrl, format!("{data}/{domain}/{file}"));
        stats.mbm_stats = bandwidth.then(|| {
            let stats = |domain| BandwidthStats {
                mbm_total_bytes: read(domain, "mbm_total_bytes"),
                mbm_local_bytes: read(domain, "mbm_local_bytes"),
            };
            domains.iter().map(stats).collect()
        });
        stats.cmt_stats = cache.then(|| {
            domains.iter().map(|domain| CacheStats { llc_occupancy: read(domain, "llc_occupancy") }).collect()
        });
    }
}

fn trimmed(text: &str) -> String {
    text.trim().to_owned()
}

/// The line for a resource, without the kernel's indentation. With code and data prioritised apart it is the first of two.
fn line(schemata: &str, resource: &str) -> String {
    schemata.lines().map(str::trim).find(|line| line.starts_with(resource)).unwrap_or_default().to_owned()
}

/// A figure that cannot be read, such as `Unavailable` right after the group was made, is 0.
fn number(resctrl: &Resctrl, path: impl AsRef<Path>) -> u64 {
    resctrl.read(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The directories in one, in order: `mon_L3_00` and so on.
fn names(resctrl: &Resctrl, directory: &str) -> Vec<String> {
    let opened = resctrl.open(directory, OFlags::RDONLY | OFlags::DIRECTORY).and_then(Dir::new);
    let entries = opened.map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with("mon_"));
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::tests::TempDir;

    #[test]
    fn what_resctrl_tells_is_read() {
        let dir = TempDir::new("resctrl");
        let monitored = "c1/mon_groups/c1/mon_data";
        for (file, text) in [
            ("schemata".to_owned(), "    MB:0=100;1=100\n    L3:0=fff;1=fff\n"),
            ("c1/schemata".to_owned(), "    MB:0= 20;1=100\n    L3:0=00f;1=fff\n"),
            ("info/L3/cbm_mask".to_owned(), "fff\n"),
            ("info/L3/min_cbm_bits".to_owned(), "1\n"),
            ("info/L3/num_closids".to_owned(), "16\n"),
            ("info/MB/bandwidth_gran".to_owned(), "10\n"),
            ("info/L3_MON/mon_features".to_owned(), "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
            (format!("{monitored}/mon_L3_01/llc_occupancy"), "7\n"),
            (format!("{monitored}/mon_L3_00/llc_occupancy"), "5\n"),
            (format!("{monitored}/mon_L3_00/mbm_total_bytes"), "900\n"),
            (format!("{monitored}/mon_L3_01/mbm_total_bytes"), "Unavailable\n"),
        ] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            std::fs::write(path, text).expect("write");
        }
        let group = RdtGroup { name: "c1".into(), monitoring: Some("c1".into()), ..RdtGroup::default() };
        let stats = group.stats_in(&Resctrl::of(dir.path()));
        assert_eq!(stats.schemata, ["MB:0= 20;1=100", "L3:0=00f;1=fff"]);
        assert_eq!(
            (stats.l3_cache_schema_root.as_str(), stats.l3_cache_schema.as_str()),
            ("L3:0=fff;1=fff", "L3:0=00f;1=fff")
        );
        assert_eq!(stats.mem_bw_schema, "MB:0= 20;1=100");
        let info = L3CacheInfo { cbm_mask: "fff".into(), min_cbm_bits: 1, num_closids: 16 };
        assert_eq!(stats.l3_cache_info, Some(info));
        assert_eq!(stats.mem_bw_info.map(|info| info.bandwidth_gran), Some(10));
        let bytes: Vec<u64> = stats.mbm_stats.expect("bandwidth").iter().map(|one| one.mbm_total_bytes).collect();
        assert_eq!(bytes, [900, 0]);
        let cache: Vec<u64> = stats.cmt_stats.expect("cache").iter().map(|one| one.llc_occupancy).collect();
        assert_eq!(cache, [5, 7]);
        assert_eq!(group.stats(), RdtStats::default(), "there is no such mount");
        assert_eq!(serde_json::to_string(&RdtStats::default()).expect("JSON"), "{}");
    }
}
