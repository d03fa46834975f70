"""RetinaFace with a ResNet-50, https://arxiv.org/abs/1905.00641, as an MXNet graph."""

from __future__ import annotations

from functools import partial

from made.mxnet import Published, Symbol
from made.weights import Weights

_UNITS = (3, 4, 6, 3)
_WIDTH = 256
_TAPS = {8: "stage3_unit1_relu2", 16: "stage4_unit1_relu2", 32: "relu1"}


def r50(seed: int = 3) -> Published:
    """Scores, boxes and landmarks at strides 32, 16 and 8, with two anchors a cell; raw pixels of any size.

    The backbone is the ResNet-50 with normalisation first of MXNet's model collection; the pyramid reads the last
    activation of every stride. Names of the pyramid's layers ("ssh_...") are from memory; those of the nine outputs
    are the ones that the plugin reads, and known.
    """
    symbol = Symbol(Weights(seed))
    norm = partial(symbol.batch_norm, eps="2e-05")
    taps = _backbone(symbol)

    def unit(name: str, data: int, filters: int, kernel: int, *, act: bool = True) -> int:
        layer = norm(f"{name}_bn", symbol.convolution(name, data, filters, kernel, pad=kernel // 2, bias=True))
        return symbol.relu(f"{name}_relu", layer) if act else layer

    top = unit("ssh_c3_lateral", taps[32], _WIDTH, 1)
    pyramid, above = {32: top}, top
    for level, stride, name in ((2, 16, "ssh_c2_lateral"), (1, 8, "ssh_m1_red_conv")):
        lateral = unit(name, taps[stride], _WIDTH, 1)
        attributes = {"num_args": "1", "sample_type": "nearest", "scale": "2", "workspace": "512"}
        up = symbol.layer("UpSampling", f"ssh_c{level + 1}_up", [above], **attributes)
        above = unit(f"ssh_c{level}_aggr", symbol.add(lateral, symbol.crop_like(up, lateral)), _WIDTH, 3)
        pyramid[stride] = above
    outputs = []
    for stride, data in pyramid.items():
        head = f"ssh_m{ {32: 3, 16: 2, 8: 1}[stride] }_det"
        near = unit(f"{head}_conv1", data, _WIDTH, 3, act=False)
        context = unit(f"{head}_context_conv1", data, _WIDTH // 2, 3)
        wide = unit(f"{head}_context_conv2", context, _WIDTH // 2, 3, act=False)
        wider = unit(f"{head}_context_conv3_1", context, _WIDTH // 2, 3)
        wider = unit(f"{head}_context_conv3_2", wider, _WIDTH // 2, 3, act=False)
        joined = symbol.layer("Concat", f"{head}_concat", [near, wide, wider], dim="1", num_args="3")
        symbol.channels[joined] = 2 * _WIDTH
        outputs += _head(symbol, symbol.relu(f"{head}_concat_relu", joined), stride)
    return symbol.published(*outputs)


def _backbone(symbol: Symbol) -> dict[int, int]:
    """The layers that the pyramid reads, by stride."""
    norm = partial(symbol.batch_norm, eps="2e-05", use_global_stats="True")
    convolution = partial(symbol.convolution, workspace="512")
    body = norm("bn_data", symbol.picture(normalise=False), fix_gamma=True)
    # Raw pixels are a hundred times what the layers behind expect of made statistics.
    symbol.arrays["aux:bn_data_moving_mean"] += 120
    symbol.arrays["aux:bn_data_moving_var"] *= 70**2
    body = symbol.relu("relu0", norm("bn0", convolution("conv0", body, 64, 7, stride=2, pad=3)))
    body = symbol.layer("Pooling", "pool0", [body], kernel="(3, 3)", pad="(1, 1)", pool_type="max", stride="(2, 2)")
    named: dict[str, int] = {}
    for stage, units in enumerate(_UNITS, 1):
        width = 64 * 2 ** (stage - 1)
        for unit in range(1, units + 1):
            name, stride = f"stage{stage}_unit{unit}", 2 if unit == 1 < stage else 1
            first = symbol.relu(f"{name}_relu1", norm(f"{name}_bn1", body))
            inner = convolution(f"{name}_conv1", first, width, 1)
            inner = named[f"{name}_relu2"] = symbol.relu(f"{name}_relu2", norm(f"{name}_bn2", inner))
            inner = convolution(f"{name}_conv2", inner, width, 3, stride=stride, pad=1)
            inner = symbol.relu(f"{name}_relu3", norm(f"{name}_bn3", inner, scale=0.3))
            inner = convolution(f"{name}_conv3", inner, 4 * width, 1)
            shortcut = convolution(f"{name}_sc", first, 4 * width, 1, stride=stride) if unit == 1 else body
            body = symbol.add(inner, shortcut)
    named["relu1"] = symbol.relu("relu1", norm("bn1", body))
    return {stride: named[name] for stride, name in _TAPS.items()}


def _head(symbol: Symbol, data: int, stride: int) -> list[int]:
    score = symbol.convolution(f"face_rpn_cls_score_stride{stride}", data, 4, 1, bias=True)
    symbol.arrays[f"arg:face_rpn_cls_score_stride{stride}_bias"][:2] += 4  # most cells see no face
    split = symbol.layer("Reshape", f"face_rpn_cls_score_reshape_stride{stride}", [score], shape="(0, 2, -1, 0)")
    even = symbol.layer("SoftmaxActivation", f"face_rpn_cls_prob_stride{stride}", [split], mode="channel")
    probability = symbol.layer("Reshape", f"face_rpn_cls_prob_reshape_stride{stride}", [even], shape="(0, 4, -1, 0)")
    box = symbol.convolution(f"face_rpn_bbox_pred_stride{stride}", data, 8, 1, bias=True, scale=0.1)
    points = symbol.convolution(f"face_rpn_landmark_pred_stride{stride}", data, 20, 1, bias=True, scale=0.1)
    return [probability, box, points]
