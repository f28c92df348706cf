# Stands for python:3.11-slim-bookworm where no registry of images answers: Debian's own Python 3.11, and, as upstream,
# `python` and `pip` in /usr/local/bin, which install into /usr/local. The headers are for what torch compiles.
FROM localhost/mixopt-test/bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /usr/local
