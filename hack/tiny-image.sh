#!/usr/bin/env bash
# tiny-image.sh FILE: writes an OCI archive with one small image, busybox, made offline of this machine's busybox-static.
set -euo pipefail

file=$(realpath -m "${1:?usage: tiny-image.sh FILE}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
blobs=$work/image/blobs/sha256
mkdir -p "$blobs" "$work/bundle"
ROOTFS_ONLY=1 "$(dirname "$0")/bundle.sh" "$work/bundle"
mkdir -m 1777 "$work/bundle/rootfs/tmp"

# put FILE: makes a blob of it; the variables digest and size are what a descriptor needs.
put() {
    digest=$(sha256sum <"$1" | cut -d' ' -f1)
    size=$(stat -c %s "$1")
    mv "$1" "$blobs/$digest"
}

tar -C "$work/bundle/rootfs" --format=posix --pax-option=delete=atime,delete=ctime --numeric-owner --owner=0 --group=0 -cf "$work/layer" .
diff=$(sha256sum <"$work/layer" | cut -d' ' -f1)
gzip -n "$work/layer" && put "$work/layer.gz"
layer="{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$digest\",\"size\":$size}"

machine=$(uname -m)
case $machine in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; esac
printf '{"architecture":"%s","os":"linux","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$machine" "$diff" >"$work/config"
put "$work/config"
config="{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:$digest\",\"size\":$size}"
manifest=application/vnd.oci.image.manifest.v1+json
printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' "$manifest" "$config" "$layer" >"$work/manifest"
put "$work/manifest"
printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"latest"}}]}' \
    "$manifest" "$digest" "$size" >"$work/image/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/image/oci-layout"
tar -C "$work/image" -cf "$file" .
