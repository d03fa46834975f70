"""Writes the files that fuzzing starts from, each as small as its format allows.

With ``src``, ``tests`` and ``tests/unit`` on ``PYTHONPATH``: ``python -m fuzz.corpus``.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pillow_heif
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from test_torch_state import FLOATS, LONGS, archive, stream, tensor

from fuzz.targets import CORPUS
from made.mxnet import params_bytes

GRADIENT = Image.fromarray((np.mgrid[0:96, 0:120].sum(0).reshape(6, 8, 240)[:, :, :3] % 256).astype(np.uint8))


def pictures() -> dict[str, bytes]:
    """Every format, and the kinds of pixels that have code of their own."""
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = GRADIENT.convert("RGBA")
    clear.putalpha(99)
    wide = Image.fromarray(np.asarray(GRADIENT.convert("L")).astype(np.uint16) * 257)
    heic = io.BytesIO()
    pillow_heif.from_pillow(GRADIENT).save(heic, quality=10)
    return {
        "jpeg": _saved(GRADIENT, "JPEG", quality=10, exif=turned),
        "jpeg_cmyk": _saved(GRADIENT.convert("CMYK"), "JPEG", quality=10, optimize=True),
        "jpeg_progressive": _saved(GRADIENT, "JPEG", quality=10, progressive=True),
        "png": _saved(GRADIENT, "PNG"),
        "png_alpha": _saved(clear, "PNG"),
        "png_palette": _saved(GRADIENT.quantize(4), "PNG", transparency=1),
        "png_wide": _saved(wide, "PNG"),
        "gif": _saved(GRADIENT.quantize(4), "GIF"),
        "bmp": _saved(GRADIENT, "BMP"),
        "tiff": _saved(GRADIENT, "TIFF", exif=turned),
        "tiff_lzw": _saved(GRADIENT, "TIFF", compression="tiff_lzw"),
        "tiff_float": _saved(Image.fromarray(np.asarray(GRADIENT.convert("L"), np.float32)), "TIFF"),
        "webp": _saved(GRADIENT, "WEBP", quality=10),
        "webp_alpha": _saved(clear, "WEBP", lossless=True),
        "ico": _saved(GRADIENT.resize((16, 16)), "ICO", sizes=[(16, 16)]),
        "ppm": _saved(GRADIENT, "PPM"),
        "pgm_plain": b"P2 # made\n3 2 255\n0 50 100 150 200 250\n",
        "avif": _saved(GRADIENT, "AVIF", quality=10),
        "heic": heic.getvalue(),
    }


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def forms() -> dict[str, bytes]:
    """A content type, a line feed, a body with CRLF."""
    head = b"multipart/form-data; boundary=b\n"
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
    text = b'--b\r\nContent-Disposition: form-data; name="limit"\r\n\r\n2\r\n'
    return {
        "file": head + file + b"Content-Type: image/png\r\n\r\n\x89PNG\r\n--b--\r\n",
        "text_and_file": head + text + file + b"\r\nx\r\n--b--\r\n",
        "base64": head + file + b"Content-Transfer-Encoding: base64\r\n\r\niVBORw==\r\n--b--\r\n",
        "quoted": head + file + b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc\r\n--b--\r\n",
        "cut": head + text + b"--b\r\nContent-",
        "other_type": b"application/json\n{}",
    }


def texts() -> dict[str, bytes]:
    """Base64 in its dresses."""
    plain = base64.b64encode(bytes(range(250, 256)) * 2)
    return {
        "plain": plain,
        "url_safe": plain.translate(bytes.maketrans(b"+/", b"-_")),
        "data_url": b"data:image/png;base64," + plain,
        "lines": plain[:7] + b"\r\n " + plain[7:] + b"=",
    }


def params() -> dict[str, bytes]:
    """MXNet's three layouts."""
    arrays = {"arg:w": np.ones((2, 1), np.float32), "aux:n": np.ones(1, np.int32)}
    return {f"layout{layout}": params_bytes(arrays, layout) for layout in (0, 1, 2)}


