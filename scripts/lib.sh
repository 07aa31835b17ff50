# Sourced by the scripts of this folder: messages, privileges, the checkout's root.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
host_triple=$(rustc -vV 2>/dev/null | sed -n 's/^host: //p' || true)
# Functions of the examples: static programs, so that an image holds nothing else.
static_bin=$root/target/static/$host_triple/release

# Bold where somebody looks.
if [[ -t 2 ]]; then bold=$'\033[1m' plain=$'\033[0m'; else bold='' plain=''; fi
step() { printf '%s==>%s %s\n' "$bold" "$plain" "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
# What happened; further arguments are hints.
fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    local hint
    for hint in "$@"; do printf '  hint: %s\n' "$hint" >&2; done
    exit 1
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

can_be_root() {
    [[ $EUID -eq 0 ]] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; } ||
        { command -v sudo >/dev/null && [[ -t 0 ]]; }
}

need_rust() {
    command -v cargo >/dev/null || fail "cargo was not found" \
        "install Rust (https://rustup.rs), then open a new shell; rust-toolchain in Cargo.toml: $(sed -n 's/^rust-version = //p' "$root/Cargo.toml")"
}

# The user whom the server becomes when root starts it.
need_picasso_user() {
    id -u picasso >/dev/null 2>&1 && return
    note "making the system user picasso"
    as_root useradd --system --no-create-home --shell /usr/sbin/nologin picasso
}

# Static programs of examples/, in $static_bin.
build_examples() {
    local packages=() name
    for name in "$@"; do packages+=(-p "picasso-example-$name"); done
    RUSTFLAGS='-C target-feature=+crt-static -C strip=symbols' cargo build --locked --release \
        --manifest-path "$root/Cargo.toml" --target "$host_triple" --target-dir "$root/target/static" \
        "${packages[@]}"
}
