# The README's two commands, what a change needs (check, format), and what they share.
# Everything goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check fuzz faults gpu format lint clean
demo: $(STAMP)
	$(BIN)/mahtrt demo --out mahtrt-demo

# Two tests at once, in the order of the folders; each file stays with one process, which keeps
# what its tests share. Their networks are small: one thread computes them faster than two that
# wait for each other.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=10

test check: export OMP_NUM_THREADS = 1
test: $(STAMP) lint
	$(PYTEST)

# The quick loop: everything but the tests marked slow, and which of its tests take over a second.
check: $(STAMP) lint
	$(PYTEST) -m "not slow" --durations-min=1

# Kills of every verb at random moments, and every change of files failing once: half an hour.
faults: FAULTS ?= 300
faults: $(STAMP)
	MAHTRT_FAULTS=$(FAULTS) $(BIN)/python -m pytest -q tests/faults

# Mutated input of every kind with new seeds, for MINUTES minutes; prints what was tried.
MINUTES ?= 10
fuzz: $(STAMP)
	MAHTRT_FUZZ_MINUTES=$(MINUTES) $(BIN)/python -m pytest -q -s tests/fuzz

# What mahtrt does on this machine's GPU, in eight minutes: one JSON and one log in
# benchmarks/results. Takes .venv where there is one, else $(PYTHON): nothing is installed.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
GPU_ARGS ?=
gpu:
	@$(GPU_PYTHON) experiments/gpu_suite.py $(GPU_ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# constraints.txt pins what is installed; pyproject.toml says what may be.
$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV); PyTorch is large, this takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) mahtrt-demo build dist *.egg-info
