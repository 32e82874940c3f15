#!/usr/bin/env bash
# Checks licences, sources and duplicate versions of the dependencies (deny.toml), offline.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v cargo-deny >/dev/null; then
	echo "deny: cargo-deny is not installed, so dependencies are not checked (cargo install --locked cargo-deny)"
	exit 0
fi
exec cargo deny --offline check bans licenses sources
