# make demo  plans, moves the robot, rehearses and reports on the built-in patient
# make demos  three films of rehearsals into out/films/
# make test  installs what the tests need and runs them, but for those that are marked long
# make test-long  runs the tests that are marked long
# make docs  builds the site of the documents into out/docs/, every warning an error
# make install  makes .venv/ with everything that both need; make check  runs every gate

PYTHON ?= python3.11
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: install demo demos test test-long check lint docs clean

install: $(STAMP)

$(STAMP): pyproject.toml .ci/system-libraries
	@PYTHON="$(PYTHON)" .ci/system-libraries
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Python packages into $(VENV) (about a minute) ..."
	@$(VENV)/bin/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(VENV)/bin/needleplan demo --out out/demo

demos: $(STAMP)
	@$(VENV)/bin/python examples/films.py --out out/films

test: $(STAMP)
	@$(VENV)/bin/python -m pytest -n auto --dist loadfile -m "not long"

test-long: $(STAMP)
	@$(VENV)/bin/python -m pytest -n auto --dist loadfile -m long

lint: $(STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(STAMP)
	@$(VENV)/bin/python docs/build_site.py --out out/docs

check: lint docs test test-long

clean:
	rm -rf out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find needleplan robots sim -name '*.nb[ic]' -delete
