#!/usr/bin/env python3
"""layers.py SOURCE: checks that libcontainer's modules import only what lies below them (ARCHITECTURE.md).

A module may use lower layers and itself; within a layer, only the basics (L1) may use each other.
Test code may use crate::testing as well.
"""

import pathlib
import re
import sys

# The one table of layers, from the bottom.
LAYERS = [
    ["sys"],
    ["error", "spec", "host", "paths", "tree", "dbus"],
    [
        "attributes", "capabilities", "cgroups", "criu", "hooks", "intel_rdt", "lsm", "namespaces", "netdev", "rootfs",
        "seccomp", "sysctl", "terminal", "userns",
    ],
    ["features", "plan"],
    ["process"],
    ["container"],
]  # fmt: skip
BASICS = 1
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
SPECIAL = {"lib", "testing", "fuzzing"}


def imports(text):
    """Yields (line number, module) for each crate::module, also within `use crate::{a, b::c}`."""
    text = re.sub(r"//[^\n]*", "", text)  # prose may name anything
    for match in re.finditer(r"\bcrate::(\w+)", text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1)
    for match in re.finditer(r"\bcrate::\{", text):
        depth, start = 1, match.end()
        for position in range(start, len(text)):
            character = text[position]
            if depth == 1 and (position == start or character == ","):
                name = re.match(r"[,\s]*(\w+)", text[position:])
                if name:
                    yield text.count("\n", 0, position) + 1, name.group(1)
            depth += {"{": 1, "}": -1}.get(character, 0)
            if depth == 0:
                break


def allowed(module, other):
    if other in (module, "testing", "fuzzing") or other not in LEVEL and other[0].isupper():  # crate::Error, crate::Result
        return True
    if other not in LEVEL:
        return False
    return LEVEL[other] < LEVEL[module] or LEVEL[other] == LEVEL[module] == BASICS


def main():
    source = pathlib.Path(sys.argv[1])
    wrong = []
    for path in sorted(source.rglob("*.rs")):
        module = path.relative_to(source).parts[0].removesuffix(".rs")
        if module in SPECIAL:
            continue
        if module not in LEVEL:
            wrong.append(f"{path}: module {module} is in no layer (the table is in hack/layers.py)")
            continue
        for line, other in imports(path.read_text()):
            if not allowed(module, other):
                where = f"L{LEVEL[other]}" if other in LEVEL else "no layer"
                wrong.append(f"{path}:{line}: {module} (L{LEVEL[module]}) must not use {other} ({where})")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
