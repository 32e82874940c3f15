#!/usr/bin/env bash
# Builds node, guests and benchmarks for release (the first time takes about twenty minutes) and prints the table
# of docs/benchmarks.md. Arguments choose what is measured: local features fresh remote remote-tcp remote-redis swap memory languages
# start sandbox. With ISOMER_WRITE_SANDBOX=1, sandbox writes its table into docs/sandbox.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

tests/scripts/guests.sh kit swapper_v1 swapper_v2 conformance conformance_shared greeter hostile
echo "bench: building for release"
# One command for both packages, so that cargo builds their dependencies with the same features, once.
what=(--release -p isomer-host -p tests --bin isomer --bench table)
program=$(cargo build "${what[@]}" --message-format json-render-diagnostics |
	sed -n 's/.*"name":"table".*"executable":"\([^"]*\)".*/\1/p')
# What else runs on this machine is part of every figure, so it is shown.
echo "bench: load of this machine before the start: $(cut -d' ' -f1-3 /proc/loadavg)"
exec "$program" "$@"
