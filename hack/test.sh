#!/usr/bin/env bash
# Every test. RUNTIME=… runs the suites against another OCI runtime (cargo's tests are then left out).
# The last line is `N passed, N failed`, with `, N skipped` if anything was.
set -uo pipefail
cd "$(dirname "$0")/.."

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Adds up a suite's own numbers: `N passed`, `N failed`, and N `ignored` or `skipped`, on its summary lines.
count() {
    local what=$1 pattern=$2
    grep -E "$pattern" "$log" | grep -oE "[0-9]+ ($what)" | awk '{ sum += $1 } END { print sum + 0 }'
}

suite() {
    local name=$1 pattern=$2 status=0
    shift 2
    echo "== $name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    local bad
    bad=$(count failed "$pattern")
    passed=$((passed + $(count passed "$pattern")))
    skipped=$((skipped + $(count 'ignored|skipped' "$pattern")))
    # A suite that dies without saying which test failed has failed once.
    if ((status != 0 && bad == 0)); then bad=1; fi
    failed=$((failed + bad))
}

skip() {
    echo "== skipped: $1"
    skipped=$((skipped + 1))
}

images() {
    suite "images from a registry" '^images:' tests/images/run.py "$1/creel-image"
    suite "unpacking images" '^unpack:' tests/images/unpack.py "$1"
}

# The shim and its pods under the containerd that is installed, and under a 2.x where Go can build it.
engines() {
    local shims=$1 no_go version versions=()
    no_go=$(hack/have-go.sh 1.26.6 || true)
    if command -v containerd >/dev/null; then versions+=(installed); else skip "the shim under an installed containerd: there is none"; fi
    if [[ -z $no_go ]]; then versions+=(2.4); else skip "the shim under containerd 2.x, and all pods: $no_go"; fi
    for version in "${versions[@]}"; do
        suite "containers under containerd ($version)" '^containerd:' tests/engines/containerd/run.py --containerd "$version" "$shims"
        [[ -n $no_go ]] || suite "pods under containerd ($version)" '^cri:' tests/engines/cri/run.py --containerd "$version" "$shims"
    done
}

if [[ -z ${RUNTIME:-} ]]; then
    suite "unit, golden and kernel tests" '^test result:' cargo test --workspace --locked --no-fail-fast
    suite "build" '^$' cargo build --release --locked
    built=$PWD/target/$(rustc --print host-tuple)/release
    RUNTIME=$built/creel
fi

if ((EUID)); then
    skip "black-box suite, runtime-tools validation, engines and images (they need root)"
else
    suite "black-box suite" '^blackbox:' tests/oci-validation/blackbox/run.py "$RUNTIME"
    suite "older kernels" '^fallbacks:' hack/fallbacks.py --quick "$RUNTIME"
    if why=$(hack/have-go.sh); then
        suite "runtime-tools validation" '^runtime-tools:' tests/oci-validation/runtime-tools/validate.py "$RUNTIME"
    else
        skip "runtime-tools validation: $why"
    fi
    if [[ -n ${built:-} ]]; then
        suite "every field and flag is in some case" '^$' tests/oci-validation/blackbox/coverage.py "$RUNTIME"
        engines "$built"
        images "$built"
    fi
fi

summary="$passed passed, $failed failed"
((skipped == 0)) || summary+=", $skipped skipped"
echo "$summary"
((failed == 0 && passed > 0))
