# The same verbs on your machine and in CI. Everything happens in .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEVICE ?= auto
# Extras of pyproject.toml that tests need beside those of `test`: make test EXTRAS="one other".
EXTRAS ?=
# Targets of the Dockerfile that image-test builds.
IMAGES ?= serve cpu

.PHONY: run test test-browser test-clients test-sources test-tensorflow test-notebooks test-deploy test-stores test-workers test-engines test-cuda image-test check format protos serve clean

run: $(VENV)/.installed
	@photos=$$($(BIN)/python -c "import skimage, pathlib; print(pathlib.Path(skimage.__file__).parent / 'data')"); \
	cd "$$photos" && "$(CURDIR)/$(BIN)/graft" classify --device $(DEVICE) coffee.png
	@echo
	@echo "Next: $(BIN)/graft classify PHOTO says what is on a photo of yours, $(BIN)/graft finetune FOLDER teaches"
	@echo "your own classes from a folder with a folder of photos for each; $(BIN)/graft --help names the rest."

test: $(VENV)/.installed $(addprefix $(VENV)/.installed-,$(EXTRAS))
	$(BIN)/python -m pytest

# Clients of other servers, unmodified, against ours.
test-clients: $(VENV)/.installed $(VENV)/.installed-clients .venv-clients/.installed
	$(BIN)/python -m pytest -m clients tests/service

# TensorFlow Serving's client over gRPC; it brings TensorFlow, 2 GB.
test-tensorflow: $(VENV)/.installed .venv-tensorflow/.installed
	$(BIN)/python -m pytest -m clients tests/service/grpc/test_clients.py

# Tables of pandas, polars and Hugging Face, as their libraries make them; frames of videos.
test-sources: $(VENV)/.installed $(VENV)/.installed-tables $(VENV)/.installed-video
	$(BIN)/python -m pytest tests/feature_extraction/test_tables.py tests/feature_extraction/test_videos.py tests/finetune/dataset/test_tables.py

# The page in a real browser: Chromium of the system, else Playwright's own.
test-browser: $(VENV)/.installed $(VENV)/.installed-browser
	$(BIN)/python -m pytest -m browser tests/service/page

# The notebooks of examples/, from the first cell to the last.
test-notebooks: $(VENV)/.installed $(VENV)/.installed-notebook
	$(BIN)/python -m pytest -m notebook tests/test_notebooks.py

# The service behind Debian's HAProxy and nginx, scraped by its Prometheus; manifests by their schemas. What is not
# installed is skipped, and says so.
test-deploy: $(VENV)/.installed $(VENV)/.installed-deploy $(VENV)/kserve
	$(BIN)/python -m pytest -m deploy tests/deploy

# Object stores, on a server of this machine.
test-stores: $(VENV)/.installed $(VENV)/.installed-moto
	$(BIN)/python -m pytest -m stores tests/feature_extraction/stores

# Fine-tuning in several processes, connected by MPI.
test-workers: $(VENV)/.installed $(VENV)/.installed-workers
	$(BIN)/python -m pytest -m workers tests/finetune/workers tests/service/cli/finetune tests/test_examples.py

# The whole way on a GPU. All other tests see none.
test-cuda: $(VENV)/.installed
	GRAFT_CUDA=1 $(BIN)/python -m pytest -m cuda tests/test_cuda.py

# Parts on Ray, Spark and Dask, whose processes and machines are ended; and features in their own pipelines.
test-engines: $(VENV)/.installed $(VENV)/.installed-engines
	$(BIN)/python -m pytest -m engines tests/feature_extraction/engines tests/service/cli/features tests/test_examples.py

# Builds the images with Debian's buildah and asks them; needs root, buildah and debootstrap.
image-test: $(VENV)/.installed
	GRAFT_IMAGES="$(IMAGES)" $(BIN)/python -m pytest -m images -s tests/deploy

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Compiles the definitions of gRPC's messages. The compiler wants an older protobuf than others, so it lives apart.
protos:
	@test -d .venv-protos || $(PYTHON) -m venv .venv-protos
	@.venv-protos/bin/python -m pip install --quiet --disable-pip-version-check grpcio-tools
	cd service/grpc/protos && ../../../.venv-protos/bin/python -m grpc_tools.protoc -I. --include_imports \
		--descriptor_set_out=descriptors.binpb *.proto

serve: $(VENV)/.installed
	$(BIN)/graft serve builtin

clean:
	rm -rf $(VENV) .venv-clients .venv-tensorflow .venv-protos build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
		echo "graft needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
		"Install one and run: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (about 300 MB once, most of it onnxruntime) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# KServe's package alone: its types are read as text, and what it depends on would change what is installed here.
$(VENV)/kserve: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ 'kserve>=0.15'

# Clients over gRPC: their messages have the names of ours, and they want an older protobuf.
.venv-clients/.installed: tests/service/grpc/clients/requirements.txt
.venv-tensorflow/.installed: tests/service/grpc/clients/requirements-tensorflow.txt
.venv-clients/.installed .venv-tensorflow/.installed:
	@test -d $(@D) || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
