"""The API document for people: Swagger UI, from the files of its package, loading nothing from anywhere else."""

import mimetypes
from importlib.resources import files
from typing import ClassVar

from flask import Response, request

from domain.errors import NotFound
from resources.base import Resource
from resources.shapes import Page

# The package is used for its files only.
FILES = files("flask_swagger_ui") / "dist"
NAMES = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
DAY_SECONDS = 86400
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


class DocsPage(Page):
    """Swagger UI on `/openapi.json`."""

    page: ClassVar[str] = "docs"

    def finish(self, response: Response) -> None:
        """Allow scripts, of this server only, and let them ask only this server."""
        response.headers["Content-Security-Policy"] = POLICY


class Docs(Resource):
    """The document, browsable."""

    def get(self) -> DocsPage:
        """Show it."""
        return DocsPage()


class DocsFile(Resource):
    """What the page is made of."""

    def get(self, name: str) -> Response:
        """One of its files."""
        if name not in NAMES:
            raise NotFound
        response = Response((FILES / name).read_bytes(), mimetype=mimetypes.guess_type(name)[0])
        response.headers["Cache-Control"] = f"public, max-age={DAY_SECONDS}"
        response.add_etag()
        response.make_conditional(request)
        return response
