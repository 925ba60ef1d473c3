# motif: everything a developer runs. `make demo` and `make test` set up what they need.

# The newest Python from 3.11 on that is here; PYTHON=... chooses another.
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
EXTRAS := dev,measure,pocket,study
# What the long tests need beside: trackio, of the extra "trackers", wants an older Pillow (through gradio) than is tested.
SLOW   := $(EXTRAS),scale
OUT    ?= out/demo

# Nothing here needs the model hub: the base that the tests and the demo use is in the package.
export HF_HUB_OFFLINE ?= 1

.PHONY: setup demo test check slow docs figures reproduction results quick pocket elite clean
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## a virtual environment with motif and its tools; quick when nothing changed

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "motif needs Python 3.11 or newer (with venv): install one, or set PYTHON=..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

demo: $(READY) ## learn a concept, draw it, score it, write a report: offline, in minutes
	$(BIN)/motif demo -o $(OUT)

test: $(READY) ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -ra -n auto --maxprocesses 4

check: $(READY) ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

$(VENV)/ready-slow: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(SLOW)]" tensorboard prodigyopt
	@touch $@

slow: $(VENV)/ready-slow ## the long tests too, with the extras that they need
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -ra -n auto --maxprocesses 4 -m "not gpu"

docs: $(READY) ## write docs/commands.md from the commands
	$(BIN)/python -m motif.cli.reference docs/commands.md

figures: $(READY) ## measure everything in docs/figures.md and docs/bench.md again (an hour)
	$(BIN)/python bench/identity.py -o out/bench/identity
	$(BIN)/python bench/speed.py -o out/bench/speed-pocket.md
	$(BIN)/python bench/speed.py --no-augment -o out/bench/speed-pocket-whole.md
	$(BIN)/python bench/speed.py --base sd15 --size 256 --steps 3 -o out/bench/speed-sd15.md
	$(BIN)/python bench/figures.py
	$(BIN)/motif bench -o docs/bench.md --threads 2

reproduction: $(READY) ## write docs/reproduction.md: the papers' claims and what the benches found
	$(BIN)/python bench/reproduction.py

results: $(READY) ## run every bench that the reproduction reads (hours; goes on where it stopped)
	$(BIN)/python bench/methods.py
	$(BIN)/python bench/dci.py
	$(BIN)/python bench/editing.py -o out/bench/editing
	$(BIN)/python bench/custom_edit.py
	$(BIN)/python bench/compress.py
	$(BIN)/python bench/ico_schemes.py
	$(BIN)/python bench/value_embedding.py
	$(BIN)/python bench/keys_values.py
	$(BIN)/python bench/learned_inputs.py
	$(BIN)/python bench/merge.py -o out/bench/merge/merge.md
	$(BIN)/python bench/reproduction.py

quick: $(READY) ## a part of the reproduction from nothing: out/quick/report.html (20 minutes)
	$(BIN)/motif tradeoff reproduction/quick.toml -o out/quick --on processes
	$(BIN)/python bench/reproduction.py --quick out/quick

pocket: $(READY) ## render, train, ship and measure the embedded base anew (hours)
	$(BIN)/motif pocket render --seed 1
	$(BIN)/motif pocket train
	$(BIN)/motif pocket assemble -o src/motif/pocket/weights
	$(BIN)/motif pocket card

# Of the weights that ship. Five hours of two slow cores to render everything, half an hour to learn, three to measure.
CACHE = $(or $(MOTIF_CACHE),$(HOME)/.cache/motif)/pocket
ENCODER = $(CACHE)/run/elite/encoder

elite: $(READY) ## train pocket's ELITE encoder and ship it (hours; goes on where it stopped)
	$(BIN)/motif pocket render --seed 1
	$(BIN)/motif learn elite $(CACHE)/shards -o $(ENCODER).safetensors $(if $(wildcard $(ENCODER).run/state.pt),--resume) \
		--text-steps 1500 --steps 1401 --local-steps 400 --batch-size 32 --local-batch-size 16 --hidden 128 \
		--local-lr 1.5e-3 --ema 0.998 --mixed --small 8 --checkpoint-every 50
	mkdir -p src/motif/pocket/weights/elite
	cp $(ENCODER).safetensors src/motif/pocket/weights/elite/
	$(BIN)/python bench/elite.py --ablation-steps 200 --learned

clean: ## remove what was built; photos, concepts and caches stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -exec rm -rf {} +
