# Every target makes what it needs first; the second run of any is quick.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# python3.11 where several are installed; any from 3.11 to 3.13 will do: make PYTHON=python3.13 …
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# More words for pip, e.g. another index for a torch build of your own (see README).
PIP_OPTIONS ?=

# What only benchmarks import, apart from what everything else sees (benchmarks/report.py:PEERS).
PEERS := $(VENV)/peers

.PHONY: help install quickstart dashboard test test-slow peers smoke lint format clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "edge-bench needs Python 3.11, 3.12 or 3.13; none was found. Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS) -c constraints.txt -e '.[dev]'
	@touch $(READY)

install: $(READY) ## make .venv and install everything pinned

quickstart: $(READY) ## train, cut, export, bench, fit and pick on scikit-learn's digits
	@$(BIN)/edge-bench quickstart $(ARGS)

dashboard: $(READY) ## open the dashboard on what is stored
	@$(BIN)/edge-bench dashboard $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A process on each core, with one thread of its own; tests of one file share what they have prepared.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --dist loadfile

test: lint ## every check: ruff, mypy, import-linter, pytest with the browser tests
	$(PYTEST) -m "not slow"

test-slow: $(READY) ## the tests that take minutes
	$(PYTEST) -m slow

# Not the one that trains and measures for minutes, nor the one that emulates a board: slow tests do that.
SMOKED := $(filter-out report made_up_store training_runs quickstart arm_emulated,$(basename $(notdir $(wildcard benchmarks/*.py))))

peers: $(READY) ## install what benchmarks compare with
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS) -c constraints.txt -e '.[peers]'
	@test -d $(PEERS)/ofa || $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS) \
		-c constraints.txt --no-deps --target $(PEERS) ofa torchvision

smoke: $(SMOKED:%=smoke-%) ## every benchmark at its smallest size, to see that it works; with -j several at once

smoke-%: peers
	@echo "== $*"; $(BIN)/python benchmarks/$*.py --size smoke

format: $(READY) ## put the code in the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist *.egg-info
