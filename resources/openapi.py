"""The API document (OpenAPI 3.1), computed once from the table of routes, the shapes, and the refusals that the code names."""

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, get_type_hints

import orjson
from flask import Response, current_app
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

import config
from resources import limiter, problems, refusals, vocabulary
from resources.access import BY_KEY
from resources.base import Operation, Resource, Route, operation_of
from resources.shapes import FORM, JSON, MULTIPART, Out, Page, Text
from resources.sign_in import WithTokens
from resources.vocabulary import HTML, PROBLEM, Schema

PART = re.compile(r"<(\w+)>")
Schemas = Mapping[Any, JsonSchemaValue]  # By shape or answer, and mode.


class DocumentOut(Text):
    """An OpenAPI 3.1 document."""

    media_type: ClassVar[str] = JSON


class OpenApi(Resource):
    """Every operation by its canonical address: what goes in, what comes out, and why it may be refused."""

    def get(self) -> DocumentOut:
        """This document."""
        kept = current_app.extensions
        if "document" not in kept:
            kept["document"] = orjson.dumps(document(kept["routes"], https=config.settings.https)).decode()
        return DocumentOut(text=kept["document"])


def document(routes: Iterable[Route], *, https: bool = False) -> Schema:
    """The API document of a table of routes; with `https` the cookies have the names that they have there."""
    operations = [operation_of(route) for route in routes]
    schemas, definitions = _schemas(operations)
    paths: dict[str, Schema] = {}
    for one in operations:
        paths.setdefault(PART.sub(r"{\1}", one.route.urls[0]), {})[one.route.method.lower()] = _operation(one, schemas)
    modules = dict.fromkeys(one.route.resource.__module__ for one in operations)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gatehouse", "version": config.version(), "description": vocabulary.INTRODUCTION, "license": vocabulary.LICENSE},
        "servers": [{"url": "/"}],
        "tags": [{"name": _tag(name), "description": _doc(sys.modules[name])} for name in modules],
        "paths": paths,
        "components": {
            "schemas": {"Problem": vocabulary.PROBLEM_SCHEMA, "OAuthError": vocabulary.OAUTH_ERROR_SCHEMA, **definitions},
            "headers": vocabulary.HEADERS,
            "securitySchemes": vocabulary.credentials("__Host-" if https else ""),
        },
    }


class _Writer(GenerateJsonSchema):
    """As pydantic writes JSON Schema, but no titles, no null as a default, and an answer has all of its fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: FBT001 - As pydantic calls it.
        return self.mode == "serialization" or super().field_is_required(field, total)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        return {name: value for name, value in made.items() if (name, value) != ("default", None)}


def _schemas(operations: Iterable[Operation]) -> tuple[Schemas, Schema]:
    """Where each shape and answer stands in the document, and what stands there."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for one in operations:
        wanted |= dict.fromkeys((shape, "validation") for shape in one.shapes)
        wanted |= dict.fromkeys((answer, "serialization") for answer in one.answers if not issubclass(answer, Page | Text))
    places, made = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}", schema_generator=_Writer)
    return places, made["$defs"]


def _operation(one: Operation, schemas: Schemas) -> Schema:
    route = one.route
    method = getattr(route.resource, route.method.lower())
    also = f"\n\nAlso at {', '.join(f'`{url}`' for url in route.urls[1:])}." if route.urls[1:] else ""
    made = {
        "operationId": route.method.lower() + route.resource.__name__,
        "summary": _doc(method).partition(". ")[0].rstrip("."),
        "description": _doc(route.resource) + also,
        "tags": [_tag(route.resource.__module__)],
        "security": [_needed(each, route.method) for each in route.access.security],
        "parameters": list(_parameters(one)),
        "responses": _responses(one, schemas),
    }
    return made | ({"requestBody": _body(one, schemas)} if one.shapes else {})


def _responses(one: Operation, schemas: Schemas) -> Schema:
    """By status; where a key may ask, each tells what is left to it."""
    made = {str(status): answer for status, answer in sorted((_refusals(one) | _answers(one, schemas)).items())}
    if any(BY_KEY in each for each in one.route.access.security):
        for answer in made.values():
            answer["headers"] |= {name: {"$ref": f"#/components/headers/{name}"} for name in limiter.HEADERS}
    return made


def _needed(credentials: dict[str, list[str]], method: str) -> dict[str, list[str]]:
    """With a cookie, a change needs its CSRF token too."""
    by_cookie = any("ookie" in name for name in credentials)
    return credentials | {"csrf": []} if by_cookie and method != "GET" else credentials


def _parameters(one: Operation) -> Iterable[Schema]:
    for name in PART.findall(one.route.urls[0]):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    if one.query:
        for name, field in one.query.model_json_schema(schema_generator=_Writer)["properties"].items():
            yield {"name": name, "in": "query", "schema": _given(field)}
    if "client" in one.needs and any(issubclass(answer, WithTokens) for answer in one.answers):
        yield {"name": "X-Device-Token", "in": "header", "description": "What an earlier sign-in gave.", "schema": {"type": "string"}}


