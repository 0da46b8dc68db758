SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
CORES ?= 2
EXTRAS ?= dev
READY := .venv/.ready-$(EXTRAS)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup lock locked demo test test-fast lint lint-style lint-types lint-workflow format generate bench ui pull clean

help: ## Show this help
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Create .venv with the exact pins (about 2 minutes; seconds the second time)

$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: install Python 3.11, or say make PYTHON=/path/to/python3.11"; exit 2; }
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { echo "venv failed: on Debian, apt-get install python3.11-venv"; exit 2; }
	.venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -e ".[$(EXTRAS)]"
	@.venv/bin/python -m compileall -qq -j 0 .venv/lib || true # pip would compile on one core alone; a few files are no Python 3.11
	@touch $@

# Everything that tests of any kind need: what `make locked` checks each download against.
LOCKED := dev conda-test dicom-test export export-test greedy s3-test slurm browser postgresql watch
lock: ## Write requirements.lock: every package, its version and hashes (needs uv)
	uv pip compile pyproject.toml $(addprefix --extra ,$(LOCKED)) --python-version 3.11 --universal --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --quiet --output-file requirements.lock

locked: ## Create .venv from requirements.lock alone; a download with another hash is refused
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch .venv/.ready-dev

demo: setup ## Run the main job on the built-in phantom cohort, DICOM to report (under 10 minutes on two idle cores)
	snakemake --cores $(CORES)
	@echo "Open results/report/index.html"

# Memory in pages of 2 MB where Linux gives them, since each page costs time when it is touched first: 2 % on an idle
# machine, up to a sixth on one where that is slow.
test test-fast: export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

# One worker more than cores: the tests on Slurm, of an archive and of browsers wait for most of their time. With two more
# the tests took longer.
test: setup ## Run all tests
	pytest -n $$(($(CORES) + 1)) --dist loadgroup --no-loadscope-reorder --durations=25

test-fast: setup ## Run the tests that take seconds
	pytest -n $(CORES) -m "not slow"

lint: lint-style lint-types lint-workflow ## Check style, types, generated files and the workflow (make -j2 lint: on two cores)

lint-style: setup
	ruff check
	ruff format --check
	snakefmt --check workflow study
	lint-imports
	python -m cpmn.generate --check

lint-types: setup
	pyright

lint-workflow: setup
	snakemake --lint

format: setup ## Format Python and Snakemake files
	ruff check --fix
	ruff format
	snakefmt workflow study

generate: setup ## Write config.yaml, schemas and environment files from the code
	python -m cpmn.generate

bench: ## Run the benchmarks that are not stored yet, beside the peers that they need
	@$(MAKE) --no-print-directory setup EXTRAS=dev,bench
	python -m benchmarks

# Without the eight processes that MLflow starts for jobs of language models.
ui: setup ## Open the MLflow UI of this folder's runs on port 5000
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --backend-store-uri sqlite:///mlflow.db --port 5000

pull: setup ## Bring data, models and figures of this commit from DVC's remote into a fresh clone; nothing is computed
	dvc pull
	snakemake --cores $(CORES) --touch --quiet all

clean: ## Remove results, logs and the phantom cohort; .venv and mlflow.db stay
	rm -rf results logs data/phantom .snakemake
