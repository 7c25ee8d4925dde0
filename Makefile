# `make help` lists what there is. Nothing needs to be set up first but Rust; what is missing is installed or named.
.DEFAULT_GOAL := help
.PHONY: help build guests guests-python guests-javascript test-guests example demo test soak crash cases fuzz fuzz-admin lint doc deny bench bench-boundary memory fresh-debian clean toolchain
MAKEFLAGS += --no-print-directory

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

build: toolchain ## the release binary, at target/release/millrace
	@cargo build --release --locked -p millrace
	@built=$$(scripts/target)/release/millrace; mkdir -p target/release; \
	    [ "$$built" -ef target/release/millrace ] || cp --remove-destination "$$built" target/release/millrace

guests: toolchain ## the UDFs as components, in udfs/target/components
	@scripts/build-guests
	@scripts/build-guests-c
	@scripts/build-guests-go

guests-python: ## the UDFs in Python as components, in udfs/target/components; fetches componentize-py
	@scripts/build-guests-python

guests-javascript: ## the UDFs in TypeScript as components, in udfs/target/components; fetches componentize-js
	@scripts/build-guests-javascript

test-guests: ## the SDKs but Rust's and what is written with them, natively
	@scripts/test-guests

example: guests ## the components that the fraud example uses, beside its project file
	@cp udfs/target/components/merchant_category.wasm udfs/target/components/decayed_sum.wasm examples/fraud/

demo: build example ## the fraud example live: prints a curl to paste on stdout; ends with Ctrl-C
	@scripts/need curl:curl
	@scripts/demo

test: toolchain ## brings up Redis and Kafka and runs all tests; ARGS="..." goes to cargo test
	@scripts/test $(ARGS)

soak: toolchain ## random events through random views, long: CASES=20000 for so many projects
	@MILLRACE_SOAK=$(or $(CASES),20000) cargo test --locked -p millrace -p millrace-tests --test all differential -- --nocapture

crash: toolchain ## kills runs at random moments and holds them against undisturbed ones: KILLS=100 of each example
	@MILLRACE_KILLS=$(or $(KILLS),100) scripts/test --test all crash

cases: toolchain ## runs the cases of a file such as tests/cases/feathub.json: make cases FILE=…
	@scripts/cases "$(FILE)"

fuzz: toolchain ## a minute of random input for each decoder, the project file and the boundary; ARGS="json" for one of them
	@scripts/fuzz $(ARGS)

fuzz-admin: toolchain ## a minute of requests to the admin listener, by its OpenAPI document; fetches schemathesis
	@scripts/fuzz-admin

lint: toolchain ## formatting and lints, as CI holds them
	@scripts/workspaces cargo fmt --all --check
	@scripts/workspaces cargo clippy --workspace --all-targets --locked -- -D warnings

doc: toolchain ## the documentation of the code, in target/doc
	@RUSTDOCFLAGS="-D warnings" scripts/workspaces cargo doc --workspace --no-deps --document-private-items --locked

deny: toolchain ## licenses and origins of the dependencies
	@scripts/deny

bench: guests bench-boundary ## the benchmarks, with DuckDB and arrow-udf-runtime beside
	@scripts/need python3:python3-venv
	@python3 -m venv target/bench-python && target/bench-python/bin/pip install -q duckdb
	@MILLRACE_BENCH_PYTHON=$(abspath target/bench-python/bin/python) \
	    cargo bench --locked -p millrace --bench pipeline --bench windows --bench checkpoint --bench neighbours

bench-boundary: guests ## the languages side by side, into the table of guest-sdk/README.md; ARGS="go" for one of them
	@scripts/bench-boundary $(ARGS)

memory: build ## ten million keys with and without a limit on memory: KEYS=, EVENTS=, LIMITS="none 512MiB"
	@scripts/memory

fresh-debian: ## from the README to tested UDFs in every language, in a new Debian: an hour; ARGS="--debug go" for less
	@scripts/fresh-debian $(ARGS)

clean: ## removes what was built here; what is shared between clones stays in ~/.cache/millrace
	@scripts/workspaces cargo clean
	@rm -f examples/*/*.wasm

toolchain:
	@scripts/need-rust
	@scripts/need cc:build-essential make:build-essential
