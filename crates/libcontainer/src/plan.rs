//! The whole plan of a container: every domain's plan, put together and checked against each other.
//!
//! Pure: the same spec, request and host facts give the same plan, which can be printed, compared and kept as a golden
//! file. What acts on the kernel carries it out and decides nothing.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::attributes::{self, AttributesPlan};
use crate::capabilities::{self, CapabilityPlan};
use crate::cgroups::{self, CgroupPlan};
use crate::error::{During, Error, Phase, Result};
use crate::hooks::{self, HooksPlan};
use crate::host::{HostFacts, ProcessFacts};
use crate::intel_rdt::{self, RdtPlan};
use crate::lsm::{self, LsmPlan};
use crate::namespaces::{self, Kind, NamespacesPlan, TimePlan};
use crate::netdev::{self, NetDevicePlan};
use crate::rootfs::{self, RootfsInput, RootfsPlan};
use crate::seccomp::{self, SeccompPlan};
use crate::spec::{CONFIG, Linux, Mount, Process, Spec};
use crate::sysctl::{self, Owned, SysctlPlan};
use crate::terminal::TerminalPlan;
use crate::userns::{self, Origin, UsernsPlan};

/// As many unknown fields are told one by one.
const MOST_TOLD: usize = 20;

/// What the caller asks for besides the spec.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The container's id.
    pub id: String,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// Use MS_MOVE and chroot instead of pivot_root.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on the payload inherits.
    pub passed_fds: RawFd,
    /// The maps of the user namespace that is joined, if one is.
    pub joined_maps: Option<UsernsPlan>,
}

/// All that is done to make a container.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)] // each is documented in its domain
pub struct Plan {
    pub namespaces: NamespacesPlan,
    /// The devices that are moved into its network namespace.
    pub net_devices: Vec<NetDevicePlan>,
    /// A new time namespace.
    pub time: Option<TimePlan>,
    /// The maps of the user namespace, new or joined.
    pub userns: Option<UsernsPlan>,
    pub cgroup: CgroupPlan,
    /// Its class of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<RdtPlan>,
    pub rootfs: RootfsPlan,
    pub sysctl: SysctlPlan,
    pub hooks: HooksPlan,
    /// Empty: left alone.
    pub hostname: String,
    /// Empty: left alone.
    pub domainname: String,
    pub process: ProcessPlan,
    /// What is wrong with the spec without being an error, for the log.
    pub warnings: Vec<String>,
}

/// All that is done to turn a process in the container's namespaces into its payload; init and exec alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct ProcessPlan {
    pub args: Vec<String>,
    /// `NAME=value`, each name once; HOME and nothing else is added in the container if it is missing.
    pub env: Vec<String>,
    pub cwd: PathBuf,
    pub attributes: AttributesPlan,
    pub capabilities: CapabilityPlan,
    pub no_new_privileges: bool,
    pub seccomp: Option<SeccompPlan>,
    pub lsm: LsmPlan,
    pub terminal: Option<TerminalPlan>,
    /// The name of a session keyring to join.
    pub keyring: Option<String>,
    /// How many descriptors from 3 on the payload inherits.
    pub passed_fds: RawFd,
    /// Whether the runtime is not root: then a process which hides from others hides from its parent as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unprivileged: bool,
}

impl Plan {
    /// Whether the parent has something to do in the runtime's own namespaces once the mounts are made.
    pub fn needs_parent_midway(&self) -> bool {
        self.hooks.has_runtime_hooks() || !self.net_devices.is_empty()
    }
}

/// Plans a container.
///
/// # Errors
/// The first field that is wrong, contradicts another, or asks for what this version cannot do.
pub fn plan(spec: &Spec, request: &Request, facts: &HostFacts) -> Result<Plan> {
    plan_container(spec, request, facts).during(Phase::Plan)
}

