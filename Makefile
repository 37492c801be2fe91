# make demo        the whole pipeline on phantoms; ends by printing the path of the report
# make test        the tests that take less than five seconds each     make test-slow   the others
# make docs        the documentation, as HTML in docs/_build
# make check       style, types, import order                          make bench       ours compared with the alternatives
# make dist        sdist and wheel, tested                             make sbom        the packages of an installation
# make licences    writes docs/licences.md
# make notebooks   the examples as notebooks, in build/notebooks
# make example     all experiments on phantoms, preset small, into bench/results/experiments-small; the page states the time of each
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEMO   ?= demo
PIP    := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt
# The index with PyTorch's CPU builds (x.y.z+cpu, which pip prefers to x.y.z), used if it can be reached; empty: never.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
CAN_READ := $(PYTHON) -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1].rstrip("/") + "/torch/", timeout=10)'
SOURCES := pyproject.toml setup.py constraints.txt $(shell find csrc ildfv/kernels -name '*.pyx' -o -name '*.cpp' -o -name '*.h' -o -name '*.cu')

.PHONY: demo test test-slow check docs notebooks dist sbom licences bench example clean
demo: $(STAMP)
	$(BIN)/ildfv demo $(DEMO)

PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal $(if $(wildcard ../shared/data),--real-data=../shared/data)
test: $(STAMP)
	$(PYTEST) -m 'not slow' $(or $(TESTARGS),tests)

# Byte code outside the source folders: rewriting the assertions of all tests takes nine seconds of each worker.
test test-slow: export PYTHONPYCACHEPREFIX ?= $(CURDIR)/build/pycache
test test-slow: export PYTHONDONTWRITEBYTECODE :=
test-slow: export ILDFV_FUZZ_SECONDS ?= 120  # of the header fuzzer
test-slow: $(STAMP)  # kills at random moments, emulated CUDA, sanitizers, several ranks, pages in a browser
	$(PYTEST) -m slow $(or $(TESTARGS),tests)

check: $(STAMP)
	$(PIP) '.[dev]'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typed && $(PIP) --no-deps --target build/typed .  # an installed copy: the tools cannot follow `train`
	cd build/typed && $(abspath $(BIN))/lint-imports --config ../../pyproject.toml
	MYPYPATH=build/typed $(BIN)/mypy -p ildfv

docs: $(STAMP)  # into docs/_build; a warning is an error
	$(PIP) -e '.[docs]'
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build

dist: $(STAMP)  # sdist and wheel in dist/; the wheel is tested in an environment of its own, without a compiler
	$(PIP) -e '.[dist]'
	$(BIN)/python packaging/dist.py

# dist/ildfv.cdx.json: the packages of an installation in CycloneDX format; EXTRAS=ct,viewer adds those of extras
sbom: $(STAMP)
	$(PIP) 'cyclonedx-bom>=7'
	rm -rf build/sbom && $(PYTHON) -m venv --without-pip build/sbom && mkdir -p dist
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --python build/sbom/bin/python install --quiet '.$(if $(EXTRAS),[$(EXTRAS)])'
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o dist/ildfv.cdx.json build/sbom/bin/python

licences: $(STAMP)  # docs/licences.md, from the metadata of the installed packages
	$(PIP) -e '.[all,cpu]'
	$(BIN)/python packaging/licences.py
notebooks: $(STAMP)  # from the scripts with `# %%` cells
	$(PIP) -e '.[docs]'
	mkdir -p build/notebooks
	for script in $$(grep -l '^# %%' examples/*.py); do \
	  $(BIN)/python -m jupytext --quiet --from py:percent --to ipynb \
	    --output build/notebooks/$$(basename $$script .py).ipynb $$script; done

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
	@echo "Installing ildfv and its dependencies into $(VENV) (a minute or two) …"
	@if [ -n "$(TORCH_INDEX)" ] && $(CAN_READ) '$(TORCH_INDEX)' 2> /dev/null; then \
	  $(PIP) --extra-index-url '$(TORCH_INDEX)' torch torchvision; \
	else echo "Not using an index of CPU builds ($(or $(TORCH_INDEX),TORCH_INDEX is empty)): torch comes from the default index."; fi
	$(PIP) -e '.[test,cpu,networks]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo ildfv/kernels/_native*.so ildfv/kernels/_native*.cpp
