# The README's two commands, what a change needs (check, format), and what they share.
# Everything goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check fuzz faults format lint clean
demo: $(STAMP)
	$(BIN)/mahtrt demo --out mahtrt-demo

test: $(STAMP) lint
	$(BIN)/python -m pytest -q --durations=10

# The quick loop: everything but the tests marked slow, and which of its tests take over a second.
# Their networks are small: one thread computes them faster than two that wait for each other.
check: export OMP_NUM_THREADS = 1
check: $(STAMP) lint
	$(BIN)/python -m pytest -q -m "not slow" --durations=10 --durations-min=1

# Kills of every verb at random moments, and every change of files failing once: half an hour.
faults: FAULTS ?= 300
faults: $(STAMP)
	MAHTRT_FAULTS=$(FAULTS) $(BIN)/python -m pytest -q tests/faults

# Mutated input of every kind with new seeds, for MINUTES minutes; prints what was tried.
MINUTES ?= 10
fuzz: $(STAMP)
	MAHTRT_FUZZ_MINUTES=$(MINUTES) $(BIN)/python -m pytest -q -s tests/fuzz

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
