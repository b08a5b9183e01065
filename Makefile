# Northgate's tasks. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo check test unit integration bench fuzz fmt fmt-check lint shell-lint deny

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a bank on a real Trino, and Northgate before it; ARGS=--once ends after showing
	@tests/stack/demo $(ARGS)

check: fmt-check lint ## the fast loop: format, clippy, unit tests
	cargo test --lib --bins --test tidy

test: fmt-check lint shell-lint deny unit integration ## everything, on the real Trino and with the real clients

unit: ## the tests that need no server
	cargo test --lib --bins --test tidy

integration: ## the tests against the real Trino with the real clients
	tests/stack/stack fetch
	cargo test --lib -- --ignored
	cargo test --test it

bench: ## Northgate, nginx and a stub side by side; ONLY=name runs one
	tests/bench/run.sh $(ONLY)

fuzz: ## the fuzz targets, FUZZ_SECONDS each (60); ONLY=name runs one
	tests/fuzz/run.sh $(ONLY)

fmt: ## format the code
	cargo fmt

fmt-check:
	cargo fmt --check

lint: ## clippy, with its warnings as errors
	cargo clippy --locked --all-targets -- -D warnings

shell-lint: ## the shell scripts: their syntax, and shellcheck where it is installed
	@for script in $$(git ls-files -- .ci/run 'tests/**' 'src/cli/deploy/**' | xargs grep -lE '^#!.*bash|shellcheck shell=bash'); do \
	    bash -n "$$script"; \
	    if command -v shellcheck >/dev/null; then shellcheck "$$script"; fi; \
	done
	@command -v shellcheck >/dev/null || echo "shellcheck is not installed: the scripts' syntax alone was checked"

deny: ## licences, sources and advisories of the crates
	tests/stack/check_crates
