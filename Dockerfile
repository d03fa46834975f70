# syntax=docker/dockerfile:1
# The image of the service: docs/deployment.md tells every build argument. Stages: base (Python and the user), build
# (the package in /opt/venv), models (what the service will use, in /opt/models), test, and service, the image itself.
#
#   docker build -t embedding-calculator .
#
# Behind a package index of your own:  docker build --secret id=pip_conf,src=$HOME/.config/pip/pip.conf .
# With model files from a folder:      docker build --build-context model-files=/path/to/folder .
ARG BASE_IMAGE=python:3.12-slim-bookworm

# Replaced by a folder of published model files through --build-context; otherwise empty.
FROM scratch AS model-files
WORKDIR /empty

FROM ${BASE_IMAGE} AS base
SHELL ["/bin/sh", "-euc"]
ENV LANG=C.UTF-8 LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1
# CUDA and plain Debian or Ubuntu bases have no Python.
# hadolint ignore=DL3008
RUN if ! command -v python3 >/dev/null; then \
      apt-get update; \
      apt-get install --yes --no-install-recommends ca-certificates python3; \
      rm -rf /var/lib/apt/lists/*; \
    fi; \
    python3 -c 'import sys; sys.exit("BASE_IMAGE needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'; \
    echo 'calculator:x:10001:10001::/tmp:/usr/sbin/nologin' >>/etc/passwd; \
    echo 'calculator:x:10001:' >>/etc/group

FROM base AS build
# hadolint ignore=DL3008
RUN if ! python3 -c 'import ensurepip' 2>/dev/null; then \
      apt-get update; \
      apt-get install --yes --no-install-recommends python3-venv; \
      rm -rf /var/lib/apt/lists/*; \
    fi; \
    python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CACHE_DIR=/var/cache/pip
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
# Wheels only: nothing is compiled, so no stage needs a compiler. onnxruntime and onnxruntime-gpu are one module in two
# packages; where both were asked for, the files must be those of the latter.
ARG EXTRAS=""
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    pip install --only-binary :all: ".${EXTRAS:+[$EXTRAS]}"; \
    pip list --format freeze >/tmp/installed; \
    if grep '^onnxruntime-gpu==' /tmp/installed >/tmp/engine; then \
      pip uninstall --yes onnxruntime onnxruntime-gpu; \
      pip install --only-binary :all: --no-deps --requirement /tmp/engine; \
    fi

# Some models are translated by large packages, which stay behind in this stage.
FROM build AS models
ARG IMPORT_EXTRAS=""
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    if [ -n "${IMPORT_EXTRAS}" ]; then pip install --only-binary :all: ".[${IMPORT_EXTRAS}]"; fi
ARG FACE_DETECTION_PLUGIN=""
ARG CALCULATION_PLUGIN=""
ARG EXTRA_PLUGINS=""
ARG ACCEPT_MODEL_LICENCES=false
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=bind,from=model-files,target=/model-files \
    MODELS_DIR=/opt/models MODELS_SOURCE=/model-files \
    FACE_DETECTION_PLUGIN="${FACE_DETECTION_PLUGIN}" CALCULATION_PLUGIN="${CALCULATION_PLUGIN}" \
    EXTRA_PLUGINS="${EXTRA_PLUGINS}" ACCEPT_MODEL_LICENCES="${ACCEPT_MODEL_LICENCES}" \
    embedding-calculator models pull; \
    chmod -R a+rX,go-w /opt/models

# What needs neither photos nor models runs here; the image is not made if it fails.
FROM build AS test
ARG SKIP_TESTS=""
COPY . .
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    mkdir /tested; \
    if [ -n "${SKIP_TESTS}" ]; then echo 'skipped by SKIP_TESTS' >/tested/tests; exit 0; fi; \
    pip install --only-binary :all: '.[test]'; \
    python -m pytest -p no:cacheprovider -m 'not integration and not performance' tests/unit; \
    echo 'passed in the build' >/tested/tests

FROM base AS service
ARG FACE_DETECTION_PLUGIN=""
ARG CALCULATION_PLUGIN=""
ARG EXTRA_PLUGINS=""
ARG GPU_IDX=-1
ARG INTEL_OPTIMIZATION=""
ARG BE_VERSION=""
ARG APP_VERSION_STRING=dev
# An empty variable counts as unset: the service then takes its own default.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    MODELS_DIR=/opt/models \
    FACE_DETECTION_PLUGIN="${FACE_DETECTION_PLUGIN}" \
    CALCULATION_PLUGIN="${CALCULATION_PLUGIN}" \
    EXTRA_PLUGINS="${EXTRA_PLUGINS}" \
    GPU_IDX="${GPU_IDX}" \
    INTEL_OPTIMIZATION="${INTEL_OPTIMIZATION}" \
    BE_VERSION="${BE_VERSION}" \
    APP_VERSION_STRING="${APP_VERSION_STRING}"
LABEL org.opencontainers.image.title="embedding-calculator" \
      org.opencontainers.image.description="Finds every face in a picture: box, embedding and attributes, over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${APP_VERSION_STRING}"
COPY --from=build /opt/venv /opt/venv
COPY --from=models /opt/models /opt/models
COPY --from=test /tested /usr/share/embedding-calculator
COPY --chmod=755 deploy/healthcheck.py /usr/local/bin/healthcheck
WORKDIR /tmp
USER 10001:10001
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["healthcheck"]
ENTRYPOINT ["embedding-calculator"]
CMD ["serve"]
