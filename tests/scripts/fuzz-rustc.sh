#!/usr/bin/env bash
# Stands in for rustc in fuzz.sh: crates that are fuzzed get the counters of libFuzzer, and their targets.
set -euo pipefail
for argument in "$@"; do
	case $argument in
	isomer_host | isomer_fuzz)
		exec "$@" --cfg fuzzing -Copt-level=1 -Cpasses=sancov-module \
			-Cllvm-args=-sanitizer-coverage-level=4 \
			-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
			-Cllvm-args=-sanitizer-coverage-pc-table \
			-Cllvm-args=-sanitizer-coverage-trace-compares
		;;
	esac
done
exec "$@"
