# Attune's commands. `make quickstart` and `make test` are all that a newcomer needs.

SHELL := /bin/bash
PACKAGES := libopenblas-dev libpcre2-dev zlib1g-dev libzstd-dev libssl-dev libsqlite3-dev libcmark-gfm-dev \
  libcmark-gfm-extensions-dev pkg-config unzip
# What only the tests need: a browser that presses the keys of the page, walls around programs that are tested.
TEST_PACKAGES := chromium-headless-shell fonts-dejavu-core bubblewrap
# What MPI=1 needs: one run by several processes, on one machine or many (Documentation/Clusters.md).
MPI_PACKAGES := libopenmpi-dev openmpi-bin
# Warnings are errors in our own targets (Package.swift), undeclared imports everywhere.
SWIFT_FLAGS := -c release --explicit-target-dependency-import-check error
ATTUNE := .build/release/attune
SWIFT_SOURCES := Sources Tests Examples Package.swift
# Where make install puts the program: the binary alone, which holds its page and texts.
PREFIX ?= /usr/local
BINARY := $(DESTDIR)$(PREFIX)/bin/attune

# What `make docs` writes, and of which rooms.
DOCS ?= .build/docs
DOCUMENTED := AttuneKit AttuneTraining AttuneRewards AttuneObjectives AttuneEngine AttuneNative AttuneData

.DEFAULT_GOAL := help
.PHONY: help setup build install uninstall model quickstart test check examples docs lint format bench \
  bench-trl bench-llama bench-rates bench-peers agreement tour \
  campaign record record-compare clean

help: ## Print this list.
	@grep -hE '^[a-z-]+:.*\#\#' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*\#\# /  make \1\t/' | expand -t 20

setup: ## Install the Debian packages that are missing (nothing elsewhere).
	@command -v swift >/dev/null || { echo "make: Swift 6.3 or later is needed: see swift.org/install" >&2; exit 1; }
	@if command -v dpkg-query >/dev/null; then \
	  missing=; for p in $(PACKAGES); do \
	    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	  if [ -n "$$missing" ]; then \
	    sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	    echo "Installing$$missing"; \
	    $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  fi; fi

# MPI=1: a build that is one run by several processes where mpirun starts it. The tests' is one, and
# stays one: another trait would build everything anew.
comma := ,
MANY := $(if $(MPI)$(wildcard .build/many),yes)
TRAITS := $(if $(MANY),--traits default$(comma)MPI)
PACKAGES += $(if $(MANY),$(MPI_PACKAGES))

build: setup ## Build the attune binary (MPI=1: for many processes, by mpirun).
	swift build $(SWIFT_FLAGS) $(TRAITS) --product attune
	@$(if $(MANY),touch .build/many)

# No build here: as root it would leave files that are root's in the build folder.
install: ## Install what make build built: in PREFIX=/usr/local (sudo make install), or another.
	@test -x $(ATTUNE) || { echo "make: there is no $(ATTUNE) yet: make build" >&2; exit 1; }
	install -d $(dir $(BINARY))
	install -m 755 $(ATTUNE) $(BINARY)
	@if $(ATTUNE) collect 2>&1 | grep -q 'without its page'; then \
	  echo "Installed without the page (attune collect): make build, then make install again, bring it."; fi
	@command -v attune >/dev/null || echo "$(dir $(BINARY)) is not in your PATH yet."

uninstall: ## Remove what make install put in PREFIX.
	rm -f $(BINARY)

model: build ## Fetch SmolLM2-135M-Instruct and VADER's lexicon, once.
	$(ATTUNE) pull smollm2
	$(ATTUNE) pull vader

