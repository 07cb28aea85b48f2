//! config.json of images, without a store.

use serde_json::json;

use super::config;
use super::request::{Network, Request};
use super::user::resolve;
use crate::manifest::Config;
use crate::testing::TempDir;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n4294967296:x:0:0::/:\nbad:x:-1:0::/:\n";
const GROUP: &str = "root:x:0:\nweb:x:34:\nvideo:x:44:web,root\naudio:x:29:other\nlog:x:4:web,web\n";

fn rootfs() -> TempDir {
    let dir = TempDir::new("rootfs");
    std::fs::create_dir(dir.path().join("etc")).expect("mkdir");
    std::fs::write(dir.path().join("etc/passwd"), PASSWD).expect("passwd");
    std::fs::write(dir.path().join("etc/group"), GROUP).expect("group");
    dir
}

#[test]
fn users_and_their_groups_exactly() {
    let dir = rootfs();
    for (text, uid, gid, groups) in [
        ("", 0, 0, &[0, 44][..]),
        ("root", 0, 0, &[0, 44]),
        ("0", 0, 0, &[0]),
        ("web", 33, 34, &[34, 44, 4]),
        ("web:", 33, 34, &[34, 44, 4]),
        ("33", 33, 34, &[34]),
        ("web:video", 33, 44, &[44]),
        ("33:7", 33, 7, &[7]),
        (":44", 0, 44, &[44]),
        ("1000", 1000, 0, &[0]),
        ("4294967294", 4_294_967_294, 0, &[0]),
    ] {
        let identity = resolve(text, dir.path()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((identity.uid, identity.gid, &identity.groups[..]), (uid, gid, groups), "{text}");
    }
    for text in [
        "4294967295",
        "4294967296",
        "99999999999999999999",
        "-1",
        "+1",
        "bad",
        "nobody",
        "web:x",
        "web:-1",
        "0:4294967296",
    ] {
        assert!(resolve(text, dir.path()).is_err(), "{text}");
    }
}

#[test]
fn files_of_users_that_attack_are_refused() {
    use std::os::unix::fs::symlink;
    let dir = rootfs();
    let passwd = dir.path().join("etc/passwd");
    std::fs::remove_file(&passwd).expect("remove");
    symlink("/../../../../etc/passwd", &passwd).expect("symlink");
    assert!(resolve("daemon", dir.path()).is_err(), "the link ends inside, at itself");
    std::fs::remove_file(&passwd).expect("remove");
    let file = std::fs::File::create(&passwd).expect("create");
    file.set_len(4 << 30).expect("four gigabytes of hole");
    assert!(resolve("web", dir.path()).is_err_and(|error| error.to_string().contains("/etc/passwd")));
    file.set_len(0).expect("truncate");
    std::os::unix::fs::FileExt::write_all_at(&file, "root:x:0:0::/:\n".repeat(2_000_000).as_bytes(), 0).expect("write");
    assert!(resolve("web", dir.path()).is_err(), "too many lines");
}

#[test]
fn labels_are_not_annotations_and_the_command_is_put_together() {
    let dir = rootfs();
    let image = json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
        "config": {"Entrypoint": ["/init", "-v"], "Cmd": ["serve"], "Env": ["A=1", "PATH=/p"], "User": "web", "StopSignal": "SIGQUIT",
                   "Labels": {"run.oci.hooks.stdout": "/x", "org.systemd.property.ExecStop": "y", "org.opencontainers.image.os": "z"}},
    });
    let image = Config::parse(image.to_string().as_bytes()).expect("a configuration");
    let build = |request: &Request| config::build(&image, request, dir.path(), Vec::new());
    let spec = build(&Request::default()).expect("config.json");
    assert_eq!(spec["process"]["args"], json!(["/init", "-v", "serve"]));
    assert_eq!(spec["process"]["env"], json!(["A=1", "PATH=/p", "HOME=/srv"]));
    let wanted = json!({"org.opencontainers.image.os": "linux", "org.opencontainers.image.architecture": "amd64",
                        "org.opencontainers.image.stopSignal": "SIGQUIT"});
    assert_eq!(spec["annotations"], wanted);
    assert_eq!(spec["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(spec["linux"]["seccomp"]["syscalls"].as_array().is_some_and(|rules| rules.len() > 10));
    assert!(!spec["linux"]["seccomp"].to_string().contains("\"comment\""), "runtimes warn of each");

    let request = Request {
        args: vec!["x".into()],
        entrypoint: Some("/bin/sh".into()),
        env: vec!["A=2".into()],
        workdir: Some("/w".into()),
        memory: Some(64 << 20),
        cpus: Some(1500),
        network: Network::Host,
        ..Request::default()
    };
    let spec = build(&request).expect("config.json");
    assert_eq!(spec["process"]["args"], json!(["/bin/sh", "x"]));
    assert_eq!(spec["process"]["env"], json!(["PATH=/p", "A=2", "HOME=/srv"]));
    assert_eq!(spec["linux"]["resources"]["memory"], json!({"limit": 64 << 20}));
    assert_eq!(spec["linux"]["resources"]["cpu"], json!({"period": 100_000, "quota": 150_000}));
    assert!(!spec["linux"]["namespaces"].to_string().contains("network"));

    for (wrong, what) in [
        (Request { env: vec!["NAME".into()], ..Request::default() }, "--env"),
        (Request { workdir: Some("relative".into()), ..Request::default() }, "--workdir"),
        (Request { volumes: vec!["/tmp".into()], ..Request::default() }, "--volume"),
        (Request { volumes: vec!["/tmp:/a/../b".into()], ..Request::default() }, "--volume"),
        (Request { user: Some("nobody".into()), ..Request::default() }, "nobody"),
    ] {
        let error = build(&wrong).expect_err(what).to_string();
        assert!(error.contains(what), "{error}");
    }
}
