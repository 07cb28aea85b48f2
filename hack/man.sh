#!/usr/bin/env bash
# man.sh DIRECTORY: writes creel's man pages (man8/) and completions (completions/), from its command-line definition.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
find "$1" -mindepth 1 -delete # a page of a command that is no more must not be installed
"${CARGO:-cargo}" run --quiet --locked --package runtime-cli --example manual -- "$1"
