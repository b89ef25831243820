# `make` alone lists what there is. Everything runs in .venv, which `make setup` keeps up to date.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup servers servers-here lint format imports types test test-fast demo lock build wheel-test clean

python := .venv/bin/python
# One more than the processors, because the long tests mostly wait.
workers ?= 3
typed := $(wildcard flow brokers store tests examples)
covered := $(wildcard flow/kernel flow/programs)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv, or bring it up to date
	@sh deploy/setup.sh

servers: ## Install RabbitMQ and PostgreSQL for the tests, if they are missing
	@sh deploy/servers.sh

servers-here: setup servers ## Start RabbitMQ and PostgreSQL in temporary folders, until Ctrl-C
	@$(python) -m tests.servers

lint: setup ## Check style and formatting
	@$(python) -m ruff check --quiet .
	@$(python) -m ruff format --quiet --check . || \
		{ $(python) -m ruff format --check .; exit 1; }

format: setup ## Format the code and sort the imports
	@$(python) -m ruff check --quiet --fix-only .
	@$(python) -m ruff format .

imports: setup ## Check that imports point downward only
	@$(python) -c 'from importlinter.cli import lint_imports_command as main; main()' --no-logo

types: setup ## Check the types, with two checkers
	@$(python) -m mypy $(typed)
	@$(python) -m basedpyright --warnings $(typed)

test: lint imports types servers ## Check everything, then run all the tests
	@$(python) -m pytest -n $(workers) --maxschedchunk 4 $(covered:%=--cov=%) --cov-branch \
		--cov-report=term-missing:skip-covered --cov-fail-under=100

test-fast: setup ## Run the tests, nothing else
	@$(python) -m pytest -n $(workers) -m 'not system'

demo: setup ## Watch an order flow through four services
	@$(python) -m examples.orders.demo

lock: ## Pin every dependency again, with hashes
	@sh deploy/lock.sh

build: setup ## Build the wheel into dist/
	@$(python) -m hatchling build -t wheel

wheel-test: setup ## Install the wheel elsewhere and try it without the source
	@sh deploy/wheel-test.sh

clean: ## Remove what was built and what tools remember (.venv stays)
	@rm -rf build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	@find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
