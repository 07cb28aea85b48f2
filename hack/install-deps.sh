#!/usr/bin/env bash
# Installs what building and testing need and what is missing, at the versions of this Debian release. Starts no daemon.
# Without root it says what is missing and goes on: .ci/run and the tests say what they skip.
set -euo pipefail

# package: the file or command that shows it is there
needs=(
    "gcc gcc"
    "libc6-dev /usr/include/stdlib.h"
    "libseccomp-dev /usr/include/seccomp.h"
    "busybox-static busybox"
    "jq jq"
    "python3 python3"
    "python3-pip pip3"
    "iproute2 ip"
    "uidmap newuidmap"
    "util-linux unshare"
    "runc runc"
    "crun crun"
    "containerd containerd"
    "containernetworking-plugins /usr/lib/cni/bridge"
    "skopeo skopeo"
    "umoci umoci"
    "buildah buildah"
    "podman podman"
    "docker-registry docker-registry"
    "zstd zstd"
    "xfsprogs mkfs.xfs"
    "btrfs-progs mkfs.btrfs"
    "openssl openssl"
    "fuse-overlayfs fuse-overlayfs"
)
missing=()
for need in "${needs[@]}"; do
    read -r package shows <<<"$need"
    [[ -e $shows ]] || command -v "$shows" >/dev/null || missing+=("$package")
done

if ((${#missing[@]})); then
    if ((EUID)); then
        echo "install-deps: missing, and installing needs root: ${missing[*]}"
    elif ! command -v apt-get >/dev/null; then
        echo "install-deps: missing, and this is no Debian: ${missing[*]}"
    else
        policy=/usr/sbin/policy-rc.d # 101 tells a package's scripts not to start its daemon
        if [[ ! -e $policy ]]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
        fi
        echo "install-deps: installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -qq --no-install-recommends --yes "${missing[@]}" >/dev/null
    fi
fi

if ! command -v cargo >/dev/null; then
    echo "install-deps: cargo is missing; install Rust (https://rustup.rs), the version is rust-version in Cargo.toml" >&2
    exit 1
fi
"$(dirname "$0")/have-go.sh" || true
