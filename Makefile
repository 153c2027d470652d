# Every target makes and uses .venv by itself. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The version this project is tested with. On Linux the package index gives the CUDA build (gigabytes); for a CPU
# build point pip at PyTorch's CPU index first:  make demo PIP_ARGS="--extra-index-url <PyTorch's CPU index>"
TORCH ?= torch==2.13.0
PIP_ARGS ?=
# Three files of tests at a time, in the order of pyproject.toml; a file's tests stay together: what they start is started
# once. Two cores are enough: much of the time Ray's processes wait for each other.
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup laion-env demo demo-train test check bench kill-test kill-road clean-demo

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(BIN)/.installed ## make .venv and install the project in it

$(BIN)/.installed: pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check $(PIP_ARGS) "$(TORCH)"
	$(BIN)/pip install -q --disable-pip-version-check $(PIP_ARGS) -e ".[dev]"
	@touch $@

demo: setup ## the first command: real sound in, a verified corpus and shards out (run it twice: it resumes)
	$(BIN)/python -m examples.demo.run_demo

demo-train: setup ## the demo's next step: train a small text-to-audio model on its shards, and hear it (2 min)
	$(BIN)/python -m examples.demo.train_demo

clean-demo: ## forget the demo's run and training
	rm -rf runs/demo runs/genau_tiny

laion-env: setup ## .venv-laion: LAION's own CLAP package, whose pins clash with ours (850 MB; docs/scoring.md)
	$(PYTHON) -m venv .venv-laion
	$(BIN)/python -c "import site; print(f'import site; site.addsitedir({site.getsitepackages()[0]!r})')" \
		> "$$(.venv-laion/bin/python -c 'import site; print(site.getsitepackages()[0])')/autorecap.pth"
	.venv-laion/bin/pip install -q --disable-pip-version-check $(PIP_ARGS) "laion-clap==1.1.7" "numpy<2" "pyarrow<26"

test: setup ## all tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: setup ## lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

kill-test: setup ## kill -9 the demo's driver at random moments, resume, compare byte by byte (KILLS=10)
	$(BIN)/python -m benchmarks.kill_demo --kills $${KILLS:-10}

kill-road: setup ## kill -9 driver, workers and nodes of a run of 2,000 clips, compare byte by byte (KILLS=100, up to an hour)
	$(BIN)/python -m benchmarks.kill_road --kills $${KILLS:-100}

bench: setup ## the benchmarks that run in minutes, each with its table
	$(BIN)/python -m benchmarks.decode
	$(BIN)/python -m benchmarks.orchestration
	$(BIN)/python -m benchmarks.models
	$(BIN)/python -m benchmarks.scorer
	$(BIN)/python -m benchmarks.filters