# A first build without the page (attune collect) takes half the time; one that is there keeps it.
quickstart: TRAITS := $(if $(wildcard .build/release/AttuneServer.build/*.o),$(TRAITS),$(if $(MANY),--traits MPI,--disable-default-traits))
quickstart: model ## Set up, then align SmolLM2 from end to end and write the report.
	$(ATTUNE) quickstart $(QUICKSTART)

# Objectives, engine and training are tested as they run: in release. Runs of many processes have the
# machine to themselves, beside which other tests would wait beyond their limits, and those that compare bits which the
# number of threads decides have the process; those of kernels change that number. Kernels are tested once more as
# processors with vectors of 256 bits run them. Those of the server wait for requests: beside tests that compute, both
# threads of two cores are taken, a limit of two minutes passes, and a request that is cancelled in the moment in which it
# ends stops the process for good (URLSession's own lock).
ALONE = ManyRanksTests|SamplerFolderTests|AttuneNativeTests.MomentTests
SERVER = AttuneServerTests
KERNELS = AttuneNativeTests.KernelTests
NARROW = $(KERNELS)|AttuneNativeTests.DecodeKernelTests|AttuneNativeTests.Int8KernelTests
TESTS = swift test -c release --skip-build $(TRAITS)
test check: PACKAGES += $(TEST_PACKAGES) $(MPI_PACKAGES)
test check: TRAITS := --traits default$(comma)MPI
test: setup ## Set up, then run the tests.
	swift build $(SWIFT_FLAGS) $(TRAITS) --build-tests
	@touch .build/many
	$(TESTS) --skip "$(ALONE)|$(SERVER)|$(KERNELS)"
	$(TESTS) --filter "$(SERVER)"
	$(TESTS) --filter "$(ALONE)"
	$(TESTS) --filter "$(KERNELS)"
	ATTUNE_VECTOR_LEVEL=3 $(TESTS) --filter "$(NARROW)"

lint: ## Check the format of all Swift sources.
	swift format lint --strict --recursive --parallel $(SWIFT_SOURCES)

format: ## Format all Swift sources.
	swift format --in-place --recursive --parallel $(SWIFT_SOURCES)

examples: build ## Build the example packages without the server, and run them on a tiny model.
	Examples/try.sh $(ATTUNE)

# The plugin comes for this alone. Warnings are errors: a link that leads nowhere, a parameter unnamed.
docs: setup ## Write the library's documentation (DocC) to DOCS=.build/docs.
	ATTUNE_DOCS=1 swift package --disable-default-traits --allow-writing-to-directory $(DOCS) \
	  generate-documentation $(addprefix --target ,$(DOCUMENTED)) --enable-experimental-combined-documentation \
	  --warnings-as-errors --transform-for-static-hosting --output-path $(DOCS)

# The examples are built without MPI.
check: setup lint test ## What CI runs: lint, build with warnings as errors and import check, tests, examples, exactness, two minutes of the campaign.
	Examples/try.sh $(ATTUNE)
	$(ATTUNE) exactness
	MINUTES=2 python3 Scripts/campaign/run.py

# What every comparison below takes: PRECISION=bf16, ROUNDS=3, OPTIONS for all of Attune's commands,
# SAMPLING="--sampler int8" for those that sample; TRAINER="--optimizer adamw-8bit" for its trainers.
# PEERS is for the script's own (--help).
PRECISION ?= float32
ROUNDS ?= 3
COMPARED = --precision $(PRECISION) --rounds $(ROUNDS) --attune-options="$(OPTIONS)" \
  --sampling-options="$(SAMPLING)" $(PEERS)

bench: model ## Compare speed and memory with PyTorch/transformers (installs them in .build/).
	python3 Benchmarks/peers/compare.py $(COMPARED)

# Three rounds of all methods take two hours and more, and a gigabyte and a half under .build/.
bench-trl: model ## Compare every trainer's speed and memory with TRL's (installs it in .build/).
	python3 Benchmarks/peers/compare_trl.py $(COMPARED) --trainer-options="$(TRAINER)"

bench-llama: model ## Compare sampling with llama.cpp's, from the same GGUF files (installs it in .build/).
	python3 Benchmarks/peers/compare_llama.py $(COMPARED)

bench-rates: ## Measure the rates of PyTorch's matrix products at the model's shapes.
	python3 Benchmarks/peers/library_rates.py

# A quarter of an hour: one round, of TRL's columns the one that PRECISION is held against, and of its
# defaults the memory of an SFT step, ours with 8-bit moments.
bench-peers: ROUNDS = 1
bench-peers: model ## All these comparisons in short: PRECISION=bf16.
	python3 Benchmarks/peers/library_rates.py --rows 1024
	python3 Benchmarks/peers/compare.py $(COMPARED)
	python3 Benchmarks/peers/compare_llama.py $(COMPARED)
	python3 Benchmarks/peers/compare_trl.py $(COMPARED) --methods sft --columns defaults --steps 1 \
	  --trainer-options="--optimizer adamw-8bit"
	python3 Benchmarks/peers/compare_trl.py $(COMPARED) --trainer-options="$(TRAINER)" \
	  --methods sft,reward,dpo,kto,rloo,grpo \
	  --columns $(if $(filter float32,$(PRECISION)),float32,no-checkpointing)

# Ten minutes, and half a gigabyte under .build/: what transformers computes, then the tests against it. Another model
# (MODEL=FILE.gguf) takes time, files and memory by its size.
agreement: model ## Hold SmolLM2 or MODEL=FILE.gguf against transformers (installed in .build/): scores, gradients, AdamW.
	python3 Scripts/agreement/run.py $(MODEL)

# A quarter of an hour; SECTION=5 begins there, with the files of those before.
tour: model ## Run the commands of Documentation/Lecture.md in order, and keep one page of the results.
	python3 Scripts/tour/run.py $(if $(SECTION),--section $(SECTION))

# Documentation/Reliability.md says what it tries and what came of it.
campaign: build ## Kill trainers, damage files, send strange requests: for MINUTES=10 from SEED=1.
	MINUTES=$(or $(MINUTES),10) SEED=$(or $(SEED),1) python3 Scripts/campaign/run.py

# CONTRIBUTING.md says how two of them check a refactoring.
record: build ## Record what every command computes on tiny inputs: OUTPUT=folder, in ten minutes.
	python3 Scripts/record/record.py make --attune $(ATTUNE) --output $(OUTPUT) $(RECORD)

record-compare: ## Say what differs between two records: BEFORE=folder AFTER=folder.
	python3 Scripts/record/record.py compare $(BEFORE) $(AFTER)

clean: ## Remove what the build made.
	rm -rf .build
