# Every target works on a fresh clone: it first sets up .venv if that is missing or out of date.
# `make` alone lists the targets. Set variables as in `make pretrain DOMAIN=sensor METHOD=rq`.

PYTHON ?= python3
SCALE ?= mini
METHOD ?= rq
PROTOCOL ?= corrected

VARIABLES := A ACTION B BIN BUNDLE CHECK CHECKPOINT CREATE DATA DOMAIN DRY_RUN EACH ENCODER ENCODERS EXECUTOR FORMAT KILLS \
	LINES METHOD MINUTES NAME OPTIONS OUT OVER PROBES PROTOCOL PYTHON REFRESH REPO SCALE SEEDS SOURCES TABLE TASKS VERIFY
given = $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
ifneq ($(filter-out $(VARIABLES),$(given)),)
$(error unknown variable $(filter-out $(VARIABLES),$(given)). Known: $(VARIABLES))
endif

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
RUN := $(BIN)/python -m dabs_rq

# $(1) is the option's name, $(2) the variable's value; expands to nothing if the variable is not set.
option = $(if $(strip $(2)),'$(1)=$(strip $(2))')
# SEEDS may be "0 1 2" or "0, 1, 2" too.
comma := ,
space := $(subst ,, )
seeds = $(subst $(space),$(comma),$(strip $(subst $(comma),$(space),$(SEEDS))))
common = scale=$(SCALE) protocol=$(PROTOCOL) $(call option,data,$(DATA)) $(call option,seeds,$(seeds)) \
	$(call option,encoder,$(ENCODER)) $(call option,out,$(OUT)) $(OPTIONS)
# Without METHOD=, commands for one method use rq, the others all methods of the published table, TABLE=rq or dabs2.
# Without DOMAIN=, they take the domains of that table.
given_method = $(if $(filter-out file,$(origin METHOD)),'method=$(METHOD)')
one_method = $(call option,domain,$(DOMAIN)) 'method=$(METHOD)' $(common)
many_methods = $(given_method) $(call option,table.columns,$(TABLE)) $(common) $(call option,suite.executor,$(EXECUTOR)) \
	$(call option,encoders,$(ENCODERS)) $(if $(DRY_RUN),--dry-run) $(if $(VERIFY),--verify) $(if $(REFRESH),--refresh)

.DEFAULT_GOAL := help
.PHONY: help setup lock demo test test-all fuzz trust lint format bench pretrain transfer suite table report ablate experiment evidence chaos domains data export bundle push compare docs clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "  Variables: DOMAIN= METHOD=$(METHOD) ENCODER= ENCODERS=a,b SCALE=$(SCALE) PROTOCOL=$(PROTOCOL) DATA=/root SEEDS=0,1,2 TASKS=a,b CHECKPOINT= EXECUTOR=ray TABLE=dabs2 OUT= OPTIONS='key=value ...'"

setup: $(STAMP)  ## Install the exact versions of constraints.txt into .venv (1 to 5 minutes, about 6 GB)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@echo 'Installing about 6 GB into $(VENV). pip names each package; the last step, "Installing collected packages", takes minutes.'
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

lock:  ## Rewrite constraints.txt from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --all-extras --no-annotate --no-header --quiet pyproject.toml --output-file constraints.txt

demo: $(STAMP)  ## Compute the table on made-up data: every domain, none / e-Mix / RQ / raw inputs
	$(RUN) suite $(many_methods)

pytest = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test: $(STAMP)  ## Run the tests but the slow ones, on all processors
	$(pytest) -m 'not slow'

test-all: $(STAMP)  ## Run every test, on all processors
	$(pytest)

fuzz: $(STAMP)  ## Change files of every kind at random and read them: [MINUTES=5]
	DABS_RQ_FUZZ_MINUTES=$(or $(MINUTES),5) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/test_fuzz.py

trust: $(STAMP)  ## Read hostile files of every kind and write docs/hostile-input.md: what was tried, what held: [MINUTES=5]
	DABS_RQ_FUZZ_MINUTES=$(or $(MINUTES),5) OMP_NUM_THREADS=1 $(BIN)/python -m tests.hostile

lint: $(STAMP)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## Apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Compare speed with straightforward implementations (10 minutes; [LINES='quantizer encoder'])
	$(BIN)/python -m benchmarks $(LINES)

pretrain: $(STAMP)  ## Pretrain one encoder: DOMAIN=sensor METHOD=none|emix|rq
	$(RUN) pretrain $(one_method)

