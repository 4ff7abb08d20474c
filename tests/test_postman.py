"""The Postman collection is what the API document says today, and holds together. `.ci/run` has newman send all of it."""

import json
import re

import pytest

from postman import collection
from resources import openapi
from resources.routes import ROUTES

pytestmark = pytest.mark.once

COLLECTION, ENVIRONMENT = (json.loads(text) for text in collection.files().values())


def items(folder) -> list[dict]:
    return [item for one in folder["item"] for item in (items(one) if "item" in one else [one])]


def test_the_committed_files_are_what_the_generator_writes():
    for path, text in collection.files().items():
        assert path.read_text() == text, f"{path.name} is old: run `python -m postman`"


def test_every_operation_is_in_its_folder():
    wanted = {
        (method.upper(), operation["tags"][0], re.sub(r"{(\w+)}", r":\1", path))
        for path, methods in openapi.document(ROUTES)["paths"].items()
        for method, operation in methods.items()
    }
    found = {
        (item["request"]["method"], folder["name"], "/" + "/".join(item["request"]["url"]["path"]))
        for folder in COLLECTION["item"][1:]
        for item in items(folder)
        if item["name"] != "Sign in"
    }
    assert found == wanted


def test_every_request_is_checked_by_a_script():
    assert [item["name"] for item in items(COLLECTION) if "test" not in {event["listen"] for event in item["event"]}] == []


def test_the_life_goes_from_sign_up_to_logout():
    life = COLLECTION["item"][0]
    assert life["name"] == "A life"
    paths = ["/".join(item["request"]["url"]["path"]) for item in items(life)]
    assert (paths[0], paths[-1]) == ("signup", "logout")
    assert {"confirm", "login", "auth/status", "profile", "refresh", "mfa", "reauthenticate", "verify-otp"} <= set(paths)


def test_every_variable_is_in_the_environment_and_no_secret_is():
    values = {value["key"]: value["value"] for value in ENVIRONMENT["values"]}
    assert set(re.findall(r"{{(\w+)}}", json.dumps(COLLECTION))) <= set(values)
    lines = [line for item in [COLLECTION, *items(COLLECTION)] for event in item["event"] for line in event["script"]["exec"]]
    assert {name for line in lines for name in re.findall(r'environment\.[gs]et\("(\w+)"', line)} <= set(values)
    assert {key for key, value in values.items() if value and key.endswith(("access_token", "refresh_token", "secret"))} == set()
