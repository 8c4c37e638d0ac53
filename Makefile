# Everything lives in .venv. It is made when it is missing, was moved or lost its Python; what it holds is
# brought up to date when pyproject.toml is newer than the stamp of the last install.

PY := .venv/bin/python
INSTALL := $(PY) -m pip --disable-pip-version-check install
# One torch thread each: two, beside another busy process, would mostly wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest
# Where Python may not write bytecode, pytest prepares every test file anew in every process: it takes seconds each.
unexport PYTHONDONTWRITEBYTECODE
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=120 --nbval-sanitize-with tests/sanitize.cfg

# nbval takes seconds to load, and finds no notebooks among the tests. Two processes share the live lab, each with one
# page and one kernel: most of these tests wait for a frame.
QUICK := -p no:nbval --numprocesses auto --dist worksteal -m "not slow and not release" --ignore tests/browser tests
# Each lecture is run once: the first one in the browser, the others by nbval.
LECTURES := $(filter-out %/00_start_here.ipynb,$(wildcard notebooks/*.ipynb notebooks/more/*.ipynb))
UNITS := $(NBVAL) --numprocesses auto --dist loadscope -m "not browser and not release" tests $(LECTURES)
BROWSER := -p no:nbval --numprocesses 2 --dist loadscope -m "browser and not release" tests/browser
RELEASE := -p no:nbval --numprocesses 2 --dist loadscope -m release tests

# Where to look for Python; make PYTHON=/path/to/python3 names one instead.
PYTHONS := $(if $(PYTHON),'$(PYTHON)',python3.11 python3.12 python3.13 python3.14 python3 python)
# More arguments for the command behind a target: make lab ARGS="--no-browser --port 9999"
ARGS ?=

.PHONY: help lab test check release lint format notebooks book bench soak lock clean FORCE

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

lab: .venv/lab.stamp ## your copy of the lectures, with the live lab, in JupyterLab on localhost
	@$(PY) -m vaekit lab my-lectures $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

test: .venv/test.stamp ## everything: lint, unit tests, notebooks, the lab in a browser
	@$(PYTEST) $(UNITS) $(ARGS)
	@$(PY) tools/get_browser.py
	@$(PYTEST) $(BROWSER) $(ARGS)

check: .venv/test.stamp ## lint and the quick unit tests only
	@$(PYTEST) $(QUICK) $(ARGS)

release: test ## everything, and what takes long: every lecture in the browser, trainings of many epochs
	@$(PYTEST) $(RELEASE) $(ARGS)

lint: .venv/test.stamp ## ruff, over code and notebooks
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

format: .venv/test.stamp ## let ruff repair what it can
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .

notebooks: .venv/test.stamp ## run the notebooks and store what they show
	@$(PY) tools/execute_notebooks.py $(ARGS)

book: .venv/book.stamp ## the lectures as pages to read without Python, in book/
	@$(PY) -m vaekit book $(ARGS)

bench: .venv/bench.stamp ## the figures that README.md quotes (benchmarks/likelihood.py, half an hour, by hand)
	@$(PY) benchmarks/imports.py
	@$(PY) benchmarks/training.py
	@$(PY) benchmarks/live.py

soak: .venv/bench.stamp ## an hour of play in a real browser: does anything grow or lag? (ARGS="--minutes 15")
	@$(PY) benchmarks/soak.py $(ARGS)

lock: .venv/test.stamp ## requirements.lock: the versions in .venv, for whoever wants these later
	@$(INSTALL) --quiet uv
	@$(PY) -m pip freeze --exclude-editable | sed 's/+.*//' > requirements.lock
	@$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate \
		--custom-compile-command 'make lock' pyproject.toml -o requirements.lock

clean: ## remove what was made, but for .venv
	@rm -rf artifacts book build dist .pytest_cache .ruff_cache data/MNIST/raw/*-ubyte
	@find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# Without build isolation, an install that has nothing new to fetch needs no network.
.venv/lab.stamp: pyproject.toml .venv/made-in
	@echo "vaekit: installing into .venv (the first time PyTorch takes some minutes; on Linux its wheels for CUDA are 3 GB)"
	@$(INSTALL) --quiet 'hatchling>=1.27' editables
	@$(INSTALL) --no-build-isolation --editable '.[lab]'
	@touch $@

.venv/test.stamp .venv/book.stamp .venv/bench.stamp: .venv/%.stamp: .venv/lab.stamp
	@$(INSTALL) --no-build-isolation --editable '.[$*]'
	@touch $@

# A virtual environment holds its own path, and so it works only where it was made.
venv_works := $(shell { [ "$$(cat .venv/made-in)" = "$$(pwd -P)" ] && $(PY) -c 'import pip' && echo yes; } 2>/dev/null)

.venv/made-in: $(if $(venv_works),,FORCE)
	@found=; for p in $(PYTHONS); do \
		"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		found="$$p"; \
		"$$p" -c 'import ensurepip, venv' 2>/dev/null && break; \
	done; \
	[ "$$found" ] || { echo "vaekit needs Python 3.11 or newer; tried $(PYTHONS). Install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	"$$found" -c 'import ensurepip, venv' 2>/dev/null || { echo "vaekit: $$found can't make virtual environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }; \
	echo "vaekit: making .venv with $$("$$found" --version)"; \
	"$$found" -m venv --clear .venv
	@pwd -P > $@

FORCE:
