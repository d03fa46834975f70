"""What the OpenAPI document says of each route; the routes read their requests themselves, to the original's rules."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel

from embedding_calculator.http import schemas
from embedding_calculator.http.responses import MSGPACK

ABOUT: dict[str, Any] = {
    "title": "embedding-calculator",
    "summary": "Send a picture, get every face in it.",
    "description": (
        "Boxes, embeddings, landmarks, age, gender and pose of all faces in a picture. Coordinates are pixels of the"
        " picture as a person sees it. Faces come largest first."
    ),
    "version": "2.0",
    "openapi_tags": [{"name": "faces"}, {"name": "service"}],
}

KEY_HEADER = "x-api-key"

_TOO_MANY_BYTES = "413 Request Entity Too Large: a picture may have at most 67108864 bytes"


def _error(description: str, *messages: str, **more: Any) -> dict[str, Any]:
    """An error's answer, with the messages that it may have as its examples."""
    examples = {message: {"value": {"message": message}} for message in messages}
    return {
        "model": schemas.Error,
        "description": description,
        "content": {"application/json": {"examples": examples}},
        **more,
    }


def _busy(*messages: str, reasons: list[str]) -> dict[str, Any]:
    headers = {
        "Retry-After": {"description": "Seconds after which to try again", "schema": {"type": "integer"}},
        "X-Reason": {"description": "Why", "schema": {"type": "string", "enum": reasons}},
    }
    return _error(
        "No room now, see `X-Reason`; ask again after as many seconds as `Retry-After` says", *messages, headers=headers
    )


_STOPPING = "503 Service Unavailable: the service is shutting down"
_TOO_SLOW = _error("The request arrives too slowly", "408 Request Timeout: the request arrives too slowly")
_FULL = _busy(
    "503 Service Unavailable: 34 photos are computed or waiting already",
    "503 Service Unavailable: no answer within 60 seconds",
    _STOPPING,
    reasons=["queue_full", "bytes_in_flight", "memory", "deadline", "shutting_down"],
)
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: _error(
        "No face, an unreadable picture or a wrong parameter",
        "400 Bad Request: No face is found in the given image",
        "400 Bad Request: Image has incorrect format or is broken",
        "400 Bad Request: No file is attached",
        "400 Bad Request: Limit format is invalid (limit >= 0)",
    ),
    408: _TOO_SLOW,
    413: _error(
        "The picture has too many bytes or declares too many pixels",
        _TOO_MANY_BYTES,
        "413 Request Entity Too Large: the picture is 20000 x 20000, 400,000,000 pixels; 178,956,970 is the limit",
    ),
    500: _error("A plugin failed", "PluginError: dlib_zoo.AgeDetector error - the network gave no answer"),
    503: _FULL,
}
_BATCH_ERRORS: dict[int | str, dict[str, Any]] = {
    400: _error(
        "No picture, too many of them, or a zip that cannot be read; not for what is wrong with one picture",
        "400 Bad Request: No file is attached",
        "400 Bad Request: A batch may have at most 1000 photos",
    ),
    408: _TOO_SLOW,
    413: _error("The batch has too many bytes, or its zip unpacks to too many", _TOO_MANY_BYTES),
    503: _FULL,
}

_LIMIT = {
    "name": "limit",
    "in": "query",
    "description": "Only the n largest faces; 0 means all.",
    "schema": {"type": "integer", "minimum": 0, "default": 0},
}
_THRESHOLD = {
    "name": "det_prob_threshold",
    "in": "query",
    "description": "Keep faces more probable than this; the detector's own value if absent.",
    "schema": {"type": "number", "minimum": 0, "maximum": 1},
}
_PLUGINS = {
    "name": "face_plugins",
    "in": "query",
    "description": "Slugs of what to compute, separated by commas. Unknown ones are ignored.",
    "schema": {"type": "string"},
    "example": "calculator,landmarks,age,gender,pose",
}
_DETECT = {
    "name": "detect_faces",
    "in": "query",
    "description": "`false`: the picture is one face already, nothing is searched.",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "true"},
}
_MODEL = {
    "name": "model",
    "in": "query",
    "description": "Another detector or calculator than the default, of those that `/status` lists under `models`.",
    "schema": {"type": "string"},
}
_FORMAT = {
    "name": "embedding_format",
    "in": "query",
    "description": "`base64`: embeddings as text, the base64 of little-endian float32.",
    "schema": {"type": "string", "enum": ["float", "base64"], "default": "float"},
}
_FINDING = (_LIMIT, _THRESHOLD, _PLUGINS, _DETECT, _MODEL, _FORMAT)
_SCANNING = (_LIMIT, _THRESHOLD, _MODEL, _FORMAT)


def _or_in_form(parameters: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one | {"description": f"{one['description']} May be a form field."} for one in parameters]


