# Every target sets up what it needs: Python 3.11+, its venv module and make are enough.
PYTHON ?= python3
VENV := .venv
FUZZ := .venv-fuzz
SITE := .venv-site
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=
PYTEST_ARGS ?= -n 2 --dist loadgroup
SEEDS ?= 0:200
MINUTES ?= 5

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast coverage simulate lint lint-files types contracts pytest format bench api sdk audit-packages sbom fuzz chaos lock clean site

help:  ## list the targets
	@awk -F ':.*##  *' '/^[a-z-]+:.*##/ {printf "%-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime  ## simulate one market day on embedded PostgreSQL and the sandbox PSP
	@$(BIN)/networkcore demo $(ARGS)

test: lint types contracts pytest  ## everything that must hold before a change lands

test-fast: $(VENV)/.dev  ## unit tests, in less than a minute
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow" tests/unit

coverage: $(VENV)/.dev  ## all tests, with the lines and branches that none of them runs
	$(BIN)/python -m pytest $(PYTEST_ARGS) --cov --cov-report=term-missing:skip-covered

simulate: $(VENV)/.dev  ## payments with every fault: make simulate SEEDS=0:2000, or one seed: SEEDS=17 ARGS=--history
	$(BIN)/python -m tests.simulation $(SEEDS) $(ARGS)

lint: $(VENV)/.dev  ## formatting and lint rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

lint-files: $(VENV)/.dev  ## formatting and lint rules of FILES alone
	$(BIN)/ruff format --check $(FILES)
	$(BIN)/ruff check $(FILES)

types: $(VENV)/.dev  ## types
	$(BIN)/mypy

contracts: $(VENV)/.dev  ## which package may import which
	$(BIN)/lint-imports

pytest: $(VENV)/.dev $(SITE)/.ready  ## all tests: make pytest PYTEST_ARGS="tests/unit/gateway -k settings"
	$(BIN)/python -m pytest $(PYTEST_ARGS)

format: $(VENV)/.dev  ## format the code and apply the safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## every benchmark, one table
	$(BIN)/python -m benchmarks $(ARGS)

api: $(VENV)/.dev  ## write docs/openapi.json and docs/events.json from the code
	$(BIN)/python -m gateway.api.openapi_export

sdk: $(VENV)/.dev  ## packages for partners' developers in build/sdk: Python, TypeScript (needs npm), requests for Postman and Bruno
	$(BIN)/python -m sdk $(ARGS)

site: $(SITE)/.ready  ## the documentation as a searchable site in build/site
	$(SITE)/bin/zensical build --clean --strict
	deploy/fetch-mermaid.sh build/site

audit-packages: $(VENV)/.dev  ## licenses and known vulnerabilities of the pinned packages, by deploy/packages.toml
	$(BIN)/python -m tests.package_audit

sbom: $(VENV)/.dev  ## the bill of materials (CycloneDX JSON) of what is installed to run: build/sbom.json, build/sbom-otel.json
	@mkdir -p build
	@$(BIN)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible \
		--of JSON -o build/sbom.json
	@$(BIN)/cyclonedx-py requirements requirements-otel.txt --pyproject pyproject.toml --output-reproducible \
		--of JSON -o build/sbom-otel.json

chaos: $(VENV)/.dev  ## load while everything fails in turn, then the audit and a table: make chaos MINUTES=10
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(ARGS)

fuzz: $(VENV)/.dev $(FUZZ)/.ready  ## every operation with made-up input, as each kind of party: make fuzz MINUTES=10
	$(BIN)/python -m tests.fuzz $(abspath $(FUZZ)/bin/schemathesis) --minutes $(MINUTES) $(ARGS)

lock: $(VENV)/.dev  ## renew the hash-pinned requirement files after editing pyproject.toml
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra otel --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet --output-file requirements-dev.txt
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --constraint requirements-dev.txt \
		--generate-hashes --no-header --quiet --output-file requirements.txt
	$(BIN)/uv pip compile pyproject.toml --extra otel --universal --python-version 3.11 --constraint requirements-dev.txt \
		--generate-hashes --no-header --quiet --output-file requirements-otel.txt
	echo 'schemathesis>=4.32,<5' | $(BIN)/uv pip compile - --universal --python-version 3.11 --constraint requirements-dev.txt \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements-fuzz.txt
	echo 'zensical>=0.0.73,<0.1' | $(BIN)/uv pip compile - --universal --python-version 3.11 --constraint requirements-dev.txt \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements-site.txt
	echo 'setuptools>=80' | $(BIN)/uv pip compile - --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements-build.txt

clean:  ## remove the environment and everything built or stored
	rm -rf $(VENV) $(FUZZ) $(SITE) .networkcore build *.egg-info

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

# An environment of its own for what is not installed beside our dependencies.
.venv-%/.ready: requirements-%.txt
	@echo "installing what is pinned in $< (once)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@
