"""A running service, used like ``FaceAnalyzer``: the same question, the same answer, over HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import numpy as np

from embedding_calculator.errors import EmbeddingCalculatorError, InputError
from embedding_calculator.results import Age, Box, Face, Gender, Mask, Pose

_NO_FACE = "No face is found"


class ServiceError(EmbeddingCalculatorError):
    """The service cannot be reached, or failed."""


class ServiceClient:
    """Asks a service at ``url`` that speaks the contract: ours, or the original."""

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        self._client = httpx.Client(base_url=url, timeout=timeout)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    @property
    def plugins(self) -> tuple[str, ...]:
        """The slugs that the service has, the detector's left out.

        Raises:
            ServiceError: no service answers there.
        """
        return tuple(slug for slug in self.versions if slug != "detector")

    @property
    def versions(self) -> dict[str, str]:
        """Slug to plugin of everything the service has, the detector included.

        Raises:
            ServiceError: no service answers there.
        """
        return dict(self._request("GET", "/status")["available_plugins"])

    @property
    def similarity_coefficients(self) -> tuple[float, float]:
        """How the service turns a distance into a similarity; see ``plugins.base.Calculator``.

        Raises:
            ServiceError: no service answers there.
        """
        c0, c1 = self._request("GET", "/status")["similarity_coefficients"]
        return float(c0), float(c1)

    def find_faces(
        self,
        photo: bytes,
        *,
        plugins: Iterable[str] = (),
        threshold: float | None = None,
        limit: int | None = None,
    ) -> list[Face]:
        """Every face in an encoded picture, largest first; an empty list if there is none.

        Raises:
            InputError: the service refused the picture; the text is its message.
            ServiceError: the service cannot be reached, or failed.
        """
        fields = {"face_plugins": ",".join(plugins), "limit": str(limit or 0)}
        if threshold is not None:
            fields["det_prob_threshold"] = str(threshold)
        try:
            answer = self._request("POST", "/find_faces", data=fields, files={"file": ("photo", photo)})
        except InputError as error:
            if _NO_FACE in str(error):
                return []
            raise
        return [_face(face) for face in answer["result"]]

    def _request(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, **content)
            answer = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ServiceError(f"no service answers at {self._client.base_url}: {error}") from error
        if response.is_client_error:
            raise InputError(answer.get("message", response.reason_phrase))
        if not response.is_success:
            raise ServiceError(answer.get("message", response.reason_phrase))
        return dict(answer)


_TYPES: dict[str, Any] = {"age": Age, "gender": Gender, "mask": Mask, "pose": Pose}


def _face(answer: dict[str, Any]) -> Face:
    known: dict[str, Any] = {name: kind(**answer.pop(name)) for name, kind in _TYPES.items() if name in answer}
    box = Box(**answer.pop("box"))
    answer.pop("execution_time", None)
    if "embedding" in answer:
        known["embedding"] = np.asarray(answer.pop("embedding"), np.float32)
    if "landmarks" in answer:
        known["landmarks"] = tuple((x, y) for x, y in answer.pop("landmarks"))
    return Face(box, **known, extra=answer)
