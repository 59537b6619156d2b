# Every target sets up what it needs. `make` lists them; CONTRIBUTING.md has rarer commands.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

PYTHON ?= python3
# Where HOME is not there to keep caches in, do without them
ifneq ($(shell test -n "$$HOME" && test -w "$$HOME" && echo ok),ok)
NO_CACHE := --no-cache-dir
export MPLCONFIGDIR := $(CURDIR)/build/matplotlib
endif
BIN    := .venv/bin
READY  := .venv/ready
BENCH_READY := .venv-bench/ready
# The cores that this process may use: affinity and a container's limits count
CORES  := $(BIN)/python -c 'import joblib; print(joblib.cpu_count())'

# For what the targets start in turn: DVC's stages
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
# Tests and documented commands run make with flags of their own
unexport MAKEFLAGS

.PHONY: help setup repro report replicate sensitivity verify compare params ui runs sync server test test-all coverage contracts smoke lint format lock docs bench crate clean

help:
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {print substr($$0, 5)} \
	    /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ The study

repro: $(READY) ## Run the study: every stage that is out of date (JOBS=n side by side)
	@$(BIN)/python -m stages $(JOBS:%=--jobs %)

report: $(READY) ## Write the page, metrics/report.html: the study and its verdict
	@$(BIN)/python -m dvc repro --single-item report
	@echo "metrics/report.html, and its findings in REPORT.md"

replicate: $(READY) ## Train everything with SEEDS=10 other seeds: two to three hours, and it can be interrupted (AGAIN=n: compare some)
	@$(BIN)/python -m mlcore.sweeps sweeps/replicates.yaml --seeds $(or $(SEEDS),10) $(JOBS:%=--jobs %) $(AGAIN:%=--again %)

sensitivity: $(READY) ## Train with other choices than ours where the study leaves them open: two hours
	@$(BIN)/python -m mlcore.sweeps sweeps/sensitivity.yaml $(JOBS:%=--jobs %) $(AGAIN:%=--again %)

verify: $(READY) ## Run the last commit again in a clean clone, compare every hash (STAGES="a b" for some)
	@$(BIN)/python -m mlcore.review.verify $(JOBS:%=--jobs %) $(STAGES)

compare: $(READY) ## Say in Markdown what changed in the results since REV=main
	@$(BIN)/python -m mlcore.review.compare "$(or $(REV),main)"

params: $(READY) ## Compose conf/ into params.yaml
	@$(BIN)/python -m mlcore.config

##@ Tracking

ui: $(READY) ## Compare runs in the browser (PORT=5000)
	@$(BIN)/python -m mlcore.tracking.server --ui --port "$(PORT)"

runs: $(READY) ## List for every training of the pipeline the MLflow run that recorded it
	@$(BIN)/python -m mlcore.tracking.runs

sync: $(READY) ## Record the runs that the MLflow store missed
	@$(BIN)/python -m mlcore.tracking.recorder

server: $(READY) ## Run an MLflow server with a password, for tracking=server (PORT=5001, BACKEND=URI)
	@$(BIN)/python -m mlcore.tracking.server --port "$(PORT)"

##@ Development

test: $(READY) ## Run the tests that take seconds, in an order that is drawn anew each time
	@$(BIN)/python -m pytest -n $(or $(JOBS),$$($(CORES))) --dist loadgroup -m "not slow"

# To run all tests with $(1); some need a browser and PostgreSQL, and do without where there is none
define run_all_tests
@$(1) -m pytest -n $(or $(JOBS),$$($(CORES))) --dist loadgroup
endef

test-all: $(READY) ## Run all tests: also of clusters, servers, the browser, signals and clones
	$(call run_all_tests,$(BIN)/python)

