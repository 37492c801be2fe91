# make demo   everything on phantoms, ends by naming the report      make test   the tests (test-slow: the slow ones)
# make bench  ours beside the peers                                   make check  style, types, import order
# make example   all experiments on phantoms, preset small, into bench/results/experiments-small (12 to 32 minutes on 2 cores)
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEMO   ?= demo
# torch comes from constraints.txt: a CPU build, not gigabytes of CUDA.
PIP    := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt
SOURCES := pyproject.toml setup.py constraints.txt $(shell find csrc ildfv/kernels -name '*.pyx' -o -name '*.cpp' -o -name '*.h' -o -name '*.cu')

.PHONY: demo test test-slow check bench example clean
demo: $(STAMP)
	$(BIN)/ildfv demo $(DEMO)

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist worksteal $(if $(wildcard ../shared/data),--real-data=../shared/data) $(or $(TESTARGS),tests)

# The slow tests, with five minutes of fuzzing.
test-slow: export ILDFV_FUZZ_SECONDS ?= 300
test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow -n auto --dist worksteal $(if $(wildcard ../shared/data),--real-data=../shared/data) $(or $(TESTARGS),tests)

check: $(STAMP)
	$(PIP) '.[dev]'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typed && $(PIP) --no-deps --target build/typed .  # an installed copy: the tools cannot follow `train`
	cd build/typed && $(abspath $(BIN))/lint-imports --config ../../pyproject.toml
	MYPYPATH=build/typed $(BIN)/mypy -p ildfv

bench: $(STAMP)
	$(BIN)/python -m pytest bench --benchmark-enable --benchmark-only
	$(BIN)/python bench/ratios.py  # writes bench/results/moments-cpu.json

EXAMPLE := bench/results/experiments-small
example: $(STAMP)
	mkdir -p build/example && cd build/example && $(abspath $(BIN))/ildfv experiment all --preset small
	rm -f $(EXAMPLE)/*.html $(EXAMPLE)/*.json $(EXAMPLE)/*.csv $(EXAMPLE)/*.png
	cd build/example/ildfv-experiments/workspace-small && \
	  cp experiments.html results/experiments/*.json results/experiments/*.csv results/experiments/*.png $(abspath $(EXAMPLE))

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(VENV)/bin/python $(SOURCES)
	@echo "Installing ildfv and what it needs into $(VENV) (a minute or two) …"
	$(PIP) -e '.[test,cpu,networks]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo ildfv/kernels/_native*.so ildfv/kernels/_native*.cpp
