#!/usr/bin/env python3
"""The black-box suite on a kernel that lacks one newer system call, or one family of them, after the other.

    fallbacks.py [--quick] [--only NAME] RUNTIME

Each leg has enosys.py execute the suite, and so all that is in it: root's runtime, and that of users, who may not install
such a filter. docs/kernel-features.md says what then takes the call's place. What a leg cannot have is listed here with its
reason; it must still be refused in words. --quick: a selection, for every run of the tests.
"""

import argparse
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RUN = f"{HERE}/../tests/oci-validation/blackbox/run.py"
DETACHED = ["open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick"]
# Long loops that say nothing more here, and a payload that sees this leg's own filter.
NOT_THE_RUNTIMES = r"^(kills|leaks)\.|^seccomp\.without_a_profile_there_is_no_filter$"
ALWAYS = r"lifecycle\.(run_gives_the_exit|create_does_not_run|delete_force_kills)|execs\.exec_(gives_the_exit|sees)"


class Leg:
    """`missing`: what enosys.py takes away; `quick`: cases, by pattern, that use it most; `without`: cases that cannot
    pass, and why."""

    def __init__(self, name, missing, quick, without=()):
        self.name, self.missing, self.quick, self.without = name, missing, quick, dict(without)


MOUNTS = r"^(mounts\.|cgroup_mounts\.|hostile\..*(mask|null|dev|ptmx|console)|terminals\.run)"
STAGE = [
    (r"idmap|id_map", "id-mapped mounts are mount_setattr(2)'s alone"),
    (r"^paths\.rootfs_propagation$", "where `/` is shared with the host, a stage over it would show there"),
    (r"^namespaces\.without_a_mount_namespace_it_runs_in_a_chroot$", "a stage in the host's mount namespace would show there"),
    (r"^live_mounts\.(a_bind|a_file_|no_symlink_of|what_is_mounted|what_cannot_stay)", "a stage in a container that lives would show there"),
]
NO_STAGE = [
    *STAGE,
    (r"^live_mounts\.(a_tmpfs|a_filesystem|all_are_added)", "as above"),
    (r"^userns\.its_mount_namespace_is_joined$", "moves go by /proc, which that mount namespace has not"),
    (r"^nested\.what_podman_does_not", "only fsmount(2) has the kernel's words for what the remedy is about"),
]
AGENTS = [(r"^seccomp_notify\.|_agent", "a process has one filter with a listener, and this leg's supervisor has it")]
LEGS = [
    Leg("openat2", ["openat2"], r"^(paths\.|hostile\.|terminals\.)"),
    Leg("mount_setattr", ["mount_setattr"], MOUNTS, STAGE),
    Leg("detached mounts", [*DETACHED, "mount_setattr"], MOUNTS, NO_STAGE),
    Leg("close_range", ["close_range"], r"^descriptors\."),
    Leg("close_range, its flag", ["close_range:cloexec"], r"^descriptors\.(only|preserve)"),
    Leg("clone3", ["clone3"], r"^(namespaces\.join_a_pid|cgroups\.every)"),
    Leg("clone3 into a cgroup", ["clone3:cgroup"], r"^cgroups\.(every|the_group)", AGENTS),
    Leg("setns with a pidfd", ["setns:pidfd"], r"^(namespaces\.join|execs\.exec_(runs|cwd|user))"),
]


def run(leg, runtime, quick):
    """The suite's own (passed, failed, skipped); cases that the leg cannot have are left out."""
    pattern = "^" + "".join(f"(?!.*(?:{case}))" for case in (NOT_THE_RUNTIMES, *leg.without))
    if quick:
        pattern += f"(?=.*(?:{ALWAYS}|{leg.quick}))"
    command = [f"{HERE}/enosys.py", ",".join(leg.missing), RUN, "--case", pattern, runtime]
    result = subprocess.run(command, capture_output=True, text=True)
    last = re.search(r"^blackbox: (\d+) passed, (\d+) failed, (\d+) skipped", result.stdout, re.M)
    for line in result.stdout.splitlines():
        if line and not line.startswith(("skip ", "blackbox:")):
            print(f"     {line}")
    if not last:
        print(result.stderr)
        return 0, 1, 0
    return tuple(map(int, last.groups()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("runtime")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("fallbacks.py: needs root")
    runtime = os.path.abspath(options.runtime)
    sums = [0, 0, 0]
    for leg in LEGS:
        if options.only not in leg.name:
            continue
        counts = run(leg, runtime, options.quick)
        print(f"{'ok  ' if not counts[1] else 'FAIL'} without {leg.name}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped", flush=True)
        sums = [total + count for total, count in zip(sums, counts)]
    print(f"fallbacks: {sums[0]} passed, {sums[1]} failed, {sums[2]} skipped")
    return 1 if sums[1] else 0


if __name__ == "__main__":
    sys.exit(main())
