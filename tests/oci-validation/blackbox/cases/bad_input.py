"""What cannot work: a clear error, runc's exit code, nothing left behind."""

import os

from suite import Skipped, case


def write_config(t, text):
    with open(f"{t.bundle}/config.json", "w") as file:
        file.write(text)


def refused_as_it_is(t, *words, arguments=(), **more):
    """Like t.refused, without writing config.json."""
    result = t.rt("run", *arguments, t.id, code=1, **more)
    for word in words:
        t.contains(result.said, word)
    t.none_left()


@case(runc="1.1.5 does not look at the version")
def an_unknown_spec_version(t):
    for version in ("2.0.0", "0.9.0", "", "one"):
        t.config["ociVersion"] = version
        t.refused("ersion")


@case(crun="before 1.14.2 refuses what is newer than 1.0")
def later_spec_versions_of_the_same_major(t):
    for version in ("1.0.0", "1.1.0", "1.2.1", "1.3.0", "1.0.2-dev"):
        t.config["ociVersion"] = version
        t.run("true")


@case()
def a_missing_config(t):
    refused_as_it_is(t, "config.json")


@case()
def a_missing_bundle(t):
    t.save()
    refused_as_it_is(t, "/nope/bundle", arguments=["--bundle", "/nope/bundle"])


@case()
def bad_json(t):
    for text in ('{"ociVersion": ', "", "[]", '{"ociVersion": "1.0.2", "process": 3}', "\0"):
        write_config(t, text)
        refused_as_it_is(t)


@case(runc="gives neither", crun="gives neither")
def bad_json_is_told_with_its_place(t):
    write_config(t, '{\n  "ociVersion": "1.0.2",\n  oops\n}')
    refused_as_it_is(t, "line 3", "column")


@case()
def unknown_fields_are_ignored(t):
    t.config["future"] = {"a": [1]}
    t.process["future"] = 1
    t.linux["future"] = "x"
    t.run("true")


@case()
def null_fields_are_as_absent(t):
    t.config.update(hooks=None, annotations=None)
    t.linux.update(devices=None, sysctl=None, seccomp=None, maskedPaths=None)
    t.process.update(rlimits=None)
    t.run("true")


@case()
def a_missing_rootfs(t):
    t.config["root"]["path"] = "nope"
    t.refused("nope")


@case()
def a_rootfs_that_is_a_file(t):
    t.config["root"]["path"] = "../file"
    t.file("file")
    t.refused()


@case()
def no_root(t):
    del t.config["root"]
    t.refused("root")


@case()
def no_process(t):
    del t.config["process"]
    t.refused()


@case()
def no_args(t):
    for args in ([], None):
        t.process["args"] = args
        t.refused()


@case(crun="takes it")
def a_relative_cwd(t):
    t.process["cwd"] = "etc"
    t.refused("wd")


@case()
def a_negative_uid(t):
    t.process["user"]["uid"] = -1
    t.refused("-1")


@case(crun="1.8.1 leaves the cgroup on v2")
def an_unknown_rlimit(t):
    t.process["rlimits"] = [{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}]
    t.refused("RLIMIT_NOPE")


@case(crun="1.8.1 leaves the cgroup on v2")
def an_rlimit_that_cannot_be_set(t):
    t.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 10}]
    t.refused()


@case()
def a_sysctl_of_the_whole_host(t):
    for name in ("vm.swappiness", "kernel.panic", "kernel.nope"):
        t.linux["sysctl"] = {name: "1"}
        t.refused(name)


@case()
def a_sysctl_without_its_namespace(t):
    t.config["mounts"] = [m for m in t.config["mounts"] if m["destination"] not in ("/sys", "/dev/mqueue")]
    t.remove_namespace("network")
    t.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    t.refused("net.ipv4.ip_forward")


@case()
def a_sysctl_value_that_the_kernel_refuses(t):
    t.linux["sysctl"] = {"net.ipv4.ip_forward": "words"}
    t.refused("ip_forward")


# runc 1.1 to 1.5 exit with 1 from run and create (255 from exec); 126 and 127 are what shells and engines make of it.
@case()
def a_missing_executable(t):
    for name in ("nonexistent", "/nonexistent"):
        t.process["args"] = [name]
        t.save()
        for command in ("run", "create"):
            t.contains(t.rt(command, t.id, code={1, 127}).err, "nonexistent")
            t.none_left()


@case(crun="names the executable only if it is missing")
def what_is_not_executable(t):
    for name in ("/etc/passwd", "/etc"):
        t.process["args"] = [name]
        t.save()
        t.contains(t.rt("run", t.id, code={1, 126}).err, name)
        t.none_left()


@case()
def an_interpreter_that_is_missing(t):
    t.file("/script", "#!/nope/interpreter\n", 0o755)
    result = t.run("/script", code={1, 127, 255})
    t.true(result.err.strip(), "no message")
    t.none_left()


