# `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help build guests example demo lint test bench
TARGET := $(or $(CARGO_TARGET_DIR),target)

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## the release binary, at target/release/millrace
	cargo build --release --locked --bin millrace
	@if [ "$(TARGET)" != target ]; then mkdir -p target/release && ln -sf "$(abspath $(TARGET))/release/millrace" target/release/millrace; fi

guests: ## the UDFs as components, in udfs/target/components
	scripts/build-guests

example: guests ## the components that the fraud example uses, beside its project file
	cp udfs/target/components/merchant_category.wasm udfs/target/components/decayed_sum.wasm examples/fraud/

demo: build example ## the fraud example live; prints a curl to paste; ends with Ctrl-C
	@scripts/demo

lint: ## format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

test: guests ## all tests
	command -v redis-server >/dev/null || { apt-get update && apt-get install -y redis-server; }
	cargo test --workspace --locked

bench: guests ## the benchmarks, with DuckDB beside
	python3 -m venv target/bench-python && target/bench-python/bin/pip install -q duckdb
	MILLRACE_BENCH_PYTHON=$(abspath target/bench-python/bin/python) cargo bench --locked -p millrace
