#!/usr/bin/env bash
# Succeeds if there is a Go that can build the runtime-tools programs (1.21 or later); says so if not.
set -euo pipefail

version=$(go env GOVERSION 2>/dev/null || true)
if [[ ! $version =~ ^go1\.([0-9]+) ]] || ((BASH_REMATCH[1] < 21)); then
    echo "go 1.21 or later is missing (found: ${version:-none}); the runtime-tools validation will be skipped"
    exit 1
fi
