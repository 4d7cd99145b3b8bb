# Needs make and Python >= 3.11 with its venv module; everything else is installed into .venv.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; \
	done)
JOBS ?= 2
VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip install -qq -c constraints.txt
CORE := $(VENV)/.core
DEV  := $(VENV)/.dev
TRL  := .venv-trl

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help demo bench test lint types unit trl-test wheel-test docs format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(CORE) ## Watch one rollout, then score agents with a small context window
	$(BIN)/rao-envs rollout TextCraftSynth-v0 --depth 4 --seed 2
	$(BIN)/rao-envs eval TextCraftSynth-v0 --context 2048 --difficulty easy,medium,hard

bench: $(CORE) ## Measure the speed of the engine
	$(BIN)/rao-envs bench

test: lint types unit trl-test wheel-test docs ## Run every gate: lint, types, tests, TRL, wheel, documentation

lint: $(DEV) ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEV) ## Check types, strictly
	$(BIN)/mypy

unit: $(DEV) ## Run the tests (ARGS="-k name" narrows them)
	$(BIN)/pytest -n $(JOBS) $(ARGS)

trl-test: $(TRL)/.done ## Test the adapter for TRL, in an environment of its own
	$(TRL)/bin/pytest tests/integrations/test_trl.py

wheel-test: $(DEV) ## Build the wheel and run the smoke tests on it, away from the checkout
	@set -eu; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(BIN)/python -m build --wheel --outdir "$$tmp" . >"$$tmp/log" 2>&1 || { cat "$$tmp/log"; exit 1; }; \
	$(BIN)/python -m venv "$$tmp/venv"; \
	"$$tmp/venv/bin/python" -m pip install -qq pytest "$$tmp"/*.whl; \
	cp -r tests/smoke "$$tmp/smoke"; \
	cd "$$tmp"; \
	venv/bin/python -I -c "import rao_envs as r; assert 'site-packages' in r.__file__, r.__file__"; \
	venv/bin/pytest --import-mode=importlib -p no:cacheprovider -W error smoke

docs: $(DEV) ## Build the documentation into site/, warnings being errors
	@# Not --quiet: it hides the warnings from --strict too, and nothing fails.
	$(BIN)/mkdocs build --strict

format: $(DEV) ## Mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## Remove whatever make has made
	rm -rf $(VENV) $(TRL) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is touched only when its installation succeeded, and is out of date when pyproject.toml changes.
$(CORE): pyproject.toml constraints.txt
	$(if $(PYTHON),,$(error No Python >= 3.11 with the venv module found: install one, or name it with PYTHON=/path/to/python3))
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(DEV): $(CORE)
	$(PIP) -e '.[dev,docs]'
	@touch $@

# TRL has requirements that change often and narrowly, and that nothing else here should have to meet.
$(TRL)/.done: pyproject.toml constraints.txt
	@test -x $(TRL)/bin/python || $(PYTHON) -m venv $(TRL)
	$(TRL)/bin/python -m pip install -qq -c constraints.txt -e '.[trl]' hypothesis peft pytest
	@touch $@
