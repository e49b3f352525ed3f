# make install   a virtual environment in .venv with everything
# make demo      the main job on synthetic radiographs, ending in demo/report.html
# make test      checks and all tests
# make check     format, lint, types and import layers

PYTHON ?= python3.11
BIN := .venv/bin
EXTRAS := train,optimize,measure,cluster,dev

.PHONY: install demo test check format clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		"torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable ".[$(EXTRAS)]"
	touch $@

# What a hospital machine has: the package without extras. A test classifies with it.
.venv-base/installed: pyproject.toml constraints.txt
	test -x .venv-base/bin/python || $(PYTHON) -m venv .venv-base
	.venv-base/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable .
	touch $@

demo: install
	$(BIN)/thorax demo --out demo
	@echo "to type thorax:  . .venv/bin/activate"

test: check .venv-base/installed
	tests/install-peers
	$(BIN)/pytest

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-base demo build src/thorax.egg-info
