# Everything happens in .venv, which these targets make and keep up to date by themselves.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || echo python3)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# One thread per process: more of them slow small networks down on a busy machine.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo test lint types results peers clean

help:
	@echo "make demo    install, then film a fleet in a warehouse over a lossy radio (runs/demo)"
	@echo "make test    install, then run the tests"
	@echo "make setup   install only; afterwards $(BIN)/agentsc works"
	@echo "make lint    ruff"
	@echo "make types   mypy"
	@echo "make results compute what is missing in experiments/results, then the tables made from it"
	@echo "make peers   install the libraries we compare with, and run the comparisons"
	@echo "make clean   remove $(VENV)"

$(VENV)/.setup: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[film]'
	@touch $@

$(VENV)/.dev: $(VENV)/.setup
	$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/.peers: $(VENV)/.dev
	$(PIP) -e '.[peers]'
# It asks for torchvision and more, which our comparisons do not use: tests/peers/conftest.py.
	$(PIP) --no-deps deepinv
	@touch $@

setup: $(VENV)/.setup

demo: setup
	rm -rf runs/demo
	$(BIN)/agentsc run --scenario warehouse --agents 12 --link gilbert-elliott:p=0.05,r=0.2 --seed 1 \
		--set protocol.proposals_for=every --out runs/demo --record runs/demo/film.mp4

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=25

lint: $(VENV)/.dev
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

SUITES := mmd-scenes loss-delay bits-vs-success links threats worlds late-boxes missions limits rmader-circle \
	architectures architectures-large
# What is there already is kept: delete experiments/results/SUITE to compute it anew.
results: $(VENV)/.dev
	for suite in $(SUITES); do $(BIN)/agentsc bench $$suite --out experiments/results/$$suite --resume || exit 1; done
	$(BIN)/agentsc leaderboard experiments/results
	$(BIN)/python experiments/published_tables.py

peers: $(VENV)/.peers
	$(BIN)/python experiments/benchmarks/world_speed.py
	$(BIN)/python -m pytest -o addopts=--strict-markers -s tests/peers

clean:
	rm -rf $(VENV)
