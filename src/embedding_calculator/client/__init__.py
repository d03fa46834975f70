"""A running service, used like ``FaceAnalyzer``: the same questions, the same answers, over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from embedding_calculator.client.sending import Sending
from embedding_calculator.client.wire import Photo, ServiceError, Wire, bytes_of
from embedding_calculator.results import Face, Found

P = TypeVar("P", bound=Photo)

__all__ = ["ServiceClient", "ServiceError"]


class ServiceClient:
    """Asks a service at ``url`` that speaks the contract: ours, or the original. Safe to use from several threads."""

    def __init__(self, url: str, timeout: float = 60.0, api_key: str | None = None) -> None:
        """``timeout`` is in seconds: for one answer, and of patience with a service that says it is busy.

        ``api_key`` is for services that ask for one.
        """
        self._wire = Wire(url, timeout, api_key)
        self._timeout = timeout

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

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
        return dict(self._wire.status()["available_plugins"])

    @property
    def similarity_coefficients(self) -> tuple[float, float]:
        """How the service turns a distance into a similarity; see ``plugins.base.Calculator``.

        Raises:
            ServiceError: no service answers there.
        """
        c0, c1 = self._wire.status()["similarity_coefficients"]
        return float(c0), float(c1)

    def find_faces(
        self,
        photo: Photo,
        *,
        plugins: Iterable[str] = (),
        threshold: float | None = None,
        limit: int | None = None,
    ) -> list[Face]:
        """Every face in a photo (a path, or the bytes of an encoded picture), largest first; empty if there is none.

        Raises:
            InputError: the service refused the picture; the text is its message.
            ServiceError: the service cannot be reached, or failed.
            OSError: the file cannot be read.
        """
        return self._wire.ask(bytes_of(photo), _fields(plugins, threshold, limit))

    def find_faces_in(
        self,
        photos: Iterable[P],
        *,
        plugins: Iterable[str] = (),
        threshold: float | None = None,
        limit: int | None = None,
    ) -> Iterator[Found[P]]:
        """Every face in each of many photos, in the order in which answers come; else as ``find_faces``.

        Photos travel by the batch; to a service without batches, as the original, one by one. They are read a few at a
        time, so that memory stays flat. A busy service is asked again when it says so, until nothing was answered for
        ``timeout`` seconds. What is wrong with one photo is told in its ``Found.error``.

        Raises:
            ServiceError: no service answers there, or not any more.
        """
        return Sending[P](self._wire, _fields(plugins, threshold, limit), self._timeout).answers(photos)


def _fields(plugins: Iterable[str], threshold: float | None, limit: int | None) -> dict[str, str]:
    """The form; the original does not know ``embedding_format`` and answers with numbers, which is understood too."""
    fields = {"face_plugins": ",".join(plugins), "limit": str(limit or 0), "embedding_format": "base64"}
    return fields if threshold is None else {**fields, "det_prob_threshold": str(threshold)}
