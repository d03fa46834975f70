"""What the OpenAPI document says of each route; the routes read their requests themselves, to the original's rules."""

from __future__ import annotations

from typing import Any

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
}

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.Error, "description": "No face, an unreadable picture or a wrong parameter"},
    413: {"model": schemas.Error, "description": "The picture has too many bytes or declares too many pixels"},
    500: {"model": schemas.Error, "description": "A plugin failed"},
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
_UPLOAD = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "JPEG, PNG, BMP, GIF, TIFF, WebP, ICO, PPM, HEIC or AVIF",
                    }
                },
            }
        }
    },
}
_EMBEDDED = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "description": "The picture as base64; line breaks, the URL-safe alphabet and a data: prefix"
                        " are understood",
                    }
                },
            }
        }
    },
}


def _get(summary: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"summary": summary, "response_model": None, "responses": {200: {"model": model, "description": "OK"}}}


def _post(summary: str, model: type[BaseModel], body: Any, *parameters: Any) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {200: {"model": model, "description": "The faces, largest first"}, **_ERRORS},
        "openapi_extra": {"parameters": list(parameters), "requestBody": body},
    }


HEALTHCHECK = _get("Is the service up?", schemas.Health)
LIVEZ = _get("Is the process alive?", schemas.Health)
READYZ = _get("Are all models open?", schemas.Health)
STATUS = _get("Versions, plugins, similarity coefficients", schemas.Status) | {
    "openapi_extra": {"parameters": [_MODEL]}
}
FIND_FACES = _post(
    "Find faces in an uploaded picture", schemas.Found, _UPLOAD, _LIMIT, _THRESHOLD, _PLUGINS, _DETECT, _MODEL
)
FIND_FACES_BASE64 = _post(
    "Find faces in a picture inside JSON", schemas.Found, _EMBEDDED, _LIMIT, _THRESHOLD, _PLUGINS, _DETECT, _MODEL
)
SCAN_FACES = _post("Find faces and their embeddings (legacy)", schemas.Scanned, _UPLOAD, _LIMIT, _THRESHOLD, _MODEL)
