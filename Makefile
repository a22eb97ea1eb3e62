PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test fuzz wild soak cluster-drill memory lint format types imports ci reference bench screenshot docs architecture camera-model camera-accuracy bench-gpu clean

help:  ## show what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(VENV)/.ready  ## a virtual environment of its own, with everything pinned

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "p3dfeat needs Python 3.11 or newer; name one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup  ## write sample videos, extract and classify them, show the result
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m examples.demo

test: setup  ## the tests, in JOBS=3 processes; COVERAGE=1 measures coverage, which takes half as long again
	$(BIN)/python -m pytest --numprocesses=$(or $(JOBS),3) --dist=worksteal \
		$(if $(COVERAGE),--cov --cov-report=term --cov-fail-under=90)

lint: setup  ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup  ## ruff: mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup  ## mypy, strict
	$(BIN)/mypy

imports: setup  ## who may import whom
	$(BIN)/lint-imports

ci: COVERAGE = 1
ci: lint types imports test  ## everything that must pass

reference: setup  ## full-size nets against the stored results of Caffe and MXNet
	@$(BIN)/python -m benchmarks.reference

bench: setup  ## everything measured side by side, into benchmarks/RESULTS.md; CLIPS=folder of real videos; QUICK=1
	-@$(BIN)/python -m pip install --quiet --constraint constraints.txt decord opencv-python-headless
	@$(BIN)/python -m benchmarks $(if $(CLIPS),--clips $(CLIPS)) $(if $(QUICK),--quick)

bench-gpu: setup  ## clips a second on a CUDA GPU, and end to end with CLIPS=folder of videos; writes benchmarks/gpu.md
	@$(BIN)/python -m benchmarks.gpu $(CLIPS)

fuzz: setup  ## damaged files by the thousand, COUNT=5000 of SEED=1; WRITE=1 puts the counts into docs/reliability.md
	@$(BIN)/python -m stress.fuzz --seed $(or $(SEED),1) --count $(or $(COUNT),5000) $(if $(WRITE),--write)

wild: setup  ## every file of CLIPS=folder through every way of reading, beside another reader; WRITE=1 as for fuzz
	@$(BIN)/python -m stress.wild $(CLIPS) $(if $(WRITE),--write)

soak: setup  ## VIDEOS=20000 while runs are killed 50 times, a quarter of an hour; KILLS=, SEED=; WRITE=1 as for fuzz
	@$(BIN)/python -m stress.soak --videos $(or $(VIDEOS),20000) --kills $(or $(KILLS),50) --seed $(or $(SEED),1) $(if $(WRITE),--write)

cluster-drill: setup  ## three Ray nodes, of which workers, a node and the command are lost; VIDEOS=400; WRITE=1 as for fuzz
	@$(BIN)/python -m stress.cluster --videos $(or $(VIDEOS),400) $(if $(WRITE),--write)

memory: setup  ## peak memory of 10 hours, 4K and COUNT=100000 videos, each beside little; WRITE=1 as for fuzz
	@$(BIN)/python -m stress.memory --count $(or $(COUNT),100000) $(if $(WRITE),--write)

architecture: setup  ## the picture in docs/architecture.md, and the size of the package
	@$(BIN)/python -m docs.picture

screenshot: setup  ## redraw docs/terminal.svg
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m examples.screenshot

camera-model: setup  ## train the embedded model anew; under an hour on two cores
	$(BIN)/python -m weights.recipes.p3d_camera.train

camera-accuracy: setup  ## measure the embedded model on drawn scenes, and on CLIPS=folder of real videos
	$(BIN)/python -m weights.recipes.p3d_camera.measure $(if $(CLIPS),--clips $(CLIPS))

docs: setup  ## the documentation site, in docs/_site; open docs/_site/index.html
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_site
	@echo wrote docs/_site/index.html

clean:  ## remove what was made
	rm -rf $(VENV) build dist demo docs/_site .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
