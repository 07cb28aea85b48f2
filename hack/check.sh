#!/usr/bin/env bash
# What every commit must satisfy. The last line is `check: N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.."

passed=0 failed=0
step() {
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok   $name"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
    fi
}

unsafe_only_in_sys() {
    local found
    found=$(grep -rnE '\bunsafe\b *(\{|fn|impl|extern)|allow\(unsafe_code\)' --include='*.rs' crates | grep -vE '^crates/(libcontainer|image)/src/sys/')
    [[ -z $found ]] || { echo "$found"; return 1; }
}

# clippy denies unwrap, expect, panic, todo and printing; nobody may allow them again, except in tests/ folders.
no_lint_is_switched_off() {
    local found
    found=$(grep -rnE 'allow\(clippy::(unwrap_used|expect_used|panic|todo|dbg_macro|undocumented_unsafe_blocks)' --include='*.rs' crates/*/src)
    [[ -z $found ]] || { echo "$found"; return 1; }
}

# The runtime and the shim are small because they know nothing of images, HTTP and TLS.
image_tool_stands_alone() {
    local found
    found=$(cargo tree --locked --edges normal --prefix none -p runtime-cli -p shim | grep -E '^(image|ureq|rustls|ring|flate2|zstd) ')
    found+=$(cargo tree --locked --edges normal --prefix none -p image | grep -E '^(libcontainer|runtime-cli|shim) ')
    [[ -z $found ]] || { echo "$found"; return 1; }
}

scripts_parse() {
    local script status=0
    while read -r script; do
        case $(head -1 "$script") in
            *bash*) bash -n "$script" || status=1 ;;
            *) python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$script" || status=1 ;;
        esac
    done < <(find hack tests .ci -type f \( -name '*.sh' -o -name '*.py' -o -name run \))
    return $status
}

# They are in a workspace of their own, whose lock file `make fuzz` takes as it is.
fuzz_targets_are_locked() {
    cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
}

step "formatting (cargo fmt)" cargo fmt --all --check
step "lints (cargo clippy)" cargo clippy --quiet --workspace --all-targets --locked -- --deny warnings
step "documentation (cargo doc)" env RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --workspace --no-deps --locked
step "dependencies (cargo-deny)" hack/deny.sh
step "fuzz targets' lock file" fuzz_targets_are_locked
step "layers (imports only go down)" hack/layers.py crates/libcontainer/src
step "unsafe only in a crate's sys/" unsafe_only_in_sys
step "the image tool stands alone" image_tool_stands_alone
step "no lint switched off" no_lint_is_switched_off
step "scripts parse" scripts_parse
echo "check: $passed passed, $failed failed"
((failed == 0))
