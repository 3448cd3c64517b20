# Two commands on a fresh machine: `make demo` and `make test`. Both need only Python >= 3.11, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STUDIO := $(VENV)-label-studio/.installed
# The core, from the configuration to the analysis: what `make test-fast` runs of it is what is not marked slow
CORE := $(addprefix tests/,cache data models strategies labelers study analysis cli/test_progress.py) \
	$(patsubst %,tests/test_%.py,config seeds metrics predictions loop records)

.PHONY: demo test test-fast check format docs bench clean

demo: $(STAMP)
	$(BIN)/labelwise run studies/digits.yaml --out out/demo
	$(BIN)/labelwise report out/demo

test: $(STAMP) $(STUDIO)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(CORE)

check: $(STAMP)
	$(BIN)/ruff check src tests studies results benchmarks
	$(BIN)/ruff format --check src tests studies results benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix src tests studies results benchmarks
	$(BIN)/ruff format src tests studies results benchmarks

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Site: out/site/index.html"

bench: $(STAMP)-bench
	$(BIN)/python -m benchmarks.training $(if $(DATA),--data '$(DATA)')
	$(BIN)/python -m benchmarks.acquisition
	$(BIN)/python -m benchmarks.labelling

$(STAMP)-bench: $(STAMP)
	@echo "Installing Baal and scikit-activeml, to compare with: a minute"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@touch $@

# Label Studio's own parser and converter, which exports are checked by; they need an older NumPy than ours
$(STUDIO):
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "Installing label-studio-sdk into $(@D), for tests of the exchange formats"
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check label-studio-sdk==2.1.2
	@touch $@

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "labelwise needs Python >= 3.11, found %d.%d; set PYTHON=python3.11" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing labelwise and PyTorch into $(VENV): a minute or more, several GB"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
