"""A file from a publisher's URL: streamed, bounded, continued where a connection broke."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from embedding_calculator.errors import ModelError

_ATTEMPTS = 4
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_WORTH_ANOTHER_TRY = {408, 425, 429}

Report = Callable[[int, int | None], None]
"""Bytes so far, bytes in all or None where that is not known."""


class _Interrupted(Exception):  # noqa: N818 -- a reason to try again, not an error of this package
    pass


def direct_url(url: str) -> str:
    """The address that answers with the file: Google Drive's ``uc?id=`` answers large files with a page that asks."""
    parts = urlsplit(url)
    identifier = parse_qs(parts.query).get("id")
    if parts.hostname == "drive.google.com" and parts.path == "/uc" and identifier:
        return f"https://drive.usercontent.google.com/download?id={identifier[0]}&export=download&confirm=t"
    return url


def download(url: str, folder: Path, *, limit: int, exact: int | None, report: Report, backoff: float) -> Path:
    """Fetch ``url`` into ``folder`` and return the file.

    A broken connection is taken up where it broke, within this call and after a killed process too, if the server
    offers ranges and a validator (ETag or Last-Modified) that proves the file is still the same. Gives up after
    ``_ATTEMPTS`` tries in a row that brought nothing; waits ``backoff`` seconds, then twice as long ...

    Raises ModelError where the server refuses, answers with a web page, or has a file longer than ``limit`` bytes or
    of another length than ``exact``; then nothing is left in ``folder``.
    """
    transfer = _Transfer(direct_url(url), folder / hashlib.sha256(url.encode()).hexdigest()[:32], limit, exact, report)
    failures = 0
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client:
        while True:
            before = transfer.done
            try:
                return transfer.go_on(client)
            except (httpx.TransportError, _Interrupted) as error:
                failures = 1 if transfer.done > before else failures + 1
                if failures == _ATTEMPTS:
                    transfer.discard()
                    raise ModelError(f"{error or type(error).__name__} ({_ATTEMPTS} tries)") from error
                time.sleep(backoff * 2 ** (failures - 1))
            except (httpx.HTTPError, httpx.InvalidURL, ModelError) as error:
                transfer.discard()
                raise ModelError(str(error)) from error


class _Transfer:
    def __init__(self, url: str, stem: Path, limit: int, exact: int | None, report: Report) -> None:
        self._url = url
        self._file = stem.with_suffix(".part")
        self._validator = stem.with_suffix(".validator")
        self._limit = limit
        self._exact = exact
        self._report = report

    @property
    def done(self) -> int:
        return self._file.stat().st_size if self._file.exists() else 0

    def discard(self) -> None:
        self._file.unlink(missing_ok=True)
        self._validator.unlink(missing_ok=True)

    def go_on(self, client: httpx.Client) -> Path:
        have = self.done
        headers = {"Accept-Encoding": "identity"}
        if have and self._validator.exists():
            headers |= {"Range": f"bytes={have}-", "If-Range": self._validator.read_text(encoding="latin-1")}
        with client.stream("GET", self._url, headers=headers) as response:
            self._refuse(response)
            if response.status_code == httpx.codes.PARTIAL_CONTENT:
                if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                    self.discard()
                    raise _Interrupted("the server answered with another range than asked for")
            else:
                self.discard()
                have = 0
                self._remember_validator(response)
            length = response.headers.get("Content-Length", "")
            total = have + int(length) if length.isdigit() else None
            self._refuse_length(total)
            self._receive(response, have, total)
        self._validator.unlink(missing_ok=True)
        return self._file

    def _refuse(self, response: httpx.Response) -> None:
        status = response.status_code
        said = f"the server answered {status} {response.reason_phrase}".rstrip()
        if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.discard()
            raise _Interrupted(said)
        if status >= 500 or status in _WORTH_ANOTHER_TRY:
            raise _Interrupted(said)
        if status not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
            raise ModelError(said)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise ModelError("the server answered with a web page instead of the file")

    def _remember_validator(self, response: httpx.Response) -> None:
        etag = response.headers.get("ETag", "")
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
        if validator:
            self._validator.write_text(validator, encoding="latin-1")

    def _refuse_length(self, total: int | None) -> None:
        if total is not None and self._exact is not None and total != self._exact:
            raise ModelError(f"the file there has {total} bytes, {self._exact} expected")
        if total is not None and total > self._limit:
            raise ModelError(f"the file there has {total} bytes, at most {self._limit} are accepted")

    def _receive(self, response: httpx.Response, have: int, total: int | None) -> None:
        with self._file.open("ab") as sink:
            for chunk in response.iter_raw():
                have += len(chunk)
                if have > self._limit:
                    raise ModelError(f"the server sent more than the {self._limit} bytes that are accepted")
                sink.write(chunk)
                self._report(have, total or self._exact)
