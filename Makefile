# make bright   install the base package (no torch) and enhance the example pictures into bright/
# make test     install the development environment and run the quick tests

PYTHON ?= python3
PIP_OPTIONS ?= --quiet --disable-pip-version-check
BASE := .venv-base
DEV := .venv
# Two processes take tests from each other; neither starts threads of its own for the small pictures of most tests.
SHARED := -n 2 --dist worksteal

.PHONY: bright test test-slow lint clean

bright: $(BASE)/installed
	$(BASE)/bin/undim enhance examples -o bright --overwrite

test: $(DEV)/installed
	$(DEV)/bin/python -m pytest $(SHARED)

test-slow: $(DEV)/installed
	$(DEV)/bin/python -m pytest -m slow $(SHARED)

lint: $(DEV)/installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy

$(BASE)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BASE)
	$(BASE)/bin/python -m pip install $(PIP_OPTIONS) -c constraints.txt -e .
	touch $@

$(DEV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install $(PIP_OPTIONS) -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(BASE) $(DEV) bright build dist
