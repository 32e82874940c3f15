#!/usr/bin/env bash
# Fuzzes one target, or all of them one after the other: fuzz.sh TARGET|all [SECONDS]. See docs/fuzzing.md.
#
# The stable compiler can do it: what libFuzzer needs to know of a program's way is put in by a pass of LLVM.
# Only the host and the fuzzer are built with it.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:?a target, or all}
seconds=${2:-120}
export RUSTC_WORKSPACE_WRAPPER=$PWD/tests/scripts/fuzz-rustc.sh
# Always these packages together, as in the Makefile: others would build the dependencies with other features.
cargo build --quiet -p isomer-host -p isomer-sdk -p isomer-sdk-macros -p tests -p isomer-fuzz --bin isomer-fuzz
program=${CARGO_TARGET_DIR:-target}/debug/isomer-fuzz
if [ "$target" = all ]; then
	targets=$(sed -n 's/^ *Target { name: "\([a-z_]*\)".*/\1/p' host/src/fuzz.rs)
else
	targets=$target
fi
failed=
for one in $targets; do
	corpus=${CARGO_TARGET_DIR:-target}/fuzz/corpus/$one
	artifacts=${CARGO_TARGET_DIR:-target}/fuzz/found/$one
	mkdir -p "$corpus" "$artifacts"
	echo "== $one, $seconds s"
	ISOMER_FUZZ=$one ISOMER_FUZZ_CORPUS=$corpus RUST_BACKTRACE=1 "$program" "$corpus" -artifact_prefix="$artifacts/" \
		-max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -max_len=4096 -print_final_stats=1 -verbosity=0 \
		|| failed="$failed $one"
done
if [ -n "$failed" ]; then
	echo "found something in:$failed. Inputs are in ${CARGO_TARGET_DIR:-target}/fuzz/found/." >&2
	exit 1
fi
