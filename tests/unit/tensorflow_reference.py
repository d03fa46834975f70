"""Networks written with TensorFlow itself, as their authors trained and published them, with made weights."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf

from embedding_calculator.arrays import Floats

v1 = tf.compat.v1
Layer = Callable[..., Any]


def made(name: str, shape: tuple[int, ...], fan_in: int | None = None) -> Floats:
    """Weights in PyTorch's layout that keep signals alive through all layers, the same wherever they are made."""
    uniform = np.random.default_rng(zlib.crc32(name.encode())).random(shape, np.float32) * 2 - 1
    if len(shape) > 1:
        return uniform * np.float32(np.sqrt(6 / (fan_in or np.prod(shape[1:]))))
    if name.endswith(("bn.weight", "running_var")):
        return 1 + uniform * np.float32(0.3)
    return uniform * np.float32(0.1)


def facenet() -> Any:
    """FaceNet's Inception-ResNet-v1 as a frozen graph, fed by a queue, batch norm as ``phase_train`` says.

    Weights are those that the tests of the PyTorch importer make, so both must give the same embeddings.
    """
    v1.disable_control_flow_v2()
    with tf.Graph().as_default() as graph:
        queue = v1.FIFOQueue(8, [tf.float32], [(160, 160, 3)], name="fifo_queue")
        picture = tf.identity(queue.dequeue_up_to(4), "input")
        training = v1.placeholder(tf.bool, name="phase_train")
        tf.nn.l2_normalize(_inception_resnet_v1(picture, training), 1, 1e-10, name="embeddings")
    return graph.as_graph_def()


def _normalised(value: Any, name: str, training: Any) -> Any:
    channels = value.shape[-1]
    scale, shift, mean, variance = (
        made(f"{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var")
    )

    def learn() -> Any:
        answer, seen, _ = v1.nn.fused_batch_norm(value, scale, shift, epsilon=0.001, is_training=True)
        # What freezing makes of the moving average's update, which the answer waits for.
        with tf.control_dependencies([tf.subtract(tf.constant(mean), seen * 0.1, name="AssignMovingAvg")]):
            return tf.identity(answer)

    def infer() -> Any:
        return v1.nn.fused_batch_norm(value, scale, shift, mean, variance, epsilon=0.001, is_training=False)[0]

    return v1.cond(training, learn, infer)


def _inception_resnet_v1(image: Any, training: Any) -> Any:
    def conv(value: Any, name: str, out: int, kernel: Any = 1, stride: int = 1, padding: str = "SAME") -> Any:
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        weight = made(f"{name}.conv.weight", (out, value.shape[-1], high, wide)).transpose(2, 3, 1, 0)
        return tf.nn.relu(_normalised(tf.nn.conv2d(value, weight, stride, padding), f"{name}.bn", training))

    def pool(value: Any) -> Any:
        return tf.nn.max_pool2d(value, 3, 2, "VALID")

    def residual(value: Any, branches: Sequence[Any], name: str, scale: float, last: bool = False) -> Any:
        mixed = tf.concat(branches, 3)
        shape = value.shape[-1], mixed.shape[-1], 1, 1
        change = tf.nn.conv2d(mixed, made(f"{name}.conv2d.weight", shape).transpose(2, 3, 1, 0), 1, "SAME")
        change = tf.nn.bias_add(change, made(f"{name}.conv2d.bias", shape[:1]))
        value += scale * change
        return value if last else tf.nn.relu(value)

    net = conv(image, "conv2d_1a", 32, 3, 2, "VALID")
    net = conv(net, "conv2d_2a", 32, 3, 1, "VALID")
    net = pool(conv(net, "conv2d_2b", 64, 3))
    net = conv(net, "conv2d_3b", 80, 1, 1, "VALID")
    net = conv(net, "conv2d_4a", 192, 3, 1, "VALID")
    net = conv(net, "conv2d_4b", 256, 3, 2, "VALID")
    for number in range(5):
        name = f"repeat_1.{number}"
        second = conv(conv(net, f"{name}.branch1.0", 32), f"{name}.branch1.1", 32, 3)
        third = conv(net, f"{name}.branch2.0", 32)
        third = conv(conv(third, f"{name}.branch2.1", 32, 3), f"{name}.branch2.2", 32, 3)
        net = residual(net, [conv(net, f"{name}.branch0", 32), second, third], name, 0.17)
    second = conv(conv(net, "mixed_6a.branch1.0", 192), "mixed_6a.branch1.1", 192, 3)
    second = conv(second, "mixed_6a.branch1.2", 256, 3, 2, "VALID")
    net = tf.concat([conv(net, "mixed_6a.branch0", 384, 3, 2, "VALID"), second, pool(net)], 3)
    for number in range(10):
        name = f"repeat_2.{number}"
        second = conv(conv(net, f"{name}.branch1.0", 128), f"{name}.branch1.1", 128, (1, 7))
        second = conv(second, f"{name}.branch1.2", 128, (7, 1))
        net = residual(net, [conv(net, f"{name}.branch0", 128), second], name, 0.1)
    first = conv(conv(net, "mixed_7a.branch0.0", 256), "mixed_7a.branch0.1", 384, 3, 2, "VALID")
    second = conv(conv(net, "mixed_7a.branch1.0", 256), "mixed_7a.branch1.1", 256, 3, 2, "VALID")
    third = conv(conv(net, "mixed_7a.branch2.0", 256), "mixed_7a.branch2.1", 256, 3)
    third = conv(third, "mixed_7a.branch2.2", 256, 3, 2, "VALID")
    net = tf.concat([first, second, third, pool(net)], 3)
    for name in [*(f"repeat_3.{number}" for number in range(5)), "block8"]:
        second = conv(conv(net, f"{name}.branch1.0", 192), f"{name}.branch1.1", 192, (1, 3))
        second = conv(second, f"{name}.branch1.2", 192, (3, 1))
        last = name == "block8"
        net = residual(net, [conv(net, f"{name}.branch0", 192), second], name, 1.0 if last else 0.2, last)
    net = tf.nn.avg_pool2d(net, net.shape[1:3], 1, "VALID")
    net = tf.reshape(net, [-1, 1792])
    kept = v1.cond(training, lambda: tf.nn.dropout(net, 0.2), lambda: tf.identity(net))
    linear = tf.matmul(kept, made("last_linear.weight", (512, 1792)).T)
    return tf.squeeze(_normalised(linear[:, None, None], "last_bn", training), [1, 2])


