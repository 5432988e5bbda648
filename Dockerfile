# undim serve in a container: docker build -t undim . ; docs/service.md says how to run it.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src ./src
COPY recipes ./recipes
COPY studies ./studies
COPY docs/undim.1 ./docs/undim.1
RUN python -m venv /opt/undim \
    && /opt/undim/bin/pip install --no-cache-dir --no-compile -c constraints.txt ".[heic,raw,serve]"

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin undim
COPY --from=build /opt/undim /opt/undim
# Nothing is written: pictures stay in memory, and no byte code is cached.
ENV PATH=/opt/undim/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["undim", "serve", "--host", "0.0.0.0"]
