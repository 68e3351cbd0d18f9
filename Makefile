# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
EXTRAS ?= dev

.PHONY: demo test test-slow check claims results docs setup build clean

demo: setup
	$(BIN)/narrows demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python tools/structure.py --check
	$(BIN)/python tools/typed.py --check

claims: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m reproductions --ledger

results: setup
	$(BIN)/python -m evidence

docs: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=$(WORKERS) $(BIN)/mkdocs build --quiet
	@echo "open build/site/index.html"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

build: setup
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) build dist demo
