"""What the suites of this folder share: cases, how they are found, run and counted, and the host that they run on."""

import argparse
import importlib
import os
import re
import shutil
import subprocess
import sys
import time
import traceback

import versions

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = float(os.environ.get("BLACKBOX_PATIENCE", 1))  # longer on slow machines
LIMIT = 20 * PATIENCE  # seconds that anything may take
CASES = []


class Failure(Exception):
    pass


class Skipped(Exception):
    """What the case needs is not there."""


class Case:
    def __init__(self, function, exceptions):
        self.function, self.exceptions = function, exceptions
        self.name = f"{function.__module__.removeprefix('cases.')}.{function.__name__}"


def case(function=None, *, runc=None):
    """`runc`: why it does not hold for containerd's own shim."""

    def add(function):
        CASES.append(Case(function, {"runc": runc}))
        return function

    return add(function) if function else add


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(found, expected, what):
    check(found == expected, f"{what}: {found!r} instead of {expected!r}")


def eventually(condition, what, limit=20):
    """`what` may be a function: then it is asked when the time is over."""
    limit *= PATIENCE
    deadline = time.monotonic() + limit
    while not (found := condition()):
        check(time.monotonic() < deadline, f"{what() if callable(what) else what}: not within {limit} s")
        time.sleep(0.02)
    return found


def find_cases(directory):
    """Every file of DIRECTORY/cases, in the order of their names."""
    sys.path.insert(0, directory)
    for file in sorted(os.listdir(f"{directory}/cases")):
        if file.endswith(".py") and file != "__init__.py":
            importlib.import_module(f"cases.{file[:-3]}")


def one(case, engine, kind):
    """(result, why) of one case."""
    if why := case.exceptions.get(kind):
        return "skip", why
    before = set(engine.left())
    left = lambda: sorted(set(engine.left()) - before)  # noqa: E731
    try:
        case.function(engine)
        eventually(lambda: not left(), lambda: f"left behind: {left()}", 8)
        return "ok", ""
    except Skipped as skipped:
        return "skip", str(skipped)
    except Failure as failure:
        return "FAIL", str(failure)
    except Exception:
        return "FAIL", traceback.format_exc()


def run_cases(engine, options, name):
    """Runs the cases that `--case` names, and says how they went; the exit code."""
    kind = "runc" if "runc" in options.runtime else "creel"
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    print("containerd", ".".join(map(str, engine.version)), options.runtime, flush=True)
    for case in CASES:
        if not re.search(options.case, case.name):
            continue
        began = time.monotonic()
        result, why = one(case, engine, kind)
        counts[result] += 1
        print(f"{result:4} {case.name} ({time.monotonic() - began:.1f} s){why and ': ' + why}", flush=True)
        if result == "FAIL":
            engine.recover()
    print(f"{name}: {counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0


def parser(text):
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--containerd", default="installed", metavar="VERSION",
                        help=f"installed, {', '.join(versions.PINNED)}, or a directory with containerd and ctr")  # fmt: skip
    parser.add_argument("--inside", metavar="DIRECTORY", help=argparse.SUPPRESS)
    parser.add_argument("shim_directory", help="where containerd-shim-creel-v2 is")
    return parser


def suite_parser(text):
    with_cases = parser(text)
    with_cases.add_argument("--runtime", default="io.containerd.creel.v2", help="io.containerd.runc.v2: containerd's own")
    with_cases.add_argument("--systemd", action="store_true", help="have systemd make the cgroups, on this host (cgroup v2)")
    with_cases.add_argument("--case", default="", help="only cases whose name matches this pattern")
    with_cases.add_argument("--keep-log", default="", metavar="FILE", help="copy containerd's log there")
    return with_cases


def on_private_host(parser, inside, prepare=lambda: None, own_network=False):
    """Gets the containerd that is asked for, and then calls inside(options) on a host of the test's own, whose /run is
    empty and where whatever is left goes away at the end (private_host.py says how). Gives the exit code."""
    options = parser.parse_args()
    if options.inside is not None:
        os.makedirs("/run/test", mode=0o711, exist_ok=True)
        os.environ["TMPDIR"] = "/run/test"  # a tmpfs: containerd's database waits for no disk
        options.containerd = options.inside
        options.shim_directory = os.path.abspath(options.shim_directory)
        return inside(options)
    if os.geteuid() != 0:
        sys.exit("needs root")
    if not os.access(f"{options.shim_directory}/containerd-shim-creel-v2", os.X_OK):
        sys.exit(f"there is no containerd-shim-creel-v2 in {options.shim_directory}: make build")
    programs = versions.programs(options.containerd)
    prepare()
    host = [f"{HERE}/../oci-validation/private_host.py"]
    if getattr(options, "systemd", False):
        # systemd knows this host's cgroups and is asked by its sockets in /run: only what is containerd's is our own.
        script = "for name in containerd test; do mkdir -p /run/$name && mount -t tmpfs -o mode=711 none /run/$name; done"
        host = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{script} && exec "$@"', "sh"]
    network = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"] if own_network else []
    return subprocess.call([*network, *host, sys.executable, *sys.argv, "--inside", programs])


def keep_log(engine, options):
    if options.keep_log:
        shutil.copy(engine.log_path, options.keep_log)
