# `make run` and `make test` are all a newcomer needs: each makes the environment first when it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= results

.DEFAULT_GOAL := help
.PHONY: help venv run test lint bench asv nightly accept clean

help: ## say what each target does
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(VENV)/installed ## make .venv with the pinned versions

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tpbench needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/pip install --quiet --no-deps mup==1.0.0
	touch $@

run: venv ## train, judge and report the smoke profile on the CPU
	$(BIN)/tpbench run --profile smoke --device cpu --out $(OUT)

test: venv ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: venv ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# On a busy machine set OMP_WAIT_POLICY=PASSIVE: waiting threads that spin steal the cores they wait for.
bench: venv ## measure with pytest-benchmark, print the tables against a plain loop, gensim and mup
	$(BIN)/python -m pytest benchmarks --benchmark-only
	$(BIN)/python benchmarks/training_speed.py
	$(BIN)/python benchmarks/word2vec_speed.py
	$(BIN)/python benchmarks/check_speed.py

asv: venv ## measure this commit with asv and publish the pages
	sh benchmarks/run_asv.sh

nightly: venv ## run the nightly profile, compare with results/nightly.json, feed asv, say what changed
	sh benchmarks/nightly.sh $(OUT)

accept: ## take the last nightly run as the accepted one
	cp $(OUT)/reports/nightly/summary.json results/nightly.json

clean: ## remove the environment and caches, keep results
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
