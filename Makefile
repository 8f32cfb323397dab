# Two commands do their whole set-up: `make demo` and `make test`. `make check` is what CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= demo-run
PHOTOS ?=

.PHONY: demo test check lint types imports clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## dream a small archive of photographs (PHOTOS=DIR for your own, RUN=DIR for where)
	$(BIN)/dreamjobs demo $(RUN) $(if $(PHOTOS),--photos '$(PHOTOS)')

test: $(VENV)/.dev ## run the whole test suite, two modules at a time: more would only wait for the cores
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --durations 10 --durations-min 15

lint: $(VENV)/.dev ## ruff: rules and formatting; the image's and the stack's linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint infra/Dockerfile
	$(BIN)/cfn-lint infra/stack.yaml

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

imports: $(VENV)/.dev ## import-linter: a module imports only from below
	$(BIN)/lint-imports

check: lint types imports test ## what CI runs

clean: ## remove the virtual environment and what tools left
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
