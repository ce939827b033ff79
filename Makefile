# Thin names for the commands of the README; CI runs `.ci/run`.
.DEFAULT_GOAL := help
PYTHON ?= .venv/bin/python

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

lab: ## open JupyterLab on the quickstart
	python3 start.py

headless: ## run the quickstart to its end
	python3 start.py headless

test: ## every check, as CI does
	python3 start.py test

lint: ## ruff and mypy
	$(PYTHON) -m ruff check . && $(PYTHON) -m mypy

quick: ## tests without browser and notebooks
	$(PYTHON) -m pytest -q -m "not browser and not notebook"

docs: ## the pages of docs/ as a site, in artifacts/docs
	$(PYTHON) -m sphinx -q -W --keep-going -b html docs artifacts/docs

links: ## ask all addresses that the pages name; needs the network
	$(PYTHON) -m sphinx -q -b linkcheck docs artifacts/links

pins: ## move the tested versions of all libraries on to the newest, with their hashes
	$(PYTHON) requirements/refresh.py

build: ## wheel and sdist under dist/
	$(PYTHON) -m pip install -q build && $(PYTHON) -m build

.PHONY: help lab headless test lint quick docs links pins build
