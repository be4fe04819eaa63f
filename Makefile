# Two commands on a bare clone: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SHELL  := bash
UV     := uv==0.13.9
# The tests start hundreds of processes, each of which would compile all of albor again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-all test-gpu docs quality quality-gpu lint lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready  ## .venv, locked dependencies, editable install

# All is locked by hash and installed by uv in seconds, but for torch, which is locked by version only and installed by
# plain pip: a machine that offers a CPU build gets it, any other gets the CUDA build with the libraries that build
# itself asks for. Without --no-compile, pip compiles thousands of modules; Python compiles those that it imports.
$(VENV)/.ready: requirements.lock requirements-torch.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("albor needs Python 3.11 or 3.12; this is %d.%d. Try: make setup PYTHON=python3.11" % sys.version_info[:2] if not (3, 11) <= sys.version_info[:2] < (3, 13) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile $(UV)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-compile -r requirements-torch.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## corpus, tokenizer, rows, model, evaluation and report from this Python's own standard library
	$(BIN)/python -m albor

test: setup lint  ## lint, types and the fast tests
	$(BIN)/python -m pytest

test-all: setup lint  ## every test, the slow ones too
	$(BIN)/python -m pytest -m ""

test-gpu: setup  ## what needs a CUDA device; TRITON_INTERPRET=1 runs its kernels on a CPU, if Triton is installed
	$(BIN)/python -m pytest -m gpu -n 0

docs: setup  ## the documentation's site, in build/site; a broken link, anchor or formula fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo build/site/index.html

quality: setup lint  ## line coverage, mutation score and complexity, written to docs/QUALITY.md; about two hours
	rm -f build/quality/coverage*
	$(BIN)/coverage run -m pytest -m ""
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage json --quiet -o build/quality/coverage.json
	$(BIN)/python -m quality.mutation
	$(BIN)/python -m quality.report

quality-gpu: setup  ## which of the lines marked `# gpu` the tests reach on a CUDA device
	rm -f build/quality/gpu*
	$(BIN)/coverage run --data-file=build/quality/gpu -m pytest -m gpu -n 0
	$(BIN)/coverage combine --quiet --data-file=build/quality/gpu
	$(BIN)/python -m quality.gpu build/quality/gpu

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: setup  ## rewrite the lock files from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --no-emit-package torch --no-emit-package triton \
	  $$(sed -nE 's/^((nvidia|cuda)-[a-z0-9-]+)==.*/--no-emit-package \1/p' <(grep -v '^nvidia-ml-py=' <($(BIN)/uv pip compile -q pyproject.toml --universal --python-version 3.11))) \
	  --output-file requirements.lock

clean:  ## remove the environment and caches, keep outputs/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
