//! Limits that are written the same way on v1 and v2.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::spec::{Cpu, HugepageLimit, Pids, Rdma};

use super::write::CgroupWrite;

/// -1 is unlimited. 0 becomes 1, as in runc: the container's init is one task already, and systemd cannot say 0, so
/// both drivers behave alike.
pub(super) fn pids(pids: &Pids) -> Option<CgroupWrite> {
    let value = match pids.limit? {
        limit if limit < 0 => "max".to_owned(),
        limit => limit.max(1).to_string(),
    };
    Some(CgroupWrite::new("pids.max", value, "linux.resources.pids.limit"))
}

/// Which processors and memory nodes may be used.
pub(super) fn cpuset(cpu: &Cpu) -> impl Iterator<Item = CgroupWrite> {
    let asked = |file, value: &String, field| (!value.is_empty()).then(|| CgroupWrite::new(file, value, field));
    let cpus = asked("cpuset.cpus", &cpu.cpus, "linux.resources.cpu.cpus");
    cpus.into_iter().chain(asked("cpuset.mems", &cpu.mems, "linux.resources.cpu.mems"))
}

/// One line for each device, such as `mlx5_1 hca_handle=3 hca_object=10000`.
///
/// # Errors
/// If a device's name is none: it would be another line, or another limit.
pub(super) fn rdma(rdma: &BTreeMap<String, Rdma>) -> Result<Vec<CgroupWrite>> {
    let is_name = |device: &str| !device.is_empty() && !device.contains(char::is_whitespace);
    if let Some(device) = rdma.keys().find(|device| !is_name(device)) {
        return Err(Error::invalid("linux.resources.rdma", format!("\"{device}\" does not name a device")));
    }
    let write = |(device, limits): (&String, &Rdma)| {
        let mut value = device.clone();
        for (name, limit) in [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)] {
            value.extend(limit.map(|limit| format!(" {name}={limit}")));
        }
        CgroupWrite::new("rdma.max", value, format!("linux.resources.rdma[\"{device}\"]"))
    };
    Ok(rdma.iter().map(write).collect())
}

/// The size is part of a file's name: `2MB`, as config-linux.md "Huge page limits" has it.
pub(super) fn check_page_size(index: usize, limit: &HugepageLimit) -> Result<()> {
    let size = &limit.page_size;
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    if digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Ok(());
    }
    let field = format!("linux.resources.hugepageLimits[{index}].pageSize");
    Err(Error::invalid(field, format!("\"{size}\" is not a number and KB, MB or GB")).remedy("write it as 2MB"))
}
