# One image for the Ray head, its workers and MLflow.
#
# CPU or GPU is a question of which build of torch pip finds: with its default index the one with CUDA, which also
# runs on processors alone (some 5 GB more); with the index of PyTorch's CPU builds in PIP_EXTRA_INDEX_URL the smaller one.
# All packages but torch and what torch itself needs are held to the hashes in requirements.lock, whatever the index.
FROM python:3.11.14-slim-bookworm

# g++: torch compiles training steps with it. wget: KubeRay asks its pods' health with it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ wget \
    && rm -rf /var/lib/apt/lists/*

# Dependencies first: a change of the code then leaves this layer as it is. No index with a password in its address:
# `docker history` shows build arguments to whoever has the image.
ARG PIP_EXTRA_INDEX_URL=""
WORKDIR /src
COPY constraints.txt requirements.lock ./
RUN pip install --no-cache-dir --constraint constraints.txt torch setuptools \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock

COPY deploy/bin /usr/local/bin/
COPY deploy/mlflow_auth.ini /etc/mlflow/auth.ini
COPY pyproject.toml README.md LICENSE ./
COPY mixopt mixopt
COPY proxies proxies
COPY search search
COPY tracking tracking
# Nothing was resolved: an old requirements.lock would leave something out.
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && pip check

# Any user id will do (docker-compose.yml takes the operator's), so nothing may ask for a home or a name of it.
ENV HOME=/tmp USER=mixopt PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 1000:1000
# Ray's logs, its spilled objects and what jobs bring along: too much for memory. Each container gets one of its own,
# without a name; docs/service.md tells how they go.
VOLUME /tmp
