#!/usr/bin/env python3
"""Runs the security cases, all of each, on a runtime and its peers, and the shim's, and writes docs/security-tests.md.

    table.py [--write FILE] RUNTIME[,PEER...]

Fails if the first runtime, or the shim, fails one. Peers run even what they are marked not to pass, with the repetitions
of `make test`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), f"{os.path.dirname(HERE)}/blackbox"]
import run  # noqa: E402
from security.rows import ROWS  # noqa: E402

REPOSITORY = os.path.abspath(f"{HERE}/../../..")
WHOLE = {**os.environ, "SECURITY_WHOLE": "1"}

HEAD = """# Security tests

Written by `make security`. A row is a vulnerability that was found in a container runtime, the test that shows that it
is not in creel, and how the same test ends on the peers that are installed. What was taken out of creel to see a test fail is said in
the test; that a peer does not pass is not always the vulnerability: the second table says what it is. How each harness works: [tests/oci-validation/security/harness.py](../tests/oci-validation/security/harness.py).

"""


def blackbox(runtimes, environment):
    """runtime → {module: {case: (result, why)}}."""
    found = {}
    with tempfile.NamedTemporaryFile("r") as results:
        command = [f"{HERE}/../blackbox/run.py", "--skipped-too", "--case", "^security", "--results", results.name]
        command.append(runtimes)
        subprocess.run(command, env=environment)
        for runtime, case, result, why, _ in map(json.loads, results):
            _, module, function = case.split(".")
            found.setdefault(runtime, {}).setdefault(module, {})[function] = (result, why)
    return found


def shim():
    """{test: result} of crates/shim/tests/shim/security.rs."""
    command = ["cargo", "test", "--locked", "--package", "shim", "--test", "shim", "security::"]
    output = subprocess.run(command, cwd=REPOSITORY, env=WHOLE, capture_output=True, text=True).stdout
    return dict(re.findall(r"^test security::(\S+) \.\.\. (\w+)", output, re.M))


def cell(results):
    """`3 pass`, or what of them does not."""
    counts = [(word, sum(result == word for result, _ in results.values())) for word in ("pass", "FAIL", "skip")]
    words = {"pass": "pass", "FAIL": "**fail**", "skip": "skipped"}
    return ", ".join(f"{count} {words[word]}" for word, count in counts if count)


def versions(runtimes):
    for runtime in runtimes.split(","):
        said = subprocess.run([runtime, "--version"], capture_output=True, text=True).stdout.splitlines()
        yield re.search(r"version (\S+)", said[0] if said else "")[1]


def rows(columns, shims):
    names = list(columns)
    yield "| vulnerability | what goes wrong | test | " + " | ".join(names) + " |"
    yield "|---|---|---|" + "---|" * len(names)
    for row in ROWS:
        tests, cells = [], ["–"] * len(names)
        if row.module:
            tests.append(f"[{row.module}](../tests/oci-validation/security/{row.module}.py)")
            cells = [cell(columns[name].get(row.module, {})) or "–" for name in names]
        if row.shim:
            mine = {test: result for test, result in shims.items() if row.shim in test}
            mine = {test: ("pass" if result == "ok" else "FAIL", "") for test, result in mine.items()}
            tests.append(f"[{row.shim}](../crates/shim/tests/shim/security.rs), on the shim")
            cells[0] = cell(mine) if not row.module else f"{cells[0]}; shim {cell(mine)}"
        yield f"| {row.names} | {row.mechanism} | {', '.join(tests) or row.elsewhere} | " + " | ".join(cells) + " |"


def reasons(columns):
    """What each failure or skip is about: what the case's mark says, or what was seen."""
    marks = {run.short(case): case.skip for case in run.cases("^security")}
    for name, modules in columns.items():
        for module, cases in modules.items():
            for case, (result, why) in cases.items():
                if result != "pass":
                    seen = (why.strip().splitlines() or [""])[-1 if "Traceback" in why else 0]
                    line = marks.get(f"security.{module}.{case}", {}).get(name, seen)[:140].replace("|", "/")
                    yield f"| {name} | {module}.{case} | {'fails' if result == 'FAIL' else 'skipped'} | {line} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="FILE")
    parser.add_argument("runtimes", help="paths or names, separated by commas")
    options = parser.parse_args()
    mine, _, peers = options.runtimes.partition(",")
    shims, columns = shim(), blackbox(mine, WHOLE)
    columns |= blackbox(peers, os.environ) if peers else {}
    first = next(iter(columns))
    kernel = os.uname().release.split("-")[0]
    of = ", ".join(f"{name} {version}" for name, version in zip(columns, versions(options.runtimes)))
    text = HEAD + f"Linux {kernel}, {of}.\n\n" + "\n".join(rows(columns, shims)) + "\n\n"
    text += "## What fails or is skipped, and why\n\n| runtime | case | | |\n|---|---|---|---|\n"
    text += "\n".join(reasons(columns)) + "\n"
    if options.write:
        with open(options.write, "w") as file:
            file.write(text)
    bad = sum(result == "FAIL" for cases in columns[first].values() for result, _ in cases.values())
    bad += sum(result != "ok" for result in shims.values())
    good = sum(result == "pass" for cases in columns[first].values() for result, _ in cases.values())
    print(f"security: {good + len(shims) - sum(r != 'ok' for r in shims.values())} passed, {bad} failed")
    return 1 if bad or not shims else 0


if __name__ == "__main__":
    sys.exit(main())
