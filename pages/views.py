"""The pages' own files. The pages themselves are answers of resources, rendered by `resources/base.py`."""

from flask import Flask, Response, send_from_directory

import config


def register(app: Flask) -> None:
    """Serve the style sheet of the pages."""
    app.add_url_rule("/static/<path:name>", "static", _static)


def _static(name: str) -> Response:
    return send_from_directory(config.HERE / "pages" / "static", name, max_age=3600)
