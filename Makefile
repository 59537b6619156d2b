# Every target sets up what it needs. `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

PYTHON ?= python3
PORT   ?= 5000
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

.PHONY: help setup repro verify replicate sensitivity report crate compare params test coverage fuzz mutants contracts smoke faults soak bench lint format ui runs plots sync server server-stop lock sbom clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Install the locked packages into .venv (the other targets do it by themselves)

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	    "Retrace needs Python 3.11, 3.12 or 3.13; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.11" % v[:2])'
	@echo "setting up .venv (once; about a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check $(NO_CACHE) --require-hashes -r requirements.uv.txt
	@$(BIN)/uv pip sync $(NO_CACHE) -q --python $(BIN)/python --compile-bytecode --require-hashes requirements.lock
	@# MLflow gives the path of its migrations to Alembic, for which a % in it is special
	@case "$(CURDIR)" in *%*) sed -i.orig 's/"script_location", final_alembic_dir)/"script_location", final_alembic_dir.replace("%", "%%"))/' \
	    .venv/lib/python3.*/site-packages/mlflow/store/db/utils.py ;; esac
	@touch $@

repro: $(READY) ## Run the study: every stage that is out of date (JOBS=n side by side)
	@$(BIN)/python -m stages $(JOBS:%=--jobs %)

verify: $(READY) ## Run the last commit again in a clean clone, compare every hash (STAGES="a b" for some)
	@$(BIN)/python -m mlcore.review.verify $(JOBS:%=--jobs %) $(STAGES)

replicate: $(READY) ## Train everything with SEEDS=10 other seeds: two hours, and it can be interrupted
	@$(BIN)/python -m stages.sweep sweeps/replicates.yaml --seeds $(or $(SEEDS),10) --jobs $(or $(JOBS),-1) $(CONFIRM:%=--confirm %)

sensitivity: $(READY) ## Train with other choices than ours where the study leaves them open: an hour and a half
	@$(BIN)/python -m stages.sweep sweeps/sensitivity.yaml --jobs $(or $(JOBS),-1) $(CONFIRM:%=--confirm %)

report: $(READY) ## Write the page, metrics/report.html: the study and its verdict
	@$(BIN)/python -m dvc repro -q --single-item report
	@echo "metrics/report.html"

crate: $(READY) ## Write the run as a research object, a Workflow Run RO-Crate, into build/crate
	@$(BIN)/python -m mlcore.review.crate build/crate

compare: $(READY) ## Say in Markdown what changed in the results since REV=main
	@$(BIN)/python -m mlcore.review.compare "$(or $(REV),main)"

params: $(READY) ## Compose conf/ into params.yaml
	@$(BIN)/python -m mlcore.config

# To run the tests with $(1), in an order that is drawn anew each time
define run_tests
@sh tests/browser.sh
@$(BIN)/python -m mlcore.tracking.postgres || echo "the tests of the server do without"
@$(1) -m pytest -n $(or $(JOBS),$$($(CORES))) --dist loadgroup
endef

test: $(READY) ## Run the tests
	$(call run_tests,$(BIN)/python)

coverage: $(READY) ## Run the tests; fail if they leave out over 5 % of the branches of mlcore
	@$(BIN)/coverage erase
	$(call run_tests,$(BIN)/coverage run)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --skip-covered
	@$(BIN)/coverage json -q -o - --include='mlcore/*' | $(BIN)/python -c 'import json, sys; \
	    share = json.load(sys.stdin)["totals"]["percent_branches_covered"]; \
	    print(f"the tests reach {share:.2f} % of the branches of mlcore"); \
	    sys.exit("error: it should be 95 %" if share < 95 else 0)'

fuzz: $(READY) ## Read thirty thousand damaged and hostile inputs: a few minutes (TIMES=n for more)
	@RETRACE_FUZZ=$(or $(TIMES),3) $(BIN)/python -m pytest tests/test_fuzz.py -n $(or $(JOBS),$$($(CORES)))

