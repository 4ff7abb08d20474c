"""Gatehouse: create_app() wires the parts together. Nobody imports this page but the server that runs it."""

import logging

from flask import Flask
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

import cli
import config
from domain import cache, database, limits, metrics, schema
from jobs import schedule
from pages import views
from resources import base, frame, limiter, logs, problems, routes, tokens

CORS_HEADERS = ["Authorization", "Content-Type", "X-API-Key", "X-App-Token", "X-CSRF-TOKEN", "X-Device-Token", "X-Request-ID"]
CORS_EXPOSED = ["Retry-After", "WWW-Authenticate", "X-Request-ID", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]


def create_app(**given: object) -> Flask:
    """A ready app. `given` overrides settings. Refuses to start on a configuration that can't be served with."""
    settings = config.load(**given)
    database.connect(settings)
    cache.connect(settings)
    metrics.connect(settings)
    app = Flask("gatehouse", root_path=str(config.HERE), template_folder="pages/templates", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=limits.BODY_BYTES, MAX_FORM_PARTS=50, TRUSTED_HOSTS=None)
    app.url_map.strict_slashes = False
    logs.register(app)
    frame.register(app)
    problems.register(app)
    limiter.register(app)
    tokens.register(app)
    views.register(app)
    base.connect(base.Api(app), routes.ROUTES)
    CORS(
        app,
        origins=settings.cors_origins,
        supports_credentials=True,
        allow_headers=CORS_HEADERS,
        expose_headers=CORS_EXPOSED,
        max_age=600,
        vary_header=True,
    )
    if settings.TRUSTED_PROXIES:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.TRUSTED_PROXIES, x_proto=settings.TRUSTED_PROXIES)  # type: ignore[method-assign]
    for line in config.warnings(settings):
        logging.getLogger("gatehouse").warning(line)
    cli.register(app)
    if cli.is_serving():
        _serve(settings)
    return app


def _serve(settings: config.Settings) -> None:
    """What only a process that answers requests does: refuse an old schema in production, run the jobs if it shall."""
    if settings.APP_ENV == "production" and not schema.is_current():
        raise config.Refusal(["the database has an old schema; run `flask migrate up`"])
    if settings.JOBS_IN_PROCESS:
        schedule.start()


if __name__ == "__main__":
    create_app().run(host="127.0.0.1", port=5000)
