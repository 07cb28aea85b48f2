#!/usr/bin/env bash
# have-go.sh [VERSION]: succeeds if there is a Go of that version or later (1.21, which builds the runtime-tools programs); says so if not.
set -euo pipefail

need=${1:-1.21}
found=$(go env GOVERSION 2>/dev/null || true)
if [[ -z $found || $(printf '%s\n' "$need" "${found#go}" | sort --version-sort | head -1) != "$need" ]]; then
    echo "go $need or later is missing (found: ${found:-none}); what it builds is skipped"
    exit 1
fi