transfer: $(STAMP)  ## Probe a pretrained encoder on its domain's tasks: DOMAIN= METHOD= [TASKS=a,b] [ENCODER=mine | CHECKPOINT=file NAME=column]
	$(RUN) transfer $(one_method) $(call option,checkpoint,$(CHECKPOINT)) $(call option,name,$(NAME)) $(call option,tasks,$(TASKS))

suite: $(STAMP)  ## Compute every missing cell, then write the table: [DOMAIN=a,b] [TASKS=a,b] [ENCODERS=a,b] [TABLE=dabs2] [EXECUTOR=ray] [DRY_RUN=1 | VERIFY=1 | REFRESH=1]
	$(RUN) suite $(many_methods) $(call option,domain,$(DOMAIN)) $(call option,tasks,$(TASKS))

shown = $(given_method) $(call option,table.columns,$(TABLE)) $(call option,domain,$(DOMAIN)) $(common) \
	$(call option,encoders,$(ENCODERS))

table: $(STAMP)  ## Write the table as CSV, LaTeX and Markdown from the records: [ENCODERS=a,b] [PROBES=all] [TABLE=dabs2]
	$(RUN) table $(shown) $(call option,table.probes,$(PROBES))

report: $(STAMP)  ## Write the table and an HTML page with plots, curves, views of the quantizer and every record
	$(RUN) report $(shown)

ablate: $(STAMP)  ## Compare values of options: DOMAIN= METHOD= OVER=method.granularity,method.bins SEEDS=0,1,2 [EACH=1 DRY_RUN=1]
	$(RUN) ablate $(one_method) $(call option,tasks,$(TASKS)) --over '$(OVER)' $(if $(EACH),--each) $(if $(DRY_RUN),--dry-run)

experiment: $(STAMP)  ## Compute and compare the cells of an experiment; without NAME= list them: NAME=granularity [SCALE= DATA= SEEDS= DRY_RUN=1]
	$(RUN) experiment $(NAME) $(if $(NAME),$(call option,domain,$(DOMAIN)) $(common) $(if $(DRY_RUN),--dry-run))

evidence: $(STAMP)  ## Compare raw inputs, None, e-Mix and RQ on real data that every install has, by all probes
	$(RUN) experiment evidence $(call option,domain,$(DOMAIN)) $(common)

chaos: $(STAMP)  ## Kill suites, tables, reports, experiments and fetches, and compare with undisturbed ones: [KILLS=30]
	$(BIN)/python -m tests.chaos --kills $(or $(KILLS),30) $(OPTIONS)

domains: $(STAMP)  ## List domains, sources and tasks, and where their data belong
	$(RUN) domains $(call option,domain,$(DOMAIN)) $(common)

data: $(STAMP)  ## List, fetch or verify sources: [ACTION=fetch|verify SOURCES='dtd cifar10' SCALE=small] DATA=/root
	$(RUN) data $(or $(ACTION),list) $(SOURCES) scale=$(SCALE) protocol=$(PROTOCOL) $(call option,data,$(DATA)) $(OPTIONS)

export: $(STAMP)  ## Write results in a published form: FORMAT=eval-results|every-eval-ever; or a checkpoint for DABS: CHECKPOINT= OUT=
	$(RUN) export $(if $(FORMAT),--format '$(FORMAT)' $(call option,table.probes,$(PROBES))) $(shown) $(call option,checkpoint,$(CHECKPOINT))

bundle: $(STAMP)  ## Pack results, predictions, checkpoints and splits in one archive: [OUT=file.tar.gz], or verify one: CHECK=file
	$(RUN) bundle $(if $(CHECK),--check '$(CHECK)',$(shown) $(call option,table.probes,$(PROBES)))

push: $(STAMP)  ## Send what a bundle holds to the Hugging Face hub: REPO=user/name [BUNDLE=file] [DRY_RUN=1] [CREATE=1]
	$(RUN) push --repo '$(REPO)' $(if $(DRY_RUN),--dry-run) $(if $(CREATE),--create) \
		$(if $(BUNDLE),--bundle '$(BUNDLE)',$(shown) $(call option,table.probes,$(PROBES)))

compare: $(STAMP)  ## Compare two folders of runs, or two bundles, cell by cell: A=runs B=theirs/runs [OUT=folder]
	$(RUN) compare '$(A)' '$(B)' $(call option,out,$(OUT))

docs: $(STAMP)  ## Write the documentation as a static site to build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --site-dir build/docs

clean:  ## Delete .venv (keeps runs/ and results/)
	rm -rf $(VENV)
