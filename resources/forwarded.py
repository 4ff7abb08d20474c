"""A request that a proxy asks about before it passes it on: who makes it, and whether it only reads."""

from flask import request

from domain import metrics
from domain.caller import Caller
from domain.errors import Forbidden, TokenInvalid, TooMany, Unavailable
from resources import credentials

METHOD_HEADERS = ("X-Forwarded-Method", "X-Original-Method")  # By which a proxy tells the method of the request it asks about.


@metrics.token_check
def caller() -> Caller:
    """Who makes the request, by whatever credential came; not counted. A cookie counts with its CSRF token, or where the proxy
    says that the request only reads. `Unauthenticated` or `Forbidden`, for a proxy knows no other answer.
    """
    try:
        presented = credentials.required("access")
        return credentials.by_prefix(presented) or credentials.by_jwt(presented, counted=False, reads=_reads())
    except TooMany:
        raise TokenInvalid from None
    except Unavailable as away:
        raise Forbidden(away.title(), retry_after=away.retry_after) from away


def _reads() -> bool:
    """Whether the request is a GET or HEAD, by every header that says so."""
    told = {value for name in METHOD_HEADERS for value in request.headers.getlist(name)}
    return len(told) == 1 and told <= {"GET", "HEAD"}
