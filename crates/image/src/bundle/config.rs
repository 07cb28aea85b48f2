//! config.json from an image's configuration and a user's wishes (image-spec, conversion.md).

use std::path::Path;

use serde_json::{Map, Value, json};

use super::request::{Network, Request};
use super::user::{self, Identity};
use super::{users, volumes};
use crate::error::{Error, Result};
use crate::manifest::{Config, Execution};

/// The profile that goes with the capabilities below; seccomp-profiles/README.md tells where it comes from.
const SECCOMP: &str = include_str!("../../../../seccomp-profiles/default.json");

/// What today's engines give a container by default.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole configuration. `rootfs` is asked for users; `volumes` are the mounts of the image's volumes.
pub fn build(image: &Config, request: &Request, rootfs: &Path, volumes: Vec<Value>) -> Result<Value> {
    let execution = &image.config;
    let wanted = request.user.as_deref().unwrap_or(&execution.user);
    let identity = user::resolve(wanted, rootfs)?;
    let mut mounts = base_mounts();
    mounts.extend(volumes);
    for volume in &request.volumes {
        let mount = volumes::requested(volume)?;
        mounts.retain(|other| other["destination"] != mount["destination"]);
        mounts.push(mount);
    }
    if request.network == Network::Host {
        mounts.extend(resolver());
    }
    let mut spec = json!({
        // Nothing newer is used, and older runtimes (crun 1.8) refuse newer numbers.
        "ociVersion": "1.0.2",
        "process": process(execution, request, &identity)?,
        "root": {"path": "rootfs", "readonly": request.read_only},
        "hostname": request.hostname.as_deref().unwrap_or("creel"),
        "mounts": mounts,
        "annotations": annotations(image)?,
        "linux": linux(request)?,
    });
    if let Some(users) = &request.users {
        users::apply(&mut spec, users, request.network)?;
    }
    Ok(spec)
}

fn process(image: &Execution, request: &Request, identity: &Identity) -> Result<Value> {
    let Identity { uid, gid, groups, home } = identity;
    Ok(json!({
        "terminal": request.terminal,
        "user": {"uid": uid, "gid": gid, "additionalGids": groups},
        "args": args(image, request)?,
        "env": environment(image, request, home)?,
        "cwd": working_directory(image, request)?,
        "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        "noNewPrivileges": false,
    }))
}

/// The image's command is what follows its entry point by default; a user's replaces it.
fn args(image: &Execution, request: &Request) -> Result<Vec<String>> {
    let mut args = match &request.entrypoint {
        Some(entrypoint) => vec![entrypoint.clone()],
        None => image.entrypoint.clone(),
    };
    if !request.args.is_empty() {
        args.extend_from_slice(&request.args);
    } else if request.entrypoint.is_none() {
        args.extend_from_slice(&image.cmd);
    }
    if args.is_empty() {
        return Err(Error::invalid("command", "the image says nothing about what to execute").remedy("give a command"));
    }
    Ok(args)
}

/// The image's variables as they are, the user's over them, and what every process expects where neither has it.
fn environment(image: &Execution, request: &Request, home: &str) -> Result<Vec<String>> {
    let mut all: Vec<String> = image.env.clone();
    for variable in &request.env {
        let name = variable.split('=').next().unwrap_or_default();
        if name.is_empty() || !variable.contains('=') {
            return Err(Error::invalid(format!("--env {variable:?}"), "is not of the form NAME=value"));
        }
        all.retain(|other| other.split('=').next() != Some(name));
        all.push(variable.clone());
    }
    let home = format!("HOME={}", if home.is_empty() { "/" } else { home });
    let mut defaults = vec![PATH.to_owned(), home];
    if request.terminal {
        defaults.push("TERM=xterm".to_owned());
    }
    for default in defaults {
        let name = default.split('=').next();
        if !all.iter().any(|variable| variable.split('=').next() == name) {
            all.push(default);
        }
    }
    Ok(all)
}

