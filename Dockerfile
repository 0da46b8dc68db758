# The service `cpmn watch` (docs/how-to/archive.md). Torch as pip finds it runs on a CPU and, with the host's driver and
# `docker run --gpus all`, on an NVIDIA GPU:
#     docker build -t cpmn .
# Smaller, for a CPU alone: give the index of PyTorch's CPU builds, which PyTorch's page "Get started" names:
#     docker build -t cpmn --build-arg TORCH_INDEX=URL .
# For another CUDA than the pinned torch brings, give the index of those builds in the same way.
#     docker run --rm -v /abs/model.cpmn:/model.cpmn:ro -v cpmn-spool:/spool -p 11112:11112 cpmn \
#         --listen 11112 --bind 0.0.0.0 --allow ARCHIVE --send ARCHIVE@archive:104
# For jobs on Kubernetes (docs/how-to/kubernetes.md):
#     docker build -t cpmn --build-arg EXTRAS=kubernetes .
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=
ARG EXTRAS=watch

ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/cpmn
COPY pyproject.toml README.md LICENSE ./
COPY cpmn ./cpmn
# The package is the folder; its pins stand in pyproject.toml.
# hadolint ignore=DL3013
RUN if [ -n "$TORCH_INDEX" ]; then \
        python -m pip install --index-url "$TORCH_INDEX" "$(grep -o 'torch==[0-9.]*' pyproject.toml)"; \
    fi \
    && python -m pip install ".[$EXTRAS]" \
    && useradd --create-home --uid 10001 cpmn \
    && mkdir /spool \
    && chown cpmn /spool

USER 10001
WORKDIR /home/cpmn
VOLUME /spool
EXPOSE 11112
STOPSIGNAL SIGTERM
ENTRYPOINT ["cpmn", "watch", "/spool", "--model", "/model.cpmn"]
CMD ["--help"]
