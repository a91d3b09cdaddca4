# Set-up is part of every target: each needs only Python 3.11+, its venv module and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=
PYTEST_ARGS ?= -n 2 --dist loadgroup
SEEDS ?= 0:200

.PHONY: demo test simulate lint types contracts pytest format bench lock clean

demo: $(VENV)/.runtime  ## play one market day on embedded PostgreSQL and the sandbox PSP
	@$(BIN)/networkcore demo $(ARGS)

test: lint types contracts pytest  ## everything that must hold before a change lands

simulate: $(VENV)/.dev  ## play payments with every fault: make simulate SEEDS=0:2000, or one seed: SEEDS=17 ARGS=--history
	$(BIN)/python -m tests.simulation $(SEEDS) $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

pytest: $(VENV)/.dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## every benchmark, one table
	$(BIN)/python -m benchmarks $(ARGS)

lock: $(VENV)/.dev  ## renew the hash-pinned requirement files after editing pyproject.toml
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet --output-file requirements-dev.txt
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --constraint requirements-dev.txt \
		--generate-hashes --no-header --quiet --output-file requirements.txt
	echo 'setuptools>=80' | $(BIN)/uv pip compile - --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements-build.txt

clean:
	rm -rf $(VENV) .networkcore build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt requirements-build.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing what is pinned in requirements.txt (once)"
	@$(PIP) install --require-hashes -r requirements-build.txt -r requirements.txt
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo "installing what is pinned in requirements-dev.txt (once)"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@