def symbols() -> dict[str, bytes]:
    """A convolution, and what often stands behind one."""

    def node(op: str, name: str, *inputs: int, **attributes: str) -> dict[str, Any]:
        return {"op": op, "name": name, "inputs": [[index, 0, 0] for index in inputs], "attrs": attributes}

    variables = [node("null", name) for name in ("data", "conv_weight", "conv_bias")]
    convolution = node("Convolution", "conv", 0, 1, 2, kernel="(1, 1)", num_filter="2", stride="(1, 1)", pad="(0, 0)")
    behind = {
        "activation": node("Activation", "relu", 3, act_type="relu"),
        "pooling": node("Pooling", "pool", 3, kernel="(2, 2)", pool_type="max", stride="(2, 2)", global_pool="False"),
        "softmax": node("SoftmaxActivation", "prob", 3, mode="channel"),
        "reshape": node("Reshape", "shape", 3, shape="(0, 2, -1, 0)"),
        "slice": node("slice_axis", "cut", 3, axis="1", begin="0", end="1"),
        "sum": node("elemwise_add", "sum", 3, 3),
        "flatten": node("Flatten", "flat", 3),
        "scale": node("_mul_scalar", "scaled", 3, scalar="0.5"),
    }
    return {
        name: json.dumps({"nodes": [*variables, convolution, last], "heads": [[4, 0, 0]]}).encode()
        for name, last in behind.items()
    }


def checkpoints(folder: Path) -> dict[str, bytes]:
    """PyTorch's archive and its older stream."""
    state = OrderedDict(weight=tensor(FLOATS, 0, (3, 4), (4, 1)), steps=tensor(LONGS, 0, (), ()))
    older = OrderedDict(weight=tensor(FLOATS, 0, (12,), (1,)))
    return {
        "archive": archive(folder / "archive", state).read_bytes(),
        "stream": stream(folder / "stream", older).read_bytes(),
    }


def networks() -> dict[str, bytes]:
    """A convolution with its weights as they are, and with its weights in blocks."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 2, 2, 2])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 2, 2, 2])
    blocks: dict[str, NDArray[Any]] = {
        "q": np.ones((2, 2), np.int8),
        "s": np.ones((2, 1), np.float32),
        "z": np.zeros((2, 1), np.int8),
    }
    conv = helper.make_node("Conv", ["image", "w"], ["answer"])
    graphs: dict[str, tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]] = {
        "plain": ([conv], {"w": np.ones((2, 2, 1, 1), np.float32)}),
        "blocks": (
            [
                helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=1, block_size=2),
                helper.make_node("Reshape", ["d", "shape"], ["w"]),
                conv,
            ],
            blocks | {"shape": np.array([2, 2, 1, 1])},
        ),
    }
    made = {}
    for name, (nodes, constants) in graphs.items():
        weights = [numpy_helper.from_array(value, key) for key, value in constants.items()]
        graph = helper.make_graph(nodes, name, [image], [answer], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.checker.check_model(model)
        made[name] = model.SerializeToString()
    return made


def tensorflow_files(folder: Path) -> dict[str, dict[str, bytes]]:
    """A frozen graph, a SavedModel and a checkpoint's index; needs TensorFlow."""
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_control_flow_v2()
    with tf.Graph().as_default() as graph, v1.Session() as session:
        image = v1.placeholder(tf.float32, (None, 8, 8, 3), "image")
        weight = v1.get_variable("w", [2])
        answer = tf.nn.relu(tf.reduce_mean(image, [1, 2, 3]), name="output")
        frozen = v1.graph_util.extract_sub_graph(graph.as_graph_def(), ["output"]).SerializeToString()
        weight.load([1, 2], session)
        v1.train.Saver().save(session, str(folder / "c"), write_meta_graph=False)
        signature = v1.saved_model.signature_def_utils.predict_signature_def({"image": image}, {"output": answer})
        builder = v1.saved_model.builder.SavedModelBuilder(str(folder / "saved"))
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, strip_default_attrs=True
        )
        builder.save()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "saved").rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return {
        "tensorflow_graph": {"frozen": frozen},
        "tensorflow_saved": {"zip": zipped.getvalue()},
        "tensorflow_checkpoint": {"index": (folder / "c.index").read_bytes()},
    }


def main(folder: Path) -> None:
    """Write all of them, a folder a target."""
    onnx_files = networks()
    corpus = {
        "decode": pictures(),
        "multipart": forms(),
        "base64": texts(),
        "mxnet_params": params(),
        "gluon_params": params(),
        "mxnet_symbol": symbols(),
        "torch_state": checkpoints(folder),
        "block_quantised": onnx_files,
        "plain_onnx": onnx_files,
    }
    if find_spec("tensorflow"):
        corpus |= tensorflow_files(folder)
    for target, files in corpus.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (CORPUS / target / name).write_bytes(data)


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as temporary:
        main(Path(temporary))
