"""Which refusals can an operation meet? Read from the code itself, so that the API document can't forget one.

From each step of a request it follows every function of ours that is named, and notes every refusal that is named, unless
it is caught on the way. That may be one too many, where code looks at a refusal without raising it.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from domain import captcha, limits
from domain.errors import CsrfFailed, Forbidden, HttpsRequired, Refused, TokenInvalid
from resources import forwarded, frame, limiter, reading
from resources.base import Operation
from resources.shapes import Asked

Kinds = frozenset[type[Refused]]
HOUSE = ("domain", "outbound", "resources")
FOR_CHANGES = {CsrfFailed, HttpsRequired}  # Who only reads is never refused with these.


class _Scope(NamedTuple):
    """Where names are looked up: in the function's module, and for `self` in its resource."""

    names: dict[str, Any]
    owner: type | None


def of(operation: Operation) -> Kinds:
    """Every refusal that the steps of this operation name."""
    route = operation.route
    found: Kinds = frozenset().union(*(_of(step) for step in _steps(operation)))
    found |= _of(getattr(route.resource, route.method.lower()), route.resource)
    if route.access.kinds and TokenInvalid in _of(route.access.look):
        found |= {Forbidden}  # A good credential of a kind that this row does not open to.
    if route.access.look is forwarded.caller:  # It is asked by a GET about requests of any method.
        return found - {HttpsRequired}
    return found - FOR_CHANGES if route.method == "GET" else found


def _steps(operation: Operation) -> Iterator[Callable[..., Any]]:
    """What `base.Resource` does before it calls the method."""
    route = operation.route
    if route.urls[0] not in frame.OPEN_TO_ALL:
        yield frame._begin
    yield route.access.look
    yield from route.access.rights
    yield from route.access.proofs
    if route.limit != limits.FREE:
        yield from (limiter.spend_address, limiter.spend_user)
    if operation.shapes or route.method != "GET":
        yield reading.body
    if operation.query and set(operation.query.model_fields) - operation.query.as_sent:
        yield reading.query
    yield route.resource.find
    if any(issubclass(shape, Asked) for shape in operation.shapes):
        yield captcha.guard


_known: dict[tuple[Any, type | None], Kinds] = {}


def _of(call: Any, owner: type | None = None) -> Kinds:
    if isinstance(call, partial):  # With what it was given, too: one rule may ask another.
        return _of(call.func, owner).union(*(_of(one, owner) for one in call.args if callable(one)))
    function = inspect.unwrap(call)
    if getattr(function, "__module__", "").partition(".")[0] not in HOUSE:
        return frozenset()
    if (function, owner) not in _known:
        _known[function, owner] = frozenset()  # What it says itself is enough where it comes back to itself.
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        bodies = [node.body for node in tree.body if isinstance(node, ast.FunctionDef)]  # Of a lambda there is nothing to read.
        _known[function, owner] = _in([node for body in bodies for node in body], _Scope(function.__globals__, owner))
    return _known[function, owner]


def _in(nodes: Iterable[ast.AST], scope: _Scope) -> Kinds:
    found: Kinds = frozenset()
    for node in nodes:
        if isinstance(node, ast.Try):
            found |= _in_try(node, scope)
        else:
            found |= _behind(_meant(node, scope), scope) | _in(ast.iter_child_nodes(node), scope)
    return found


def _in_try(node: ast.Try, scope: _Scope) -> Kinds:
    """What can leave a `try`: all that is in it, but not what its handlers keep."""
    kept = [_meant(handler.type, scope) for handler in node.handlers if handler.type and not _hands_on(handler)]
    caught = tuple(one for one in kept if isinstance(one, type))
    after = [inner for handler in node.handlers for inner in handler.body]
    inside = frozenset(one for one in _in(node.body, scope) if not issubclass(one, caught))
    return inside | _in([*after, *node.orelse, *node.finalbody], scope)


def _hands_on(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))


def _meant(node: ast.AST | None, scope: _Scope) -> Any:
    """What a name, or a name in a module, class or `self`, stands for; None if that shows only when it runs."""
    if isinstance(node, ast.Name):
        return scope.owner if node.id == "self" else scope.names.get(node.id)
    if isinstance(node, ast.Attribute):
        inside = _meant(node.value, scope)
        return getattr(inside, node.attr, None) if isinstance(inside, ModuleType | type) else None
    return None


def _behind(thing: Any, scope: _Scope) -> Kinds:
    if isinstance(thing, type) and issubclass(thing, Refused) and thing is not Refused:
        return frozenset({thing})
    if isinstance(thing, tuple):  # A table of functions, such as the stages of a sign-in.
        return frozenset().union(*(_behind(one, scope) for one in thing))
    if isinstance(thing, FunctionType) or inspect.ismethod(thing):
        function = getattr(thing, "__func__", thing)
        return _of(function, scope.owner if "." in function.__qualname__ else None)  # Of a module's there is no `self`.
    return frozenset()
