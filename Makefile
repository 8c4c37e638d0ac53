# Everything lives in .venv. It is made when it is missing, was moved or lost its Python; what it holds is
# brought up to date when pyproject.toml is newer than the stamp of the last install.

PY := .venv/bin/python
INSTALL := $(PY) -m pip --disable-pip-version-check install
# One torch thread each: two, beside another busy process, would mostly wait for one another. nbval takes seconds to load.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=120 --nbval-sanitize-with tests/sanitize.cfg

# The unit tests take all cores. The live lab in the browser has them to itself: a second one would cost more than it
# brings, and disturb the tests of pace. Two processes share the lectures, a notebook or a page at a time.
UNITS := -p no:nbval --numprocesses auto tests
LAB := -p no:nbval -m browser --ignore=tests/browser/test_notebooks_page.py tests
LECTURES := $(NBVAL) --numprocesses 2 --dist loadfile tests/browser/test_notebooks_page.py notebooks

# Where to look for Python; make PYTHON=/path/to/python3 names one instead.
PYTHONS := $(if $(PYTHON),'$(PYTHON)',python3.11 python3.12 python3.13 python3.14 python3 python)
# JupyterLab's offer to fetch its news would lie over the lab, and ask for a network.
NO_NEWS := {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}
# More arguments for the command behind a target: make lab ARGS="--no-browser --port 9999"
ARGS ?=

.PHONY: help lab test check lint format notebooks book bench clean FORCE

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 14

lab: .venv/lab.stamp ## the live lab, in JupyterLab on localhost
	@$(PY) -m jupyterlab --ServerApp.root_dir=notebooks --LabApp.default_url=/lab/tree/00_start_here.ipynb \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

test: .venv/test.stamp ## everything: lint, unit tests, notebooks, the lab in a browser
	@$(PYTEST) -m "not browser" $(UNITS) --maxschedchunk 1 $(ARGS)
	@$(PYTEST) $(LAB) $(ARGS)
	@$(PYTEST) $(LECTURES) $(ARGS)

check: .venv/test.stamp ## lint and the quick unit tests only, in under a minute
	@$(PYTEST) -m "not browser and not slow" $(UNITS) $(ARGS)

lint: .venv/test.stamp ## ruff, over code and notebooks
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

format: .venv/test.stamp ## let ruff repair what it can
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .

notebooks: .venv/test.stamp ## run the notebooks and store what they show
	@$(PY) tools/execute_notebooks.py $(ARGS)

book: .venv/book.stamp ## the notebooks as pages to read without Python, in book/
	@$(PY) tools/make_book.py $(ARGS)

bench: .venv/bench.stamp ## the figures that README.md quotes
	@$(PY) benchmarks/imports.py
	@$(PY) benchmarks/training.py
	@$(PY) benchmarks/live.py

clean: ## remove what was made, but for .venv
	@rm -rf artifacts book build dist .pytest_cache .ruff_cache data/MNIST/raw/*-ubyte
	@find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# Without build isolation, an install that has nothing new to fetch needs no network.
.venv/lab.stamp: pyproject.toml .venv/made-in
	@echo "vaekit: installing into .venv (the first time, PyTorch takes some minutes)"
	@$(INSTALL) --quiet 'hatchling>=1.27' editables
	@$(INSTALL) --no-build-isolation --editable .
	@mkdir -p .venv/etc/jupyter/labconfig
	@echo '$(NO_NEWS)' > .venv/etc/jupyter/labconfig/page_config.json
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
