# Needs python3 (3.11 or newer) and make, nothing else. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin

# Files in .venv say what has been done, so that a second run does nothing. A clone that was moved starts anew: the
# programs of a virtual environment know its place by its full path.
ifneq ($(shell cat .venv/.place 2>/dev/null),$(CURDIR))
FRESH := .fresh
endif

.DEFAULT_GOAL := help
.PHONY: help run install test test-long bench lint format docs clean .fresh

help:
	@echo "make run         serve the gateway with its own Postgres and a demo fleet"
	@echo "make test        linters, types, import contracts, tests"
	@echo "make test-long   the soaks and the large property runs"
	@echo "make bench       every benchmark, an hour (ARGS=--quick for a short run)"
	@echo "make lint, make format, make docs, make clean"

run: install
	@$(BIN)/fleetgraph serve

install: .venv/.installed .venv/.graphiql

.venv/.made: $(FRESH)
	@$(PYTHON) -c 'import sys; v = sys.version_info; ok = v >= (3, 11); ok or print("Fleetgraph needs Python 3.11 or newer; $(PYTHON) is %d.%d. Install one, then: make PYTHON=python3.12 $(MAKECMDGOALS)" % v[:2]); sys.exit(not ok)'
	@echo "Making the virtual environment in .venv"
	@$(PYTHON) -m venv --clear .venv
	@printf '%s\n' "$(CURDIR)" > .venv/.place
	@touch $@

.venv/.packages: requirements.lock .venv/.made
	@echo "Installing the packages that requirements.lock pins"
	@$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/.installed: pyproject.toml .venv/.packages
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The page for browsers. A machine that cannot build it serves the API all the same; `fleetgraph doctor` says why.
.venv/.graphiql: .venv/.installed $(wildcard web/graphiql/*.json web/graphiql/*.mjs) $(shell find web/graphiql/src docs/examples -type f 2>/dev/null)
	@$(BIN)/python -m app.http.graphiql_build
	@touch $@

test: lint
	@$(BIN)/pytest -n auto --dist worksteal

test-long: install
	@$(BIN)/pytest -n auto --dist worksteal -m long

bench: install
	@$(BIN)/python -m bench.all $(ARGS)

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

format: install
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# What is printed from the code and from bench/results: a test each says when it is out of date.
docs: install
	@$(BIN)/python -c 'from app.settings_page import settings_markdown as page; print(page(), end="")' > docs/settings.md.new
	@mv docs/settings.md.new docs/settings.md
	@for page in journal permissions state-machines; do \
		$(BIN)/python -c 'import sys; from app.reference import PAGES; print(PAGES[sys.argv[1]](), end="")' $$page \
			> docs/$$page.md.new && mv docs/$$page.md.new docs/$$page.md || exit 1; \
	done
	@$(BIN)/fleetgraph schema > schema.graphql.new
	@mv schema.graphql.new schema.graphql
	@$(BIN)/python -m bench.pages

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis web/graphiql/node_modules app/http/_graphiql* *.egg-info
