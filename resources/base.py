"""The way of every request: limit, authorise, parse, call, answer. Resources only say what is particular to them."""

import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from types import UnionType
from typing import Any, ClassVar, NamedTuple, Union, get_args, get_origin, get_type_hints

import flask_restful
from flask import Response, g, request
from werkzeug.exceptions import HTTPException

from domain import captcha, limits
from domain.caller import Caller
from domain.errors import NotFound, Refused
from resources import credentials, limiter, page, reading
from resources.access import Rule
from resources.shapes import JSON, Asked, Body, Out, Page, Query


class Route(NamedTuple):
    """One operation: method, URLs (the first is canonical), who may call it, and its limit (see `domain/limits.py`)."""

    method: str
    urls: tuple[str, ...]
    resource: type["Resource"]
    access: Rule
    limit: str | None


class Operation(NamedTuple):
    """A route and what the signature of its method says: the contract in code."""

    route: Route
    shapes: tuple[type[Body], ...]
    needs: frozenset[str]
    answers: tuple[type[Out], ...]
    query: type[Query] | None

    @property
    def page(self) -> str | None:
        """The template of the page that people see at this address, if it is one for people."""
        return next((answer.page for answer in self.answers if answer.page), None)


class Resource(flask_restful.Resource):  # type: ignore[misc]
    """One address. Each verb is a method: it calls the domain once and returns an `Out`, a Response, or None (204).

    A method may ask for `body` and `query` (their types validate), `caller`, `client`, and the parts of the URL, by name.
    """

    operations: ClassVar[dict[str, Operation]] = {}
    by_oauth: ClassVar[bool] = False  # Whether refusals are written as RFC 6749 5.2 has them.

    def dispatch_request(self, *_: Any, **parts: str) -> Response:
        """Run one request through the same steps, in the order that the contract gives."""
        method = "GET" if request.method == "HEAD" else request.method
        operation = self.operations[method]
        g.operation, g.page, g.by_oauth = operation, operation.page, self.by_oauth
        caller = _authorise(operation)
        if not reading.is_storable(list(parts.values())):
            raise NotFound  # No id holds such a character, and PostgreSQL refuses to look for it.
        body, fault = _parse(operation)
        operation.route.access.confirm(caller, body)
        self.find(caller, **parts)
        if fault is not None:
            raise fault
        query = reading.query(operation.query) if operation.query else None
        given = {"body": body, "query": query, "caller": caller, "client": credentials.client} | parts
        call = getattr(self, method.lower())
        with _guard(body):
            answer = call(**{name: given[name]() if name == "client" else given[name] for name in operation.needs})
        return respond(answer)

    def find(self, caller: Caller | None, **parts: str) -> None:
        """Refuse an id of the path that is not there, or not the caller's (`NotFound`), before the body is judged. What has an
        id and takes a body says how.
        """


class Api(flask_restful.Api):  # type: ignore[misc]
    """Flask-RESTful, with every error left to Flask's own handlers: one path for all of them (`resources/problems.py`)."""

    def error_router(self, original_handler: Callable[..., Any], e: Exception) -> Any:
        """Hand the error on."""
        return original_handler(e)


def connect(api: Api, routes: Iterable[Route]) -> None:
    """Give every resource its rows; refuse a verb without a row, and a row without a verb."""
    by_resource: dict[type[Resource], list[Route]] = {}
    api.app.extensions["routes"] = tuple(routes)  # For the API document.
    for route in api.app.extensions["routes"]:
        by_resource.setdefault(route.resource, []).append(route)
    for resource, rows in by_resource.items():
        verbs = {verb.upper() for verb in ("get", "post", "put", "patch", "delete") if hasattr(resource, verb)}
        if verbs != {row.method for row in rows} or len({row.method for row in rows}) != len(rows):
            raise RuntimeError(f"{resource.__name__}: its verbs {sorted(verbs)} and its rows {[row.method for row in rows]} differ")
        resource.operations = {row.method: operation_of(row) for row in rows}
        for number, (methods, urls) in enumerate(_by_methods(rows).items()):
            name = f"{resource.__module__}.{resource.__name__}" + (f".{number}" if number else "")
            api.add_resource(resource, *urls, endpoint=name, methods=methods, strict_slashes=False)


def _by_methods(rows: list[Route]) -> dict[tuple[str, ...], list[str]]:
    """The URLs of a resource, grouped by the methods that they answer."""
    methods: dict[str, list[str]] = {}
    for row in rows:
        for url in row.urls:
            methods.setdefault(url, []).append(row.method)
    groups: dict[tuple[str, ...], list[str]] = {}
    for url, some in methods.items():
        groups.setdefault(tuple(sorted(some)), []).append(url)
    return groups


def respond(answer: Out | Response | None) -> Response:
    """An answer as a response: a page where there is one and HTML is asked for, else JSON."""
    if isinstance(answer, Response):
        return answer
    if answer is None:
        return Response(status=204)
    if isinstance(answer, Page) or (answer.page and wants_page()):
        response = page.render(str(answer.page), dict(answer), answer.http_status)
    else:
        response = Response(answer.encoded(), answer.http_status, mimetype=answer.media_type)
    answer.finish(response)
    if answer.private:
        response.headers["Cache-Control"] = "no-store"
    return response


def wants_page() -> bool:
    """Whether a person's browser asks."""
    return "text/html" in request.headers.get("Accept", "")


def asks_for_json() -> bool:
    """Whether a program asks, in so many words; `*/*`, as mail scanners send, is none, nor is HEAD."""
    return request.method != "HEAD" and JSON in request.headers.get("Accept", "") and not wants_page()


def _authorise(operation: Operation) -> Caller | None:
    """Spend the limit, by user for a good credential and by address for none; then let a bad one be refused."""
    route = operation.route
    caller, refusal = None, None
    try:
        caller = g.caller = route.access.look()
    except Refused as error:
        refusal = error
    free = route.limit == limits.FREE
    if caller is not None and caller.kind == "api_key":
        limiter.spend_key(caller.user_id, free=free)
    elif caller is None and not free:
        limiter.spend_address(route.limit)
    elif caller is not None and caller.kind == "sign_in" and not free:  # What a service asks is not counted.
        limiter.spend_user(caller.user_id, g.get("requests"))
    if refusal is not None:
        raise refusal
    route.access.judge(caller)
    return caller


def _parse(operation: Operation) -> tuple[Any, Exception | None]:
    """The body, or what is wrong with it, which is told last: a credential and an id are judged before."""
    try:
        if operation.shapes:
            return reading.body(operation.shapes), None
        if operation.route.method not in ("GET", "HEAD"):
            reading.no_body(form=operation.page is not None)
    except (Refused, HTTPException) as fault:
        return None, fault
    return None, None


def _guard(body: Any) -> AbstractContextManager[None]:
    """Around the call: what keeps robots from it, if the body is one that strangers send."""
    asks = isinstance(body, Asked)
    if not asks and not (isinstance(body, Body) and body.guesses):
        return nullcontext()
    return captcha.guard(credentials.client(), body.captcha if asks else None, asks=asks, guesses=body.guesses)


def operation_of(route: Route) -> Operation:
    """A route with what the signature of its method says."""
    call = getattr(route.resource, route.method.lower())
    hints = get_type_hints(call)
    answers = tuple(one for one in _members(hints.get("return")) if isinstance(one, type) and issubclass(one, Out))
    needs = frozenset(inspect.signature(call).parameters) - {"self"}
    return Operation(route, _members(hints.get("body")), needs, answers, hints.get("query"))


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,) if hint else ()
