//! What containerd's own shim was found to do wrong once, by CVE. docs/security-tests.md lists them with the runtime's.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use containerd_shim_protos::api::{ExecProcessRequest, StartRequest};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;

use crate::common::{ID, Pod, soon, with_shim};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("stat").permissions().mode() & 0o777
}

/// What enters containers is the shim itself, and copies of it. That nobody can write to such a mount, the runtime's own
/// cases show. Removed to see it fail: the sealing in `sealed_exe::ensure`.
#[test]
fn cve_2019_5736_the_shim_executes_what_nobody_can_write_to() {
    with_shim("cve-2019-5736", Path::new(""), |pod| {
        let executable = std::fs::File::open(format!("/proc/{}/exe", pod.shim)).expect("open");
        let mount = rustix::fs::fstatvfs(&executable).expect("fstatvfs");
        assert!(mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{:?}", mount.f_flag);
    });
}

/// A socket without a path is everybody's in the same network namespace. Removed to see it fail: the umask in `listen`
/// (bootstrap/address.rs).
#[test]
fn cve_2020_15257_the_socket_has_a_path_and_is_its_owners() {
    with_shim("cve-2020-15257", Path::new(""), |pod| {
        let links = std::fs::read_dir(format!("/proc/{}/fd", pod.shim)).expect("fd").flatten();
        let own: HashSet<String> = links
            .filter_map(|link| std::fs::read_link(link.path()).ok()?.to_str().map(str::to_owned))
            .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        assert!(!own.is_empty(), "it listens");
        let sockets = std::fs::read_to_string(format!("/proc/{}/net/unix", pod.shim)).expect("sockets");
        // proc_net_unix: Num RefCount Protocol Flags Type St Inode Path
        let named = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            own.contains(*fields.get(6)?).then(|| fields.get(7).unwrap_or(&"").to_string())
        };
        let names: Vec<String> = sockets.lines().filter_map(named).collect();
        assert!(names.iter().any(|name| *name == pod.socket.to_string_lossy()), "{names:?}");
        assert!(names.iter().all(|name| !name.starts_with('@')), "{names:?}");
        assert_eq!(mode(&pod.socket), 0o600);
    });
}

/// Also CVE-2024-25621. Removed to see it fail: RWXU in `Store::make_directory` (container/store.rs of libcontainer).
#[test]
fn cve_2021_41103_nobody_else_can_look_into_the_state() {
    with_shim("cve-2021-41103", Path::new(""), |pod| {
        pod.fill_rootfs();
        pod.create("exit 0", &[], "", "").expect("create");
        let mut directories = vec![pod.base.join("state")];
        let mut seen = Vec::new();
        while let Some(directory) = directories.pop() {
            seen.push((directory.clone(), mode(&directory)));
            directories.extend(
                std::fs::read_dir(&directory)
                    .expect("list")
                    .flatten()
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        let has_state = seen.iter().any(|(path, _)| path.join("state.json").exists());
        assert!(has_state && mode(&pod.bundle.join("config.json")) & 0o022 == 0);
        // Whoever cannot pass the first directory reaches none of those below.
        let own = seen.iter().filter(|(path, _)| path.join("state.json").exists());
        own.for_each(|(path, mode)| assert_eq!(*mode, 0o700, "{}", path.display()));
    });
}

/// Also CVE-2022-31030 and CVE-2025-64329. Removed to see it fail: the process's removal in `delete`, which the test
/// itself then leaves out.
#[test]
fn cve_2022_23471_failing_execs_on_terminals_leave_nothing() {
    let whole = std::env::var_os("SECURITY_WHOLE").is_some();
    with_shim("cve-2022-23471", Path::new(""), move |pod| {
        pod.fill_rootfs();
        pod.create("sleep 1000", &[], "", "").expect("create");
        pod.start_task().expect("start");
        let threads = || std::fs::read_dir(format!("/proc/{}/task", pod.shim)).expect("task").count();
        for number in 0..50 {
            fail(pod, number);
        }
        let before = (pod.size(), threads());
        for number in 0..if whole { 10_000 } else { 500 } {
            fail(pod, number);
        }
        let ((descriptors, memory), now) = (pod.size(), threads());
        assert_eq!((descriptors, now), (before.0.0, before.1), "descriptors and threads");
        assert!(memory <= before.0.1 + 128, "{memory} KiB, {} before", before.0.1);
    });
}

/// An exec on a terminal of what does not exist, or whose output has nowhere to go.
fn fail(pod: &Pod, number: usize) {
    let (program, stdout) =
        if number.is_multiple_of(2) { ("/not/there", "") } else { ("/bin/busybox", "/not/there/fifo") };
    let spec = serde_json::json!({
        "args": [program, "true"], "cwd": "/", "user": { "uid": 0, "gid": 0 }, "terminal": true
    });
    let request = ExecProcessRequest {
        id: ID.into(),
        exec_id: format!("e{number}"),
        terminal: true,
        stdout: stdout.into(),
        spec: MessageField::some(Any { value: spec.to_string().into_bytes(), ..Any::default() }),
        ..ExecProcessRequest::default()
    };
    if pod.client.exec(soon(), &request).is_err() {
        return;
    }
    let start = StartRequest { id: ID.into(), exec_id: request.exec_id.clone(), ..StartRequest::default() };
    pod.client.start(soon(), &start).expect_err("it cannot start");
    pod.delete_process(&request.exec_id).expect("delete");
}
