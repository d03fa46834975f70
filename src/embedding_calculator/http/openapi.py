"""What the OpenAPI document says of each route; the routes read their requests themselves, to the original's rules."""

from __future__ import annotations

from typing import Any

from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel

from embedding_calculator.http import schemas

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

_BUSY: dict[str, Any] = {
    "model": schemas.Error,
    "description": "No room now",
    "headers": {
        "Retry-After": {"description": "Seconds after which to try again", "schema": {"type": "integer"}},
        "X-Reason": {
            "description": "Why",
            "schema": {
                "type": "string",
                "enum": ["queue_full", "bytes_in_flight", "memory", "deadline", "shutting_down"],
            },
        },
    },
}

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.Error, "description": "No face, an unreadable picture or a wrong parameter"},
    413: {"model": schemas.Error, "description": "The picture has too many bytes or declares too many pixels"},
    500: {"model": schemas.Error, "description": "A plugin failed"},
    503: _BUSY,
}

_LIMIT = {
    "name": "limit",
    "in": "query",
    "description": "Only the n largest faces; 0 means all. May be a form field.",
    "schema": {"type": "integer", "minimum": 0, "default": 0},
}
_THRESHOLD = {
    "name": "det_prob_threshold",
    "in": "query",
    "description": "Keep faces more probable than this; the detector's own value if absent. May be a form field.",
    "schema": {"type": "number", "minimum": 0, "maximum": 1},
}
_PLUGINS = {
    "name": "face_plugins",
    "in": "query",
    "description": "Slugs of what to compute, separated by commas. Unknown ones are ignored. May be a form field.",
    "schema": {"type": "string"},
    "example": "calculator,landmarks,age,gender,pose",
}
_DETECT = {
    "name": "detect_faces",
    "in": "query",
    "description": "`false`: the picture is one face already, nothing is searched. May be a form field.",
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
    "description": "`base64`: embeddings as text, the base64 of little-endian float32. May be a form field.",
    "schema": {"type": "string", "enum": ["float", "base64"], "default": "float"},
}
_FINDING = (_LIMIT, _THRESHOLD, _PLUGINS, _DETECT, _MODEL, _FORMAT)


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

_NDJSON = {"schema": {"type": "string", "description": 'A line for each picture: {"name": ..., "file": base64}'}}
_PICTURES = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "Pictures, or one zip of pictures",
}
_BATCH = {
    "required": True,
    "content": {
        "multipart/form-data": _body_with("file", _PICTURES),
        "application/zip": {"schema": {"type": "string", "format": "binary"}},
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


def _post(summary: str, model: type[BaseModel], body: Any, *parameters: Any) -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": ["faces"],
        "responses": {200: {"model": model, "description": "The faces, largest first"}, **_ERRORS},
        "openapi_extra": {"parameters": list(parameters), "requestBody": body},
    }


HEALTHCHECK = _get("Is the service up?", schemas.Health)
LIVEZ = _get("Is the process alive?", schemas.Health)
READYZ = _get("Are all models open, and is it not about to stop?", schemas.Readiness)
READYZ["responses"][503] = _BUSY
METRICS: dict[str, Any] = {
    "summary": "Counts and times for Prometheus",
    "tags": ["service"],
    "response_class": PlainTextResponse,
    "responses": {200: {"description": "Prometheus' text format"}},
}
STATUS = _get("Versions, plugins, similarity coefficients", schemas.Status) | {
    "openapi_extra": {"parameters": [_MODEL]}
}
STATUS["responses"][400] = {"model": schemas.Error, "description": "There is no such model"}
FIND_FACES = _post("Find faces in an uploaded picture", schemas.Found, _UPLOAD, *_FINDING)
FIND_FACES_BASE64 = _post("Find faces in a picture inside JSON", schemas.Found, _EMBEDDED, *_FINDING)
SCAN_FACES = _post(
    "Find faces and their embeddings (legacy)", schemas.Scanned, _UPLOAD, _LIMIT, _THRESHOLD, _MODEL, _FORMAT
)
BATCH_FIND_FACES: dict[str, Any] = {
    "tags": ["faces"],
    "summary": "Find faces in many pictures; each answer is a line of JSON, as soon as it is there",
    "response_class": Response,
    "responses": {
        200: {
            "description": "Lines of JSON in the order of completion: a picture's `index`, its `name`, and what"
            " `/find_faces` would have said: `plugins_versions` and `result`, or `status` and `message`",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        },
        **_ERRORS,
    },
    "openapi_extra": {"parameters": list(_FINDING), "requestBody": _BATCH},
}
