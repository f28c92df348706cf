# make demo | gallery | test | clients | containers | chaos | check | fix | reference | lock | lowest | setup        (a virtual environment in .venv is made on first use)
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
UV := .uv/bin/uv
READY := .venv/.ready

.PHONY: setup demo gallery test fast clients containers chaos check fix reference lock lowest clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0]) if not (3, 11) <= sys.version_info[:2] < (3, 14) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)          ## a whole study on text of this machine, in ./demo
	$(BIN)/mixopt demo

gallery: $(READY)       ## five worked studies, in ./gallery, each under ten minutes; docs/gallery/
	$(BIN)/python -m examples.gallery

test: $(READY)          ## all tests; the service's need PostgreSQL's programs, the explorer's chromium, and are skipped without
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest	# else each of its hundreds of processes would compile the code anew

clients: $(READY)       ## trainers' own libraries, each in .clients/<name>; without them the tests of exports skip some
	$(BIN)/python -m tests.clients.install

fast: $(READY)          ## the tests that take seconds
	$(BIN)/pytest -m 'not slow'

# Debian: apt-get install podman runc netavark aardvark-dns iptables catatonit mmdebstrap. MIXOPT_CONTAINER_BUILD_ARGS has
# options for `podman build`, where pip and apt need something of this machine.
containers: $(READY)    ## docker-compose.yml in real containers, with podman as root: ten minutes, and 5 GB below /var/tmp
	MIXOPT_CONTAINERS=1 $(BIN)/pytest -n 0 -s tests/containers

chaos: $(READY)         ## real studies while everything is killed, more than an hour; see docs/reliability.md
	$(BIN)/python -m tests.chaos

check: $(READY)         ## style, types, arrows between rooms, declared dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry mixopt proxies search tracking

fix: $(READY)           ## what the tools can mend by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(READY)     ## docs/reference/, from the commands and the study file's schema
	$(BIN)/python docs/reference/write.py

$(UV): constraints.txt
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt uv
	touch $(UV)

# Both files are for every system and Python that pyproject.toml allows. UPGRADE= keeps the versions that still fit.
# torch is not among the hashes: which build of it an image gets, pip's index decides (see Dockerfile).
UPGRADE ?= --upgrade
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --no-annotate --custom-compile-command 'make lock'

lock: $(UV)             ## the newest versions that pyproject.toml allows: constraints.txt, and with hashes requirements.lock
	$(COMPILE) $(UPGRADE) --all-extras --no-emit-package mixopt -o constraints.txt pyproject.toml
	echo torch | $(COMPILE) --generate-hashes --excludes /dev/stdin -c constraints.txt --extra service \
	    --no-emit-package mixopt -o requirements.lock pyproject.toml

lowest: $(UV)           ## the fast tests with the lowest versions that pyproject.toml allows, in .lowest
	$(UV) venv --quiet --clear --python $(PYTHON) .lowest
	$(UV) pip install --quiet --python .lowest --resolution lowest-direct -e '.[dev]'
	.lowest/bin/python -m pytest -m 'not slow'

clean:
	rm -rf .clients .lowest .uv .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
