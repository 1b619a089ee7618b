# Every target sets up what it needs: Python >= 3.11 with venv, and make, are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test verify kill bench nightly check format diagrams docs lock clean
.DEFAULT_GOAL := run

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("hip3-executor needs Python 3.11 or newer; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY)  ## the demo: a local venue, a real socket, every outcome
	$(BIN)/hip3 demo

test: $(READY)  ## the whole suite; branch coverage of machines/ and spec/ must be 100 %
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadscope --cov --cov-report=term

verify: $(READY)  ## why believe it: every level of hip3 verify, below 10 minutes on two cores; a page too
	$(BIN)/hip3 verify --report verification.html

kill: $(READY)  ## an executor killed 200 times, its wire cut 50 times, over 10 000 intents; prints its seed
	$(BIN)/python -m tests.e2e.kill --kills 200 --cuts 50 --intents 10000

bench: $(READY)  ## the executor beside a hand-written floor and the official SDK; ten minutes in which nothing else should run
	$(BIN)/hip3 bench --json bench.json --plot bench.svg

nightly: $(READY)  ## the long model checks; random examples, simulations and kills: each prints the seed that repeats it
	$(BIN)/python -m pytest tests/verification -m long_model
	HIP3_PROFILE=nightly $(BIN)/python -m pytest tests/stateful
	$(BIN)/hip3 simulate --seeds 2000 --seed $$(od -An -N4 -tu4 /dev/urandom)
	$(BIN)/python -m tests.e2e.kill --kills 200 --cuts 50 --intents 10000

check: $(READY)  ## lint, formatting, types, and whether the committed diagrams are those of the tables
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy docs/site
	$(BIN)/hip3 diagram --check

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

diagrams: $(READY)  ## docs/machines/*.md from the tables
	$(BIN)/hip3 diagram

# Not with --quiet: that hides warnings from --strict too.
docs: $(READY)  ## the documents as a site, in site/; broken links and anchors are errors, nothing is fetched
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock:  ## pin again, with hashes (needs uv on the PATH)
	uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --no-emit-find-links --upgrade --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) site verification.html bench.json bench.svg .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