fn working_directory(image: &Execution, request: &Request) -> Result<String> {
    let directory = request.workdir.as_deref().unwrap_or(&image.working_dir);
    match directory {
        "" => Ok("/".to_owned()),
        absolute if absolute.starts_with('/') => Ok(absolute.to_owned()),
        relative if request.workdir.is_none() => Ok(format!("/{relative}")),
        relative => Err(Error::invalid(format!("--workdir {relative:?}"), "is not an absolute path")),
    }
}

/// What the specification derives from fixed fields, and nothing else. An image's labels are free text of whoever made it; as
/// annotations they could act on runtimes and loggers (containerd's CVE-2026-53488).
fn annotations(image: &Config) -> Result<Map<String, Value>> {
    let execution = &image.config;
    let ports = execution.exposed_ports.keys().map(String::as_str).collect::<Vec<_>>().join(",");
    let created = image.created.as_deref().unwrap_or_default();
    let known = [
        ("os", image.os.as_str()),
        ("architecture", &image.architecture),
        ("variant", &image.variant),
        ("created", created),
        ("stopSignal", stop_signal(&execution.stop_signal)?),
        ("exposedPorts", &ports),
    ];
    let some = known.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(some.map(|(key, value)| (format!("org.opencontainers.image.{key}"), json!(value))).collect())
}

fn stop_signal(text: &str) -> Result<&str> {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-'));
    if letters && text.len() <= 16 {
        return Ok(text);
    }
    Err(Error::corrupt("the image's StopSignal", "is neither the name of a signal nor a number"))
}

fn base_mounts() -> Vec<Value> {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        json!({
            "destination": destination, "type": kind, "source": source, "options": options,
        })
    };
    let quiet = ["nosuid", "noexec", "nodev"];
    let sized = |size: &'static str| ["nosuid", "noexec", "nodev", "mode=1777", size];
    vec![
        mount("/proc", "proc", "proc", &quiet),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &sized("size=65536k")),
        mount("/dev/mqueue", "mqueue", "mqueue", &quiet),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}

/// With the host's network comes its resolver, where it has one.
fn resolver() -> impl Iterator<Item = Value> {
    let files = ["/etc/resolv.conf", "/etc/hosts"].into_iter().filter(|file| Path::new(file).exists());
    files.map(|file| json!({
        "destination": file, "type": "bind", "source": file, "options": ["rbind", "rprivate", "ro", "nosuid", "noexec", "nodev"],
    }))
}

fn linux(request: &Request) -> Result<Value> {
    let mut namespaces = vec!["pid", "ipc", "uts", "mount"];
    if request.network == Network::None {
        namespaces.push("network");
    }
    // Only where v2 governs does a namespace of its own show the container its own cgroup, and no more.
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        namespaces.push("cgroup");
    }
    let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({"type": kind})).collect();
    let mut resources = json!({"devices": [{"allow": false, "access": "rwm"}]});
    if let Some(bytes) = request.memory {
        resources["memory"] = json!({"limit": bytes});
    }
    if let Some(thousandths) = request.cpus {
        resources["cpu"] = json!({"period": 100_000, "quota": thousandths * 100});
    }
    Ok(json!({
        "namespaces": namespaces,
        "resources": resources,
        "maskedPaths": MASKED,
        "readonlyPaths": READ_ONLY,
        "seccomp": seccomp()?,
    }))
}

/// The default profile, without its comments: runtime-spec knows none, and a runtime warns of what it does not know.
fn seccomp() -> Result<Value> {
    let mut profile: Map<String, Value> =
        serde_json::from_str(SECCOMP).map_err(|error| Error::corrupt("the default seccomp profile", error))?;
    profile.remove("comment");
    let rules = profile.get_mut("syscalls").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
        rule.remove("comment");
    }
    Ok(profile.into())
}
