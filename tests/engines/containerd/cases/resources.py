"""Statistics and limits."""

import os
import re
import time

from suite import case, check, equal


@case
def statistics(e):
    with e.running("c", "sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 1000"):
        time.sleep(0.5)
        metrics = e.ctr("task", "metrics", "--format", "json", "c")
        found = re.search(r'"(?:total|usage_usec|usageUsec)":\s*"?(\d+)', metrics)
        check(found and int(found.group(1)) > 0, f"processor time in {metrics}")
        check(re.search(r'"pids":\s*{\s*"current":\s*"?1', metrics), f"one process in {metrics}")


@case
def limits_can_be_changed(e):
    with e.running("c", flags=["--memory-limit", "67108864"]):
        resources = b'\x0a\x01x\x12\x26{"memory":{"limit":33554432},"cpu":{}}'
        equal(len(resources), 5 + 0x26, "the length")
        equal(e.call("Update", (1, "c"), (2, resources))[0], 0, "the code")
        files = ["/sys/fs/cgroup/memory/default/c/memory.limit_in_bytes", f"{e.cgroup('c')}/memory.max"]
        (found,) = [open(path).read().strip() for path in files if os.path.exists(path)]
        equal(found, "33554432", "the limit")
