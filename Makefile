# The two commands of a newcomer are `make demo` and `make test`; each sets up all that it needs.

PYTHON ?= python3
# PyPI's torch for Linux is a CUDA build of several GB. For the CPU build, where no local wheel is offered to pip:
#   make env TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(sort $(shell find src native -type f \( -name '*.py' -o -name 'py.typed' -o -name '*.cpp' -o -name '*.h' -o -name '*.toml' -o -name CMakeLists.txt \)))
NATIVE_SOURCES = $(shell git ls-files '*.cpp' '*.h')

ifneq ($(wildcard ../shared/data),)
export LISSOME_DATA ?= $(abspath ../shared/data)
endif
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(JOBS)

# A file added or removed must rebuild too, not only a file changed: keep the list itself as a prerequisite.
$(shell mkdir -p build; echo '$(SOURCES)' | cmp -s - build/sources || echo '$(SOURCES)' > build/sources)

.PHONY: help env demo test lint format test-sanitize fuzz bench bench-env native docs clean

help:
	@echo 'make demo           train, compress, pack and run a small network, stage by stage'
	@echo 'make test           the whole test suite'
	@echo 'make lint           ruff, mypy, import-linter, clang-format'
	@echo 'make format         rewrite the sources in the one format'
	@echo 'make test-sanitize  the native tests under AddressSanitizer and UBSan'
	@echo 'make fuzz           every fuzzer for a short while'
	@echo 'make bench          the table of the README, from the full MNIST'
	@echo 'make bench-env      the environments of the peers that benchmarks compare with (.venv-bench, .venv-nncodec)'
	@echo 'make native         build the extension into src/ for a quick edit-and-try loop'
	@echo 'make docs           the documentation as a site, in build/site'
	@echo 'make clean          remove what the commands above made'

env: $(VENV)/.installed

$(VENV)/.tools: Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lissome needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet 'scikit-build-core>=0.11' 'nanobind>=2.4' 'cmake>=3.25' ninja
	touch $@

# Installed as a user would have it, not editable: the tests then test what is shipped.
$(VENV)/.installed: $(VENV)/.tools pyproject.toml CMakeLists.txt README.md LICENSE build/sources $(SOURCES)
	$(BIN)/python -m pip install --quiet --no-build-isolation --config-settings=build-dir=build/env \
		--config-settings=cmake.define.LISSOME_WARNINGS_AS_ERRORS=ON '.[train,fuzz,dev]'
	touch $@

demo: env
	$(BIN)/lissome demo

test: env
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# The stub of the native module is made by the build; mypy looks for it beside the sources.
lint: env
	cp $(VENV)/lib/python3*/site-packages/lissome/_native.pyi src/lissome/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(NATIVE_SOURCES)

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE_SOURCES)

test-sanitize: env
	PYTHON=$(abspath $(BIN)/python) bash tools/test_sanitize.sh

fuzz: env
	$(BIN)/python bench/fuzz.py --cases 10000

bench: env bench-env
	$(BIN)/python bench/deep_compression.py

# The peers in environments of their own. The runtimes that bench/networks.py compares with come with torch's CPU build
# put in first, as the converter pnnx would pull in a CUDA build; so would the coder NNCodec, which does not need it for
# coding arrays (see bench/peers/nncodec_size.py).
bench-env: .venv-bench/.installed .venv-nncodec/.installed

.venv-bench/.installed: $(VENV)/.installed
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet $(TORCH)
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --config-settings=build-dir=build/env -w build/wheel .
	.venv-bench/bin/python -m pip install --quiet --force-reinstall --no-deps build/wheel/*.whl
	.venv-bench/bin/python -m pip install --quiet "$$(ls build/wheel/*.whl)[bench]"
	touch $@

.venv-nncodec/.installed:
	$(PYTHON) -m venv .venv-nncodec
	.venv-nncodec/bin/python -m pip install --quiet numpy safetensors h5py
	.venv-nncodec/bin/python -m pip install --quiet --no-deps nncodec==2.1.3
	touch $@

native: $(VENV)/.tools
	$(BIN)/cmake -S . -B build/dev -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
		-DPython_EXECUTABLE=$(abspath $(BIN)/python) -DLISSOME_WARNINGS_AS_ERRORS=ON
	$(BIN)/cmake --build build/dev
	cp build/dev/_native*.so build/dev/_native.pyi src/lissome/

docs: $(VENV)/.tools
	$(BIN)/python -m pip install --quiet 'mkdocs-material>=9.5'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .venv-bench .venv-nncodec build dist src/lissome/_native*
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
