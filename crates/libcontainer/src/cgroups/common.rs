//! Limits that are written the same way on v1 and v2.

use std::collections::BTreeMap;

use crate::spec::{Cpu, Pids, Rdma};

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
pub(super) fn rdma(rdma: &BTreeMap<String, Rdma>) -> impl Iterator<Item = CgroupWrite> {
    rdma.iter().map(|(device, limits)| {
        let mut value = device.clone();
        for (name, limit) in [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)] {
            value.extend(limit.map(|limit| format!(" {name}={limit}")));
        }
        CgroupWrite::new("rdma.max", value, format!("linux.resources.rdma[\"{device}\"]"))
    })
}
