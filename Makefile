# The commands of CARS. Only `make setup`, `make setup-dev` and what they install touch the network.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
WORKSPACE ?= data/demo
PORT ?= 8501

.PHONY: help setup setup-dev demo app test lint bench clean

help:
	@echo "make demo                 install, build the demo workspace, serve the app on http://localhost:$(PORT)"
	@echo "make test                 install what the tests need (Chromium included) and run every test"
	@echo "make app WORKSPACE=DIR    serve the app on a workspace of yours"
	@echo "make setup [GPU=1]        install only; GPU=1 takes faiss-gpu instead of faiss-cpu"
	@echo "make lint | bench | clean"

# faiss-cpu and faiss-gpu must never be installed side by side, so GPU=1 leaves the first one out.
$(VENV)/.setup: requirements.txt requirements-gpu.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "CARS needs CPython 3.11; run: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(GPU),1)
	grep -v '^faiss-cpu' requirements.txt > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r $(VENV)/requirements.txt -r requirements-gpu.txt
else
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
endif
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -e .
	touch $@

$(VENV)/.setup-dev: $(VENV)/.setup requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	touch $@

setup: $(VENV)/.setup
setup-dev: $(VENV)/.setup-dev

demo: setup
	$(BIN)/cars demo --workspace data/demo --port $(PORT)

app: setup
	$(BIN)/cars app --workspace $(WORKSPACE) --port $(PORT)

test: setup-dev
	sh tests/browser/install_chromium.sh
	$(BIN)/python -m pytest $(PYTEST)

lint: setup-dev
	$(BIN)/ruff check .

bench: setup-dev
	for b in benchmarks/[a-z]*.py; do echo "== $$b"; $(BIN)/python $$b || exit 1; done

clean:
	rm -rf $(VENV) data/demo
