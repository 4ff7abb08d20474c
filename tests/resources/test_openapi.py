"""The API document: whole, valid, and true of what is really sent."""

import json
import re

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import config
from resources import openapi
from resources.routes import ROUTES
from tests.visitor import PASSWORD, code_of

DOCUMENT = openapi.document(ROUTES)
OPERATIONS = {(method.upper(), path): operation for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()}


def codes(method: str, path: str) -> dict[str, set[str]]:
    """The codes that an operation may be refused with, by status."""
    answers = OPERATIONS[method, path]["responses"].items()
    schemas = {status: answer["content"]["application/problem+json"]["schema"] for status, answer in answers if status >= "400"}
    return {status: set(schema["allOf"][1]["properties"]["code"]["enum"]) for status, schema in schemas.items()}


def check(answer, method: str, path: str) -> None:
    """Whether an answer is one that the document names, with every field of it and no other."""
    documented = OPERATIONS[method, path]["responses"][str(answer.status)]
    for name in documented["headers"]:
        required = DOCUMENT["components"]["headers"][name].get("required")
        assert name in answer.headers or not required
    if "content" not in documented:
        assert answer.body == b""
        return
    kind = answer.headers["Content-Type"].split(";")[0]
    assert kind in documented["content"]
    if "json" in kind:
        closed = {"components": json.loads(json.dumps(DOCUMENT["components"]))}
        for schema in closed["components"]["schemas"].values():
            if "properties" in schema:
                schema["additionalProperties"] = False
        Draft202012Validator({**closed, **documented["content"][kind]["schema"]}).validate(answer.json)


