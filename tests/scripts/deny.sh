#!/usr/bin/env bash
# Checks the dependencies by deny.toml: licences, sources and duplicate versions, and known vulnerabilities where
# the database of them is here or can be fetched. Says what it checked, and why it did not check something.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v cargo-deny >/dev/null; then
	echo "deny: skipped, nothing is checked: cargo-deny is not installed (cargo install --locked cargo-deny)"
	exit 0
fi
# It reads the manifests of all crates, also of those that are not built here.
if ! cargo metadata --locked --offline --format-version 1 >/dev/null 2>&1 && ! cargo fetch --locked; then
	echo "deny: skipped, nothing is checked: not all crates are here, and they cannot be fetched (cargo fetch)"
	exit 0
fi
cargo deny --locked --offline check bans licenses sources
echo "deny: licences, sources and duplicate versions are checked"

databases="${CARGO_HOME:-$HOME/.cargo}/advisory-dbs"
if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
	echo "deny: the database of vulnerabilities is of today"
elif compgen -G "$databases/*/.git" >/dev/null; then
	echo "deny: the database of vulnerabilities cannot be fetched; the one that is here is older"
else
	echo "deny: vulnerabilities are not checked: their database is not here and cannot be fetched"
	exit 0
fi
cargo deny --locked --offline check advisories
echo "deny: vulnerabilities are checked"
