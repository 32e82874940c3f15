#!/usr/bin/env bash
# Builds the named packages as components into target/wasm32-wasip2/guest. Usage: guests.sh PACKAGE…
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v cargo >/dev/null || {
	echo "Rust is missing. Install it from https://rustup.rs and run this again." >&2
	exit 1
}
# rustup brings the target by itself (rust-toolchain.toml); other installations of Rust do not.
if [ ! -d "$(rustc --print target-libdir --target wasm32-wasip2)" ]; then
	if command -v rustup >/dev/null; then
		rustup target add wasm32-wasip2
	else
		echo "This Rust cannot build for wasm32-wasip2. Install Rust from https://rustup.rs, or the" >&2
		echo "package of your system with the standard library for wasm32-wasip2." >&2
		exit 1
	fi
fi
[ $# -gt 0 ] || exit 0
echo "guests: building $*"
packages=()
for name in "$@"; do packages+=(-p "$name"); done
exec cargo build --profile guest --target wasm32-wasip2 "${packages[@]}"