def test_it_is_valid_openapi_3_1():
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_it_is_served_as_it_is_computed(house):
    answer = house.get("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == json.loads(json.dumps(DOCUMENT))
    assert house.get("/openapi.json").body == answer.body


def test_its_version_is_that_of_the_changelog(house):
    first = next(line for line in (config.HERE / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert house.get("/openapi.json").json["info"]["version"] == first.split()[1]


def test_every_row_of_the_table_is_there_by_its_canonical_address():
    rows = {(route.method, re.sub(r"<(\w+)>", r"{\1}", route.urls[0])) for route in ROUTES}
    assert set(OPERATIONS) == rows
    assert [path for _, path in OPERATIONS if path.endswith("/")] == []


def test_every_operation_says_what_it_is():
    for operation in OPERATIONS.values():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    assert len({operation["operationId"] for operation in OPERATIONS.values()}) == len(OPERATIONS)


def test_every_operation_names_its_credentials():
    known = set(DOCUMENT["components"]["securitySchemes"])
    assert {name for operation in OPERATIONS.values() for each in operation["security"] for name in each} == known
    assert OPERATIONS["POST", "/login"]["security"] == []
    assert {} in OPERATIONS["GET", "/auth/status"]["security"]
    assert {"cookie": [], "csrf": []} in OPERATIONS["PATCH", "/profile"]["security"]
    assert {"cookie": []} in OPERATIONS["GET", "/profile"]["security"]
    assert OPERATIONS["GET", "/auth/logout"]["security"] == [{"bearer": []}, {"refresh": []}]


@pytest.mark.settings(BASE_URL="https://id.example.com")
def test_under_https_the_cookies_have_their_safe_names(house):
    schemes = house.get("/openapi.json").json["components"]["securitySchemes"]
    assert schemes["cookie"]["name"] == "__Host-access_token_cookie"


def test_no_body_takes_fields_that_it_does_not_name():
    bodies = json.dumps([operation.get("requestBody") for operation in OPERATIONS.values()])
    names = set(re.findall(r"#/components/schemas/(\w+)", bodies))
    assert "LoginByEmail" in names
    # What else a provider's page posts is not ours to say, and RFC 6749 wants other parameters of its forms to be let be.
    names -= {"PostedReturn", "GrantForm", "TokenForm"}
    assert [name for name in names if DOCUMENT["components"]["schemas"][name]["additionalProperties"] is not False] == []


def test_a_body_may_be_left_out_only_where_no_field_is_needed():
    left_out = {path for (_, path), one in OPERATIONS.items() if not one.get("requestBody", {"required": True})["required"]}
    of_admins = {path for path in left_out if path.startswith("/api/admin/")}
    of_admins |= {path for path in left_out if path.startswith("/api/roles/")}
    passkeys = {"/passkeys/options", "/passkeys/sign-in/options", "/passkeys/{id}"}
    assert left_out - of_admins - passkeys == {"/keys/create", "/mfa", "/mfa/{id}", "/profile", "/profile/identities/{provider}"}
    assert passkeys <= left_out
    held = "/api/roles/user/{user_id}/service/{service_id}/role/{role_id}"
    assert of_admins == {"/api/admin/jobs/{name}/run", "/api/roles/{role_id}", "/api/roles/services/{service_id}", held} | {
        f"/api/admin/users/{{id}}{act}" for act in ("", "/unlock", "/reset-password", "/sessions", "/mfa")
    }


def test_a_picture_goes_as_a_file_in_a_form():
    content = OPERATIONS["PATCH", "/profile"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    form = DOCUMENT["components"]["schemas"][content["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]]
    assert form["properties"]["picture"] == {"type": "string", "format": "binary"}


def test_the_codes_of_an_operation_are_those_that_its_code_can_raise():
    assert codes("POST", "/login") == {
        "400": {"captcha_failed", "captcha_required", "malformed_json", "malformed_request", "validation_failed"},
        "401": {"invalid_credentials"},
        "403": {"account_disabled", "email_not_confirmed", "forbidden", "https_required", "password_expired"},
        "413": {"too_large"},
        "415": {"unsupported_media_type"},
        "429": {"rate_limited", "too_many_attempts"},
        "503": {"unavailable"},
    }
    assert codes("GET", "/healthz") == {}
    assert "401" not in codes("GET", "/auth/status")
    assert codes("GET", "/profile")["401"] == {"session_expired", "token_expired", "token_invalid", "token_missing", "token_revoked"}
    assert codes("POST", "/mfa")["401"] >= {"reauthentication_required", "mfa_invalid_code"}
    assert "csrf_failed" in codes("PATCH", "/profile")["403"]


def test_what_is_caught_on_the_way_is_not_told():
    assert "token_used" not in codes("POST", "/confirm/{token}")["400"]  # Confirming twice is fine.
    assert "token_used" in codes("POST", "/reset-password/{token}")["400"]


def test_every_answer_in_a_life_is_as_documented(house, email):
    check(house.sign_up(email, username="robin", name="Robin"), "POST", "/signup")
    letter = house.mailbox.last(email)
    check(house.get(letter.path), "GET", "/confirm/{token}")
    check(house.post("/confirm", {"email": email, "code": letter.code}), "POST", "/confirm")
    check(house.get("/auth/status"), "GET", "/auth/status")
    check(house.login(email, "not the password"), "POST", "/login")
    answer = house.login(email)
    check(answer, "POST", "/login")
    token, refresh = answer.json["access_token"], answer.json["refresh_token"]
    for path in ("/auth/status", "/profile", "/mfa", "/api/auth/me", "/profile/identities"):
        check(house.get(path, token=token), "GET", path)
    change = {"bio": "Sings", "phone": "+43 660 1234567", "metadata": {"any": ["thing"]}, "timezone": "Europe/Vienna"}
    check(house.patch("/profile", change, token=token), "PATCH", "/profile")
    check(house.delete("/profile/picture", token=token), "DELETE", "/profile/picture")
    check(house.post("/refresh", token=refresh), "POST", "/refresh")
    check(house.post("/reauthenticate", {"password": "wrong"}, token=token), "POST", "/reauthenticate")
    check(house.post("/logout", token=token), "POST", "/logout")
    check(house.get("/profile", token=token), "GET", "/profile")


def test_every_answer_about_second_factors_is_as_documented(house, email):
    token = house.member(email)["access_token"]
    for body in ({}, {"code": "000000"}, {"method": "email"}):
        check(house.post("/mfa", body, token=token), "POST", "/mfa")
    app, _ = house.turn_on_totp(token)
    pending = house.login(email)
    check(pending, "POST", "/login")
    given = {"mfa_token": pending.json["mfa_token"], "method": "totp", "code": code_of(app)}
    check(house.post("/verify-otp", given), "POST", "/verify-otp")
    check(house.get("/mfa", token=token), "GET", "/mfa")
    check(house.post("/send-otp", {"email": email}), "POST", "/send-otp")
    check(house.post("/reauthenticate", {"password": PASSWORD}, token=token), "POST", "/reauthenticate")


def test_tokens_in_cookies_are_documented_as_they_come(house, email):
    house.join(email)
    answer = house.login(email, cookies=True)
    check(answer, "POST", "/login")
    assert {"access_token", "refresh_token", "device_token"}.isdisjoint(answer.json)
    headers = {"X-CSRF-TOKEN": answer.json["csrf_refresh_token"]}
    refreshed = house.post("/refresh", cookies=answer.cookies, headers=headers)
    check(refreshed, "POST", "/refresh")
    assert "csrf_access_token" in refreshed.json
    check(house.patch("/profile", {"name": "Robin"}, cookies=refreshed.cookies), "PATCH", "/profile")


def test_answers_that_are_pages_are_documented_as_pages(house, email):
    as_a_person = {"Accept": "text/html"}
    house.sign_up(email)
    check(house.get(house.mailbox.last(email).path, headers=as_a_person), "GET", "/confirm/{token}")
    check(house.post(house.mailbox.last(email).path, headers=as_a_person), "POST", "/confirm/{token}")
    check(house.get("/reset-password/x", headers=as_a_person), "GET", "/reset-password/{token}")
    check(house.post("/reset-password/x", {"password": PASSWORD}, headers=as_a_person), "POST", "/reset-password/{token}")
    check(house.get("/docs", headers=as_a_person), "GET", "/docs")


def test_limits_and_parts_that_are_away_are_documented(house):
    for (method, path), operation in OPERATIONS.items():
        for status, answer in operation["responses"].items():
            assert ("Retry-After" in answer["headers"]) == (status in ("429", "503")), (method, path, status)
