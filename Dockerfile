# An image that runs `ildfv predict` with a mounted predictor; see docs/pacs.md.
#   docker build -t ildfv .                                  CPU
#   docker build -t ildfv:cuda --build-arg VARIANT=cuda13 .  CUDA 13 (cuda12 for older drivers)
FROM python:3.11-slim-bookworm AS build
ARG VARIANT=cpu
# The index with PyTorch's CPU builds, used by the CPU variant: the default build brings 3 GB of CUDA libraries.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# The version of the package: the git history, which it is computed from otherwise, is not copied.
ARG VERSION=0.1.0.dev0
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential \
 && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/ildfv
ENV PATH=/opt/ildfv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY csrc csrc
COPY ildfv ildfv
COPY train train
RUN export SETUPTOOLS_SCM_PRETEND_VERSION_FOR_ILDFV="$VERSION" \
 && case "$VARIANT" in \
      cpu) pip install --constraint constraints.txt --extra-index-url "$TORCH_INDEX" torch \
           && pip install --constraint constraints.txt '.[ct,pacs,metaimage]' ;; \
      cuda12) pip install '.[ct,pacs,metaimage,cuda12]' ;; \
      cuda13) pip install --constraint constraints.txt '.[ct,pacs,metaimage,cuda13]' ;; \
      *) echo "VARIANT must be cpu, cuda12 or cuda13, got $VARIANT" >&2; exit 1 ;; \
    esac \
 && ildfv --version

FROM python:3.11-slim-bookworm
# libgomp1: threads of the C++ kernel; the other libraries are in the packages.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin ildfv
COPY --from=build /opt/ildfv /opt/ildfv
# The root file system may be read-only: everything that is written goes to /tmp or to mounted folders.
ENV PATH=/opt/ildfv/bin:$PATH \
    HOME=/tmp \
    CUPY_CACHE_DIR=/tmp/cupy \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /tmp
ENTRYPOINT ["ildfv"]
CMD ["predict", "--help"]
