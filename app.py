"""Gatehouse: create_app() wires the parts together. Nobody imports this page but the server that runs it."""

import atexit
import logging
import re

from flask import Flask
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

import cli
import config
from domain import activity, agents, cache, canaries, database, limits, metrics, places, schema, signing
from domain.errors import Unavailable
from jobs import schedule
from pages import views
from resources import base, frame, limiter, logs, problems, routes, tokens

CORS_HEADERS = ["Authorization", "Content-Type", "X-API-Key", "X-App-Token", "X-CSRF-TOKEN", "X-Device-Token", "X-Request-ID"]
CORS_EXPOSED = ["Retry-After", "WWW-Authenticate", "X-Request-ID", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]


def create_app(**given: object) -> Flask:
    """A ready app. `given` overrides settings. Refuses to start on a configuration that can't be served with."""
    settings = _load(given)
    cache.connect(settings)
    metrics.connect(settings)
    places.connect(settings)
    app = Flask("gatehouse", root_path=str(config.HERE), static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=limits.BODY_BYTES, MAX_FORM_PARTS=50, TRUSTED_HOSTS=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # It would redirect, to whatever Host the client names.
    logs.register(app)
    frame.register(app)
    problems.register(app)
    limiter.set_up()
    app.after_request(limiter.tell)
    tokens.register(app)
    views.register(app)
    base.connect(base.Api(app), routes.ROUTES)
    app.extensions["jobs"] = {job.name: job for job in schedule.JOBS}  # For administrators; resources know no jobs.
    if settings.cors_origins:
        CORS(
            app,
            # As patterns, or Flask-CORS would take the brackets of an IPv6 host for one, and would match its beginning only.
            origins=[re.compile(re.escape(origin.lower()) + r"\Z") for origin in settings.cors_origins],
            supports_credentials=True,
            allow_headers=CORS_HEADERS,
            expose_headers=CORS_EXPOSED,
            max_age=600,
            always_send=False,
            vary_header=False,  # The frame sets it, always.
        )
    if settings.TRUSTED_PROXIES:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.TRUSTED_PROXIES, x_proto=settings.TRUSTED_PROXIES)  # type: ignore[method-assign]
    for line in config.warnings(settings):
        logging.getLogger("gatehouse").warning(line)
    cli.register(app)
    if cli.is_serving():
        _serve(settings)
    return app


def _load(given: dict[str, object]) -> config.Settings:
    """The settings, and a database to go with them; in production every reason not to start is told at once."""
    faults, settings = [], None
    try:
        settings = config.load(**given)
    except config.Refusal as refusal:
        faults, settings = refusal.lines, refusal.loaded
    if settings is not None:
        database.connect(settings)
        if settings.APP_ENV == "production" and cli.is_serving() and _schema_is_old():
            faults = [*faults, "The database has an old schema: run `flask migrate up`"]
        if not faults and cli.is_serving():
            faults = canaries.keep()
    if faults or settings is None:
        cli.refuse(config.Refusal(faults))
    return settings


def _schema_is_old() -> bool:
    """Whether the tables are known to lack a revision. A database that is away now is `/readyz`'s business."""
    try:
        return not schema.is_current()
    except Unavailable:
        return False


def _serve(settings: config.Settings) -> None:
    """What only a process that answers requests does: be ready, write activity on its way out, run the jobs if it shall."""
    agents.load()
    signing.prepare()
    atexit.register(activity.try_flush)
    if settings.JOBS_IN_PROCESS:
        schedule.start()


if __name__ == "__main__":
    create_app().run(host="127.0.0.1", port=5000)
