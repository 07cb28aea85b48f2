#!/usr/bin/env bash
# bench.sh RUNTIME[,PEER...] [--rounds N] [--no-write]: times OCI runtimes side by side on a private host (hack/bench.py).
set -euo pipefail
cd "$(dirname "$0")/.."

runtimes=${1:?usage: bench.sh RUNTIME[,PEER...]}
shift
if ((EUID)); then
    echo "bench: needs root" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ROOTFS_ONLY=1 hack/bundle.sh "$work"
tests/oci-validation/private_host.py hack/bench.py "$runtimes" "$work/rootfs" "$@"
