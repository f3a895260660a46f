# The README's two commands, and what they share. Everything goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint clean
demo: $(STAMP)
	$(BIN)/mahtrt demo --out mahtrt-demo

test: $(STAMP) lint
	$(BIN)/python -m pytest -q

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
