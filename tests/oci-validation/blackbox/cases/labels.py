"""SELinux and AppArmor, where the host has them; `make test-lab` has a machine for each."""

import ctypes
import os

from suite import Skipped, case

PROCESS = "system_u:system_r:container_t:s0:c1,c2"
FILES = "system_u:object_r:container_file_t:s0:c1,c2"
OTHERS = "system_u:object_r:container_file_t:s0:c7,c8"
OLD_CRUN = "1.8.1 gives the label to those filesystems as well that have one of their own, which the kernel refuses"


def selinux():
    if not os.path.exists("/sys/fs/selinux/enforce"):
        raise Skipped("no SELinux here")


def apparmor():
    enabled = "/sys/module/apparmor/parameters/enabled"
    if not (os.path.exists(enabled) and open(enabled).read().startswith("Y")):
        raise Skipped("no AppArmor here")


def label(path):
    return os.getxattr(path, "security.selinux").decode().rstrip("\0")


def through(pid, path):
    """A path in the container of this process, as the host reaches it."""
    return f"/proc/{pid}/root{path}"


# --- SELinux


@case()
def the_process_has_its_selinux_label(t):
    selinux()
    t.process["selinuxLabel"] = PROCESS
    t.equal(t.run("cat", "/proc/self/attr/current").out.rstrip("\0\n"), PROCESS)


@case()
def exec_has_the_containers_selinux_label_or_another(t):
    selinux()
    t.process["selinuxLabel"] = PROCESS
    t.sleeper()
    current = ("cat", "/proc/self/attr/current")
    other = PROCESS.replace("c1,c2", "c3,c4")
    t.equal(t.exec(t.id, *current).out.rstrip("\0\n"), PROCESS)
    t.equal(t.exec("--process-label", other, t.id, *current).out.rstrip("\0\n"), other)


def key_label(id):
    """keyctl(2) KEYCTL_GET_SECURITY, from the host's side."""
    libc, number = ctypes.CDLL(None, use_errno=True), {"x86_64": 250, "aarch64": 219}[os.uname().machine]
    text = ctypes.create_string_buffer(256)
    length = libc.syscall(number, 17, int(id, 16), text, len(text))
    return text.value.decode() if length > 0 else os.strerror(ctypes.get_errno())


@case(crun="does not label keys")
def the_session_keyring_has_the_processs_selinux_label(t):
    selinux()
    t.process["selinuxLabel"] = PROCESS
    t.sleeper()
    (key,) = [line.split()[0] for line in open("/proc/keys") if f"_ses.{t.id}:" in line]
    t.equal(key_label(key), PROCESS)


@case()
def a_selinux_label_that_the_policy_does_not_know_is_refused(t):
    selinux()
    t.process["selinuxLabel"] = "system_u:system_r:nowhere_t:s0"
    t.refused()


@case()
def filesystems_have_the_mount_label(t):
    selinux()
    t.linux["mountLabel"] = FILES
    t.mount("/scratch", type="tmpfs", source="tmpfs", options=["size=1m"])
    pid = t.sleeper()
    for path in ("/scratch", "/dev", "/dev/null", "/dev/shm", "/dev/pts", "/dev/mqueue"):
        t.equal(label(through(pid, path)), FILES, path)
    for path in ("/proc", "/sys"):
        t.lacks(label(through(pid, path)), "container_file_t")


@case()
def files_in_a_labelled_tmpfs_have_the_label(t):
    selinux()
    t.linux["mountLabel"] = FILES
    t.mount("/scratch", type="tmpfs", source="tmpfs", options=["tmpcopyup"])
    t.file("/scratch/old", "x")
    pid = t.sleeper()
    t.exec(t.id, "touch", "/scratch/new")
    for name in ("old", "new"):
        t.equal(label(through(pid, f"/scratch/{name}")), FILES, name)


@case()
def what_lies_over_a_masked_directory_has_the_mount_label(t):
    selinux()
    t.linux["mountLabel"] = FILES
    t.file("/secret/file", "x")
    t.linux["maskedPaths"] = ["/secret"]
    t.equal(label(through(t.sleeper(), "/secret")), FILES)


@case(runc="gives the mount label as well, which the kernel refuses", crun=OLD_CRUN)
def a_mount_with_a_label_of_its_own_keeps_it(t):
    selinux()
    t.linux["mountLabel"] = FILES
    t.mount("/own", type="tmpfs", source="tmpfs", options=[f'context="{OTHERS}"'])
    t.equal(label(through(t.sleeper(), "/own")), OTHERS)


@case()
def a_context_among_the_options_is_taken_with_its_quotes(t):
    selinux()
    t.mount("/own", type="tmpfs", source="tmpfs", options=[f'context="{OTHERS}"'])
    t.equal(label(through(t.sleeper(), "/own")), OTHERS)


@case(runc="knows none of crun's annotations", crun="1.8.1 does not have it yet")
def a_root_context_labels_the_root_only(t):
    selinux()
    t.linux["mountLabel"] = FILES
    t.config["annotations"] = {"run.oci.mount_context_type": "rootcontext"}
    t.mount("/scratch", type="tmpfs", source="tmpfs")
    pid = t.sleeper()
    t.equal(label(through(pid, "/scratch")), FILES)
    # With `context` it would be the mount's, and could not be changed.
    open(through(pid, "/scratch/file"), "w").close()
    os.setxattr(through(pid, "/scratch/file"), "security.selinux", OTHERS.encode())
    t.equal(label(through(pid, "/scratch/file")), OTHERS)


@case(runc="knows none of crun's annotations", crun="1.8.1 does not have it yet")
def a_mount_context_type_is_one_of_four(t):
    selinux()
    t.linux["mountLabel"] = FILES
    t.config["annotations"] = {"run.oci.mount_context_type": "seclabel"}
    t.refused("run.oci.mount_context_type", "seclabel")


@case()
def a_mount_label_that_the_policy_does_not_know_is_refused(t):
    selinux()
    t.linux["mountLabel"] = "system_u:object_r:nowhere_t:s0"
    t.mount("/scratch", type="tmpfs", source="tmpfs")
    t.refused()


# --- AppArmor


@case()
def the_process_has_its_apparmor_profile(t):
    apparmor()
    t.process["apparmorProfile"] = "unconfined"
    t.contains(t.run("cat", "/proc/self/attr/current").out, "unconfined")


@case()
def exec_has_another_apparmor_profile(t):
    apparmor()
    t.sleeper()
    t.contains(t.exec("--apparmor", "unconfined", t.id, "cat", "/proc/self/attr/current").out, "unconfined")
    t.exec("--apparmor", "creel-no-such-profile", t.id, "true", code=(1, 255))


@case()
def an_apparmor_profile_that_is_not_loaded_is_refused(t):
    apparmor()
    t.process["apparmorProfile"] = "creel-no-such-profile"
    result = t.refused("creel-no-such-profile" if t.name == "creel" else "")
    if t.name == "creel":
        t.contains(result.said, "apparmor_parser")
