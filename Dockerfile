# The gateway as an image, for production: no compiler, no root, nothing made up on first run.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/fleetgraph
RUN python -m venv .venv
COPY requirements.lock ./
RUN .venv/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY db db
COPY web web
COPY docs/examples docs/examples
RUN .venv/bin/pip install --no-deps --no-build-isolation -e . \
    && .venv/bin/python -m app.http.graphiql_build --strict \
    && rm -rf web/graphiql/node_modules

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin fleetgraph
WORKDIR /opt/fleetgraph
COPY --from=build /opt/fleetgraph /opt/fleetgraph
ENV PATH=/opt/fleetgraph/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FLEETGRAPH_ENVIRONMENT=production \
    FLEETGRAPH_HOST=0.0.0.0 \
    FLEETGRAPH_LOG_FORMAT=json
USER fleetgraph
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["fleetgraph"]
CMD ["serve"]
