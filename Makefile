# The two commands: `make repro` and `make test`. `make help` lists the rest.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help repro study adaptation classification test test-fast check ui doctor graph shape constraints clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

repro: .venv/for-repro ## set up, run the main job (dvc repro) and say where the results are
	@stepladder params --check
	dvc repro
	@stepladder where

study: .venv/for-repro ## run a study of studies/: make study NAME=baselines (JOBS=2: two cells at once)
	stepladder study run $(or $(NAME),$(error NAME=... is missing; there are: $(notdir $(patsubst %/,%,$(dir $(wildcard studies/*/study.yaml)))))) --jobs $(or $(JOBS),1)
	@echo "Page:     $(CURDIR)/reports/studies/$(NAME)/index.html"

adaptation: .venv/for-repro ## adapt a trained model to a folder of your own pictures, as params.yaml says under adaptation
	@stepladder params --check
	cp graphs/adaptation/stages.yaml graphs/adaptation/dvc.yaml
	dvc repro graphs/adaptation/dvc.yaml

classification: .venv/for-repro ## a classifier of texts from a pre-trained encoder, against one from scratch
	@stepladder params --check
	cp graphs/classification/stages.yaml graphs/classification/dvc.yaml
	dvc repro graphs/classification/dvc.yaml
	@stepladder better reports/classification/scratch reports/classification/pretrained

T ?=
test: .venv/for-test check ## set up, check style and types, run the tests, two files at a time (T=tests/diffusion: those alone)
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(T)

test-fast: .venv/for-test ## the tests that start no process, train nothing and take no time
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile -m "not slow"

check: .venv/for-test ## style and types: ruff and mypy
	ruff check .
	ruff format --check .
	mypy src pipelines

ui: .venv/for-repro ## Prefect, MLflow and the served flows on this machine, until Ctrl-C
	@python -m pipelines.serve

doctor: .venv/for-repro ## check this machine and say how to mend what is wrong
	@stepladder doctor

graph: .venv/for-repro ## write the code that each stage runs, as its imports say, into dvc.yaml and the graphs apart
	python -m stepladder.stages

shape: .venv/for-test ## the figures of the structure, as docs/architecture.md has them
	@python -m tests.shape

constraints: ## pin anew what pyproject.toml admits (into constraints.txt)
	rm -rf .venv/pin && $(PYTHON) -m venv .venv/pin && .venv/pin/bin/pip install -q -e '.[pipeline,dev]'
	.venv/pin/bin/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt && rm -rf .venv/pin

clean: ## remove the virtual environment (results and caches stay)
	rm -rf .venv

.venv/for-repro: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stepladder needs Python 3.11 or later, and $(PYTHON) is " + sys.version.split()[0] + "; name another: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e '.[pipeline]'
	@touch $@

.venv/for-test: .venv/for-repro
	$(BIN)/pip install -q -c constraints.txt -e '.[pipeline,dev]'
	@touch $@