mutants: $(READY) ## Change the network and the verdict in three thousand places: do the tests notice? An hour
	@OPENBLAS_NUM_THREADS=1 $(BIN)/uv run -q --no-project --with mutmut==3.8.1 \
	    mutmut run --max-children $(or $(JOBS),$$($(CORES))) $(MUTANTS)

contracts: $(READY) ## Of the tests, those that say whether what is committed fits together: seconds
	@$(BIN)/python -m pytest tests/test_config.py tests/test_pipeline.py tests/test_requirements.py

smoke: $(READY) ## Run the whole pipeline on a small part of the data, in build/smoke
	@sh tests/smoke.sh $(JOBS:%=--jobs %)

soak: $(READY) ## Train two hundred times on two workers: do memory or open files grow? Ten minutes
	@$(BIN)/python -m tests.soak

faults: $(READY) ## Kill the pipeline KILLS=30 times at random moments, in build/faults: an hour (SEED=n)
	@$(BIN)/python -m tests.faults $(KILLS:%=--kills %) $(SEED:%=--seed %)

bench: $(BENCH_READY) ## Time the network beside its peers: 25 minutes, on an idle machine
	@test -f data/mnist.npz || $(BIN)/python -m dvc repro -q split_mnist
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

lint: $(READY) ## Check format, style, types and import boundaries
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

ui: $(READY) ## Compare runs in the browser (PORT=5000)
	@$(BIN)/python -m mlcore.tracking.ports "$(PORT)"
	@echo "http://127.0.0.1:$(PORT) answers in about half a minute; Ctrl-C ends it; PORT=n for another port"
	@trap 'kill $$ui 2>/dev/null; wait $$ui; exit 0' INT TERM; \
	    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false PYTHONWARNINGS=ignore $(BIN)/mlflow ui \
	    --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port "$(PORT)" --workers 1 & ui=$$!; wait $$ui

runs: $(READY) ## List for every training of the pipeline the MLflow run that recorded it
	@$(BIN)/python -m mlcore.tracking.runs

plots: $(READY) ## Draw DVC's plots on one page, dvc_plots/index.html, that needs no network
	@$(BIN)/python -m mlcore.review.plots_page build/plots.html
	@$(BIN)/dvc plots show -q --html-template build/plots.html --out dvc_plots
	@echo "dvc_plots/index.html"

sync: $(READY) ## Record the runs that the MLflow store missed
	@$(BIN)/python -m mlcore.tracking.recorder

server: $(READY) ## Start an MLflow server with a password, for tracking=server (SERVER_PORT=5001)
	@$(BIN)/python -m mlcore.tracking.server start $(SERVER_PORT:%=--port %)

server-stop: $(READY) ## Stop it
	@$(BIN)/python -m mlcore.tracking.server stop

sbom: $(READY) ## Write what is installed, from requirements.lock, as a CycloneDX bill of materials
	@mkdir -p build
	@PYTHONWARNINGS=ignore $(BIN)/uv tool run -q --from cyclonedx-bom==7.5.0 cyclonedx-py requirements \
	    requirements.lock --pyproject pyproject.toml --output-reproducible -o build/sbom.json
	@echo "build/sbom.json"

# The stages depend on requirements.numeric.txt: a new version of these re-runs what it may change
lock: LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate \
    --no-emit-index-url --generate-hashes --upgrade
lock: $(READY) ## Pin requirements.in into requirements.lock
	@$(LOCK) requirements.in -o requirements.lock
	@echo uv | $(LOCK) - -o requirements.uv.txt
	@grep -oE '^(numpy|pandas|scikit-learn|scipy)==[^ ]+' requirements.lock > requirements.numeric.txt

clean: ## Remove the environment and everything built; data and results stay
	rm -rf .venv .venv-bench build dvc_plots mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
