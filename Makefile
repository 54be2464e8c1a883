# `make demo` and `make test` set up .venv on their own; nothing else is needed than Python >= 3.11.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check bench format clean

demo: $(READY)
	$(BIN)/ssl-bio pretrain --out checkpoints/demo/pretrain-seed0 --overwrite
	$(BIN)/ssl-bio finetune --mode random-frozen --seeds 0,1,2 --overwrite
	$(BIN)/ssl-bio finetune --overwrite
	$(BIN)/ssl-bio evaluate
	$(BIN)/ssl-bio report

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks.pretrain_step
	$(BIN)/python -m benchmarks.s4d_layer
	$(BIN)/python -m benchmarks.patch_kmeans
	$(BIN)/python -m benchmarks.denoise_record
	$(BIN)/python -m benchmarks.forecast_rollout
	$(BIN)/python -m benchmarks.report_page
	$(BIN)/python -m benchmarks.predict_day

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $(READY)
