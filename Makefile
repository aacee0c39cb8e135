# jupiter: `make help` lists what there is. What needs root says so itself; `sudo make ...` from a user's checkout is fine.
.DEFAULT_GOAL := help
.PHONY: help setup build man demo lab lab-down test vm-test fuzz behaviours behaviours-readme lint bench bench-control bench-idle bench-scaling clean

PYTHON      := .venv/bin/python
ENGINE      := .venv/engine.stamp
DEVELOPMENT := .venv/development.stamp
FUZZER      := build/fuzz/stamp
SOURCES     := setup.py $(shell find fastpath -name '*.pyx' -o -name '*.px[di]' -o -name '*.h')

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## install what is missing: Debian packages (root), Python packages into .venv
	@tools/setup

build: $(ENGINE) ## compile the data plane, put jupiter-service and jupiter-ctl into .venv/bin
	@tools/as-owner $(PYTHON) -m compileall -q fastpath jupiter tools # else root leaves __pycache__ in its owner's checkout

# The extension is a single translation unit, so pip's editable install is all the build there is: engine and commands in place.
$(ENGINE): $(SOURCES) .venv/stamp
	@echo "== Building fastpath"
	@tools/as-owner .venv/bin/pip install -q --use-pep517 --no-build-isolation --no-deps -e .
	@tools/as-owner touch $@

man: setup ## the man pages, from the table of commands and the comments of etc/jupiter.cfg, into build/man
	@tools/as-owner $(PYTHON) -m tools.man build/man

# What tests/fastpath and the benchmark compile beside the data plane.
$(DEVELOPMENT): $(ENGINE) tests/fastpath/probe.pyx tests/packets/carousel.pyx $(wildcard tools/bench/*.p[yx][xd])
	@echo "== Building the tests' probe and the benchmark's driver"
	@JUPITER_DEVELOPMENT=1 tools/as-owner $(PYTHON) setup.py -q build_ext --inplace
	@tools/as-owner touch $@

# The data plane once more, by clang, with sanitizers and libFuzzer.
$(FUZZER): $(ENGINE) $(wildcard tests/fuzz/*.[ch]) tests/fuzz/build tests/fuzz/covered.txt
	@echo "== Building the fuzzer"
	@tools/as-owner tests/fuzz/build
	@tools/as-owner touch $@

.venv/stamp: requirements.txt | setup ;

demo: build ## the walk-through: a laboratory, two nginx, two DNS servers, a table (root)
	@$(PYTHON) -m tools.lab.demo

lab: build ## open a laboratory and leave it open (root)
	@$(PYTHON) -m tools.lab up

lab-down: setup ## close it (root)
	@$(PYTHON) -m tools.lab down

test: build $(DEVELOPMENT) $(FUZZER) ## every test (root)
	@$(PYTHON) tools/runtests

vm-test: build ## PCI network cards, many workers, NUMA, in a virtual machine: about twenty-five minutes (root)
	@$(PYTHON) -m pytest tests/vm/check_*.py

fuzz: $(FUZZER) ## the packet path under sanitizers and libFuzzer: SECONDS=600 (or RUNS=50000000) on every core
	@$(PYTHON) -m tests.fuzz.campaign $(if $(RUNS),--runs $(RUNS),--seconds $(or $(SECONDS),600))

behaviours: build ## switch off each rule of the acceptance list: do its tests notice? (LINES="B4 B7" for a few)
	@tools/as-owner $(PYTHON) -m tools.behaviours $(LINES)

behaviours-readme: ## write the table of the last `make behaviours` into README.md
	@tools/as-owner $(PYTHON) -m tools.behaviours --into README.md

lint: setup ## ruff, mypy --strict on jupiter/, cython-lint
	$(PYTHON) -m ruff check . tools/jupiter-devbind tools/jupiter-pmdinfo tools/runtests
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict jupiter
	PATH="$(CURDIR)/.venv/bin:$$PATH" cython-lint fastpath tests tools

bench: build $(DEVELOPMENT) ## ticks per packet, beside what the bare ring costs (root: with huge pages)
	@$(PYTHON) -m tools.bench

bench-control: build ## services by the thousand: how fast they are applied, changed, dumped, and what they cost (root)
	@$(PYTHON) -m tools.bench.control

bench-idle: build ## what an idle worker costs, and what its sleep costs the first packet; three minutes (root)
	@$(PYTHON) -m tools.bench.idle

bench-scaling: build $(DEVELOPMENT) ## ticks per packet with one worker, with several, and from worker to worker (root)
	@$(PYTHON) -m tools.bench.scaling

clean: ## remove what was built; .venv stays
	rm -rf build *.egg-info .venv/*.stamp fastpath/*.c fastpath/*.so tests/fastpath/*.c tests/fastpath/*.so tools/bench/*.c tools/bench/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
