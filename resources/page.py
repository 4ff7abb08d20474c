"""Pages for people, in the first of the visitor's languages that there is: the same page for every token."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from domain import templates


def render(name: str, values: Mapping[str, Any], status: int) -> Response:
    """The page of this name; a cache that stands between keeps one for each language."""
    wanted = [tag for tag, quality in request.accept_languages if quality > 0]
    made = templates.render(templates.PAGES, [f"{name}.html"], values, wanted)
    response = Response(made.texts[0], status, mimetype="text/html")
    response.headers["Content-Language"] = made.language
    response.headers["Vary"] = "Accept-Language"
    return response
