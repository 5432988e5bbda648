# make bright   install the base package (no torch) and enhance the example pictures into bright/
# make test     install the development environment and run the quick tests

PYTHON ?= python3
PIP_OPTIONS ?= --quiet --disable-pip-version-check
BASE := .venv-base
DEV := .venv
# Two processes take tests from each other; neither starts threads of its own for the small pictures of most tests.
SHARED := -n 2 --dist worksteal

.PHONY: bright test test-slow lint docs docs-test figures pages release-check clean

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

# What is made from the code: man page, reference of commands, checksums of the models, lists of public names and of
# external links.
pages: $(DEV)/installed
	$(DEV)/bin/python docs/make_command_pages.py
	$(DEV)/bin/python docs/make_numbers.py
	$(DEV)/bin/python docs/make_links.py
	$(DEV)/bin/python tests/test_api_surface.py

# The site, into site/: offline, and a warning is an error.
docs: $(DEV)/installed
	NO_MKDOCS_2_WARNING=1 $(DEV)/bin/python -m mkdocs build --strict

# Every code block of every page, the long ones too; what cannot run here is named with the reason.
docs-test: $(DEV)/installed
	$(DEV)/bin/python docs/run_blocks.py

# The figures of docs/explanation, from docs/results and the shipped models; then two pages of the site as pictures.
figures: docs
	$(DEV)/bin/python docs/make_explanations.py
	$(DEV)/bin/python docs/make_site_screens.py

release-check:
	.ci/release_check.sh

$(BASE)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BASE)
	$(BASE)/bin/python -m pip install $(PIP_OPTIONS) -c constraints.txt -e .
	touch $@

$(DEV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install $(PIP_OPTIONS) -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(BASE) $(DEV) bright build dist site
