# Two commands are enough: `make run` serves on port 3000, `make test` proves that it works. Nothing is installed
# outside .venv, and models are kept in MODELS_DIR (default: the user's cache).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test test-importers fuzz fuzz-importers lint format bench soak docs clean

run: $(VENV)/.run
	@$(BIN)/embedding-calculator models pull
	@exec $(BIN)/embedding-calculator serve

test: $(VENV)/.dev
	@$(BIN)/embedding-calculator models pull
	@$(BIN)/embedding-calculator models pull facenet.FaceDetector
	$(BIN)/python -m pytest -n auto --maxprocesses 4

# Importers of TensorFlow's formats against TensorFlow itself: a large download, so not part of `make test`.
test-importers: $(VENV)-importers/.ready
	$(VENV)-importers/bin/python -m pytest tests/unit/test_tensorflow_importers.py

# Every reader of strangers' bytes, FUZZ_SECONDS (60) each; what breaks one is kept in build/fuzz.
fuzz: $(VENV)/.dev
	$(INSTALL) --editable '.[fuzz]'
	@PYTHONPATH=tests $(BIN)/python -m fuzz

# The same for the importers that need TensorFlow.
fuzz-importers: $(VENV)-importers/.ready
	$(VENV)-importers/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@PYTHONPATH=tests $(VENV)-importers/bin/python -m fuzz tensorflow_graph tensorflow_saved tensorflow_checkpoint

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-images: $(VENV)/.images
	$(BIN)/hadolint Dockerfile
	bash -n deploy/prove-image.sh
	$(BIN)/python -m pytest tests/unit/test_deployment.py

# A real image, built and run without a container engine; needs root and takes minutes: deploy/prove-image.sh tells more.
prove-image: $(VENV)/.dev
	@mkdir -p build
	@$(BIN)/python -c 'import PIL.Image, skimage.data as d; PIL.Image.fromarray(d.astronaut()).save("build/astronaut.jpg")'
	deploy/prove-image.sh build/astronaut.jpg

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Measures and writes build/bench.md; `$(BIN)/python -m benchmarks --publish` then puts it into docs/performance.md.
bench: $(VENV)/.bench $(VENV)-peers/.ready
	@$(BIN)/embedding-calculator models pull
	$(BIN)/python -m benchmarks

# Everything at once, and memory must not grow: half an hour, or SOAK_MINUTES.
soak: $(VENV)/.dev
	@$(BIN)/embedding-calculator models pull
	$(BIN)/python -m benchmarks.soak

docs: $(VENV)/.dev
	$(BIN)/python scripts/generate_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(VENV)-importers $(VENV)-peers build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "embedding-calculator needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml
	@echo "Installing into $(VENV) ..."
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	@echo "Installing into $(VENV), with what tests and checks need ..."
	$(INSTALL) --editable '.[test,lint,docs]'
	@touch $@ $(VENV)/.run

# The peer without its dependencies: its OpenCV would take the place of ours, and all else is here.
$(VENV)/.bench: $(VENV)/.dev
	$(INSTALL) --no-deps 'insightface>=2.1,<3'
	@touch $@

# Without their dependencies, one of which would be compiled; where one cannot be had, the rest is measured without it.
$(VENV)-peers/.ready: pyproject.toml
	@echo "Installing into $(VENV)-peers, for comparison ..."
	@$(PYTHON) -m venv $(VENV)-peers
	@$(VENV)-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary dlib-bin \
		'dlib-bin>=20,<21' 'face_recognition>=1.3,<2' 'face_recognition_models>=0.3,<0.4' 'setuptools<81' \
		'numpy>=2,<3' 'pillow>=11.3,<14' || echo "face_recognition cannot be had here."
	@touch $@

$(VENV)-importers/.ready: pyproject.toml
	@echo "Installing into $(VENV)-importers, with TensorFlow ..."
	$(PYTHON) -m venv $(VENV)-importers
	$(VENV)-importers/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[test,test-importers,import-tensorflow]'
	@touch $@

$(VENV)/.images: $(VENV)/.dev
	@echo "Installing into $(VENV), with what checks of images and charts need ..."
	$(INSTALL) --editable '.[images]'
	@touch $@
