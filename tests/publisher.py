"""A publisher of models on the loopback, who can be made to misbehave, and small things for it to publish."""

from __future__ import annotations

import hashlib
import http.server
import io
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from embedding_calculator.models.catalog import Catalog, Entry, Part


@dataclass
class Page:
    """A published file and how it is served; each list has one element a request, then the server behaves."""

    content: bytes
    etag: str | None = '"v1"'
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    cut_after: list[int] = field(default_factory=list)
    stall: threading.Event | None = None
    content_type: str = "application/octet-stream"


class Publisher:
    """``pages`` by path; ``asked`` has path and Range header of every request."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None]] = []

    def publish(self, path: str, page: Page) -> str:
        """Serve ``page`` from now on; returns its URL."""
        self.pages[path] = page
        return self.address + path


@contextmanager
def serving() -> Iterator[Publisher]:
    """A publisher as long as the context lasts."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.publisher = Publisher(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.publisher
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    publisher: Publisher

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed or refuse to read on are what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.publisher.asked.append((self.path, asked))
        page = self.server.publisher.pages.get(self.path)
        if page is None or page.statuses:
            self.send_error(page.statuses.pop(0) if page else 404)
            return
        start = 0
        if asked and page.ranges and self.headers.get("If-Range") in {None, page.etag}:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(page.content) - 1}/{len(page.content)}")
        else:
            self.send_response(200)
        if page.etag:
            self.send_header("ETag", page.etag)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.content) - start))
        self.end_headers()
        end = start + page.cut_after.pop(0) if page.cut_after else len(page.content)
        if page.stall and not page.stall.is_set():
            half = (start + end) // 2
            self.wfile.write(page.content[start:half])
            page.stall.wait(20)
            start = half
        self.wfile.write(page.content[start:end])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def tiny_network(seed: int = 1) -> bytes:
    """An ONNX network with one 16x16 image in, its batch fixed to one, 4 numbers out; some 200 kB of weights."""
    weights = np.random.default_rng(seed).normal(size=(3 * 16 * 16, 64)).astype(np.float32)
    last = np.ones((64, 4), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "last"], ["embedding"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(last, "last")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def zip_of(**members: bytes) -> bytes:
    """A zip with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def describe(content: bytes, *sources: str, filename: str = "tiny.onnx", **changes: str) -> str:
    """A catalogue file with one entry named ``tiny`` of one file; ``sources`` are TOML inline tables."""
    fields = {
        "licence": '"MIT"',
        "commercial": '"yes"',
        "verified": '"weights"',
        "homepage": '"https://example.org/tiny"',
        "input": '{ colour = "rgb", size = [16, 16] }',
        "hash": f'sha256 = "{hashlib.sha256(content).hexdigest()}"',
        "bytes": f"bytes = {len(content)}",
    } | changes
    return f"""
[[model]]
name = "tiny"
plugins = ["test.Calculator"]
licence = {fields["licence"]}
commercial = {fields["commercial"]}
verified = {fields["verified"]}
homepage = {fields["homepage"]}
input = {fields["input"]}
parameters = {{ threshold = 0.5 }}
[model.files.network]
importer = "onnx"
[[model.files.network.parts]]
filename = "{filename}"
{fields["hash"]}
{fields["bytes"]}
sources = [{", ".join(sources)}]
"""


def entry_of(folder: Path, text: str) -> Entry:
    """The one entry of the catalogue ``text``, as if it were packaged."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.toml").write_text(text)
    return Catalog.load(packaged=folder).entry("tiny")


def republished(entry: Entry, contents: Mapping[str, bytes], publisher: Publisher) -> Entry:
    """An entry of the catalogue as it is, but ``contents`` (by the address the entry names) come from ``publisher``."""
    here = {url: publisher.publish("/" + re.sub(r"\W+", "-", url), Page(content)) for url, content in contents.items()}

    def moved(part: Part) -> Part:
        sources = tuple(source.model_copy(update={"url": here[str(source.url)]}) for source in part.sources)
        return part.model_copy(update={"sources": sources})

    files = {key: spec.model_copy(update={"parts": tuple(map(moved, spec.parts))}) for key, spec in entry.files.items()}
    return entry.model_copy(update={"files": files})
