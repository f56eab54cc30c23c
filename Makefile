# make demo    train on MNIST with one command
# make test    lint, types and all tests but the long ones
# make soak    the long tests
# make docs    the site, in build/docs
# make pictures  the pictures of README and docs anew (Chromium besides), what the notebook shows, the cards of the boards
# make bitstreams  build every board's bitstream into build/
# make bench   speed beside its peers, in one run
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test types tests soak docs pictures bitstreams bench clean

demo: $(VENV)/.installed
	$(BIN)/qcloop train --recipe best

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory --jobs=2 types tests

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# The files come in the order of tests/conftest.py, which begins with those that take longest.
tests: $(VENV)/.installed-dev
	$(BIN)/pytest -m "not slow" -n auto --dist loadfile --no-loadscope-reorder

soak: $(VENV)/.installed-dev
	$(BIN)/pytest -m slow

docs: $(VENV)/.installed-dev
	$(BIN)/sphinx-build -q -W --keep-going -c docs -d build/doctrees . build/docs
	@echo "the site is in build/docs/index.html"

pictures: $(VENV)/.installed-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/pictures.py
	$(BIN)/python docs/notebook.py
	$(BIN)/python docs/board_cards.py

bitstreams: $(VENV)/.installed-dev
	$(BIN)/qcloop build --all

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/bench_grng.py
	$(BIN)/python benchmarks/bench_training.py
	$(BIN)/python benchmarks/bench_simulators.py
	$(BIN)/python benchmarks/bench_waveforms.py
	$(BIN)/python benchmarks/bench_link.py
	$(BIN)/python benchmarks/bench_boards.py
	$(BIN)/python benchmarks/bench_step.py
	$(BIN)/python benchmarks/bench_sweep.py
	$(BIN)/python benchmarks/bench_torch.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

# Of what is installed here, the tests import a part: Python compiles that when it is imported, not pip all of it.
$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e ".[dev]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist
