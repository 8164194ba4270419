# All that a fresh machine with Python 3.11+, make and a package index needs. `make help` lists it.
PYTHON       ?= python3
PORT         ?= 8000
SANDBOX_PORT ?= 8025
DATA_DIR     ?= .dev

BIN  := .venv/bin
# Programs that some tests need and pip cannot install: the marks of tests that are left out without them.
found = $(shell PATH="$$PATH:/usr/sbin"; for name in $(1); do command -v $$name && break; done)
MISSING := $(strip \
  $(if $(call found,chromium chromium-browser google-chrome),,browser) \
  $(if $(call found,promtool),,promtool) \
  $(if $(call found,nginx),,nginx) \
  $(if $(call found,redis-server),,redis_server))
empty :=
space := $(empty) $(empty)
PIP  := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Half of the time a test waits for another process: two workers for each core.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
DEV  := .venv/.installed-dev
TEST := .venv/.installed-test
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help run test setup format lint unit test-long controls bench lock docs clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{sub(/:.*/, "", $$1); printf "  make %-9s %s\n", $$1, $$2}'

run: $(DEV)  ## start the service with a Valkey and a WSMS sandbox (PORT, SANDBOX_PORT, DATA_DIR)
	@exec $(BIN)/otp-service dev --port $(PORT) --sandbox-port $(SANDBOX_PORT) --data-dir $(DATA_DIR)

test: lint unit  ## everything: format, lint, types, import rules, messages, tests

setup: $(DEV)  ## .venv with otp-service in it

lint: $(TEST)  ## format, lint, types, import rules, messages, container files
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/otp-service messages lint

unit: $(TEST)  ## the tests
ifneq ($(MISSING),)
	@echo "Tests left out, since a program is missing here: $(MISSING). Install chromium, prometheus, nginx-light"
	@echo "and redis-server to run them, as .ci/run does."
	$(PYTEST) -m "not ($(subst $(space), or ,$(MISSING)))"
else
	$(PYTEST)
endif

test-long: $(TEST)  ## the races, 200 rounds each
	$(PYTEST) --rounds 200 tests/reliability tests/devices

controls: $(TEST)  ## builds that lack one defence each: every one must fail a test
	$(BIN)/python -m tests.security.broken_builds

bench: $(TEST)  ## measure, print ratios, write bench/results/
	$(BIN)/python -m bench
	$(BIN)/python -m bench.totp

format: $(TEST)  ## put the code into shape
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(TEST)  ## write what is generated: openapi.json, the tables and outputs in the documents
	$(BIN)/otp-service openapi > openapi.json
	$(BIN)/python -m tests.docs.tables
	$(BIN)/python -m tests.docs.wordpress

lock: $(TEST)  ## resolve the dependencies anew
	$(LOCK) --upgrade pyproject.toml -o requirements/runtime.lock
	$(LOCK) --upgrade pyproject.toml --extra dev -o requirements/dev.lock
	$(LOCK) --upgrade pyproject.toml --extra dev --extra test -o requirements/test.lock

clean:  ## remove .venv and the data of `make run`
	rm -rf .venv $(DATA_DIR)

# pip is the last that venv puts there: a .venv without it is a broken one, and is made anew.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: set PYTHON, as in make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's module venv is not complete here. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv. This takes a minute."
	@$(PYTHON) -m venv --clear .venv

$(DEV): requirements/dev.lock pyproject.toml | $(BIN)/pip
	$(PIP) --require-hashes -r requirements/dev.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(TEST): requirements/test.lock $(DEV)
	$(PIP) --require-hashes -r requirements/test.lock
	@touch $@
