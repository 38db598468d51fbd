# InsightsTrack needs Python 3.11 or newer and make; everything else comes from the lock files.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --no-input
# Compiled by all cores at once after the install; a package's template that is no valid Python is no failure.
COMPILE := $(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
# The lock lists every package with its hash, dependencies included; nothing outside it is installed.
INSTALL := $(PIP) install --no-deps --require-hashes --no-compile --progress-bar off --root-user-action ignore

# Into how many processes the tests are shared out (tests/parallel.py). Two cores are one running installation's worth:
# with more processes than one there, tests that wait for pages and workers run into their time limits.
PROCESSES ?= 1
PARALLEL := $(if $(filter-out 1,$(PROCESSES)),--numprocesses $(PROCESSES) --dist loadscope --no-loadscope-reorder)

export
.PHONY: help run test browser lint lock screenshot clean

help:
	@echo "make run         start InsightsTrack on http://localhost:8000 (PORT=, DEMO=0, SERVER=uvicorn)"
	@echo "make test        install what the tests need, then run every check and test"
	@echo "make lint        only the checks: format, lint, types, imports"
	@echo "make lock        resolve the lock files again from pyproject.toml"
	@echo "make screenshot  renew the README's picture (beside a running 'make run')"
	@echo "make clean       remove the virtual environment and caches; the data in var/ stays"

run: $(VENV)/runtime.stamp
	@exec $(BIN)/python -m insightstrack_site.run

test: $(VENV)/test.stamp browser
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

# The browser tests drive Debian's Chromium, or the one that CHROMIUM names, and fetch axe-core with npm.
browser:
	@missing=; found=; \
	for name in "$$CHROMIUM" chromium chromium-browser google-chrome; do \
		if command -v "$$name" >/dev/null 2>&1; then found=$$name; break; fi; done; \
	[ -n "$$found" ] || missing="chromium fonts-liberation"; \
	command -v npm >/dev/null 2>&1 || missing="$$missing npm"; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing what the browser tests need:" $$missing "…"; export DEBIAN_FRONTEND=noninteractive; \
		apt-get -qq update && apt-get -qq install -y --no-install-recommends $$missing >/dev/null; \
	else \
		echo "The browser tests need these packages of your system:" $$missing; \
		echo "(CHROMIUM may name a browser that lies elsewhere; npm fetches the accessibility checker.)"; \
		exit 1; \
	fi

lint: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

lock:
	@rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile pyproject.toml --quiet --all-extras $(RESOLVE) -o requirements.lock
	$(VENV)-lock/bin/uv pip compile pyproject.toml --quiet --all-extras --group test -c requirements.lock $(RESOLVE) \
		-o tests/requirements.lock
	@rm -rf $(VENV)-lock

screenshot: $(VENV)/test.stamp
	$(BIN)/python -m tests.browser.screenshot

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis node_modules
	find . -name __pycache__ -not -path './var/*' -prune -exec rm -rf {} +

RESOLVE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "InsightsTrack needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/runtime.stamp: requirements.lock | $(BIN)/python
	@echo "Installing the packages of requirements.lock into $(VENV) …"
	@$(INSTALL) -r requirements.lock
	@$(COMPILE)
	@touch $@

$(VENV)/test.stamp: tests/requirements.lock | $(BIN)/python
	@echo "Installing the packages of tests/requirements.lock into $(VENV) …"
	@$(INSTALL) -r tests/requirements.lock
	@$(COMPILE)
	@touch $(VENV)/runtime.stamp $@
