# make lab   opens the course        make test  runs every check there is        make help  lists the rest

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
ARGS ?=
MODEL_ARGS ?=
BIN := $(VENV)/bin

# One thread a process: toy models run slower on two, and two test processes already fill two cores.
TEST_ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
# Modules stay compiled, whatever the shell says: a hundred kernels and test processes would compile them anew.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(TEST_ENV) $(BIN)/python -m pytest
IS_ROOT := $(filter 0,$(shell id -u))

# Where Colab's own versions live; its IPython and plotly warn of what Python has deprecated since.
COLAB ?= .venv-colab
# What panels do by widgets and figures depends on the versions; what they refuse, how threads take turns, and what
# viewers make of a notebook that was saved elsewhere, does not.
COLAB_PANELS := tests/colab tests/page tests/ideas/test_show.py tests/ideas/*/test_panel.py
PINNED_ALONE := --ignore-glob='*/test_given.py' --ignore-glob='*/test_in_turn.py' --ignore-glob='*/test_interrupt.py' \
	--ignore-glob='*/test_viewers.py' --deselect=tests/page/test_every_panel.py::test_moves_of_the_main_control_leave_nothing
COLAB_TESTS := build hatchling hypothesis jaxtyping beartype nbmake pandas psutil pytest pytest-timeout pytest-xdist
EXECUTED := $(CURDIR)/build/executed
NOTEBOOKS_AT_ONCE ?= 2
NBMAKE := -p tests.notebook_run --nbmake --nbmake-timeout=600 notebooks -n $(NOTEBOOKS_AT_ONCE)

.PHONY: help lab test check format lint types unit quantised notebooks site colab colab-panels colab-notebooks browser voila pictures binder bench bench-panels bench-search real readme chromium postgres installed clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

lab: $(VENV)/lab.stamp ## open JupyterLab on the first notebook; ARGS="--no-browser --port 8899" is passed on
	$(BIN)/python -m jupyterlab $(if $(IS_ROOT),--allow-root) --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(ARGS)

