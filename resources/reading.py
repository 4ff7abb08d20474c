"""From the bytes of a request to a Body: one parser, one verdict on both databases, one fault per field."""

import json
from collections.abc import Iterator
from typing import Any

from flask import request
from pydantic import ValidationError

from domain.errors import Fault, ValidationFailed
from resources.problems import MalformedJson, UnsupportedMediaType
from resources.shapes import FORM, JSON, MULTIPART, Body

Shapes = tuple[type[Body], ...]


def body(shapes: Shapes) -> Body:
    """The request's body in one of these shapes; `MalformedJson`, `UnsupportedMediaType`, `ValidationFailed`."""
    kind = request.mimetype
    if kind in (FORM, MULTIPART) and kind in shapes[0].media_types:
        sent = {**request.form.to_dict(), **request.files.to_dict()}
        return _validated(_fitting(shapes, sent), sent, None)
    raw = b"" if kind in (FORM, MULTIPART) else request.get_data()
    if not raw and kind not in (FORM, MULTIPART):
        return _validated(_fitting(shapes, {}), {}, None)
    if kind != JSON:
        raise UnsupportedMediaType
    data = _parsed(raw)
    return _validated(_fitting(shapes, data), data, raw)


def no_body(*, form: bool) -> None:
    """An operation without fields: nothing, an empty object, or from a page's button an empty form."""
    if not (form and request.mimetype == FORM):
        body((_Nothing,))


class _Nothing(Body):
    pass


def _fitting(shapes: Shapes, data: Any) -> type[Body]:
    """Of several shapes the one that the fields sent point to, so that its faults are the ones told."""
    if len(shapes) == 1 or not isinstance(data, dict):
        return shapes[0]
    return min(shapes, key=lambda shape: _distance(shape, set(data)))


def _distance(shape: type[Body], sent: set[str]) -> int:
    """How many fields are missing or too many; a field of another shape weighs more than one that is still to come."""
    required = {name for name, field in shape.model_fields.items() if field.is_required()}
    return 2 * len(sent - set(shape.model_fields)) + len(required - sent)


def _parsed(raw: bytes) -> Any:
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
    unstorable = [Fault(field, "invalid_text", "Holds a character that can't be stored.") for field in _unstorable(data)]
    if unstorable:
        raise ValidationFailed(errors=unstorable)
    try:
        return shape.model_validate(data) if raw is None else shape.model_validate_json(raw, strict=True)
    except ValidationError as error:
        found = error.errors(include_input=False, include_context=False, include_url=False)
        faults = [Fault(".".join(map(str, one["loc"])) or "body", one["type"], one["msg"]) for one in found]
        raise ValidationFailed(errors=list(dict.fromkeys(faults))) from None


def _unstorable(data: Any) -> Iterator[str]:
    """The top fields that hold NUL or half a surrogate pair anywhere: PostgreSQL refuses what SQLite stores."""
    if isinstance(data, dict):
        for field, value in data.items():
            if not _is_clean(field):
                yield "body"
            elif not _is_clean(value):
                yield field
    elif not _is_clean(data):
        yield "body"


def _is_clean(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return all(_is_clean(key) and _is_clean(one) for key, one in value.items())
    if isinstance(value, list):
        return all(_is_clean(one) for one in value)
    return True
