# make run     the daemon, both simulators and a first recharge; stays up (Ctrl-C stops it)
# make demo    the same once; exit code 0 only when every party saw what it should
# make test    set-up, foreign programs, lint, types, layers, all tests; branches of ledger, switch and wire >= 95 %
# make lint    ruff, mypy, import-linter
# make bench   durable recharges per second, beside bare Twisted and bare SQLite
# make kannel-cuts   500 messages over Kannel, its line cut up to 30 minutes: each executed once, each told the truth
# make proof   the long proof: daemons on one ledger, 2,000 kill -9, planted bugs, a million simulated faults; resumable
# make fuzz    every decoder and session for SECONDS (10) each; with TARGET=name that one by coverage
# make fuzz-doors   SEED=… MINUTES=… every verb in any order through the real doors (SHRINK=20: looks for a short story)
# make world   SEED=… RUNS=… simulated worlds from one seed each (STATE=file: goes on where it was ended)
# make clean   forget everything that can be made again (not .venv: make distclean)

BIN := .venv/bin
PY := $(BIN)/python
WORKERS ?= 3
COVERAGE_MIN ?= 80
PYTEST_ARGS ?=

.PHONY: fuzz-doors world run demo test check lint format bench proof kannel-cuts fuzz setup peers clean distclean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

setup:
	@./tools/setup

peers:
	@./tools/install-peers

run: setup
	@$(BIN)/aircharge demo --keep

demo: setup
	@$(BIN)/aircharge demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Tests only, without set-up of foreign programs and lint: for the inner loop.
check: setup
	$(PY) -m pytest -q -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

test: setup peers lint
	$(PY) -m pytest -q -n $(WORKERS) --dist loadfile \
	    --cov --cov-report=term:skip-covered --cov-report=json:var/coverage.json \
	    --cov-fail-under=$(COVERAGE_MIN) $(PYTEST_ARGS)
	@$(PY) tools/room-coverage var/coverage.json

bench: setup
	@$(PY) -m benchmarks

kannel-cuts: setup
	@$(PY) -m tests.peers.kannel_cuts "$${KANNEL_FOLDER:-var/kannel-cuts}" --messages 500 --cut-s 1800

proof: setup
	@$(PY) -m tests.system.proof

fuzz: setup
	@./tools/fuzz $(or $(SECONDS),10) $(TARGET)

fuzz-doors: setup
	@$(PY) -m tests.doors $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),10) --shrink $(or $(SHRINK),0)

world: setup
	@$(BIN)/aircharge prove $(if $(SEED),--seed $(SEED)) --runs $(or $(RUNS),100) --jobs $(WORKERS) \
	    $(if $(STATE),--state $(STATE))

clean:
	rm -rf var build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .import_linter_cache
	rm -rf .hypothesis *.egg-info twisted/plugins/dropin.cache
	find aircharge tests benchmarks migrations twisted -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
