# The two commands of a fresh machine are `make run` and `make test`; python3 >= 3.11 and a C compiler are all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
STAMP := $(VENV)/.installed
NATIVE := $(wildcard runtime/src/*.c runtime/include/*.h) runtime/build.py

.PHONY: compiled run test check bench gen fmt sanitize clean

run: $(STAMP)
	$(BIN)/bpfjit view examples/wait_latency.bpf.c --scenario examples/web.toml

test: $(STAMP)
	$(BIN)/python -m pytest -q tests

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_walls.py
	$(BIN)/python tools/generate.py --check

# The two measured tables of the README, and their pictures in build/.
bench: $(STAMP)
	mkdir -p build
	$(BIN)/bpfjit bench jit --plot build/bench-jit.svg
	$(BIN)/bpfjit bench read --plot build/bench-read.svg

gen: $(STAMP)
	$(BIN)/python tools/generate.py

fmt: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An editable install: Python changes need nothing, changed C is compiled again. compat: a line in a .pth file, where the
# other kind brings a finder of modules that every process would pay for.
$(STAMP): pyproject.toml setup.py $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]' --config-settings editable_mode=compat
	$(BIN)/python tools/compiler.py || $(PIP) -e '.[clang]' --config-settings editable_mode=compat
	touch $@

# The verifier's hot modules compiled in place (a wheel has them compiled); edited ones run from source again until the next time.
compiled: $(STAMP)
	$(PIP) 'cython>=3.1' 'setuptools>=68'
	BPFJIT_COMPILE=1 $(BIN)/python setup.py -q build_ext --inplace
	touch bpfjit/verifier/*.so

# The runtime under ThreadSanitizer and AddressSanitizer; `python tests/stress/sanitize.py --seconds 60` for longer.
sanitize: $(STAMP)
	$(BIN)/python tests/stress/sanitize.py

clean:
	rm -rf build *.egg-info bpfjit/verifier/*.so runtime/_rt*.so runtime/_rt.c $(STAMP)
