# `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help build guests lint test

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## the release binary
	cargo build --release --locked --bin millrace

guests: ## the UDFs as components, in udfs/target/components
	scripts/build-guests

lint: ## format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

test: guests ## all tests
	command -v redis-server >/dev/null || { apt-get update && apt-get install -y redis-server; }
	cargo test --workspace --locked
