#!/usr/bin/env python3
"""coverage.py RUNTIME: every field of the runtime-spec that a Linux runtime reads, and every flag of the runtime, is in some case.

A field counts as covered if a case names it (`"swappiness"`, `swappiness=`), a flag if it is given (`--force`). The fields
are those of the specification 1.3.0 (config.md, config-linux.md), the flags those that the program itself tells of.
"""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

FIELDS = {
    "config.md": """ociVersion root path readonly mounts destination source type options uidMappings gidMappings process
        terminal consoleSize height width cwd env args rlimits soft hard capabilities bounding effective inheritable
        permitted ambient noNewPrivileges apparmorProfile oomScoreAdj scheduler policy nice priority flags runtime deadline
        period selinuxLabel ioPriority class execCPUAffinity initial final user uid gid umask additionalGids hostname
        domainname hooks prestart createRuntime createContainer startContainer poststart poststop timeout annotations""",
    "config-linux.md": """namespaces timeOffsets secs nanosecs devices major minor fileMode netDevices name cgroupsPath
        resources allow access memory limit reservation swap swappiness disableOOMKiller
        checkBeforeUpdate cpu shares quota burst realtimeRuntime realtimePeriod cpus mems idle blockIO weight
        weightDevice throttleReadBpsDevice throttleWriteBpsDevice throttleReadIOPSDevice
        throttleWriteIOPSDevice rate hugepageLimits pageSize network classID priorities pids rdma hcaHandles hcaObjects
        unified intelRdt closID l3CacheSchema sysctl seccomp defaultAction
        defaultErrnoRet architectures listenerPath listenerMetadata syscalls names action errnoRet index value
        valueTwo op rootfsPropagation maskedPaths readonlyPaths mountLabel personality domain memoryPolicy mode nodes""",
}

# What no case can reach, and why.
ELSEWHERE = {
    "kernel, kernelTCP, useHierarchy": "the kernel has them no more; they are warned of (unit tests)",
    "leafWeight": "gone with CFQ in Linux 5.0",
    "memBwSchema, schemata, enableMonitoring": "resctrl takes a CPU that has it; plans and the executor have tests",
}


def text_of_cases():
    files = sorted(os.listdir(f"{HERE}/cases"))
    return "\n".join(open(f"{HERE}/cases/{file}").read() for file in files if file.endswith(".py"))


def help_of(runtime, *command):
    return subprocess.run([runtime, *command, "--help"], capture_output=True, text=True, check=True).stdout


def flags(runtime):
    """(command or none, flag) of each that is told of."""
    overview = help_of(runtime)
    commands = re.findall(r"^  ([a-z]+) ", overview.split("COMMANDS:")[1].split("OPTIONS:")[0], re.M)
    for command in [None, *commands]:
        text = help_of(runtime, command) if command else overview
        for flag in re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", text, re.M):
            yield command, flag


def main():
    (runtime,) = sys.argv[1:]
    text = text_of_cases()
    missing = []
    for document, names in FIELDS.items():
        for name in names.split():
            if not re.search(rf"[\"']{name}[\"']|\b{name}=", text):
                missing.append(f"{document}: {name}")
    for command, flag in flags(runtime):
        if flag != "--help" and not re.search(rf"{flag}\b(?!-)", text):
            missing.append(f"{command or 'global'} {flag}")
    for line in missing:
        print(f"no case: {line}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
