"""What is fuzzed. A target takes any bytes, and lets through only what its reader is documented never to raise."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from embedding_calculator.errors import ImageTooLargeError, ImageUnreadableError, ModelError
from embedding_calculator.http.base64 import decode_base64
from embedding_calculator.http.forms import Form, FormError, Upload, read_form
from embedding_calculator.imaging.decode import Limits, open_picture
from embedding_calculator.models.importers import (
    blockquant,
    convert,
    frozen_graph,
    gluon,
    inception_v3,
    mxnet,
    onnx,
    saved_model,
)
from embedding_calculator.models.importers.mxnet.params import read_params
from embedding_calculator.models.importers.torch_state import read_state
from made.mxnet import params_bytes

T = TypeVar("T")

CORPUS = Path(__file__).parent / "corpus"
LIMITS = Limits(max_bytes=1_000_000, max_pixels=1_000_000)
PARAMETERS = params_bytes({"arg:conv_weight": np.ones((2, 3, 1, 1), np.float32), "arg:conv_bias": np.ones(2, "f4")})


def decode(data: bytes) -> None:
    """Pixels of the size that was told, or one of two errors."""
    with suppress(ImageUnreadableError, ImageTooLargeError):
        picture = open_picture(data, limits=LIMITS, stored_chroma=True)
        for scale in (0.3, 1.0):
            raster = picture.raster(scale)
            height, width, channels = raster.pixels.shape
            assert raster.pixels.dtype == np.uint8
            assert channels == 3
            assert abs(width - picture.width * raster.scale_x) < 1
            assert abs(height - picture.height * raster.scale_y) < 1


def multipart(data: bytes) -> None:
    """A content type, a line feed, a body. What is read does not depend on how the body was cut on its way.

    Whether it is refused may: python-multipart passes over text before the first boundary only within a piece.
    """
    kind, _, body = data.partition(b"\n")
    whole, pieces = (_form(kind.decode("latin-1"), body, size) for size in (len(body) or 1, 7))
    assert whole is None or pieces is None or _contents(whole) == _contents(pieces)


def _contents(form: Form) -> object:
    return form.texts, {name: [(one.filename, _data(one)) for one in files] for name, files in form.files.items()}


def _data(upload: Upload) -> bytes | None:
    try:
        return upload.data
    except ImageUnreadableError:
        return None


def _form(content_type: str, body: bytes, size: int) -> Form | None:
    async def chunks() -> AsyncIterator[bytes]:
        file = io.BytesIO(body)
        while chunk := file.read(size):
            yield chunk

    try:
        return _result(read_form(content_type, chunks()))
    except (FormError, ImageUnreadableError):
        return None


def _result(coroutine: Coroutine[Any, Any, T]) -> T:
    """Of a coroutine that waits for nothing: an event loop would be most of the work."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


def base64(data: bytes) -> None:
    """Bytes, or the one error."""
    with suppress(ImageUnreadableError):
        decode_base64(data.decode("utf-8", "replace"))


def mxnet_params(data: bytes) -> None:
    with _file(data) as path, suppress(ModelError):
        read_params(path)


def mxnet_symbol(data: bytes) -> None:
    """A graph to ONNX, with the weights of one convolution."""
    with _file(data) as symbol, _file(PARAMETERS) as params, suppress(ModelError):
        mxnet.convert([symbol, params], symbol.with_name("target"))


def torch_state(data: bytes) -> None:
    with _file(data) as path, suppress(ModelError):
        read_state(path)


def gluon_params(data: bytes) -> None:
    with _file(data) as path, suppress(ModelError):
        gluon.convert([path], path.with_name("target"), network="resnet18_v1", classes=2)


def block_quantised(data: bytes) -> None:
    with _file(data) as path:
        _import(blockquant, path)


def plain_onnx(data: bytes) -> None:
    with _file(data) as path:
        _import(onnx, path)


def tensorflow_graph(data: bytes) -> None:
    with _file(data) as path:
        _import(frozen_graph, path, image="image", output="output", size=(8, 8))


def tensorflow_saved(data: bytes) -> None:
    """The zip."""
    with _file(data) as path:
        _import(saved_model, path)


def tensorflow_checkpoint(data: bytes) -> None:
    """The index, beside the eight bytes that a sound one speaks of."""
    with _file(data, "c.index") as index:
        content = index.with_name("c.data-00000-of-00001")
        content.write_bytes(bytes(8))
        _import(inception_v3, index, content, classes=2)


def _import(importer: ModuleType, *parts: Path, **options: Any) -> None:
    """As the store does: ONNX's and TensorFlow's own tools raise anything, which becomes one error there."""
    with suppress(ModelError):
        convert(importer.__name__.rpartition(".")[2], parts, parts[0].with_name("target"), options)


@contextmanager
def _file(data: bytes, name: str = "file") -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        decode,
        multipart,
        base64,
        mxnet_params,
        mxnet_symbol,
        torch_state,
        gluon_params,
        block_quantised,
        plain_onnx,
        tensorflow_graph,
        tensorflow_saved,
        tensorflow_checkpoint,
    )
}

NEEDS_TENSORFLOW = frozenset(name for name in TARGETS if name.startswith("tensorflow_"))
