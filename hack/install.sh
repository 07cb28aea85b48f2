#!/usr/bin/env bash
# install.sh BINARIES MANUAL: installs the programs of one directory, and the man pages and completions of the other
# (hack/man.sh), to DESTDIR/PREFIX.
set -euo pipefail
binaries=$1 manual=$2
to=${DESTDIR:-}${PREFIX:-/usr/local}

for program in creel containerd-shim-creel-v2 creel-image; do
    install -D -m 755 "$binaries/$program" "$to/bin/$program"
done
for page in "$manual"/man8/*.8; do
    install -D -m 644 "$page" "$to/share/man/man8/$(basename "$page")"
done
install -D -m 644 "$manual/completions/creel.bash" "$to/share/bash-completion/completions/creel"
install -D -m 644 "$manual/completions/_creel" "$to/share/zsh/site-functions/_creel"
install -D -m 644 "$manual/completions/creel.fish" "$to/share/fish/vendor_completions.d/creel.fish"
echo "installed creel, containerd-shim-creel-v2 and creel-image, with man pages and completions, to $to"
