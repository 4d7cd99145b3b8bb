# Needs make and Python >= 3.11. Everything else is installed by the targets that use it, from the locks in requirements/
# into virtual environments beside this file; on Debian, as root, the venv module of Python too.

comma := ,
# $(call python,NAMES,NEWEST): the first of these that runs and is neither older than 3.11 nor newer than NEWEST;
# one that can make virtual environments is preferred.
python = $(shell for p in $(1); do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= ($(2)))' >/dev/null 2>&1 || continue; \
	$$p -c 'import ensurepip, venv' >/dev/null 2>&1 && { found=$$p; break; }; \
	found=$${found:-$$p}; \
	done; echo $$found)

ifeq ($(origin PYTHON),undefined)
PYTHON := $(call python,python3 python3.13 python3.12 python3.11 python,3$(comma)99)
endif
# Old releases have wheels for old Pythons only.
PYTHON_LOWEST ?= $(call python,python3.11 $(PYTHON),3$(comma)11)
JOBS ?= 2

VENV := .venv
BIN  := $(VENV)/bin
CORE := $(VENV)/.core
DEV  := $(VENV)/.dev

# Each has an environment and a lock of its own: requirements/NAME.in, `make lock`, and tests/integrations/test_NAME.py.
INTEGRATIONS := trl

# $(call pip,FOLDER,LOCK): install into FOLDER what LOCK allows, also to build packages with. Only minecraft-data has no
# wheel; it is pure Python, so nothing is ever compiled.
WHEELS := --only-binary :all: --no-binary minecraft-data
pip = PIP_CONSTRAINT=requirements/$(2).txt PIP_BUILD_CONSTRAINT=requirements/$(2).txt \
	$(1)/bin/python -m pip install -qq $(WHEELS)
# $(call venv,FOLDER,LOCK,PYTHON): an environment with the pip of LOCK and nothing else.
venv = requirements/make-venv $(3) $(1) && $(call pip,$(1),$(2)) pip
# $(call versions,FOLDER): what is installed there.
versions = $(1)/bin/python -VV && $(1)/bin/python -m pip list --format freeze | paste -s -d ' ' -

need_python = $(or $(PYTHON),$(error No Python >= 3.11 found: install one, or name it with PYTHON=/path/to/python3))
need_lowest = $(or $(PYTHON_LOWEST),$(error The lowest versions need Python 3.11: name it with PYTHON_LOWEST=/path/to/it))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help demo bench test lint types unit integrations $(INTEGRATIONS:%=%-test) wheel-test docs \
	lowest all-lowest $(INTEGRATIONS:%=%-lowest) latest all-latest $(INTEGRATIONS:%=%-latest) lock locked format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(CORE) ## Watch one rollout, then score agents with a small context window
	$(BIN)/rao-envs rollout TextCraftSynth-v0 --depth 4 --seed 2
	$(BIN)/rao-envs eval TextCraftSynth-v0 --context 2048 --difficulty easy,medium,hard

bench: $(CORE) ## Measure the speed of the engine
	$(BIN)/rao-envs bench

test: lint types unit integrations wheel-test docs ## Run every gate on the locked versions

lint: $(DEV) ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEV) ## Check types, strictly
	$(BIN)/mypy

unit: $(DEV) ## Run the tests (ARGS="-k name" narrows them)
	$(BIN)/pytest -n $(JOBS) $(ARGS)

integrations: $(INTEGRATIONS:%=%-test) ## Test the adapters that need an environment of their own (make trl-test for one)

$(INTEGRATIONS:%=%-test): %-test: .venv-%/.done
	.venv-$*/bin/pytest tests/integrations/test_$*.py