fn plan_container(spec: &Spec, request: &Request, facts: &HostFacts) -> Result<Plan> {
    let none = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&none);
    let process = spec.process.as_ref().ok_or_else(|| Error::invalid("process", "it is missing"))?;
    let namespaces = namespaces::plan(&linux.namespaces)?;
    check_names(spec, &namespaces)?;
    if facts.process.euid != 0 && !namespaces.has(Kind::User) {
        return Err(Error::invalid("linux.namespaces", "without root a container needs a user namespace")
            .remedy("`spec --rootless` writes a config.json with one, or run it as root"));
    }
    let origin = match &request.joined_maps {
        Some(maps) if namespaces.joins(Kind::User) => Origin::Joined(maps),
        _ if namespaces.makes(Kind::User) => Origin::New,
        _ => Origin::Runtime,
    };
    let userns = userns::plan(origin, &linux.uid_mappings, &linux.gid_mappings)?;
    let userns = match namespaces.makes(Kind::User) {
        true => userns.map(|maps| maps.made_by(facts.process.euid, facts.process.egid)),
        false => userns,
    };
    let cgroup = match &facts.systemd {
        Some(systemd) => cgroups::plan_unit(linux, &spec.annotations, &request.id, &facts.cgroups, systemd)?,
        None => cgroups::plan(linux, &request.id, &facts.cgroups)?,
    };
    let cgroup = cgroup.divided(&spec.annotations, &facts.cgroups)?;
    // What a user makes is his own, and his to give to nobody.
    let divides = cgroup.delegated.is_some() || divides_cgroup(spec, &namespaces);
    let owner = cgroup_owner(spec, &namespaces, userns.as_ref()).filter(|_| divides && facts.process.euid == 0);
    let cgroup = cgroup.delegated_to(owner);
    let rootfs = rootfs::plan(&RootfsInput {
        spec,
        bundle: &request.bundle,
        no_pivot: request.no_pivot,
        own_mount_namespace: namespaces.has(Kind::Mount),
        own_user_namespace: namespaces.has(Kind::User) || facts.process.user_namespace,
        own_network_namespace: namespaces.has(Kind::Network),
        rootless: facts.process.is_rootless(),
        cgroup_namespace: namespaces.has(Kind::Cgroup),
        terminal: process.terminal,
        selinux: facts.process.selinux,
        cgroups: &facts.cgroups,
        cgroup_dirs: cgroup.location().dirs(),
    })?;
    for maps in &rootfs.id_maps {
        userns::check_map(&format!("mounts[{}].uidMappings", maps.mount), &maps.uids)?;
        userns::check_map(&format!("mounts[{}].gidMappings", maps.mount), &maps.gids)?;
    }
    let owned = Owned {
        ipc: namespaces.has(Kind::Ipc),
        network: namespaces.has(Kind::Network),
        uts: namespaces.has(Kind::Uts),
        user: namespaces.has(Kind::User),
    };
    let hooks = spec.hooks.as_ref().map(hooks::plan).transpose()?.unwrap_or_default();
    let process = plan_process(process, spec, request, &facts.process, true)?;
    let plan_rdt = |rdt| intel_rdt::plan(rdt, &request.id, facts.resctrl.as_ref());
    let intel_rdt = linux.intel_rdt.as_ref().map(plan_rdt).transpose()?;
    let mut warnings = [rootfs.warnings.clone(), process.capabilities.warnings.clone()].concat();
    warnings.extend(tell_unknown(&spec.unknown));
    warnings.extend(tell_not_looked_at(&spec.annotations));
    warnings.extend(cgroups::tell_unknown_access(linux.resources.as_ref().map_or(&[][..], |limits| &limits.devices)));
    warnings.extend(cgroup.unit.iter().flat_map(|unit| unit.warnings.clone()));
    warnings.extend(intel_rdt.iter().filter_map(|rdt| rdt.warning.clone()));
    Ok(Plan {
        sysctl: sysctl::plan(&linux.sysctl, owned, &spec.domainname)?,
        net_devices: netdev::plan(&linux.net_devices, namespaces.has(Kind::Network))?,
        time: namespaces::plan_time(&namespaces, &linux.time_offsets)?,
        namespaces,
        userns,
        cgroup,
        intel_rdt,
        rootfs,
        hooks,
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        warnings,
        process,
    })
}

/// Whether the container is to work with cgroups of its own (config-linux.md "Cgroup ownership").
fn divides_cgroup(spec: &Spec, namespaces: &NamespacesPlan) -> bool {
    let writable = |mount: &Mount| {
        matches!(mount.kind.as_str(), "cgroup" | "cgroup2")
            && Path::new(&mount.destination) == Path::new("/sys/fs/cgroup")
            && !mount.options.iter().any(|option| option == "ro")
    };
    namespaces.makes(Kind::Cgroup) && spec.mounts.iter().any(writable)
}

/// The user of the host who runs the container's process: its cgroup belongs to him, if that is the container's to divide.
fn cgroup_owner(spec: &Spec, namespaces: &NamespacesPlan, userns: Option<&UsernsPlan>) -> Option<u32> {
    let uid = spec.process.as_ref()?.user.uid;
    match userns {
        Some(userns) => userns.host_uid(uid),
        None => (!namespaces.has(Kind::User)).then_some(uid),
    }
}

/// Plans a process that is executed in a container whose spec is `spec`.
///
/// # Errors
/// As [`plan`].
pub fn plan_exec(process: &Process, spec: &Spec, request: &Request, facts: &ProcessFacts) -> Result<ProcessPlan> {
    let process = inherit(process.clone(), spec.process.as_ref());
    plan_process(&process, spec, request, facts, false).during(Phase::Plan)
}

