#!/usr/bin/env bash
# Builds the samples and the node and starts it on them. Needs Rust and nothing else: no server, no Node.js. Samples in
# other languages are added where their tools are present.
# The profile is the one of the tests, whose dependencies are optimised, so that wasmtime is built once;
# `make run PROFILE=release` builds what one would deploy.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
profile=${PROFILE:-dev}
folder_of_node=$profile
[ "$profile" = dev ] && folder_of_node=debug
services=$target/services

samples=(sample-services/*/Cargo.toml)
samples=("${samples[@]%/Cargo.toml}")
tests/scripts/guests.sh "${samples[@]##*/}"
echo "run: building the node (the first time takes minutes: it brings a Wasm compiler)"
cargo build --profile "$profile" -p isomer-host

# A running node sees these changes, so files appear whole, and only when they differ.
mkdir -p "$services"
put() {
	cmp -s "$1" "$2" && return
	cp "$1" "$services/.part"
	mv "$services/.part" "$2"
}
for sample in "${samples[@]}"; do
	name=${sample##*/}
	put "$target/wasm32-wasip2/guest/$name.wasm" "$services/$name.wasm"
	# What a person has changed since is kept.
	if [ -f "$sample/$name.toml" ] && [ ! "$services/$name.toml" -nt "$sample/$name.toml" ]; then
		put "$sample/$name.toml" "$services/$name.toml"
	fi
done

for folder in sample-services/*/; do
	sample=$(basename "$folder")
	[ -f "$folder/Cargo.toml" ] && continue
	# The node itself says which tool a language needs (exit code 2) and shows what goes wrong.
	echo "run: building $sample"
	if "$target/$folder_of_node/isomer" build "$folder" --release -o "$services/" >"$services/.log" 2>&1; then
		[ ! -f "$folder/$sample.toml" ] || put "$folder/$sample.toml" "$services/$sample.toml"
		continue
	fi
	echo "run: going on without $sample:"
	tail -n 4 "$services/.log" | sed 's/^/  /'
done

cat <<END

Next, in another terminal:
  export PATH="$(cd "$target/$folder_of_node" && pwd):\$PATH"
  isomer call greeter.welcome '{"name":"Ada"}'
  isomer services
Services are the files in $services: copy one there, replace it, delete it.

END
exec "$target/$folder_of_node/isomer" start "$services" "$@"