@case()
def a_file_of_no_known_format(t):
    t.file("/garbage", "\x01\x02\x03", 0o755)
    result = t.run("/garbage", code={1, 126, 127, 255})
    t.true(result.err.strip(), "no message")
    t.none_left()


@case()
def an_id_in_use(t):
    t.sleeper()
    for command in ("run", "create"):
        t.contains(t.rt(command, t.id, code=1).err, "exist")
    t.equal(t.state()["status"], "running")
    t.contains(t.exec(t.id, "hostname").out, "box")


@case(crun="dangerous: delete of .. removes the directory above its root")
def ids_with_bad_characters(t):
    t.save()
    for id in ("a/b", "..", ".", "", "a b", "a\nb", "ä", "../../etc", "a*"):
        for command in ("run", "create", "state", "delete"):
            result = t.rt(command, id, code=1)
            t.true(result.err.strip(), "no message")
    t.none_left()


@case()
def too_many_arguments(t):
    t.save()
    result = t.rt("run", t.id, "more", code=None)
    t.true(result.code != 0, "it was accepted")
    t.none_left()


@case(crun="1.8.1 leaves a cgroup behind")
def a_mount_that_cannot_be_made(t):
    for mount in (
        {"type": "nosuchfs", "source": "x"},
        {"type": "bind", "source": "/nope/source", "options": ["bind"]},
        {"type": "tmpfs", "source": "tmpfs", "options": ["size=words"]},
    ):
        t.mount("/made/for/it", **mount)
        t.refused("/made/for/it")
        t.config["mounts"].pop()


@case(crun="1.8.1 leaves a cgroup behind")
def a_mount_onto_a_file_that_should_be_a_directory(t):
    t.file("/plain")
    t.mount("/plain", type="tmpfs", source="tmpfs")
    t.refused("/plain")


@case(crun="1.8.1 leaves a cgroup behind")
def a_device_that_cannot_be_made(t):
    t.linux["devices"] = [{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]
    t.refused()


@case()
def a_failed_create_can_be_tried_again(t):
    t.create("/nonexistent", code={1, 127})
    t.create("sleep", "1000")
    t.equal(t.state()["status"], "created")


@case()
def a_root_that_cannot_be_written(t):
    t.save()
    import subprocess

    result = subprocess.run([t.runtime, "--root", "/proc/nope", "run", t.id], cwd=t.bundle, capture_output=True, text=True)
    t.true(result.returncode != 0 and result.stderr.strip(), "accepted, or silent")
    t.none_left()


@case()
def state_of_garbage(t):
    os.makedirs(f"{t.root}/{t.id}")
    result = t.rt("state", t.id, code=1)
    t.true(result.err.strip(), "no message")
    t.equal(t.rt("list", "-q", code=None).out.replace(f"{t.id}\n", ""), "")
    os.rmdir(f"{t.root}/{t.id}")


@case(crun="1.8.1 leaves the cgroup on v2")
def a_label_without_its_module_is_refused(t):
    if os.path.exists("/sys/fs/selinux/enforce"):
        raise Skipped("this host has SELinux")
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    t.linux["mountLabel"] = label
    t.refused()
    del t.linux["mountLabel"]
    t.process["selinuxLabel"] = label
    t.refused()


# --- Intel RDT, which this host need not have


def has_resctrl():
    return any(line.split(" - ")[1].startswith("resctrl ") for line in open("/proc/self/mountinfo"))


@case(crun="1.8.1 ignores it")
def intel_rdt_without_resctrl_is_refused(t):
    if has_resctrl():
        raise Skipped("resctrl is mounted")
    t.linux["intelRdt"] = {"closID": "gold", "l3CacheSchema": "L3:0=f"}
    result = t.refused("ntel")
    if t.name == "creel":
        for word in ("linux.intelRdt", "resctrl is not mounted", "mount -t resctrl"):
            t.contains(result.said, word)


@case(crun="1.8.1 ignores it", runc="1.1.5 says that there is no RDT before it looks at the name")
def a_class_of_service_is_one_directory(t):
    for name in ("../gold", "a/b", "..", "info"):
        t.linux["intelRdt"] = {"closID": name}
        t.refused("linux.intelRdt.closID", name)


# --- as Go's JSON, which runc's users count on


@case(crun="1.8.1 is not as lenient")
def null_is_no_value(t):
    t.process["terminal"] = None
    t.process["noNewPrivileges"] = None
    t.process["user"] = {"uid": None, "gid": 0, "additionalGids": None}
    t.config["root"]["readonly"] = None
    t.config["hooks"] = None
    t.config["annotations"] = None
    t.linux["seccomp"] = None
    t.linux["resources"] = {"devices": [{"allow": False, "access": "rwm", "type": None, "major": None}], "memory": None}
    t.equal(t.run("id", "-u").out, "0\n")


@case(crun="1.8.1 takes a list for an object without fields")
def a_list_is_no_object(t):
    for name in ("user", "capabilities"):
        kept, t.process[name] = t.process[name], []
        t.refused(name)
        t.process[name] = kept
    t.linux["resources"] = []
    t.refused("resources")