/// crun's annotations that change what it does, and nothing here.
const NOT_LOOKED_AT: [&str; 4] = [
    "run.oci.handler",
    "run.oci.seccomp.plugins",
    "run.oci.seccomp_fail_unknown_syscall",
    "run.oci.systemd.force_cgroup_v1",
];

fn tell_not_looked_at(annotations: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    let there = NOT_LOOKED_AT.iter().filter(|name| annotations.contains_key(**name));
    there.map(|name| format!("annotations[\"{name}\"]: it is crun's, and has no effect in this version of creel"))
}

/// Warnings of fields that are not known; no more than a log, or a shim's worker, can do with.
fn tell_unknown(fields: &[String]) -> impl Iterator<Item = String> {
    let told = fields.iter().take(MOST_TOLD).map(|field| format!("{CONFIG}: {field} is not known, and ignored"));
    let more = fields.len().saturating_sub(MOST_TOLD);
    told.chain((more > 0).then(|| format!("{CONFIG}: {more} more fields are not known, and ignored")))
}

/// A process that joins is killed no later and no sooner than the container's own, and runs as that does, unless it says
/// something else; as in runc.
fn inherit(mut process: Process, configured: Option<&Process>) -> Process {
    let Some(configured) = configured else { return process };
    process.oom_score_adj = process.oom_score_adj.or(configured.oom_score_adj);
    process.scheduler = process.scheduler.or_else(|| configured.scheduler.clone());
    process.io_priority = process.io_priority.or_else(|| configured.io_priority.clone());
    process.exec_cpu_affinity = process.exec_cpu_affinity.or_else(|| configured.exec_cpu_affinity.clone());
    process
}

fn plan_process(
    process: &Process,
    spec: &Spec,
    request: &Request,
    facts: &ProcessFacts,
    init: bool,
) -> Result<ProcessPlan> {
    if process.args.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("process.args", "it must name an executable"));
    }
    if !Path::new(&process.cwd).is_absolute() {
        return Err(Error::invalid("process.cwd", format!("\"{}\" is not an absolute path", process.cwd)));
    }
    check_strings("process.args", &process.args)?;
    let seccomp = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    Ok(ProcessPlan {
        args: process.args.clone(),
        env: environment(&process.env)?,
        cwd: PathBuf::from(&process.cwd),
        attributes: attributes::plan(process, spec, init)?,
        capabilities: capabilities::plan(process.capabilities.as_ref(), facts.last_capability),
        no_new_privileges: process.no_new_privileges,
        seccomp: seccomp::plan_annotated(seccomp, &spec.annotations)?,
        lsm: lsm::plan(&process.apparmor_profile, &process.selinux_label, facts.apparmor, facts.selinux)?,
        terminal: process.terminal.then_some(TerminalPlan { size: process.console_size, console: init }),
        keyring: (!request.no_new_keyring).then(|| format!("_ses.{}", request.id)),
        passed_fds: request.passed_fds,
        unprivileged: facts.euid != 0,
    })
}

/// The environment with each name once: the last one wins, at the place of the last one, as in runc.
fn environment(env: &[String]) -> Result<Vec<String>> {
    check_strings("process.env", env)?;
    let mut unique: Vec<String> = Vec::with_capacity(env.len());
    for (index, line) in env.iter().enumerate() {
        let Some((name, _)) = line.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Error::invalid(format!("process.env[{index}]"), format!("\"{line}\" is not NAME=value")));
        };
        let is_later = env.iter().skip(index + 1).any(|later| later.split_once('=').is_some_and(|pair| pair.0 == name));
        if !is_later {
            unique.push(line.clone());
        }
    }
    Ok(unique)
}

/// The kernel's strings end at a NUL: what follows one would silently be lost.
fn check_strings(field: &str, strings: &[String]) -> Result<()> {
    match strings.iter().position(|string| string.contains('\0')) {
        Some(index) => Err(Error::invalid(format!("{field}[{index}]"), "it contains a NUL character")),
        None => Ok(()),
    }
}

fn check_names(spec: &Spec, namespaces: &NamespacesPlan) -> Result<()> {
    for (field, value) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        if !value.is_empty() && !namespaces.has(Kind::Uts) {
            return Err(Error::invalid(field, "it cannot be set without a uts namespace of the container's own")
                .remedy("add {\"type\": \"uts\"} to linux.namespaces"));
        }
        if value.len() > 64 || value.contains('\0') {
            return Err(Error::invalid(field, "it must have at most 64 bytes, none of them NUL"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