wheel-test: $(DEV) ## Build the wheel and run the smoke tests on it, away from the checkout
	@set -eu; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	PIP_CONSTRAINT=requirements/dev.txt $(BIN)/python -m build --wheel --outdir "$$tmp" . >"$$tmp/log" 2>&1 \
		|| { cat "$$tmp/log"; exit 1; }; \
	requirements/make-venv $(BIN)/python "$$tmp/venv"; \
	$(call pip,"$$tmp/venv",dev) pytest "$$tmp"/*.whl; \
	cp -r tests/smoke "$$tmp/smoke"; \
	cd "$$tmp"; \
	venv/bin/python -I -c "import rao_envs as r; assert 'site-packages' in r.__file__, r.__file__"; \
	venv/bin/pytest --import-mode=importlib -p no:cacheprovider -W error smoke

docs: $(DEV) ## Build the documentation into site/; warnings are errors
	@# Not --quiet: it hides the warnings from --strict too, and nothing fails.
	$(BIN)/mkdocs build --strict

# $(call tests,NAME): what an environment of the gates `lowest` and `latest` is for.
tests = $(if $(filter all,$(1)),-n $(JOBS) $(ARGS),tests/integrations/test_$(1).py)

lowest: all-lowest $(INTEGRATIONS:%=%-lowest) ## Run the tests on the lowest versions that pyproject.toml allows

all-lowest $(INTEGRATIONS:%=%-lowest): %-lowest: .venv-%-lowest/.done
	@$(call versions,.venv-$@)
	.venv-$@/bin/pytest $(call tests,$*)

latest: all-latest $(INTEGRATIONS:%=%-latest) ## Run the tests on the newest versions there are today

# What pip finds today, so it is made anew every time. Only torch is held.
all-latest $(INTEGRATIONS:%=%-latest): %-latest:
	rm -rf .venv-$@
	@$(call venv,.venv-$@,held,$(need_python))
	@$(call pip,.venv-$@,held) --upgrade pip
	@$(call pip,.venv-$@,held) -r requirements/$*.in
	@$(call versions,.venv-$@)
	.venv-$@/bin/pytest $(call tests,$*)

lock: ## Bring the locks up to date with pyproject.toml (ARGS=--upgrade moves to the newest versions)
	@$(call venv,.venv-lock,dev,$(need_python))
	@$(call pip,.venv-lock,dev) uv
	.venv-lock/bin/python requirements/lock.py --uv .venv-lock/bin/uv $(ARGS)

locked: # Fail if pyproject.toml has changed since the locks were made
	@$(need_python) requirements/lock.py --check

format: $(DEV) ## Fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## Remove everything that make has made
	rm -rf $(VENV) $(INTEGRATIONS:%=.venv-%) .venv-*-lowest .venv-*-latest .venv-lock .venv*.old
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is touched only when its installation succeeded. When a lock changes, its environment is made anew, so that
# nothing stays in it that the lock no longer has.
$(VENV)/.made: requirements/dev.txt | locked
	@$(call venv,$(VENV),dev,$(need_python))
	@touch $@

$(CORE): $(VENV)/.made pyproject.toml
	@$(call pip,$(VENV),dev) -e .
	@touch $@

$(DEV): $(CORE) requirements/dev.in
	@$(call pip,$(VENV),dev) -r requirements/dev.in
	@touch $@

# The longer pattern comes first: old versions of make take the first that fits.
.PRECIOUS: .venv-%-lowest/.made .venv-%/.made
.venv-%-lowest/.made: requirements/%-lowest.txt | locked
	@$(call venv,.venv-$*-lowest,$*-lowest,$(need_lowest))
	@touch $@

.venv-%-lowest/.done: .venv-%-lowest/.made requirements/%.in pyproject.toml
	@$(call pip,.venv-$*-lowest,$*-lowest) -r requirements/$*.in
	@touch $@

.venv-%/.made: requirements/%.txt | locked
	@$(call venv,.venv-$*,$*,$(need_python))
	@touch $@

.venv-%/.done: .venv-%/.made requirements/%.in pyproject.toml
	@$(call pip,.venv-$*,$*) -r requirements/$*.in
	@touch $@
