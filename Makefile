# `make help` lists the commands. Variables go behind them: make book CORPUS=iemocap ROOT=/data/IEMOCAP_full_release
PYTHON ?= python3
CORPUS ?= duet-i
ROOT ?=
AUDIO ?=
TEXT ?=
PROFILE ?= fast
SEED ?= 0
JOBS ?= 3
TABLE ?= table3
COLAB_PYTHON ?= python3.12
CHAPTERS ?=
KEEP ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
RUN := OMP_NUM_THREADS=1 $(BIN)/python

# Where Python may not keep what it compiles, every chapter compiles torch and pandas anew: 17 s instead of 6.
unexport PYTHONDONTWRITEBYTECODE

SWEEP_fast := --fold 1 --seeds 1 --out "_build/results/$(CORPUS).csv"
SWEEP_full := --out "data/results/$(CORPUS).csv"
ENCODERS := $(if $(AUDIO),--audio "$(AUDIO)") $(if $(TEXT),--text "$(TEXT)")
TUNE_fast := --corpus "$(CORPUS)" $(if $(ROOT),--root "$(ROOT)") --out _build/results/tuning.csv
TUNE_full := --corpus duet-i --corpus duet-m --corpus duet-x --out data/results/tuning.csv
CONDITIONS_fast := --draws 1 --seeds 1 --out _build/results/conditions.csv
CONTROL_fast := --corpus "$(CORPUS)" $(if $(ROOT),--root "$(ROOT)") --fold 1 --seeds 1 --out _build/results/control.csv
CONTROL_full := --corpus duet-i --corpus duet-m --out data/results/control.csv
CONDITIONS_full := --draws 8 --seeds 1 --out data/results/conditions.csv

.DEFAULT_GOAL := help
.PHONY: help book test test-encoders lint format tune sweep control conditions duet colab-check release clean

help: ## List the commands
	@awk -F ': .*## ' '/^[a-z-]+: .*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: CORPUS=$(CORPUS) ROOT=$(ROOT) AUDIO=$(AUDIO) TEXT=$(TEXT) PROFILE=$(PROFILE) SEED=$(SEED) JOBS=$(JOBS) TABLE=$(TABLE)"

book: .venv/book ## Run every chapter and compile the book to _build/html
	@$(BIN)/python tools/build_book.py --corpus "$(CORPUS)" --root "$(ROOT)" --audio "$(AUDIO)" --text "$(TEXT)" --profile "$(PROFILE)" --seed "$(SEED)" --jobs "$(JOBS)"

test: lint ## Check everything that must hold: style, types, behaviour, stored outputs
	$(RUN) -m pytest
	$(RUN) tools/notebooks.py compare

test-encoders: .venv/test ## Fetch two real encoders (155 MB) and check what the book says of them
	$(RUN) -m pytest tests/encoders

lint: .venv/test ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/test ## Bring code and notebooks into shape
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/python tools/notebooks.py format

tune: .venv/book ## Try the systems of a table with the same few learning rates, on dev only (before their sweep)
	$(RUN) -m mer_lib tune --table "$(TABLE)" $(ENCODERS) $(TUNE_$(PROFILE))

sweep: .venv/book ## Run the experiments whose results the book prints (PROFILE=full takes hours)
	$(RUN) -m mer_lib sweep --corpus "$(CORPUS)" --table "$(TABLE)" $(if $(ROOT),--root "$(ROOT)") $(ENCODERS) $(SWEEP_$(PROFILE))

control: .venv/book ## Measure the terms of L_sp in every epoch, trained on or not
	$(RUN) -m mer_lib control $(CONTROL_$(PROFILE))

conditions: .venv/test ## Measure when each part of the method matters, on corpora drawn anew (PROFILE=full takes hours)
	$(RUN) -m mer_lib conditions $(CONDITIONS_$(PROFILE))

duet: .venv/test ## Make the shipped corpora again (needs no network; a few minutes)
	for name in duet-i:1800 duet-m:1800 duet-x:3600; do \
	  $(RUN) -m mer_lib.corpora.duet.generate --corpus $${name%:*} --size $${name#*:} --seed 0 --out data/duet || exit 1; \
	done
	$(RUN) tools/ship_pitch.py duet-i duet-m duet-x

colab-check: ENVIRONMENT ?= colab
colab-check: .venv/test ## Try the tests and every chapter alone in Colab's versions (or ENVIRONMENT=lowest; CHAPTERS="01 11")
	$(BIN)/python tools/environments.py make $(ENVIRONMENT) --python "$(COLAB_PYTHON)"
	$(BIN)/python tools/environments.py test $(ENVIRONMENT)
	$(BIN)/python tools/environments.py chapters $(ENVIRONMENT) $(CHAPTERS) $(if $(KEEP),--keep)

release: .venv/test ## Check that version, addresses and wheel agree, and say how to publish them
	@$(BIN)/python tools/release.py

clean: ## Remove what was made, except .venv
	rm -rf _build dist .mypy_cache .pytest_cache .ruff_cache notebooks/.ruff_cache

# An environment of its own, made again only when what it must hold changes. The pip that comes with Python takes much
# longer to choose versions, so it is renewed first.
.venv/book: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "The book needs Python 3.11 or newer; say which: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) --editable ".[book]"
	@touch $@

.venv/test: .venv/book
	$(PIP) --editable ".[test,cluster]"
	@touch $@
