#!/usr/bin/env bash
# From a fresh machine to a running container: installs what is missing, builds creel, and shows its commands.
set -euo pipefail
cd "$(dirname "$0")/.."

if ((EUID)); then
    echo "demo: installing packages and unpacking images needs root (sudo make demo); containers do not: creel spec --rootless" >&2
    exit 1
fi
hack/install-deps.sh
cargo build --release --locked
creel=$PWD/target/$(rustc --print host-tuple)/release/creel
work=$(mktemp -d)
id=demo-$$
image=$(dirname "$creel")/creel-image
trap '"$creel" delete --force "$id" >/dev/null 2>&1 || true; "$image" unbundle "$work/alpine" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

say() { printf '\n# %s\n' "$*"; }
creel() {
    echo "\$ creel $*"
    "$creel" "$@"
}

say "A bundle: busybox in rootfs/, and the config.json that \`creel spec\` writes"
RUNTIME=$creel hack/bundle.sh "$work" sh -c 'echo "hello from $(hostname), pid $$"; exec id'
ls "$work" "$work/rootfs"

say "Run it"
creel run --bundle "$work" "$id"

say "The same in steps: create, look, start, exec, kill, delete"
jq '.process.args = ["sleep", "100"]' "$work/config.json" >"$work/new" && mv "$work/new" "$work/config.json"
creel create --bundle "$work" "$id" </dev/null >/dev/null
creel state "$id"
creel start "$id"
creel list
creel exec "$id" ps
creel ps "$id"
creel kill "$id" KILL
while [[ $("$creel" state "$id" | jq -r .status) != stopped ]]; do sleep 0.05; done
creel delete "$id"

export CREEL_IMAGE_STORE=$work/store
creel-image() {
    echo "\$ creel-image $*"
    "$image" "$@"
}

name=alpine
say "An image, unpacked into a bundle"
if ! timeout 60 "$image" pull "$name" 2>"$work/why"; then
    name=tiny
    echo "(no registry can be reached: $(tail -1 "$work/why"); a small image made of this machine's busybox will do)"
    hack/tiny-image.sh "$work/tiny.tar"
    creel-image import --name "$name" "$work/tiny.tar"
fi
creel-image ls
creel-image bundle "$name" "$work/alpine" sh -c 'echo "hello from an image, $(cat /etc/os-release 2>/dev/null | head -1)"'
creel run --bundle "$work/alpine" "$id"
creel-image unbundle "$work/alpine"

say "All of it at once"
creel-image run --rm --memory 64m "$name" sh -c 'echo "hello again, I am $(id -un)"'

say "Without root: a user's own container, out of the box"
chmod 711 "$work"
install -d -o 65534 -g 65534 "$work/user"
install -m 755 "$creel" "$work/creel"
cp -a "$work/rootfs" "$work/user/"
chown -hR 65534:65534 "$work/user"
(
    cd "$work/user"
    as_nobody() {
        echo "\$ creel $*"
        XDG_RUNTIME_DIR=$work/user setpriv --reuid 65534 --regid 65534 --clear-groups "$work/creel" "$@"
    }
    as_nobody spec --rootless
    jq '.process.terminal = false | .process.args = ["sh", "-c", "id; cat /proc/self/uid_map"]' config.json >new
    chown 65534:65534 new && mv new config.json
    as_nobody run "$id"
)

say "Nothing is left"
creel list
