# make install   a virtual environment in .venv with everything
# make demo      the main job on synthetic radiographs, ending in demo/report.html
# make test      checks and all tests
# make check     format, lint, types and import layers
# make quick     checks, and the tests that need no trained network and no process of their own
# make bench     every claim about speed into benchmarks/results; WORK=FOLDER keeps what is made
# make bench-quick   ten ratios again, in a quarter of an hour, against those that are committed

PYTHON ?= python3.11
BIN := .venv/bin
EXTRAS := train,optimize,measure,cluster,jpegxl,dev

.PHONY: install demo test quick check bench bench-quick format clean

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

# TensorFlow, for networks of Keras 2 that nothing else reads. It asks for an older h5py than
# constraints.txt has, and tf_keras for the large TensorFlow where the small one does.
.venv-legacy/installed: pyproject.toml constraints.txt
	test -x .venv-legacy/bin/python || $(PYTHON) -m venv .venv-legacy
	sed 's/^h5py==.*/h5py==3.14.0/' constraints.txt > .venv-legacy/constraints.txt
	.venv-legacy/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint .venv-legacy/constraints.txt --editable . tensorflow-cpu
	.venv-legacy/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--constraint .venv-legacy/constraints.txt tf_keras
	touch $@

demo: install
	$(BIN)/thorax demo --out demo
	@echo "to type thorax:  . .venv/bin/activate"

test: check .venv-base/installed .venv-legacy/installed
	tests/install-peers
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

quick: check
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --quick

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

WORK ?= build/bench

bench: install
	$(BIN)/python -m benchmarks.whole_set --work $(WORK)

bench-quick: install
	$(BIN)/python -m benchmarks.quick --work $(WORK)

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-base .venv-legacy demo build src/thorax.egg-info
