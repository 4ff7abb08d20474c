"""Threat 40: whatever is sent to any operation, nothing breaks, and what comes back is what the API document says.

Half of it comes with a good credential, half without; of both, half fits the document and half does not. The same requests every
time: what fails here fails again.
"""

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from resources import openapi
from resources.routes import ROUTES

TOKEN = "a-token-for-prometheus"
SETTINGS = {"METRICS_TOKEN": TOKEN, "FAILED_ATTEMPTS_LIMIT": 1000}
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
EXAMPLES = 20

document = openapi.document(ROUTES)
for schema in document["components"]["schemas"].values():
    if "properties" in schema:
        schema["additionalProperties"] = False  # Here an answer with a field that is not documented is wrong.
api = schemathesis.openapi.from_dict(document)
api.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
api.config.phases.coverage.enabled = False
some = settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def credential(tokens, security) -> dict[str, str]:
    """The header of the first credential that an operation names."""
    named = {"bearer": tokens["access_token"], "refresh": tokens["refresh_token"], "metrics": TOKEN}
    found = [named[name] for each in security for name in each if name in named]
    return {"Authorization": f"Bearer {found[0]}"} if found else {}


@api.parametrize()
@some
def test_whatever_a_stranger_sends(case, server):
    case.call_and_validate(base_url=server.base, checks=CHECKS)


@(api.include(func=lambda context: context.operation.definition.raw["security"]).parametrize())
@some
def test_whatever_a_member_sends(case, server, request):
    if not hasattr(request.node, "tokens"):
        request.node.tokens = server.member()
    headers = credential(request.node.tokens, case.operation.definition.raw["security"])
    case.call_and_validate(base_url=server.base, headers=headers, checks=CHECKS)
