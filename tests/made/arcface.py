"""The recognisers of ArcFace's own code, https://arxiv.org/abs/1801.07698, as MXNet graphs."""

from __future__ import annotations

from functools import partial

from made.mxnet import Published, Symbol
from made.weights import Weights

_RESNETS = {34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
_WIDTHS = (64, 128, 256, 512)


def fresnet(layers: int, seed: int = 1) -> Published:
    """The residual networks called LResNet34E-IR, LResNet50E-IR and LResNet100E-IR: 512 numbers of 112x112 pixels.

    A stride of one at the start, units that begin and end with normalisation, PReLU, and the head "E": normalisation,
    dropout, all positions into 512 numbers, normalisation with gamma fixed. The sub-center models (``msfdrop75``)
    differ from these in how they were trained, after the last layer; whether their files cast to half precision and
    back, as that code can, is not known.
    """
    symbol = Symbol(Weights(seed))
    convolution = partial(symbol.convolution, workspace="256")
    norm = partial(symbol.batch_norm, eps="2e-05")
    body = symbol.prelu("relu0", norm("bn0", convolution("conv0", symbol.picture(identity=True), 64, 3, pad=1)))
    for stage, (width, units) in enumerate(zip(_WIDTHS, _RESNETS[layers], strict=True), 1):
        for unit in range(1, units + 1):
            name, stride, shortcut = f"stage{stage}_unit{unit}", 2 if unit == 1 else 1, body
            inner = convolution(f"{name}_conv1", norm(f"{name}_bn1", body), width, 3, pad=1)
            inner = symbol.prelu(f"{name}_relu1", norm(f"{name}_bn2", inner))
            inner = convolution(f"{name}_conv2", inner, width, 3, pad=1, stride=stride)
            inner = norm(f"{name}_bn3", inner, scale=0.2)
            if unit == 1:
                shortcut = norm(f"{name}_sc", convolution(f"{name}_conv1sc", body, width, 1, stride=stride))
            body = symbol.add(inner, shortcut)
    body = symbol.layer("Dropout", "dropout0", [norm("bn1", body)], p="0.4")
    full = symbol.fully_connected("pre_fc1", body, 512, 512 * 7 * 7)
    return symbol.published(norm("fc1", full, fix_gamma=True))


def mobilefacenet(seed: int = 2, embedding: int = 128) -> Published:
    """MobileFaceNet, https://arxiv.org/abs/1804.07573, in the variant "y1" with a global depthwise convolution.

    The published ``arcface_mobilefacenet`` has this graph. That the one retrained on masked CASIA faces has it too, and
    128 numbers, is inferred from its name and its difference threshold.
    """
    symbol = Symbol(Weights(seed))

    def unit(name: str, data: int, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> int:
        return symbol.prelu(f"{name}_relu", linear(name, data, filters, kernel, stride, groups))

    def linear(
        name: str, data: int, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1, scale: float = 1.0
    ) -> int:
        pad = 1 if kernel == 3 else 0
        layer = symbol.convolution(f"{name}_conv2d", data, filters, kernel, stride=stride, pad=pad, groups=groups)
        return symbol.batch_norm(f"{name}_batchnorm", layer, scale=scale)

    def bottleneck(name: str, data: int, filters: int, inner: int, stride: int) -> int:
        wide = unit(f"{name}_conv_sep", data, inner)
        return linear(f"{name}_conv_proj", unit(f"{name}_conv_dw", wide, inner, 3, stride, inner), filters, scale=0.4)

    body = unit("conv_1", symbol.picture(), 64, 3, stride=2)
    body = unit("conv_2_dw", body, 64, 3, groups=64)
    stages = [("23", 64, 128, 3, 4, 128), ("34", 128, 256, 4, 6, 256), ("45", 128, 512, 5, 2, 256)]
    for name, filters, inner, stage, blocks, residual in stages:
        body = bottleneck(f"dconv_{name}", body, filters, inner, 2)
        for block in range(blocks):
            body = symbol.add(bottleneck(f"res_{stage}_block{block}", body, filters, residual, 1), body)
    body = linear("conv_6dw7_7", unit("conv_6sep", body, 512), 512, 7, groups=512)
    full = symbol.fully_connected("pre_fc1", body, embedding, 512, weight="fc1_weight")
    return symbol.published(symbol.batch_norm("fc1", full, fix_gamma=True, eps="2e-05"), version=10000)
