# Each target makes and uses its own .venv; nothing else needs to be set up.
#   make demo        fit, query, compare and diagnose a model of every kind on real data
#   make test        the whole suite but what is marked slow        make test-slow   the slow rest
#   make lint        ruff, mypy, import contracts                   make bench       ours beside the peers
#   make TORCH=cuda ...   with the CUDA build of torch instead of the CPU build
.PHONY: demo test test-slow lint bench clean
PYTHON ?= python3
TORCH ?= cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
ifeq ($(TORCH),cpu)
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
endif

demo: .venv/.core
	$(BIN)/zoo demo

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: .venv/.peers
	$(BIN)/python -m pytest -n 2 -m slow

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy zoo inference
	$(BIN)/lint-imports

bench: .venv/.peers
	$(BIN)/python -m benchmarks.foundation

# A CPU wheel that pip already knows of is taken; otherwise PyTorch's own CPU index is asked.
.venv/.torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q "torch>=2.13" $(if $(filter cpu,$(TORCH)),|| $(BIN)/pip install -q "torch>=2.13" --index-url $(TORCH_INDEX))
	touch $@

.venv/.core: .venv/.torch pyproject.toml
	$(BIN)/pip install -q -e .
	touch $@

.venv/.dev: .venv/.torch pyproject.toml
	$(BIN)/pip install -q -e ".[dev]"
	touch .venv/.core $@

.venv/.peers: .venv/.dev
	$(BIN)/pip install -q -e ".[peers]"
	touch $@

clean:
	rm -rf .venv build dist runs .pytest_cache .hypothesis .ruff_cache .mypy_cache .import_linter_cache