# Two cores: what runs in one process runs beside its like, and a browser, which mostly waits, beside notebooks.
test: ## everything: format, lint, types, unit tests, notebooks here and at Colab's versions, browser
	@$(MAKE) --no-print-directory -j2 --output-sync $(VENV)/test.stamp $(COLAB)/colab.stamp installed lint types colab-panels quantised
	@GLORA_LAB_REQUIRE_POSTGRES=1 $(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory notebooks
	@$(MAKE) --no-print-directory site
	@GLORA_LAB_REQUIRE_BROWSER=1 $(MAKE) --no-print-directory -j2 --output-sync browser colab-notebooks NOTEBOOKS_AT_ONCE=1

check: $(VENV)/test.stamp ## the quick part: format, lint, types, unit tests
	@$(MAKE) --no-print-directory lint types unit

lint: $(VENV)/test.stamp ## formatting and lint rules, notebooks included
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/test.stamp ## static types
	$(BIN)/mypy

unit: $(VENV)/test.stamp ## unit tests, on two processes
	$(PYTEST) tests --ignore=tests/browser --ignore=tests/benchmarks -n 2 --dist worksteal $(ARGS)

quantised: $(VENV)/quantised.stamp ## adapters over the quantised layers of bitsandbytes and torchao, as they compute on a CPU
	PYTHONPATH=$(VENV)/quantised GLORA_LAB_REQUIRE_QUANTISED=1 $(PYTEST) tests/adapters/test_quantised.py $(ARGS)

notebooks: $(VENV)/test.stamp ## every notebook, in a kernel where a swallowed error fails its cell
	IPYTHONDIR=$(CURDIR)/tests/strict_kernel EXECUTED=$(EXECUTED) $(PYTEST) $(NBMAKE) $(ARGS)

site: $(VENV)/test.stamp ## the course and the reference as pages, in build/site, of notebooks that the tests ran
	@$(BIN)/python -m docs.gather --is-fresh $(EXECUTED) || $(MAKE) --no-print-directory notebooks
	$(BIN)/python -m docs.gather $(EXECUTED) build/site-source
	rm -rf build/site
	$(TEST_ENV) $(BIN)/python -m sphinx -q -W --keep-going -j 2 -b html build/site-source build/site
	$(BIN)/python -m docs.check build/site

colab: colab-panels colab-notebooks ## the panels' tests and every notebook at Colab's versions of everything but torch

colab-panels: $(COLAB)/colab.stamp
	$(TEST_ENV) $(COLAB)/bin/python -m pytest -W ignore::DeprecationWarning $(COLAB_PANELS) $(PINNED_ALONE) $(ARGS)

colab-notebooks: $(COLAB)/colab.stamp
	COLAB_RELEASE_TAG=test IPYTHONDIR=$(CURDIR)/tests/strict_kernel $(TEST_ENV) $(COLAB)/bin/python -m pytest $(NBMAKE) $(ARGS)

browser: $(VENV)/test.stamp $(VENV)/axe.stamp chromium ## the panels in JupyterLab and Voilà, by hand of a real browser
	$(PYTEST) tests/browser -n 2 $(ARGS)

voila: $(VENV)/test.stamp chromium ## open every notebook that has a panel as a Voilà page
	VOILA_EVERY=1 $(PYTEST) tests/browser/test_voila.py $(ARGS)

pictures: $(VENV)/test.stamp $(VENV)/axe.stamp chromium ## take pictures of the panels, light and dark, wide and narrow, and the README's among them anew
	PANEL_PICTURES=tests/browser/pictures $(PYTEST) tests/browser/test_all_panels.py

binder: ## make what Binder makes, in .venv-binder, and run notebook 00 there
	.ci/binder .venv-binder

bench: $(VENV)/test.stamp ## what a step costs, beside stock PEFT: one layer (ARGS="--help" lists what can be chosen), whole models, thousands of layers
	@mkdir -p test-results
	$(TEST_ENV) $(BIN)/python tests/benchmarks/adapter_speed.py --json test-results/adapter_speed.json $(ARGS)
	$(TEST_ENV) $(BIN)/python tests/benchmarks/mixed_batch.py --json test-results/mixed_batch.json
	$(TEST_ENV) $(BIN)/python tests/benchmarks/model_cost.py --json test-results/model_cost.json $(MODEL_ARGS)
	$(TEST_ENV) $(BIN)/python tests/benchmarks/many_layers.py --json test-results/many_layers.json

bench-search: $(VENV)/test.stamp ## whether a search is worth its time: engines beside counting, fronts beside LoRA; what was measured is not measured again
	$(TEST_ENV) $(BIN)/python tests/benchmarks/search_quality.py --json test-results/search_quality.json $(ARGS)

bench-panels: $(VENV)/test.stamp chromium ## how long each panel's picture takes after a move; ARGS=--memory what 200 moves leave in kernel and page
	@mkdir -p test-results
	$(TEST_ENV) $(BIN)/python -m tests.benchmarks.panel_speed --json test-results/panel_speed.json $(ARGS)

real: $(VENV)/test.stamp ## the methods on a real model, hours on two cores, one with a GPU; stopped it goes on, ARGS=--store writes the package's records
	$(TEST_ENV) $(BIN)/python -W ignore::FutureWarning -m glora_lab.real -j 2 $(ARGS)
	$(TEST_ENV) $(BIN)/python -m glora_lab.real.make_localisation
	$(TEST_ENV) $(BIN)/python -m glora_lab.real.make_weight_changes

readme: $(VENV)/test.stamp ## write what the notebooks and pyproject.toml say: badges, course table, ledger, first cells
	$(BIN)/python -m tests.course.write

format: $(VENV)/test.stamp ## rewrite the sources as the formatter and the linter want them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

chromium: ## install Chromium where it is missing
	@.ci/chromium

postgres: ## install PostgreSQL where it is missing
	@.ci/postgres

# One after the other: both may ask the same installer.
installed: $(VENV)/axe.stamp
	@.ci/chromium
	@.ci/postgres

clean: ## remove what the tools left behind, the environment stays
	rm -rf build dist test-results .pytest_cache .mypy_cache .ruff_cache .hypothesis

# An environment is installed again only when its description changed, and a stamp tells of success alone.
# The test set holds the lab set. pip compiles all modules: one that warns while it is compiled would fail a test.
$(VENV)/lab.stamp: $(VENV)/made.stamp pyproject.toml constraints.txt
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[lab,real]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/made.stamp pyproject.toml constraints.txt
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[test]'
	@touch $@ $(VENV)/lab.stamp

# Apart, in a folder that only these tests look into: where it finds them, importing peft loads both.
$(VENV)/quantised.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --constraint constraints.txt --no-deps --upgrade --target $(VENV)/quantised bitsandbytes torchao
	@touch $@

# The accessibility checker, beside the environment and never in the repository.
$(VENV)/axe.stamp: $(VENV)/made.stamp
	npm install --no-audit --no-fund --prefix $(VENV)/axe axe-core@4.14.1
	@touch $@

$(COLAB)/colab.stamp: pyproject.toml constraints-colab.txt
	$(PYTHON) -m venv $(COLAB)
	$(COLAB)/bin/python -m pip install --constraint constraints-colab.txt --editable '.[notebooks,real]' ipython ipykernel $(COLAB_TESTS)
	@touch $@

$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "The pinned set needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@touch $@
