# The commands of the README. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench fuzz dist fmt audit setup clean

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TOOLS := $(abspath $(TARGET_DIR))/tools

help: ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## Install what tests and demo need from the distribution (Debian, Ubuntu).
	@tests/setup

demo: setup ## Build, push, pull and start a Django and a Node app on this machine.
	cargo build --release
	@tests/demo/run

# The executor's tests drive every rung of isolation from the top, which is root.
FOR_ROOT := $(if $(filter 0,$(shell id -u)),,lifecycle-executor)
test: setup ## Run every test.
	$(if $(FOR_ROOT),@echo "skipped: the tests of $(FOR_ROOT) are for root")
	cargo test --workspace $(addprefix --exclude ,$(FOR_ROOT))

lint: setup $(TOOLS)/bin/cargo-deny ## Check formatting, lints, structure, scripts, licences and docs.
	cargo fmt --all --check
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --package lifecycle --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
	tests/lint/run
	cargo metadata --locked --format-version 1 --manifest-path tests/fuzz/Cargo.toml >/dev/null
	$(TOOLS)/bin/cargo-deny check bans licenses sources

bench: setup ## Compare with peers that are installed; prints ratios.
	cargo build --release
	@tests/bench/run
	@if [ "$$(id -u)" -eq 0 ]; then tests/bench/dockerfile; fi

# Where the sources and the crates lie must not show in a released program (docs/releasing.md).
DIST := $(abspath $(TARGET_DIR))/dist
TRIPLE = $(shell rustc -vV | sed -n 's/^host: //p')
CRATES := $(abspath $(or $(CARGO_HOME),$(HOME)/.cargo))
dist: export RUSTFLAGS := -C target-feature=+crt-static --remap-path-prefix=$(CURDIR)=/lifecycle --remap-path-prefix=$(CRATES)=/cargo
dist: export CFLAGS := -ffile-prefix-map=$(CURDIR)=/lifecycle -ffile-prefix-map=$(CRATES)=/cargo
dist: ## Make the release in target/dist: tarball, images, SBOMs, checksums.
	cargo build --locked --release --package lifecycle
	cargo build --locked --profile launcher --package lifecycle-launcher
	cargo build --locked --package lifecycle-dist
	$(TARGET_DIR)/$(TRIPLE)/debug/lifecycle-dist make --out $(DIST) $${SOURCE_DATE_EPOCH:+--epoch $$SOURCE_DATE_EPOCH} \
		--program $(TARGET_DIR)/$(TRIPLE)/release/lifecycle --launcher $(TARGET_DIR)/$(TRIPLE)/launcher/launcher

fuzz: $(TOOLS)/bin/cargo-fuzz ## Fuzz every parser of hostile input for FUZZ_SECONDS (30) each; needs a nightly toolchain.
	PATH="$(TOOLS)/bin:$$PATH" tests/fuzz/run

audit: $(TOOLS)/bin/cargo-deny ## Check dependencies against the advisory database (needs the network).
	$(TOOLS)/bin/cargo-deny check advisories

fmt: ## Format the code.
	cargo fmt --all

clean: ## Remove everything that was built.
	cargo clean

$(TOOLS)/bin/cargo-deny:
	cargo install cargo-deny --version 0.20.2 --locked --debug --quiet --root $(TOOLS)

$(TOOLS)/bin/cargo-fuzz:
	cargo install cargo-fuzz --version 0.13.2 --locked --debug --quiet --root $(TOOLS)