def _body_with(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """An object whose one field must be there."""
    return {"schema": {"type": "object", "required": [name], "properties": {name: schema}}}


_PICTURE = {
    "type": "string",
    "format": "binary",
    "description": "JPEG, PNG, BMP, GIF, TIFF, WebP, ICO, PPM, HEIC or AVIF",
}
_UPLOAD = {"required": True, "content": {"multipart/form-data": _body_with("file", _PICTURE)}}
_BASE64 = {
    "type": "string",
    "description": "The picture as base64; line breaks, the URL-safe alphabet and a data: prefix are understood",
}
_EMBEDDED = {"required": True, "content": {"application/json": _body_with("file", _BASE64)}}

_NDJSON = {
    "schema": {"type": "string", "description": 'A line for each picture: `{"name": ..., "file": base64}`'},
    "example": '{"name":"one.jpg","file":"/9j/4AAQSkZJRg..."}\n{"name":"two.png","file":"iVBORw0KGgo..."}\n',
}
_ANSWERED = (
    '{"index":1,"name":"two.png","status":400,"message":"400 Bad Request: No face is found in the given image"}\n'
    '{"index":0,"name":"one.jpg","plugins_versions":{"detector":"opencv_zoo.FaceDetector"},"result":[{"box":'
    '{"probability":0.94,"x_max":269,"x_min":178,"y_max":174,"y_min":64},"execution_time":{"detector":12}}]}\n'
)
_PICTURES = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "Pictures, or one zip of pictures",
}
_BATCH = {
    "required": True,
    "content": {
        "multipart/form-data": _body_with("file", _PICTURES),
        "application/zip": {"schema": {"type": "string", "format": "binary", "description": "A zip of pictures"}},
        "application/x-ndjson": _NDJSON,
    },
}


def _get(summary: str, model: type[BaseModel]) -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": ["service"],
        "response_model": None,
        "responses": {200: {"model": model, "description": "OK"}},
    }


def _post(summary: str, model: type[BaseModel], body: Any, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    found = {
        "model": model,
        "description": "The faces, largest first; as MessagePack where the request's `Accept` names it",
        "content": {MSGPACK: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}},
        "headers": {
            "Server-Timing": {
                "description": "Milliseconds by stage",
                "schema": {"type": "string"},
                "example": "receive;dur=0.4, decode;dur=2.1, detector;dur=9.6",
            }
        },
    }
    return {
        "summary": summary,
        "tags": ["faces"],
        "responses": {200: found, **_ERRORS},
        "openapi_extra": {"parameters": parameters, "requestBody": body},
    }


HEALTHCHECK = _get("Is the service up?", schemas.Health)
LIVEZ = _get("Is the process alive?", schemas.Health)
READYZ = _get("Are all models open, and is it not about to stop?", schemas.Readiness)
READYZ["responses"][503] = _busy(_STOPPING, reasons=["shutting_down"])
METRICS: dict[str, Any] = {
    "summary": "Counts and times for Prometheus",
    "tags": ["service"],
    "response_class": PlainTextResponse,
    "responses": {200: {"description": "Prometheus' text format"}},
}
STATUS = _get("Versions, plugins, similarity coefficients", schemas.Status) | {
    "openapi_extra": {"parameters": [_MODEL]}
}
STATUS["responses"][400] = _error(
    "There is no such model",
    "400 Bad Request: Model facenet.Calculator is not configured (there are: opencv_zoo.Calculator)",
)
FIND_FACES = _post("Find faces in an uploaded picture", schemas.Found, _UPLOAD, _or_in_form(_FINDING))
FIND_FACES_BASE64 = _post("Find faces in a picture inside JSON", schemas.Found, _EMBEDDED, list(_FINDING))
SCAN_FACES = _post("Find faces and their embeddings (legacy)", schemas.Scanned, _UPLOAD, _or_in_form(_SCANNING))
BATCH_FIND_FACES: dict[str, Any] = {
    "tags": ["faces"],
    "summary": "Find faces in many pictures; each answer is a line of JSON, as soon as it is there",
    "response_class": Response,
    "responses": {
        200: {
            "description": "Lines of JSON in the order of completion: a picture's `index`, its `name`, and what"
            " `/find_faces` would have said: `plugins_versions` and `result`, or `status` and `message`",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": _ANSWERED}},
        },
        **_BATCH_ERRORS,
    },
    "openapi_extra": {"parameters": _or_in_form(_FINDING), "requestBody": _BATCH},
}


def with_keys(document: dict[str, Any], free: Container[str]) -> None:
    """Say that every path but the ``free`` ones asks for a key; Swagger's page then has a button to enter it."""
    document["components"]["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": KEY_HEADER}}
    shape = {"schema": {"$ref": f"#/components/schemas/{schemas.Error.__name__}"}}
    refused = {
        "description": f"`{KEY_HEADER}` carries none of `API_KEYS`, where these are set",
        "content": {
            "application/json": shape | {"example": {"message": f"401 Unauthorized: {KEY_HEADER} is missing or wrong"}}
        },
    }
    for path, operations in document["paths"].items():
        for operation in () if path in free else operations.values():
            operation["security"] = [{"key": []}]
            operation["responses"] = dict(sorted({**operation["responses"], "401": refused}.items()))
