"""The collection (format v2.1) and its environment, written from the API document: a folder per tag, all operations in it.

What an answer hands out is kept in variables by scripts, and the next request takes it from there, so tokens chain.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from postman import life, scripts
from resources import openapi
from resources.routes import ROUTES

HERE = Path(__file__).resolve().parent
COLLECTION, ENVIRONMENT = HERE / "gatehouse.postman_collection.json", HERE / "gatehouse.postman_environment.json"
SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"
Item = dict[str, Any]

DESCRIPTION = """Every operation of Gatehouse, and a life: run the folder "A life" from its first request to its last.

Set `base_url`. The life signs up under a made-up address; to use your own mailbox, write its address into `own_email`. Between
"Sign up" and "Confirm" paste the six digits of the mail into `confirmation_code` (with `make run` the mails are files in
instance/outbox/). After that the tokens chain by themselves. `python -m postman.run` does all of it against a server of its own."""

# What stands in a request wherever a field, or a part of an address, has this name.
VARIABLES = {
    "email": "{{email}}",
    "password": "{{password}}",
    "new_password": "{{password}}",
    "current_password": "{{password}}",
    "code": "{{code}}",
    "mfa_token": "{{mfa_token}}",
    "otp_token": "{{otp_token}}",
    "token": "{{link_token}}",
    "id": "{{factor_id}}",
    "key": "{{key_id}}",
    "service_id": "gatehouse",
    "token_id": "{{app_token_id}}",
    "provider": "google",
    "role_id": "admin",
    "user_id": "{{user_id}}",
    "name": "{{file_name}}",
    "X-Device-Token": "{{device_token}}",
}
# The same where one body means something else by it.
EXCEPTIONS = {
    ("ConfirmIn", "code"): "{{confirmation_code}}",
    ("MailedCode", "code"): "{{mailed_code}}",
    ("ProveEmail", "code"): "{{mailed_code}}",
    ("Exchange", "code"): "{{exchange_code}}",
    ("FinishLink", "code"): "{{exchange_code}}",
    ("Rename", "name"): "A phone",
    ("TokenForm", "token"): "{{access_token}}",
    ("StartTotp", "name"): "A phone",
    ("RoleIn", "name"): "auditor",
    ("RoleRow", "name"): "auditor",
}
CREDENTIALS = {"bearer": "{{access_token}}", "refresh": "{{refresh_token}}", "metrics": "{{metrics_token}}"}
LAST = "own data"  # It ends with the account.
SECRET = ("password", "token", "code", "secret")
SETTINGS = {
    "base_url": "http://127.0.0.1:5000",
    "password": "a long enough password",
    "file_name": "swagger-ui.css",
    "app_token_id": "an-id-that-its-list-tells",
    "link_token": "the-last-part-of-a-mailed-link",
}
NAMES = (
    "own_email",
    "email",
    "confirmation_code",
    "mailbox_url",
    "mailed_code",
    "exchange_code",
    "metrics_token",
    "code",
    "service_id",
    "app_token",
)


def files() -> dict[Path, str]:
    """Both files, as they shall stand."""
    return {COLLECTION: _text(collection()), ENVIRONMENT: _text(environment())}


def collection() -> Item:
    """All requests: the life, then a folder for each tag."""
    document = openapi.document(ROUTES)
    tags = sorted(document["tags"], key=lambda tag: tag["name"] == LAST)
    folders = [_folder(tag, document) for tag in tags]
    return {
        "info": {"name": "Gatehouse", "version": document["info"]["version"], "description": DESCRIPTION, "schema": SCHEMA},
        "auth": {"type": "noauth"},
        "event": [scripts.event("test", scripts.KEEP)],
        "item": [{"name": "A life", "description": life.DESCRIPTION, "item": life.items()}, *folders],
    }


def environment() -> Item:
    """The variables that the requests take from, and put into."""
    values = (
        SETTINGS | dict.fromkeys((*NAMES, *scripts.KEPT), "") | {"factor_id": "an-id-that-get-mfa-tells", "user_id": "the-id-in-a-profile"}
    )
    return {
        "name": "Gatehouse",
        "values": [{"key": key, "value": value, "type": _kind(key), "enabled": True} for key, value in values.items()],
        "_postman_variable_scope": "environment",
    }


def _folder(tag: dict[str, str], document: Item) -> Item:
    """Where somebody has to be signed in, the folder begins with a sign-in; what takes things away comes last."""
    mine = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    ]
    mine.sort(key=lambda one: ("logout" in one[0], one[1] == "delete"))
    credentials = [each for _, _, operation in mine for each in operation["security"]]
    first = [life.sign_in()] if {"bearer": []} in credentials or {"refresh": []} in credentials else []
    items = [item for path, method, operation in mine for item in _items(path, method, operation, document)]
    return {"name": tag["name"], "description": tag["description"], "item": [*first, *items]}


def _items(path: str, method: str, operation: Item, document: Item) -> Iterator[Item]:
    """A request for each shape of the body."""
    statuses = [int(status) for status in operation["responses"]]
    for words, body in _bodies(operation, document):
        request = {
            "method": method.upper(),
            "header": [*_headers(operation), *([{"key": "Content-Type", "value": JSON}] if body.get("mode") == "raw" else [])],
            "url": _url(path, operation),
            "auth": _auth(operation),
            "description": operation["description"],
        }
        yield {
            "name": f"{method.upper()} {path}" + (f": {words}" if words else ""),
            "request": request | ({"body": body} if body else {}),
            "event": [*_code_first(body), scripts.event("test", scripts.documented(statuses))],
            "protocolProfileBehavior": {"followRedirects": False},
        }


def _bodies(operation: Item, document: Item) -> Iterator[tuple[str, Item]]:
    contents = operation.get("requestBody", {"content": {}})["content"]
    for kind, content in contents.items():
        for schema in content["schema"].get("oneOf", [content["schema"]]):
            shape = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            if kind == JSON:
                yield _words(shape), _raw(shape)
            elif kind == FORM and JSON not in contents:
                yield "", {"mode": "urlencoded", "urlencoded": list(_parts(shape))}
            elif kind == MULTIPART:
                yield (
                    "with a picture",
                    {"mode": "formdata", "formdata": [_part(name, field) for name, field in shape["properties"].items()]},
                )
    if "requestBody" not in operation:
        yield "", {}


def _words(shape: Item) -> str:
    sentence = str(shape["description"]).rstrip(".")
    return sentence[0].lower() + sentence[1:]


def _raw(shape: Item) -> Item:
    fields = {name: _value(shape, name) for name, field in shape["properties"].items() if _wanted(shape, name, field)}
    return {"mode": "raw", "raw": json.dumps(fields, indent=2), "options": {"raw": {"language": "json"}}}


def _parts(shape: Item) -> Iterator[Item]:
    """The fields of a form; what may be left out is switched off."""
    for name in shape["properties"]:
        yield {"key": name, "value": str(_value(shape, name) or ""), "disabled": name not in shape.get("required", ())}


def _wanted(shape: Item, name: str, field: Item) -> bool:
    """What is needed, and what has an example; cookies would keep the tokens from chaining."""
    return name in shape.get("required", ()) or (_example(field) is not None and name != "cookies")


def _value(shape: Item, name: str) -> Any:
    fallback = VARIABLES.get(name) if name != "name" else None
    found = EXCEPTIONS.get((shape["title"], name), fallback)
    return found if found is not None else _example(shape["properties"][name])


def _example(field: Item) -> Any:
    for one in (field, *field.get("anyOf", ())):
        if "const" in one:
            return one["const"]
        if "examples" in one:
            return one["examples"][0]
    return None


def _part(name: str, field: Item) -> Item:
    if field.get("format") == "binary":
        return {"key": name, "type": "file", "src": "picture.png"}
    example = _example(field)
    return {"key": name, "type": "text", "value": example if isinstance(example, str) else json.dumps(example)}


def _headers(operation: Item) -> list[Item]:
    names = [one["name"] for one in operation["parameters"] if one["in"] == "header"]
    return [{"key": name, "value": VARIABLES.get(name, ""), "disabled": True} for name in names]


def _url(path: str, operation: Item) -> Item:
    colons = re.sub(r"{(\w+)}", r":\1", path)
    names = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
    return {
        "raw": "{{base_url}}" + colons,
        "host": ["{{base_url}}"],
        "path": colons.strip("/").split("/"),
        "query": [{"key": name, "value": "", "disabled": True} for name in names],
        "variable": [{"key": name, "value": VARIABLES[name]} for name in re.findall(r"{(\w+)}", path)],
    }


def _auth(operation: Item) -> Item:
    if {"client": []} in operation["security"]:
        return {"type": "basic", "basic": [_text_pair("username", "{{service_id}}"), _text_pair("password", "{{app_token}}")]}
    named = next((CREDENTIALS[name] for each in operation["security"] for name in each if name in CREDENTIALS), None)
    return {"type": "bearer", "bearer": [{"key": "token", "value": named, "type": "string"}]} if named else {"type": "noauth"}


def _text_pair(key: str, value: str) -> Item:
    return {"key": key, "value": value, "type": "string"}


def _code_first(body: Item) -> list[Item]:
    """A request with a TOTP code computes it just before it is sent."""
    return [scripts.event("prerequest", scripts.TOTP)] if "{{code}}" in body.get("raw", "") else []


def _kind(key: str) -> str:
    return "secret" if any(word in key for word in SECRET) else "default"


def _text(made: Item) -> str:
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"
