"""The OpenAPI document against the service, by requests made from the document: it says what is so."""

from __future__ import annotations

import base64
import io
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from PIL import Image
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from embedding_calculator.http.app import create_app, interface
from embedding_calculator.settings import Settings
from fakes import fake_choices

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_asgi(
    "/frs-core-api.json", create_app(fake_choices(), Settings(max_image_bytes=100_000))
)
# The same requests every time: what nobody thought of is found by fuzzing, on purpose, and not by somebody's change.
SAME_EVERY_TIME = settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))


@schemathesis.serializer("application/zip", "application/x-ndjson")
def as_it_is(_: schemathesis.SerializationContext, value: object) -> bytes:
    """The bytes and the text of the document's own strings."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def test_examples_of_errors_are_those_of_their_status() -> None:
    document = interface(with_keys=True).openapi()
    told = [
        (status, example["value"]["message"])
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        for example in answer.get("content", {}).get("application/json", {}).get("examples", {}).values()
    ]
    assert {status for status, _ in told} == {"400", "408", "413", "500", "503"}
    assert all(message.startswith(f"{status} ") for status, message in told if status != "500")


@SCHEMA.parametrize()
@SAME_EVERY_TIME
def test_answers_are_as_documented(case: Case[Any]) -> None:
    case.call_and_validate(checks=CHECKS)


@SCHEMA.include(path_regex="(find|scan)_faces").parametrize()
@SAME_EVERY_TIME
def test_answers_about_a_real_picture_are_as_documented(case: Case[Any]) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (100, 90), "white").save(stream, "PNG")
    picture = stream.getvalue()
    if case.media_type == "application/json":
        case.body = {"file": base64.b64encode(picture).decode()}
    elif case.media_type == "multipart/form-data":
        body: Any = {"file": [picture] if case.path.startswith("/batch") else picture}
        case.body = body
    case.call_and_validate(checks=CHECKS)
