"""The network of 106 points along a face, as an MXNet graph."""

from __future__ import annotations

from made.mxnet import Published, Symbol
from made.weights import Weights

_BLOCKS = [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), *[(256, 1)] * 5, (512, 2), (512, 1)]
"""Filters and stride of a MobileNet, https://arxiv.org/abs/1704.04861, of half the width."""


def landmarks106(seed: int = 4) -> Published:
    """``2d106det``: 212 numbers, ``fc1``, of 192x192 raw pixels.

    Known of the published file: input, output, the normalisation inside, some 1.2 million weights, a MobileNet of half
    the width. Not known is what stands between its last block and ``fc1``; here a pointwise layer of 64 channels.
    """
    symbol = Symbol(Weights(seed))

    def unit(name: str, data: int, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> int:
        pad = kernel // 2
        layer = symbol.convolution(f"{name}_conv2d", data, filters, kernel, stride=stride, pad=pad, groups=groups)
        return symbol.prelu(f"{name}_relu", symbol.batch_norm(f"{name}_batchnorm", layer))

    body = unit("conv_1", symbol.picture(), 16, 3, stride=2)
    for number, (filters, stride) in enumerate(_BLOCKS, 2):
        body = unit(f"conv_{number}_dw", body, symbol.channels[body], 3, stride, symbol.channels[body])
        body = unit(f"conv_{number}", body, filters, 1)
    body = symbol.layer("Flatten", "flatten0", [unit("conv_15", body, 64, 1)])
    return symbol.published(symbol.fully_connected("fc1", body, 212, 64 * 6 * 6), version=10400)