def rude_carnie(folder: Path, classes: int) -> tuple[Path, Path, Callable[[Floats], Floats]]:
    """Inception-v3 by TensorFlow-Slim with rude-carnie's head: its checkpoint's two files, and what it answers."""
    from tf_slim import arg_scope
    from tf_slim.layers import conv2d
    from tf_slim.nets.inception_v3 import inception_v3_base

    with tf.Graph().as_default(), v1.Session() as session:
        picture = v1.placeholder(tf.float32, (None, None, None, 3))
        with arg_scope([conv2d], normalizer_fn=_slim_normalised):
            net, _ = inception_v3_base(picture)
        weights = v1.get_variable("output/weights", [2048, classes])
        biases = v1.get_variable("output/biases", [classes])
        answer = tf.nn.softmax(tf.matmul(tf.reduce_mean(net, [1, 2]), weights) + biases)
        for variable in v1.global_variables():
            variable.load(_made_variable(variable.op.name, tuple(variable.shape)), session)
        v1.train.Saver().save(session, str(folder / "checkpoint"), global_step=14999)
        frozen = v1.graph_util.convert_variables_to_constants(session, session.graph_def, [answer.op.name])
    index = folder / "checkpoint-14999.index"
    data = folder / "checkpoint-14999.data-00000-of-00001"
    return index, data, lambda batch: run(frozen, picture.name, answer.name, batch)


def _slim_normalised(value: Any) -> Any:
    # Slim's own needs a Keras of long ago.
    with v1.variable_scope(None, "BatchNorm"):
        channels = value.shape[-1:]
        beta, mean, variance = (v1.get_variable(name, channels) for name in ("beta", "moving_mean", "moving_variance"))
        return v1.nn.fused_batch_norm(value, tf.ones(channels), beta, mean, variance, epsilon=0.001, is_training=False)[
            0
        ]


def _made_variable(name: str, shape: tuple[int, ...]) -> Floats:
    if len(shape) > 1:
        return made(name, shape, fan_in=int(np.prod(shape[:-1])))
    return made(name.replace("moving_variance", "running_var"), shape)


def run(graph: Any, image: str, output: str, batch: Floats, **flags: bool) -> Floats:
    """What TensorFlow answers to ``(N, 3, H, W)``."""
    with tf.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(graph, name="")
        given = {image: batch.transpose(0, 2, 3, 1), **{f"{name}:0": value for name, value in flags.items()}}
        answer: Floats = session.run(output, given)
    return answer


def keras_mask(folder: Path) -> Callable[[Floats], Floats]:
    """A SavedModel of Inception-v3 cut after its seventh mixed layer, with a small head, and what it answers."""
    import keras

    base = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(100, 100, 3))
    value = keras.layers.GlobalAveragePooling2D()(base.get_layer("mixed7").output)
    value = keras.layers.Dropout(0.5)(keras.layers.Dense(128, activation="relu")(value))
    model = keras.Model(base.input, keras.layers.Dense(3, activation="softmax")(value))
    model.set_weights(
        [
            _made_variable(f"{number}/{weight.name.replace('moving_variance', 'running_var')}", tuple(weight.shape))
            for number, weight in enumerate(model.weights)
        ]
    )
    model.export(folder, verbose=False)
    return lambda batch: np.asarray(model(batch.transpose(0, 2, 3, 1), training=False))
