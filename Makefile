# What can be done here; `make` alone lists it. Steps that need more than a line are in tests/scripts/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
# Debian puts servers into /usr/sbin, which is not on the path of ordinary users.
export PATH := $(PATH):/usr/sbin:/usr/local/sbin
SAMPLES := $(notdir $(patsubst %/Cargo.toml,%,$(wildcard sample-services/*/Cargo.toml)))
GUESTS := conformance conformance_shared $(notdir $(patsubst %/Cargo.toml,%,$(wildcard tests/guests/*/Cargo.toml)))
NATIVE := -p isomer-host -p isomer-sdk -p isomer-sdk-macros -p tests
FOR_WASM := --target wasm32-wasip2 -p isomer-sdk $(SAMPLES:%=-p %) $(GUESTS:%=-p %)

.PHONY: help run check test bench public guests wasm peers format lint docs deny bins
.NOTPARALLEL:

help: ## This list.
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 14

run: ## Build the samples and the node, and start it: Rust is all it needs.
	@tests/scripts/run.sh
check: lint guests bins ## The inner loop: everything that needs no server, no Node.js and no network.
	cargo test $(NATIVE) $(SAMPLES:%=-p %) -- --skip server_
test: peers lint docs deny guests bins ## Everything, with real servers and real Moleculer brokers. CI runs this.
	ISOMER_ALL_LANGUAGES=1 cargo test --no-fail-fast $(NATIVE) $(SAMPLES:%=-p %)
bench: peers ## Measure against bare wasmtime and Moleculer JS; prints the table of the README.
	@tests/scripts/bench.sh

public: peers bins ## Build services from packages of npm and compare them with Moleculer; writes docs/javascript.md.
	node tests/js/public-services.mjs --keep target/public-services

guests: ## Build all components: samples and test guests.
	@tests/scripts/guests.sh $(SAMPLES) $(GUESTS)
wasm: ## Build the samples only, into target/wasm32-wasip2/guest.
	@tests/scripts/guests.sh $(SAMPLES)
peers: ## Install what the tests talk to: nats-server, and Moleculer for Node.js.
	@tests/scripts/peers.sh
format: ## Format the code.
	cargo fmt --all
lint: ## Formatting and lints, of the guests as well.
	cargo fmt --all --check
	cargo clippy $(NATIVE) $(SAMPLES:%=-p %) --all-targets -- -D warnings
	cargo clippy $(FOR_WASM) -- -D warnings
docs: ## Documentation without broken links.
	@# Comments are read in the source more than on pages, so they may link to what is private.
	RUSTDOCFLAGS="-Dwarnings -Arustdoc::private_intra_doc_links" cargo doc --quiet --no-deps -p isomer-host -p isomer-sdk
deny: ## Licences and duplicate versions of dependencies, where cargo-deny is installed.
	@tests/scripts/deny.sh
bins:
	cargo build $(NATIVE)
