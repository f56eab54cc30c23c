# make demo    train on MNIST with one command
# make test    lint, types and all tests
# make soak    the long tests
# make docs    the site, in build/docs
# make pictures  the pictures of README and docs anew (Chromium besides)
# make bitstreams  build every board's bitstream into build/
# make bench   speed beside its peers, in one run
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test soak docs pictures bitstreams bench clean

demo: $(VENV)/.installed
	$(BIN)/qcloop train --recipe best

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow" -n auto --dist loadfile

soak: $(VENV)/.installed-dev
	$(BIN)/pytest -m slow

docs: $(VENV)/.installed-dev
	$(BIN)/sphinx-build -q -W --keep-going -c docs -d build/doctrees . build/docs
	@echo "the site is in build/docs/index.html"

pictures: $(VENV)/.installed-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/pictures.py

bitstreams: $(VENV)/.installed-dev
	$(BIN)/qcloop build --all

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/bench_grng.py
	$(BIN)/python benchmarks/bench_training.py
	$(BIN)/python benchmarks/bench_link.py
	$(BIN)/python benchmarks/bench_boards.py
	$(BIN)/python benchmarks/bench_sweep.py
	$(BIN)/python benchmarks/bench_torch.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist
