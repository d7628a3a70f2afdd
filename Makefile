# Everything a person or CI runs. Needs only Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test lint types imports docs check package bench clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/use: pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(VENV)/develop: $(VENV)/use
	$(PIP) -e '.[dev]'
	touch $@

demo: $(VENV)/use  ## train on handwritten digits and write a report
	$(BIN)/fitwell train digits

test: $(VENV)/develop  ## run every test
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/develop  ## style of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/develop  ## types, strictly
	$(BIN)/mypy

imports: $(VENV)/develop  ## a layer imports only from lower layers
	$(BIN)/lint-imports

docs: $(VENV)/develop  ## build the site into site/
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

package: $(VENV)/develop  ## build the wheel, install it bare, use it
	$(BIN)/python -m pytest -q tests/packaging

check: lint types imports test docs package  ## all of the above

bench: $(VENV)/develop  ## speed against peers, into records/ (needs a quiet machine)
	$(PIP) -e '.[bench]'
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/optim.py
	$(BIN)/python benchmarks/augment.py
	$(BIN)/python benchmarks/population.py
	$(BIN)/python benchmarks/hessian.py
	$(BIN)/python benchmarks/watch.py
	$(BIN)/python benchmarks/images.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/options.py
	$(BIN)/python benchmarks/progress.py
	$(BIN)/python benchmarks/stream.py
	$(BIN)/python benchmarks/estimator.py
	$(BIN)/python benchmarks/lint.py --rounds 5
	$(BIN)/python benchmarks/plan.py --probe-seconds 120

clean:  ## delete what the commands above made
	rm -rf $(VENV) site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
