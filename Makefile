# The two commands of the README come first; each sets up .venv by itself and is quick the second time.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test test-short test-long test-end-to-end slurm test-cluster test-gpu fuzz check format setup clean

run: $(INSTALLED)  ## The main job: results/mtbench.json, by every stage of the recipe
	$(BIN)/snakemake --cores all results/mtbench.json
	@echo 'results/mtbench.json has every score with its interval; logs/report/mtbench.log has a line for each model'

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
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,slurm]'
	touch $@

test-cluster: .venv/installed-slurm  ## On a SLURM and remotes of this machine's own, from Debian packages; root installs them
	$(BIN)/pytest -m cluster

test-gpu: $(INSTALLED)  ## What needs a GPU; skipped where there is none
	$(BIN)/pytest -m gpu

fuzz: $(INSTALLED)  ## FUZZ_STEPS random edits, each followed by a build and compared with a plain oracle
	$(BIN)/pytest -m fuzz

check: $(INSTALLED)  ## Format, lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/bezoar recipe check
	$(BIN)/snakemake --lint

format: $(INSTALLED)  ## Bring the code into form, and what is generated from it into step
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules
	$(BIN)/bezoar fingerprint
	$(BIN)/bezoar dvc

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

results/%.json: $(INSTALLED) FORCE  # Snakemake knows whether there is anything to do
	$(BIN)/snakemake --cores all $@

FORCE:

clean:  ## Remove what was built, not the environment and not .dvc/cache, which brings it back
	rm -rf data/[!R]* logs results scratch
