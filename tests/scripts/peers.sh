#!/usr/bin/env bash
# Installs what the tests talk to: servers and Node.js from Debian, Moleculer from npm. What is there
# already is left alone; where it may not install, it says what to run.
set -euo pipefail
cd "$(dirname "$0")/../.."

install() {
	local package=$1
	local as_root=()
	if [ "$(id -u)" != 0 ]; then
		as_root=(sudo -n)
		sudo -n true 2>/dev/null || as_root=()
	fi
	if ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && [ ${#as_root[@]} = 0 ]; }; then
		echo "'$package' is missing and cannot be installed from here." >&2
		echo "Run: sudo apt-get install -y $package   (or install it as your system does)" >&2
		exit 1
	fi
	echo "peers: installing $package"
	export DEBIAN_FRONTEND=noninteractive
	"${as_root[@]}" apt-get install -y --no-install-recommends "$package" >/dev/null 2>&1 ||
		{ "${as_root[@]}" apt-get update -q && "${as_root[@]}" apt-get install -y --no-install-recommends "$package"; }
}

# Installs a server without starting it: Debian's packages ask this file whether they may.
install_idle() {
	local policy=/usr/sbin/policy-rc.d as_root=
	[ "$(id -u)" = 0 ] || as_root="sudo -n"
	if [ -e "$policy" ] || ! printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null 2>&1; then
		install "$1"
		return
	fi
	# shellcheck disable=SC2064 # What is to be removed is known now.
	trap "$as_root rm -f $policy" EXIT
	$as_root chmod +x "$policy"
	install "$1"
	$as_root rm -f "$policy"
	trap - EXIT
}

command -v nats-server >/dev/null || install nats-server
# On Debian it comes with redis-cli; the server that would be started as a service is not needed.
command -v redis-server >/dev/null || install redis-server
# Debian keeps servers where only root looks. Their packages would start a service of their own.
export PATH="$PATH:/usr/sbin"
command -v etcd >/dev/null || install_idle etcd-server
command -v mosquitto >/dev/null || install_idle mosquitto
command -v rabbitmq-server >/dev/null || install_idle rabbitmq-server
# With the cluster that librdkafka has for tests.
command -v kcat >/dev/null || install kcat
command -v node >/dev/null || install nodejs
command -v npm >/dev/null || install npm

# The packages of the JavaScript SDK, among them the tool that makes components.
if [ guest-sdk/js/package-lock.json -nt guest-sdk/js/node_modules/.package-lock.json ]; then
	echo "peers: installing the packages of the JavaScript SDK"
	# Not `npm ci`: npm 11 refuses a lock without the optional packages that were never published.
	npm install --no-save --prefix guest-sdk/js --no-audit --no-fund --loglevel=error || {
		echo "npm could not install the packages of guest-sdk/js; the tests need the npm registry once." >&2
		exit 1
	}
	touch guest-sdk/js/node_modules/.package-lock.json
fi
# What builds services in Python and Go.
command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null || install python3-venv
command -v go >/dev/null || python3 -m pip --version >/dev/null 2>&1 || install python3-pip
# Where the tests build (tests/src/recipe.rs); the node keeps compiled components there too, so it is private.
cache=$PWD/${CARGO_TARGET_DIR:-target}/test-cache/isomer
(umask 077 && mkdir -p "$cache")
ISOMER_TOOLS=$cache/tools python3 guest-sdk/python/build.py --setup
ISOMER_TOOLS=$cache/tools python3 guest-sdk/go/build.py --setup
# The compiler for services in C: from PyPI, into a folder of its own, where the tests look first.
tools=$PWD/${CARGO_TARGET_DIR:-target}/tools
if ! PATH="$tools/bin:$PATH" sh -c 'zig version || python3 -m ziglang version' >/dev/null 2>&1; then
	python3 -m venv --help >/dev/null 2>&1 || install python3-venv
	echo "peers: installing the Zig compiler into $tools"
	python3 -m venv "$tools"
	"$tools/bin/python" -m pip install --quiet --disable-pip-version-check ziglang==0.17.0
fi

cd tests/peers
# npm writes this file last, so it is older than the lock file when something is missing.
if [ package-lock.json -nt node_modules/.package-lock.json ]; then
	echo "peers: installing Moleculer 0.14 and 0.15 into tests/peers"
	npm ci --no-audit --no-fund --loglevel=error || {
		echo "npm could not install the peers; the tests need the npm registry once." >&2
		exit 1
	}
	touch node_modules/.package-lock.json
fi
