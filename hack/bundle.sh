#!/usr/bin/env bash
# bundle.sh DIRECTORY [COMMAND...]: makes an OCI bundle that runs COMMAND (default: sh) in a busybox root filesystem.
# RUNTIME=… names the runtime whose `spec` writes config.json; ROOTFS_ONLY=1 leaves config.json out.
set -euo pipefail

bundle=${1:?usage: bundle.sh DIRECTORY [COMMAND...]}
shift
busybox=$(command -v busybox) || { echo "bundle.sh: busybox is missing (package busybox-static)" >&2; exit 1; }
if ldd "$busybox" >/dev/null 2>&1; then
    echo "bundle.sh: $busybox is linked dynamically, a root filesystem needs package busybox-static" >&2
    exit 1
fi

rootfs=$bundle/rootfs
mkdir -p "$rootfs"/{bin,dev,etc,proc,sys}
cp "$busybox" "$rootfs/bin/busybox"
for applet in $(busybox --list); do
    [[ $applet == busybox ]] || ln -sf busybox "$rootfs/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$rootfs/etc/passwd"
printf 'root:x:0:\ndaemon:x:1:\ntty:x:5:\nnogroup:x:65534:\n' >"$rootfs/etc/group"

[[ -z ${ROOTFS_ONLY:-} ]] || exit 0
rm -f "$bundle/config.json"
"${RUNTIME:-creel}" spec --bundle "$bundle"
if (($#)); then
    # Not jq's --args: it would take an argument like -c for its own.
    args=$(python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@")
    jq --argjson args "$args" '.process.args = $args | .process.terminal = false' "$bundle/config.json" >"$bundle/config.json.new"
    mv "$bundle/config.json.new" "$bundle/config.json"
fi
