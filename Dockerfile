# The service on a CPU, run by a user without rights:
#   docker build -t moderation .
#   docker run --rm --read-only --stop-timeout 40 -p 8000:8000 moderation
# More of the package: --build-arg EXTRAS=server,images,ui (and PIP_EXTRA_INDEX_URL, for a torch
# without GPU libraries). Other options stand behind the image's name: moderation serve --help.

FROM python:3.13-slim AS build
ARG EXTRAS=server
ARG PIP_EXTRA_INDEX_URL
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY configs configs
COPY moderation moderation
RUN python -m venv /opt/moderation && /opt/moderation/bin/pip install --no-cache-dir ".[${EXTRAS}]"

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home --home-dir /data moderation
COPY --from=build /opt/moderation /opt/moderation
ENV PATH=/opt/moderation/bin:$PATH PYTHONUNBUFFERED=1
# Policies, plugins, keys and fetched models are mounted here.
WORKDIR /data
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
ENTRYPOINT ["moderation", "serve", "--host", "0.0.0.0", "--port", "8000"]
