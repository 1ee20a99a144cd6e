# `make demo` and `make test` need nothing but Python 3.11 and make.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
OUTPUT ?= demo-output
# Tests are shared by files: a module's servers and results are made once.
TEST_PROCESSES ?= 2
TOGETHER = -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
# What is imported is compiled once and kept, wherever Python would be told otherwise.
unexport PYTHONDONTWRITEBYTECODE
# Installs the packages named after it; `make -j` may ask for several at a time.
INSTALL = flock Makefile sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$@" >/dev/null' apt

.PHONY: help demo browser archive database test suite audit faults load lint format openapi messages benchmark clean

help:  ## show what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/.ready: pyproject.toml requirements.lock requirements-dev.lock
	@command -v $(PYTHON) >/dev/null || { echo "needs $(PYTHON): apt-get install python3.11 python3.11-venv, or set PYTHON="; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(VENV)/.ready  ## run the whole service on a synthetic patient, or on T1W=... FLAIR=...
	$(BIN)/dlb demo --output $(OUTPUT) $(if $(T1W),--t1w "$(T1W)") $(if $(FLAIR),--flair "$(FLAIR)")

browser:  ## install the browser that tests/browser drives, where apt and root allow it
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	then $(INSTALL) chromium; \
	else echo "no Chromium here, and it cannot be installed: tests/browser will be skipped"; fi

archive:  ## install the picture archive that tests/integration/test_pacs.py talks to, likewise
	@test -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	then $(INSTALL) orthanc orthanc-dicomweb \
		|| echo "Orthanc could not be installed: tests of picture archives will be skipped"; \
	else echo "no Orthanc here, and it cannot be installed: tests of picture archives will be skipped"; fi

database:  ## install the server that tests/integration/test_postgresql.py starts, likewise
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	then $(INSTALL) postgresql \
		|| echo "PostgreSQL could not be installed: its tests will be skipped"; \
	else echo "no PostgreSQL here, and it cannot be installed: its tests will be skipped"; fi

test: lint suite  ## check style and types, run every test

suite: $(VENV)/.ready browser archive database  ## run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TOGETHER)

audit: $(VENV)/.ready  ## look the pinned packages up among known weaknesses; needs a network
	$(BIN)/python .ci/audit.py $(VENV)/audit

faults: $(VENV)/.ready  ## kill and starve everything at random over 120 jobs; prints the counts
	DLB_FAULT_JOBS=120 DLB_FAULT_CLIENTS=8 $(BIN)/python -m pytest tests/faults -s --timeout 3600

load: $(VENV)/.ready  ## 200 clients poll while 20 upload: times, and the memory of the API
	$(BIN)/python -m benchmarks.load

lint: $(VENV)/.ready  ## check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.ready  ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

openapi: $(VENV)/.ready  ## write openapi/openapi.json and the report's schema anew
	$(BIN)/python -m service.openapi
	$(BIN)/python -m dlb_core.report.schema

messages: $(VENV)/.ready  ## collect the report's texts for translators, after a change of one
	$(BIN)/python -m dlb_core.report.messages

benchmark: $(VENV)/.ready  ## time the stages, and the engine against a plain loop
	$(BIN)/python -m benchmarks.bench_pipeline

clean:  ## remove what was made
	rm -rf $(VENV) $(OUTPUT) .pytest_cache .mypy_cache .ruff_cache
