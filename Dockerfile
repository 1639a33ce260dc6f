# syntax=docker/dockerfile:1
# CARS in a container. The steps are the README's commands.
#   docker build --target cpu -t cars .            docker build --target cuda -t cars:cuda .
#   docker run -p 127.0.0.1:8501:8501 -v cars-data:/cars/data cars
FROM python:3.11-slim-bookworm AS base
RUN apt-get update && apt-get install -y --no-install-recommends make git && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 cars && mkdir /cars && chown cars /cars
USER cars
WORKDIR /cars
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
COPY --chown=cars requirements.txt requirements-gpu.txt pyproject.toml Makefile README.md LICENSE ./
COPY --chown=cars cars ./cars
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["/cars/.venv/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]

FROM base AS cuda
RUN make setup GPU=1
COPY --chown=cars . .
VOLUME /cars/data
# The container's own loopback cannot be reached from outside, hence 0.0.0.0; publish it to 127.0.0.1 as above, or set up a login.
CMD [".venv/bin/cars", "demo", "--address", "0.0.0.0", "--insecure"]

FROM base AS cpu
RUN make setup
COPY --chown=cars . .
VOLUME /cars/data
CMD [".venv/bin/cars", "demo", "--address", "0.0.0.0", "--insecure"]
