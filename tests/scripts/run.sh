#!/usr/bin/env bash
# Builds the samples and the node and starts it on them. Needs Rust and nothing else: no server, no Node.js.
# The profile is the one of the tests, whose dependencies are optimised, so that wasmtime is built once;
# `make run PROFILE=release` builds what one would deploy.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
profile=${PROFILE:-dev}
folder=$profile
[ "$profile" = dev ] && folder=debug
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

# Samples in other languages, where their tools are; the node needs none of them.
export ISOMER=$PWD/$target/$folder/isomer
[ -x "$ISOMER" ] || ISOMER=$target/$folder/isomer
tests/scripts/languages.sh "$services" || echo "run: samples in other languages are left out"

cat <<END

Next, in another terminal:
  export PATH="$(cd "$target/$folder" && pwd):\$PATH"
  isomer call greeter.welcome '{"name":"Ada"}'
  isomer services
Services are the files in $services: copy one there, replace it, delete it.

END
exec "$target/$folder/isomer" start "$services" "$@"
