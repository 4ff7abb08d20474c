"""From the bytes of a request to a Body: one parser, one verdict on both databases, one fault per field."""

import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from flask import request
from pydantic import ValidationError
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

from domain import limits
from domain.errors import Fault, ValidationFailed
from resources.problems import MalformedJson, UnsupportedMediaType
from resources.shapes import FORM, JSON, MULTIPART, Body, Query

Shapes = tuple[type[Body], ...]
UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NUL, and half of a surrogate pair.


def body(shapes: Shapes) -> Body:
    """The request's body in one of these shapes; `MalformedJson`, `UnsupportedMediaType`, `ValidationFailed`."""
    kind = request.mimetype
    if kind in (FORM, MULTIPART) and (forms := _taking(kind, shapes)):
        sent = _form(forms[0].max_bytes)
        return _validated(_fitting(forms, sent), sent, None)
    raw = b"" if kind in (FORM, MULTIPART) else _whole()
    if not raw and kind not in (FORM, MULTIPART):
        return _validated(_fitting(shapes, {}), {}, None)
    jsons = _taking(JSON, shapes)
    if kind != JSON or not jsons:
        raise UnsupportedMediaType
    data = parsed(raw)
    return _validated(_fitting(jsons, data), data, raw)


def sends(field: str) -> bool:
    """Whether the body is an object with this field, before it is judged: for who may call where a field is the credential."""
    try:
        data = parsed(request.get_data()) if request.mimetype == JSON else None
    except (RequestEntityTooLarge, MalformedJson):
        return False
    return isinstance(data, dict) and field in data


def query(shape: type[Query]) -> Query:
    """The request's query in this shape; `ValidationFailed`. Of a name that stands there twice the first counts."""
    sent = {name: value for name, value in request.args.items() if name in shape.model_fields}
    _refuse_unstorable({name: value for name, value in sent.items() if name not in shape.as_sent})
    try:
        return shape.model_validate(sent)
    except ValidationError as error:
        raise _refusal(error) from None


def no_body(*, form: bool) -> None:
    """An operation without fields: nothing, an empty object, or from a page's button an empty form."""
    if not (form and request.mimetype == FORM):
        body((_Nothing,))


class _Nothing(Body):
    pass


def _taking(kind: str, shapes: Shapes) -> Shapes:
    return tuple(shape for shape in shapes if kind in shape.media_types)


def form() -> dict[str, Any] | None:
    """The fields of a form, before it is judged, for credentials that come in it; None if there is none that can be read."""
    try:
        return _form(limits.BODY_BYTES) if request.mimetype == FORM else None
    except HTTPException:
        return None


def _form(max_bytes: int) -> dict[str, Any]:
    """The fields and files of a form. Werkzeug alone would take half a form, or a broken one, for an empty one."""
    request.max_content_length = max_bytes
    parser = request.make_form_data_parser()
    parser.silent = False
    parser.stream_factory = _in_memory
    try:
        if request.mimetype == FORM:  # Kept, for it may be read twice.
            _, fields, files = parser.parse(BytesIO(_whole()), FORM, None)
        else:
            _, fields, files = parser.parse_from_environ(request.environ)
    except ValueError:
        raise BadRequest from None
    sent = [*fields.items(multi=True), *files.items(multi=True)]
    made = dict(sent)
    if len(made) != len(sent):  # As in JSON: another parser might read the other one of two.
        raise BadRequest
    return made


def _whole() -> bytes:
    """The bytes of the body. Of one that comes in chunks Werkzeug would read as much as is allowed, and leave out the rest."""
    raw = request.get_data()
    if request.content_length is None and len(raw) >= (request.max_content_length or 0):
        raise RequestEntityTooLarge
    return raw


def _in_memory(*_: Any, **__: Any) -> BytesIO:
    """Where a file of a form goes: nothing is written to disk for a request that may yet be refused."""
    return BytesIO()


def _fitting(shapes: Shapes, data: Any) -> type[Body]:
    """Of several shapes the one that the fields sent point to, so that its faults are the ones told."""
    if len(shapes) == 1 or not isinstance(data, dict):
        return shapes[0]
    return min(shapes, key=lambda shape: _distance(shape, set(data)))


def _distance(shape: type[Body], sent: set[str]) -> int:
    """How many fields are missing or too many; a field of another shape weighs more than one that is still to come."""
    required = {name for name, field in shape.model_fields.items() if field.is_required()}
    return 2 * len(sent - set(shape.model_fields)) + len(required - sent)


def parsed(raw: bytes) -> Any:
    """JSON as it is taken here: UTF-8, no field twice, no NaN and no Infinity; `MalformedJson`."""
    try:
        return json.loads(raw.decode(), object_pairs_hook=_without_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise MalformedJson from None


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two fields of one name: another parser might read the other one, so neither counts."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError
    return made


def _no_constant(_: str) -> None:
    raise ValueError


def _validated(shape: type[Body], data: Any, raw: bytes | None) -> Body:
    _refuse_unstorable(data)
    try:
        return shape.model_validate(data) if raw is None else shape.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> ValidationFailed:
    """One fault per field, without what was sent. Of a field that may be left out the fault is told, not that it isn't null."""
    found = error.errors(include_input=False, include_context=False, include_url=False)
    faults: dict[str, Fault] = {}
    for one in found:
        field = _field(one["loc"])
        if one["type"] == "none_required" and any(known.startswith(f"{field}.") for known in faults):
            continue
        faults.setdefault(field, Fault(field, one["type"], one["msg"]))
    return ValidationFailed(errors=list(faults.values()))


def _field(path: tuple[int | str, ...]) -> str:
    """A field as it was sent, and the place in its list; without the words by which pydantic tells alternatives apart."""
    return ".".join(str(part) for depth, part in enumerate(path) if depth == 0 or isinstance(part, int)) or "body"


def _refuse_unstorable(data: Any) -> None:
    unstorable = [Fault(field, "invalid_text", "Holds a character that can't be stored.") for field in _unstorable(data)]
    if unstorable:
        raise ValidationFailed(errors=unstorable)


def _unstorable(data: Any) -> Iterator[str]:
    """The top fields that hold NUL or half a surrogate pair anywhere: PostgreSQL refuses what SQLite stores."""
    if isinstance(data, dict):
        for field, value in data.items():
            if not is_storable(field):
                yield "body"
            elif not is_storable(value):
                yield field
    elif not is_storable(data):
        yield "body"


def is_storable(value: Any) -> bool:
    """Whether every database takes all the text in it. Without recursion: a body may be nested deeper than Python calls."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str) and UNSTORABLE.search(one):
            return False
        if isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
    return True
