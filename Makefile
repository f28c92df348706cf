# make demo | test | clients | chaos | check | fix | reference | setup        (a virtual environment in .venv is made on first use)
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test fast clients chaos check fix reference clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0]) if not (3, 11) <= sys.version_info[:2] < (3, 14) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)          ## a whole study on text of this machine, in ./demo
	$(BIN)/mixopt demo

test: $(READY)          ## all tests; the service's need PostgreSQL's programs, and are skipped without
	$(BIN)/pytest

clients: $(READY)       ## trainers' own libraries, each in .clients/<name>; without them the tests of exports skip some
	$(BIN)/python -m tests.clients.install

fast: $(READY)          ## the tests that take seconds
	$(BIN)/pytest -m 'not slow'

chaos: $(READY)         ## real studies while everything is killed, about an hour; see docs/reliability.md
	$(BIN)/python -m tests.chaos

check: $(READY)         ## style, types, arrows between rooms
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY)           ## what the tools can mend by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(READY)     ## docs/reference/, from the commands and the study file's schema
	$(BIN)/python docs/reference/write.py

clean:
	rm -rf .clients .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
