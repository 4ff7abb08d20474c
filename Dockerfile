# The server as an image: slim, without root, and without the tools that built it.
FROM python:3.13-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/gatehouse

FROM base AS packages
COPY requirements.txt .
RUN python -m venv /srv/venv && /srv/venv/bin/pip install --require-hashes -r requirements.txt

# docker build --target test . — the tests, on SQLite.
FROM packages AS test
COPY requirements-dev.txt .
RUN /srv/venv/bin/pip install --require-hashes -r requirements-dev.txt
COPY . .
RUN APP_ENV=testing /srv/venv/bin/python -m pytest

FROM base AS server
RUN useradd --system --uid 10001 --home-dir /srv/gatehouse gatehouse \
 && mkdir -p /srv/data/instance /srv/data/uploads \
 && chown -R gatehouse /srv/data
COPY --from=packages /srv/venv /srv/venv
# What serves, and nothing else: no tests, no documents, no examples.
COPY app.py cli.py config.py model.py CHANGELOG.md LICENSE ./
COPY domain domain
COPY environments environments
COPY jobs jobs
COPY migrations migrations
COPY outbound outbound
COPY pages pages
COPY resources resources
ENV PATH=/srv/venv/bin:$PATH APP_ENV=production INSTANCE_DIR=/srv/data/instance UPLOADS_DIR=/srv/data/uploads
USER 10001
VOLUME /srv/data
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/healthz', timeout=2)"]
CMD ["gunicorn", "app:create_app()", "--bind", "0.0.0.0:5000", "--workers", "2", "--threads", "8", "--no-control-socket"]
