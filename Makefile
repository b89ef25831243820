# `make` alone lists what there is. Everything runs in .venv, which `make setup` keeps up to date.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup servers servers-here lint format imports types mypy basedpyright test test-fast simulate crash-points mutants chaos fuzz bench demo lock build wheel-test clean

python := .venv/bin/python
# One more than the processors, because the long tests mostly wait.
workers ?= 3
typed := $(wildcard flow brokers store tests examples benchmarks)
comma := ,
covered := $(wildcard flow/kernel flow/programs)
side_by_side = $(MAKE) --no-print-directory --jobs 2 --output-sync=target
# The tests start many processes, and each is there sooner if Python may keep what it compiles.
unexport PYTHONDONTWRITEBYTECODE

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
	@$(side_by_side) basedpyright mypy

mypy: setup
	@$(python) -m mypy $(typed)

basedpyright: setup
	@$(python) -m basedpyright --warnings $(typed)

test: setup ## Check everything, then run all the tests
	@$(side_by_side) basedpyright lint imports mypy servers
	@$(python) -m pytest -n $(workers) --maxschedchunk 4 $(covered:%=--cov=%) --cov-branch \
		--cov-report=term-missing:skip-covered --cov-fail-under=100

test-fast: setup ## Run the tests, nothing else
	@$(python) -m pytest -n $(workers) -m 'not system'

simulate: setup ## Run SEEDS=1000 simulated histories in JOBS=2 processes, from FIRST=0 on
	@$(python) -m tests.simulation --stats --jobs $(or $(JOBS),2) \
		--seeds $(or $(FIRST),0):$$(( $(or $(FIRST),0) + $(or $(SEEDS),1000) ))

crash-points: setup ## Crash a flow at every point and pair of points, in JOBS=2 processes (KIND=flow|saga|abort)
	@$(python) -m tests.simulation.crash_points --jobs $(or $(JOBS),2) --kind $(or $(KIND),flow)

mutants: setup ## Search SEEDS=2000 histories for each deliberate bug, in JOBS=2 processes
	@$(python) -m tests.simulation.mutants search --jobs $(or $(JOBS),2) --seeds 0:$(or $(SEEDS),2000)

chaos: setup servers ## Break a real system for MINUTES=10, and count what is lost (SEED=, REPORT=)
	@$(python) -m tests.system.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) \
		$(if $(RATE),--rate $(RATE)) $(if $(REPORT),--report $(REPORT))

fuzz: setup ## Fuzz what reads AMQP for SECONDS=60 (installs atheris into .venv)
	@$(python) -c 'import atheris' 2>/dev/null || $(python) -m pip install --quiet 'atheris>=3,<4' || \
		{ echo 'fuzz: atheris cannot be installed here: it needs Linux and the package index'; exit 1; }
	@$(python) -m tests.brokers.rabbitmq.fuzz --seconds $(or $(SECONDS),60)

bench: setup servers ## Measure in ROUNDS=3, write docs/benchmarks.md (ONLY=w1,rpc PEERS=dbos,restate SCALE=1)
	@$(python) -m benchmarks $(subst $(comma), ,$(ONLY)) --rounds $(or $(ROUNDS),3) \
		--scale $(or $(SCALE),1) $(if $(PEERS),--peers $(PEERS))

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
