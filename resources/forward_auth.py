"""Forward-auth: a proxy asks before it passes a request on, and puts what it hears into headers for the service behind it."""

from typing import Annotated, ClassVar

from flask import Response
from pydantic import Field

from domain import asking
from domain.caller import Caller
from domain.errors import Forbidden, Unavailable
from domain.permissions import GATEHOUSE
from resources.base import Resource
from resources.shapes import Out, Query


class VerifyQuery(Query):
    """For which service, and what the request needs."""

    as_sent: ClassVar[frozenset[str]] = frozenset(("service", "permission"))
    service: Annotated[str, Field(description="Its name.")] = GATEHOUSE
    permission: Annotated[str | None, Field(description="Refused without it; left out: whoever is known may pass.")] = None


class VerifiedOut(Out):
    """The request may pass. Every header is always there, so that what the visitor sent under these names is overwritten."""

    http_status: ClassVar[int] = 204
    headers: dict[str, str]

    def encoded(self) -> str:
        """Nothing but headers."""
        return ""

    def finish(self, response: Response) -> None:
        """Say who calls."""
        response.headers.pop("Content-Type")
        response.headers.update(self.headers)


class Verify(Resource):
    """For nginx, Traefik and Caddy: 204, 401 or 403. A cookie counts only with `X-CSRF-TOKEN`, or where the proxy says by
    `X-Forwarded-Method` or `X-Original-Method` that the request is a GET or HEAD.
    """

    def get(self, query: VerifyQuery, caller: Caller) -> VerifiedOut:
        """May this request pass? A server that can't tell says no: a proxy knows no other answer."""
        try:
            told = asking.verify(caller, query.service, query.permission)
        except Unavailable as away:
            raise Forbidden(away.title(), retry_after=away.retry_after) from away
        return VerifiedOut(
            headers={
                "X-User-Id": caller.user_id,
                "X-User-Email": told.email,
                "X-User-Roles": ",".join(sorted(told.rights.roles)),
                "X-Scopes": " ".join(sorted(told.scopes)),
            }
        )
