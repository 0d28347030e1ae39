# Each target does its own set-up: a virtual environment in .venv, from the hashed lock.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON311 ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
ON_EVERY_CORE := -n logical --dist worksteal
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-long test-fast check bench lock golden clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

# PYTHONDONTWRITEBYTECODE would leave TFX uncompiled, and every start would then take 40 seconds.
$(READY): lock/requirements.txt setup.py
	@command -v $(PYTHON311) >/dev/null || { echo "Braid needs Python 3.11, and '$(PYTHON311)' is not on the PATH."; \
	  echo "  Debian 12:    apt-get install python3.11 python3.11-venv"; \
	  echo "  Ubuntu 22.04: apt-get install python3.11 python3.11-venv"; \
	  echo "  Ubuntu 24.04: add the deadsnakes PPA, then apt-get install python3.11 python3.11-venv"; \
	  echo "  elsewhere:    make PYTHON311=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON311) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "'$(PYTHON311)' is not Python 3.11."; exit 1; }
	@$(PYTHON311) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python 3.11 lacks its venv module: apt-get install python3.11-venv"; exit 1; }
	@rm -rf .venv && $(PYTHON311) -m venv .venv
	@echo "Installing the locked environment (about 4 GB, some minutes) ..."
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/pip install --quiet --compile --no-deps --require-hashes -r lock/requirements.txt
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY) ## run the flights pipeline on real data, twice: the second run reuses every step
	$(BIN)/braid run configs/pipelines/flights.yaml
	$(BIN)/braid run configs/pipelines/flights.yaml
	$(BIN)/braid runs

test: $(READY) check ## all checks and the test suite, on every core
	$(BIN)/python -m pytest $(ON_EVERY_CORE) -m "not long"

test-long: $(READY) ## the tests that take minutes: worker environments, a loopback cloud, many kills
	$(BIN)/python -m pytest $(ON_EVERY_CORE) -m long

test-fast: $(READY) ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow and not long"

check: $(READY) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## measure against rivals in the same run (about half an hour)
	$(BIN)/python -m benchmarks

golden: $(READY) ## renew the golden files of the tests
	$(BIN)/python -m pytest --renew-golden tests/golden

lock: $(READY) ## resolve lock/requirements.in again into lock/requirements.txt
	$(BIN)/pip install --quiet uv
	cd lock && ../$(BIN)/uv pip compile requirements.in --override overrides.txt --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --generate-hashes --quiet --upgrade --output-file requirements.txt

clean: ## remove what the targets made
	rm -rf .venv .braid build *.egg-info
