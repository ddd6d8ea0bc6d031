# One image for worker, board, topics job and simulator: `docker build -t ecindex .`
FROM python:3.11-slim-bookworm AS build

# Without a compiler the service is the same and slower: what is compiled has a Python half.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Pinned by hash, and wheels only: no setup script of others runs.
COPY requirements-service.lock requirements-build.lock ./
RUN python -m venv /opt/ecindex && python -m venv /opt/build \
    && /opt/ecindex/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
        -r requirements-service.lock \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
        -r requirements-build.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY config/ config/
COPY streams/ streams/
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /dist . \
    && /opt/ecindex/bin/pip install --no-cache-dir --no-index --no-deps /dist/*.whl


FROM python:3.11-slim-bookworm

RUN groupadd --system --gid 10001 ecindex \
    && useradd --system --uid 10001 --gid ecindex --home-dir /var/lib/ecindex --create-home ecindex
COPY --from=build /opt/ecindex /opt/ecindex
ENV PATH="/opt/ecindex/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    ECINDEX_DATA_DIR=/var/lib/ecindex \
    ECINDEX_LOG__FORMAT=json \
    ECINDEX_METRICS__HOST=0.0.0.0 \
    ECINDEX_METRICS__PORT=9100
USER 10001:10001
WORKDIR /var/lib/ecindex
VOLUME /var/lib/ecindex
EXPOSE 9100
# A worker drains within 15 s of SIGTERM; give it 20 before SIGKILL.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9100/livez', timeout=2)"]
ENTRYPOINT ["ecindex"]
CMD ["worker"]
