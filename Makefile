# `make table` and `make test` are all the set-up there is: each makes .venv by itself.
# For a part of the table: make table MODELS="dpn68 dpn131" BATCH=1,4 BENCH="--seconds 1"
# For a zoo of your own:   make table ZOO=my.toml
PYTHON ?= python3
MODELS ?= --all
BATCH ?= 1,4,8
BENCH ?=
TRIALS ?= full
ZOO ?= $(TRTZOO_ZOO)
ifneq ($(ZOO),)
export TRTZOO_ZOO := $(ZOO)
endif
BIN := .venv/bin
WORKERS = $(shell $(BIN)/python -c 'import os; print(min(8, 2 * (os.cpu_count() or 1)))')
comma := ,
EXTRA := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
PRECISION := $(if $(filter gpu,$(EXTRA)),fp32$(comma)fp16,fp32)
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint .venv/constraints.txt

.PHONY: table engines test fuzz check docs gpu clean

# Whatever fails, the rest is built, measured and shown; make ends with the last failure's status.
table: .venv/ready-$(EXTRA)   # export the networks, measure them here, make tables, figures and page of it
	@status=0; \
	$(BIN)/trtzoo export $(MODELS) --precision $(PRECISION) || status=$$?; \
	if [ $(EXTRA) = gpu ]; then $(BIN)/trtzoo build $(MODELS) --precision $(PRECISION) --batch $(BATCH) || status=$$?; fi; \
	$(BIN)/trtzoo bench $(MODELS) --gpu auto --precision $(PRECISION) --batch $(BATCH) $(BENCH) || status=$$?; \
	$(BIN)/trtzoo table --published || status=$$?; \
	$(BIN)/trtzoo table --published --quiet --limits --format md > benchmarks/TABLES.md.part; \
	test ! -s benchmarks/TABLES.md.part || mv benchmarks/TABLES.md.part benchmarks/TABLES.md; \
	$(BIN)/trtzoo figures --out benchmarks/plots || status=$$?; \
	$(BIN)/trtzoo report --out benchmarks/report.html || status=$$?; \
	exit $$status

engines: .venv/ready-$(EXTRA) # every engine for the GPU here, or for a T4: FP32 and FP16, batch 1, 4 and 8
	$(BIN)/trtzoo export --all --precision fp32,fp16
	$(BIN)/trtzoo build --precision fp32,fp16 --batch 1,4,8

# Tests on a GPU run alone. The others share the cores, a file at a time, the slowest first (tests/conftest.py); two processes
# a core, because many tests wait.
test: .venv/ready-dev
	@status=0; \
	if [ $(EXTRA) = gpu ]; then $(BIN)/python -m pytest -m gpu || status=$$?; fi; \
	$(BIN)/python -m pytest -m "not gpu" --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder || status=$$?; \
	exit $$status

fuzz: .venv/ready-dev         # all hostile trials, or TRIALS=10%, and their table in docs/reliability.md; about an hour
	$(BIN)/python -m pytest tests/hostile --trials $(TRIALS) --reliability docs/reliability.md --numprocesses $(WORKERS) --dist worksteal

gpu: .venv/ready-dev          # the tests that need an NVIDIA GPU
	$(BIN)/python -m pytest -m gpu

check: .venv/ready-dev docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest tests/cli/test_help.py tests/docs/test_facts.py tests/docs/test_pages.py tests/test_release.py

docs: .venv/ready-docs        # docs/_build/html/index.html; a warning is an error, and so is a generated part out of date
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html

clean:
	rm -rf .venv docs/_build onnx/*.onnx onnx/*.npz onnx/*.json engines/*/

# `trtzoo setup` installs the rest by the GPU and its driver, and swaps onnxruntime and onnxruntime-gpu when a GPU comes or goes.
.venv/ready-$(EXTRA): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	rm -f .venv/ready-*
	$(if $(filter gpu,$(EXTRA)),grep -v '^torch==',cat) constraints.txt > .venv/constraints.txt
	@echo "installing trtzoo for this machine ($(EXTRA)) into .venv; a few minutes"
	$(PIP) --editable ".[report]"
	$(BIN)/trtzoo setup --target $(EXTRA) --constraint .venv/constraints.txt
	touch $@

.venv/ready-dev: .venv/ready-$(EXTRA)
	$(PIP) --editable ".[dev]"
	$(PIP) --no-deps timm # without torchvision, which wants a torch of its own
	touch $@

.venv/ready-docs: .venv/ready-$(EXTRA)
	$(PIP) --editable ".[docs]"
	touch $@
