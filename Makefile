# Bare `make` prints what there is. CI calls only these targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
TODAY := $(shell date +%F)
FAULT_REPORT := benchmarks/results/faults-$(TODAY).md
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-virtualenv --progress-bar off
RUNTIME := .venv/.runtime
DEV := .venv/.dev

.PHONY: help
help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use
.PHONY: run env
run: env ## Start everything on this machine: Kafka, collector, processors, live page (Ctrl-C stops it)
	@$(BIN)/headrace up

env: $(RUNTIME) ## Make .venv with what `headrace` needs, from the lock

##@ Test
.PHONY: test unit sdks acceptance faults soak
test: $(DEV) ## Run all tests but the fault tests, on a real Kafka
	$(BIN)/pytest -m "not faults"

unit: $(DEV) ## Run the tests that need no process beside them
	$(BIN)/pytest -m "not faults and not integration and not browser and not sdk and not acceptance"

sdks: $(DEV) ## Send with every real SDK to a run of this checkout; report in benchmarks/results (needs node, go, a JDK, Chromium; ARGS="--only go")
	$(BIN)/pytest -m sdk
	$(BIN)/python -m tests.acceptance.every_sdk --here --report benchmarks/results/sdks-$(TODAY).md $(ARGS)

acceptance: $(DEV) ## Use a fresh clone as a user would: 10,000 calls of real SDKs, then replay, redrive, explain, kill, every SDK (needs what `make sdks` needs, and kcat)
	$(BIN)/python -m tests.acceptance.carry_events --json benchmarks/results/acceptance-$(TODAY).json $(ARGS)
	$(BIN)/python -m tests.acceptance.look_back --json benchmarks/results/look-back-$(TODAY).json $(ARGS)
	$(BIN)/python -m tests.acceptance.every_sdk --json benchmarks/results/every-sdk-$(TODAY).json $(ARGS)

faults: $(DEV) ## Kill, stop and starve processes and brokers; the report is benchmarks/results/faults-DATE.md (an hour; ARGS="-k T11" for a part)
	HEADRACE_FAULT_HITS=$${HEADRACE_FAULT_HITS:-20} HEADRACE_FAULT_STOPS=$${HEADRACE_FAULT_STOPS:-50} HEADRACE_FAULT_REPORT=$(FAULT_REPORT) \
		HEADRACE_FAULT_COPIES=$${HEADRACE_FAULT_COPIES:-100000} HEADRACE_FAULT_LETTERS=$${HEADRACE_FAULT_LETTERS:-10000} \
		$(BIN)/pytest -m "faults or fault" -p no:randomly -s $(ARGS)

soak: $(DEV) ## Kill at random for an hour and watch memory and open files; SOAK_MINUTES=10 for less
	SOAK_MINUTES=$${SOAK_MINUTES:-60} HEADRACE_FAULT_REPORT=$(FAULT_REPORT) $(BIN)/pytest -m faults -s tests/faults/test_soak.py

##@ Measure
.PHONY: bench
bench: $(DEV) ## Measure every budget, with Kafka and with peers; says how long each took (needs oha and a JDK for all of it); ARGS=--quick for four, ARGS="--only mapping" for one; COMPILED=1 for what `make compiled` made
	$(if $(COMPILED),$(AS_COMPILED)) $(BIN)/python -m benchmarks.run $(ARGS)

.PHONY: compiled
AS_COMPILED := PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/dist/compiled:$(CURDIR)
compiled: $(DEV) ## Build a wheel with its hot modules compiled, into dist/, and run their tests on it (needs a C compiler; about three minutes)
	rm -rf dist
	HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python -m zipfile -e dist/headrace-*.whl dist/compiled
	$(AS_COMPILED) $(BIN)/python -m pytest -o "pythonpath=dist/compiled ." -m "not integration and not faults" tests/topologies \
		$(addprefix tests/unit/,validate enrich filter dedup model runtime assembly explain)

##@ Check
.PHONY: check fmt lint type arch
check: lint type arch ## Run every check that is no test

fmt: $(DEV) ## Format the code and repair what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(DEV) ## Check style and format (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(DEV) ## Check types (mypy --strict)
	$(BIN)/mypy

arch: $(DEV) ## Check that imports point one way (import-linter)
	$(BIN)/lint-imports

##@ Document
.PHONY: docs docs-check
docs: $(DEV) ## Write the reference pages from the code and build the site into site/
	$(BIN)/python -m docs.generate
	$(BIN)/mkdocs build --strict --quiet

docs-check: $(DEV) ## Fail when a reference page is stale
	$(BIN)/python -m docs.generate --check

##@ Show
.PHONY: screenshots
screenshots: $(DEV) ## Take the pictures of the README anew, from a real run with traffic (needs Chromium; about two minutes)
	$(BIN)/python docs/screenshots.py
	$(BIN)/headrace topology show --format svg >docs/images/topology.svg

##@ Keep
.PHONY: lock lock-sdks clean
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links $(UPGRADE) --group build
KAFKA := org.apache.kafka:kafka_2.13:4.3.1 org.apache.logging.log4j:log4j-slf4j-impl:2.25.4

lock: $(DEV) ## Write the lock files anew: Python packages (UPGRADE=--upgrade for newer ones) and Kafka's jars
	$(COMPILE) --group dev --group docs --output-file requirements/dev.txt
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/runtime.txt
	$(BIN)/python -m pipeline.app.local.jars $(KAFKA)

lock-sdks: $(DEV) ## Write the lock files of the SDKs that the tests send with anew (needs node and go)
	for sdk in tests/sdks/*_python; do $(BIN)/uv pip compile $$sdk/requirements.in --quiet --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --no-emit-index-url --output-file $$sdk/requirements.txt; done
	for sdk in tests/sdks/*_node tests/sdks/*_browser; do (cd $$sdk && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved); done
	cd tests/sdks/segment_go && go mod tidy
	$(BIN)/python -m tests.sdks.lock

clean: ## Remove the environment and what tools left; keeps .headrace, which holds data
	rm -rf .venv build dist site htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment ----------------------------------------------------------------------------------------------------

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || \
		{ echo "Python 3.11 to 3.14 is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "This Python lacks venv. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

# The locks are whole, so pip resolves nothing (`--no-deps`): with hashes it asks for the newest release of a package that another
# names with an extra, and finds it unpinned (pypa/pip#9644).
$(RUNTIME): requirements/runtime.txt pyproject.toml | .venv/bin/python
	@echo "installing what headrace needs into .venv (once, about a minute)"
	@$(PIP) --no-deps --require-hashes --requirement requirements/runtime.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements/dev.txt $(RUNTIME)
	@echo "installing the tools for tests and checks into .venv (once)"
	@$(PIP) --no-deps --require-hashes --requirement requirements/dev.txt
	@$(BIN)/python -m pip check >/dev/null || $(BIN)/python -m pip check
	@touch $@
