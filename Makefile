# `make run` the main job, `make test` the tests; `make help` lists the rest.
PYTHON ?= python3
DATA ?= auto
CONTRACT ?= creditcard
TRIALS ?= 30
PORT ?= 8000
MLFLOW_PORT ?= 5000
BACKEND ?= embedded
WORKERS ?= 3

VENV := .venv
BIN := $(VENV)/bin
# One more worker than the cores that there may be: each waits for much of its time, for processes, servers and what the
# AWS provider waits for. A module's tests stay in one worker, see tests/conftest.py.
CHECK = $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder --durations=30
UP := FRAUD_CONTRACT=$(CONTRACT) $(BIN)/python -m pipelines up --data $(DATA) --trials $(TRIALS) --port $(PORT) --mlflow-port $(MLFLOW_PORT) --backend $(BACKEND)

# Packages are installed uncompiled, below: where this is set, as in container images, each process would compile anew
# what it imports, and pytest would rewrite its plugins.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run smoke test test-slow soak bench league demo-drift coverage terraform workflows docs audit sbom lint format lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: $(VENV)/project.stamp ## train, promote and serve on this machine until Ctrl-C (DATA= CONTRACT= TRIALS= PORT= MLFLOW_PORT= BACKEND=servers)
	@$(UP)

smoke: $(VENV)/project.stamp ## the same, ended after one /predict and one /predict-batch were answered
	@$(UP) --smoke

test: lint ## lint and every test not marked slow, in random order (WORKERS= at a time)
	@$(CHECK) -m "not slow and not soak"

test-slow: $(VENV)/dev.stamp ## whole pipelines, servers and fault loops in small numbers
	@$(CHECK) -m "slow and not soak"

soak: $(VENV)/dev.stamp ## fault loops in full numbers, by hand
	@$(BIN)/python -m pytest -m soak

bench: $(VENV)/dev.stamp ## measurements; each prints its figures
	@for file in benchmarks/bench_*.py; do PYTHONPATH=. $(BIN)/python $$file || exit 1; done

league: $(VENV)/dev.stamp ## the handbook's public league, served, and its retraining; half an hour, on simulated data 10 minutes (docs/league.html)
	@PYTHONPATH=. $(BIN)/python -m benchmarks.league.run

demo-drift: $(VENV)/dev.stamp ## 30 days with a drift that is noticed and learnt; its page is docs/demo-drift.html
	@PYTHONPATH=. $(BIN)/python benchmarks/demo_drift.py

coverage: $(VENV)/dev.stamp ## quick tests with the share of lines that they reach (var/coverage.xml)
	@mkdir -p var
	@$(BIN)/python -m pytest -m "not slow and not soak" --cov=ml_project --cov=stores --cov=pipelines --cov=serving --cov-report=term --cov-report=xml:var/coverage.xml

terraform: $(VENV)/dev.stamp ## fmt, validate, terraform test and checkov (CHECKOV=its program) on terraform/
	@$(BIN)/python -m pytest tests/terraform/test_roots.py tests/terraform/test_platform.py tests/terraform/test_order.py

workflows: $(VENV)/dev.stamp ## check .github/workflows
	@$(BIN)/python -m pytest tests/unit/test_workflows.py

sbom: $(VENV)/dev.stamp ## bill of materials of the locked requirements (var/sbom); fails on known vulnerabilities
	@mkdir -p var/sbom
	@for group in gateway pipelines; do $(BIN)/pip-audit --require-hashes --disable-pip -r requirements/$$group.txt -f cyclonedx-json -o var/sbom/$$group.json || exit 1; done

lint: $(VENV)/dev.stamp ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

docs: $(VENV)/dev.stamp ## write the tables of docs/settings.md from the settings classes
	@PYTHONPATH=. $(BIN)/python docs/write_settings.py

audit: $(VENV)/dev.stamp ## compare the locked requirements with the known vulnerabilities, where their database can be reached
	@$(BIN)/python requirements/audit.py

format: $(VENV)/dev.stamp ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(VENV)/dev.stamp ## resolve the dependency groups anew into requirements/ and conda.yaml
	@$(BIN)/python requirements/lock.py

clean: ## remove the environment and everything that runs have written
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis

# --no-compile: most of the 38,000 modules are never imported, and compiling them takes longer than the rest
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 13) and "Python 3.11 to 3.13 is needed, this is %d.%d: make PYTHON=python3.12 ..." % v)'
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements/gateway.txt requirements/pipelines.txt | $(VENV)/bin/python
	@echo "installing the locked requirements (a few minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/pipelines.txt -r requirements/gateway.txt
	@touch $@

# what other programs find by name: the evaluator of mlflow.models.evaluate
$(VENV)/project.stamp: pyproject.toml $(VENV)/run.stamp
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt | $(VENV)/bin/python
	@echo "installing the locked requirements and the tools (a few minutes, once)"
	@# older ones do not find the pin of a package that others ask for with an extra (pandas[parquet])
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=26,<27"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/dev.txt
	@touch $@ $(VENV)/run.stamp