def _given(field: Schema) -> Schema:
    """A field that is left out rather than null."""
    return next((one for one in field.get("anyOf", ()) if one != {"type": "null"}), field)


def _body(one: Operation, schemas: Schemas) -> Schema:
    media = [kind for kind in (JSON, FORM, MULTIPART) if any(kind in shape.media_types for shape in one.shapes)]
    content = {
        kind: _either("oneOf", [schemas[shape, "validation"] for shape in one.shapes if kind in shape.media_types]) for kind in media
    }
    empty = any(not any(field.is_required() for field in shape.model_fields.values()) for shape in one.shapes)
    return {"required": not empty, "content": content}


def _either(which: str, schemas: list[JsonSchemaValue]) -> Schema:
    return {"schema": schemas[0] if len(schemas) == 1 else {which: schemas}}


def _answers(one: Operation, schemas: Schemas) -> dict[int, Schema]:
    """What comes when all is well, by status. Of several answers of one status more than one may fit: anyOf, not oneOf."""
    hint = get_type_hints(getattr(one.route.resource, one.route.method.lower())).get("return")
    if hint is Response:
        return {200: _response(200, "The file.", {"*/*": {}}), 304: _response(304, "It has not changed.", {})}
    if not one.answers:
        return {204: _response(204, "Done.", {})}
    made: dict[int, Schema] = {}
    for status in dict.fromkeys(answer.http_status for answer in one.answers):
        answers = [answer for answer in one.answers if answer.http_status == status]
        content = _content(answers, schemas) if status != 204 else {}
        made[status] = _response(status, " Or: ".join(_doc(answer) for answer in answers), content)
    return made


def _content(answers: list[type[Out]], schemas: Schemas) -> Schema:
    content = {
        one.media_type: {"schema": {"type": "object" if one.media_type == JSON else "string"}} for one in answers if issubclass(one, Text)
    }
    data = [schemas[one, "serialization"] for one in answers if (one, "serialization") in schemas]
    if data:
        content[JSON] = _either("anyOf", data)
    if any(one.page for one in answers):
        content[HTML] = {"schema": {"type": "string"}}
    return content


def _refusals(one: Operation) -> dict[int, Schema]:
    """Why it may be refused, by status, with every code."""
    codes: dict[int, dict[str, str]] = {}
    for kind in sorted(refusals.of(one), key=lambda kind: kind.code):
        codes.setdefault(problems.status_of(kind), {})[kind.code] = kind.title()
    for status in _of_the_frame(one):
        codes.setdefault(status, {}).setdefault(problems.FRAME_CODES[status], HTTPStatus(status).phrase + ".")
    if one.route.resource.by_oauth:
        return {status: _oauth_error(status, titles) for status, titles in _named_by_oauth(codes).items()}
    return {status: _problem(status, titles, page=one.page is not None) for status, titles in codes.items()}


def _named_by_oauth(codes: dict[int, dict[str, str]]) -> dict[int, dict[str, str]]:
    """The same as `problems` writes them there."""
    named: dict[int, dict[str, str]] = {}
    for status, titles in codes.items():
        for code, title in titles.items():
            name, at = problems.named_by_oauth(code, status)
            named.setdefault(at, {}).setdefault(name, title)
    return named


def _oauth_error(status: int, titles: dict[str, str]) -> Schema:
    lines = "\n".join(f"- `{code}`: {title}" for code, title in titles.items())
    schema = {"allOf": [{"$ref": "#/components/schemas/OAuthError"}, {"properties": {"error": {"enum": list(titles)}}}]}
    return _response(status, lines, {JSON: {"schema": schema}})


def _of_the_frame(one: Operation) -> Iterable[int]:
    """What Flask itself refuses: a path without a route, and bodies that can't be read."""
    if PART.search(one.route.urls[0]):
        yield 404
    if one.shapes or one.route.method != "GET":
        yield from (400, 413)


def _problem(status: int, titles: dict[str, str], *, page: bool) -> Schema:
    lines = "\n".join(f"- `{code}`: {title}" for code, title in titles.items())
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": {"code": {"enum": list(titles)}}}]}
    return _response(status, lines, {PROBLEM: {"schema": schema}} | ({HTML: {"schema": {"type": "string"}}} if page else {}))


def _response(status: int, description: str, content: Schema) -> Schema:
    names = ["X-Request-ID", *([vocabulary.HEADERS_BY_STATUS[status]] if status in vocabulary.HEADERS_BY_STATUS else [])]
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {"description": description, "headers": headers} | ({"content": content} if content else {})


def _tag(module: str) -> str:
    return module.rpartition(".")[2].replace("_", " ")


def _doc(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