coverage: $(READY) ## Run all tests; fail if they leave out over 5 % of the branches of mlcore
	@$(BIN)/coverage erase
	$(call run_all_tests,$(BIN)/coverage run)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --skip-covered
	@$(BIN)/coverage json -q -o - --include='mlcore/*' | $(BIN)/python -c 'import json, sys; \
	    share = json.load(sys.stdin)["totals"]["percent_branches_covered"]; \
	    print(f"the tests reach {share:.2f} % of the branches of mlcore"); \
	    sys.exit("error: it should be 95 %" if share < 95 else 0)'

# Of the tests, those that say whether what is committed fits together: before every commit
contracts: $(READY)
	@$(BIN)/python -m pytest tests/test_config.py tests/test_pipeline.py tests/test_requirements.py

smoke: $(READY) ## Run the whole pipeline on a small part of the data, in build/smoke
	@sh tests/smoke.sh $(JOBS:%=--jobs %)

lint: $(READY) ## Check format, style, types, import boundaries and GitHub's workflows
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/zizmor --offline -q --no-progress .github

format: $(READY) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# The stages depend on requirements.numeric.txt: a new version of these re-runs what it may change
lock: LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate \
    --no-emit-index-url --generate-hashes --upgrade
lock: $(READY) ## Pin requirements.in into requirements.lock
	@$(LOCK) requirements.in -o requirements.lock
	@echo uv | $(LOCK) - -o requirements.uv.txt
	@grep -oE '^(numpy|pandas|scikit-image|scikit-learn|scipy)==[^ ]+' requirements.lock > requirements.numeric.txt

##@ Others

setup: $(READY) ## Install the locked packages into .venv (the other targets do it by themselves)

$(READY): requirements.lock
	@case "$(CURDIR)" in *[%?]*) echo "error: the path must not contain % or ?: $(CURDIR)" >&2; exit 1 ;; esac
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	    "Retrace needs Python 3.11, 3.12 or 3.13; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.11" % v[:2])'
	@echo "setting up .venv (once; about a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check $(NO_CACHE) --require-hashes -r requirements.uv.txt
	@$(BIN)/uv pip sync $(NO_CACHE) -q --python $(BIN)/python --compile-bytecode --require-hashes requirements.lock
	@touch $@

# The docstrings as pages. pdoc warns of types that are there for mypy alone
docs: $(READY)
	@$(BIN)/python -m docs.build
	@$(BIN)/uv run -q --no-project --python $(BIN)/python --with pdoc==16.0.0 \
	    python -W ignore -m pdoc -d numpy -o build/docs mlcore stages $(wildcard mlcore/nn/[a-z]*.py)
	@echo "build/docs/index.html"

crate: $(READY) ## Write the run as a research object, a Workflow Run RO-Crate, into build/crate
	@$(BIN)/python -m mlcore.review.crate

bench: $(BENCH_READY) ## Time the network beside its peers: under 25 minutes, on an idle machine
	@test -f data/mnist.npz || $(BIN)/python -m dvc repro split_mnist
	@.venv-bench/bin/python -m benchmarks

# An environment of its own, because the peers are large. One that cannot be installed is reported
# as absent
$(BENCH_READY): requirements.lock benchmarks/requirements.txt | $(READY)
	@echo "setting up .venv-bench (once; a few minutes)"
	@$(PYTHON) -m venv --clear .venv-bench
	@$(BIN)/uv pip sync $(NO_CACHE) -q --python .venv-bench/bin/python --compile-bytecode --require-hashes requirements.lock
	@$(BIN)/uv pip install $(NO_CACHE) -q --python .venv-bench/bin/python pip
	@grep -v '^#' benchmarks/requirements.txt | while read -r peer; do \
	    .venv-bench/bin/python -m pip install -q --disable-pip-version-check $(NO_CACHE) "$$peer" </dev/null \
	    || echo "could not install $$peer: to try again, rm -r .venv-bench"; done
	@touch $@

clean: ## Remove the environment and everything built; data and results stay
	rm -rf .venv .venv-bench build dvc_plots mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
