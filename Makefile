# The project's commands. Each of them sets up what it needs first.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.synced

.PHONY: setup lock demo test up check bench test-servers clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -x $(PY) || python3 -m venv $(VENV)
	@test -x $(VENV)/bin/uv || $(VENV)/bin/pip install --quiet uv
	@$(VENV)/bin/uv pip install --quiet --python $(PY) -r requirements.lock
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --editable .
	@$(PY) -m compileall -q $(VENV)/lib sluiceway -x 'test|moto|awscli' -j 0 || true # or the first start would do it
	@touch $(STAMP)

demo: setup
	$(PY) -m apps.photos.demo

up: setup
	$(VENV)/bin/sluiceway up apps/photos/template.yaml

test: setup test-servers
	$(PY) -m pytest $(PYTEST_ARGS)

test-servers: setup
	@scripts/test-servers

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: setup
	$(PY) -m bench

lock:
	$(VENV)/bin/uv pip compile -q --no-emit-index-url --no-annotate --no-header --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
