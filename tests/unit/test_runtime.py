"""Which engine runs a network, what is refused, and that both engines are used rightly."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from embedding_calculator.errors import ConfigurationError
from embedding_calculator.models.runtime import Plan, Runtime, Wishes, choice, machine, open_network
from embedding_calculator.models.runtime.network import run_in_pieces
from embedding_calculator.models.runtime.onnx_runtime import CORE_ML, CUDA, OnnxRuntimeNetwork, Provider
from embedding_calculator.models.runtime.tuning import measure, read_tuning, tuning_file, write_tuning
from embedding_calculator.models.spec import Traits
from publisher import tiny_network

ORT, OV, BF16, INT8 = Plan("onnxruntime"), Plan("openvino"), Plan("openvino", "bf16"), Plan("openvino", "int8")
TAME = Traits(bf16=True, float32="openvino")
"""Like SFace."""


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network of any batch, 3x16x16."""
    path = tmp_path / "network.onnx"
    model = onnx.load_from_string(tiny_network())
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, path)
    return path


class FakeOpenVino:
    has_bf16 = True
    has_int8 = True


@pytest.fixture
def modern(monkeypatch: pytest.MonkeyPatch) -> None:
    """An x86 processor with AMX, and OpenVINO installed."""
    monkeypatch.setattr(machine, "is_x86", lambda: True)
    monkeypatch.setattr(machine, "may_have_bf16", lambda: True)
    monkeypatch.setattr(machine, "has_fast_bf16", lambda: True)
    monkeypatch.setattr(choice, "OpenVino", FakeOpenVino)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)


@pytest.mark.usefixtures("modern")
@pytest.mark.parametrize(
    ("traits", "wishes", "plan"),
    [
        (TAME, Wishes(), BF16),
        (Traits(bf16=True), Wishes(), BF16),
        (Traits(float32="openvino"), Wishes(), OV),
        (Traits(), Wishes(), ORT),
        (TAME, Wishes(precision="f32"), OV),
        (Traits(bf16=True), Wishes(precision="f32"), ORT),
        (TAME, Wishes(openvino=False), ORT),
        (TAME, Wishes(openvino=True), BF16),
        (Traits(), Wishes(openvino=True), OV),
        (TAME, Wishes(openvino=True, precision="f32"), OV),
        (TAME, Wishes(gpu=-1), BF16),
    ],
)
def test_what_suits_a_network(traits: Traits, wishes: Wishes, plan: Plan) -> None:
    assert Runtime(wishes).plan(traits) == plan


@pytest.mark.usefixtures("modern")
def test_a_processor_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "may_have_bf16", lambda: False)
    monkeypatch.setattr(machine, "has_fast_bf16", lambda: False)
    assert Runtime().plan(TAME) == OV
    assert Runtime().plan(Traits(bf16=True)) == ORT
    assert BF16 not in Runtime().candidates(TAME)


@pytest.mark.usefixtures("modern")
def test_bf16_that_is_slow_runs_only_where_tune_found_it_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_fast_bf16", lambda: False)
    assert Runtime().plan(TAME) == Runtime(Wishes(openvino=True)).plan(TAME) == OV
    assert Runtime().candidates(TAME) == [ORT, OV, BF16]
    assert Runtime(Wishes(), {"a" * 64: BF16}).plan(TAME, "a" * 64) == BF16


@pytest.mark.usefixtures("modern")
def test_int8_is_run_where_it_is_wished_for_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    wishing = Runtime(Wishes(precision="int8"))
    assert wishing.plan(TAME, int8=True) == wishing.plan(Traits(), int8=True) == INT8
    assert (wishing.plan(TAME), wishing.plan(Traits())) == (BF16, ORT)
    assert Runtime().plan(TAME, int8=True) == BF16
    assert Runtime(Wishes(precision="f32")).plan(TAME, int8=True) == OV
    assert wishing.candidates(TAME, int8=True) == [ORT, OV, BF16, INT8]
    assert INT8 not in [*wishing.candidates(TAME), *Runtime().candidates(TAME, int8=True)]
    # What tune found faster here comes first, and what it found of a variant that is gone does not count.
    assert Runtime(Wishes(precision="int8"), {"a" * 64: BF16}).plan(TAME, "a" * 64, int8=True) == BF16
    assert Runtime(Wishes(precision="int8"), {"a" * 64: INT8}).plan(TAME, "a" * 64) == BF16
    monkeypatch.setattr(FakeOpenVino, "has_int8", False)
    with pytest.raises(ConfigurationError, match=r"INFERENCE_PRECISION=int8 .* no INT8 on this processor"):
        Runtime(Wishes(precision="int8"))


@pytest.mark.usefixtures("without_openvino")
@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        (Wishes(precision="int8"), "openvino is not installed"),
        (Wishes(precision="int8", openvino=False), "INTEL_OPTIMIZATION=false forbids it"),
    ],
)
def test_int8_without_openvino_is_refused(wishes: Wishes, why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"INFERENCE_PRECISION=int8 runs on OpenVINO, but .*{why}"):
        Runtime(wishes)


@pytest.mark.usefixtures("modern")
def test_other_processors_are_not_guessed_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_x86", lambda: False)
    assert Runtime().plan(TAME) == ORT
    assert Runtime(Wishes(openvino=True)).plan(TAME) == BF16


@pytest.mark.usefixtures("without_openvino")
def test_without_openvino() -> None:
    assert Runtime().plan(TAME) == ORT
    assert Runtime().candidates(TAME) == [ORT]
    with pytest.raises(ConfigurationError, match=r"INTEL_OPTIMIZATION=true, but .* openvino is not installed"):
        Runtime(Wishes(openvino=True))


def test_an_openvino_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ConfigurationError("OpenVINO cannot be used: libtbb.so.12 is missing")

    monkeypatch.setattr(choice, "OpenVino", broken)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    assert Runtime().plan(TAME) == ORT
    with pytest.raises(ConfigurationError, match="libtbb"):
        Runtime(Wishes(openvino=True))


def test_a_gpu_that_onnxruntime_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigurationError, match=r"GPU_IDX.*no CUDAExecutionProvider.*install onnxruntime-gpu"):
        Runtime(Wishes(gpu=0))
    with pytest.raises(ConfigurationError, match="INTEL_OPTIMIZATION"):
        Runtime(Wishes(gpu=0, openvino=True))


def test_a_gpu_that_does_not_start(monkeypatch: pytest.MonkeyPatch, network: Path) -> None:
    class FallenBack:
        def __init__(self, *_: Any, providers: list[tuple[str, dict[str, Any]]]) -> None:
            assert providers[0] == (CUDA, {"device_id": 3, "cudnn_conv_algo_search": "HEURISTIC"})

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr("onnxruntime.InferenceSession", FallenBack)
    with pytest.raises(ConfigurationError, match=r"GPU_IDX.*did not start.*nvidia-smi"):
        OnnxRuntimeNetwork(network, 1, Provider.of_gpu(3, "Linux"))


def test_how_a_gpu_is_set_up() -> None:
    limited = Provider.of_gpu(1, "Windows", 2**30)
    assert limited.name == CUDA
    assert limited.options["device_id"] == 1
    assert limited.options["gpu_mem_limit"] == 2**30
    assert Provider.of_gpu(0, "Darwin").name == CORE_ML


@pytest.mark.usefixtures("modern")
def test_what_was_measured_here_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tuning_file(tmp_path)
    assert read_tuning(path) == {}
    write_tuning(path, {"a" * 64: Plan("onnxruntime", threads=2), "b" * 64: BF16})
    write_tuning(path, {"c" * 64: OV})
    tuned = read_tuning(path)
    assert set(tuned) == {letter * 64 for letter in "abc"}
    runtime = Runtime(Wishes(), tuned)
    assert runtime.plan(TAME, "a" * 64) == Plan("onnxruntime", threads=2)
    assert runtime.plan(TAME, "c" * 64) == OV
    assert runtime.plan(TAME, "d" * 64) == BF16
    # Wishes and what a network bears come first.
    assert runtime.plan(Traits(), "b" * 64) == ORT
    assert Runtime(Wishes(openvino=False), tuned).plan(TAME, "c" * 64) == ORT
    assert Runtime(Wishes(precision="f32"), tuned).plan(TAME, "b" * 64) == OV

    elsewhere = {"cpu": "another", "onnxruntime": "1", "openvino": None}
    monkeypatch.setattr(machine, "fingerprint", lambda: elsewhere)
    assert read_tuning(path) == {}
    write_tuning(path, {"d" * 64: ORT})
    assert json.loads(path.read_text()) == {"machine": elsewhere, "plans": {"d" * 64: asdict(ORT)}}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"plans": {"a": {"engine": "tensorrt"}}}', '{"plans": 1}'])
def test_a_damaged_choice_is_ignored(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tuning_file(tmp_path)
    path.write_text(content)
    assert read_tuning(path) == {}
    assert "embedding-calculator tune" in caplog.text


def test_large_inputs_run_alone_and_small_ones_together() -> None:
    sizes = []

    def run(batch: Any) -> dict[str, Any]:
        sizes.append(len(batch))
        return {"sum": batch.sum(axis=(1, 2, 3))}

    for side, expected in ((112, [1, 1, 1]), (48, [3])):
        batch = np.random.default_rng(0).random((3, 3, side, side), np.float32)
        np.testing.assert_array_equal(run_in_pieces(run, batch)["sum"], batch.sum(axis=(1, 2, 3)))
        assert sizes == expected
        sizes.clear()


def test_both_engines_agree_from_many_threads(network: Path) -> None:
    pytest.importorskip("openvino")
    runtime = Runtime(Wishes(callers=2))
    batches = [np.random.default_rng(seed).normal(size=(seed % 5 + 1, 3, 16, 16)).astype("f4") for seed in range(40)]
    expected = [open_network(network).run(batch)["embedding"] for batch in batches]
    for plan in (ORT, OV):
        opened = runtime.open_as(network, plan)
        assert (opened.running.engine, opened.running.precision) == (plan.engine, "f32")
        with ThreadPoolExecutor(6) as pool:
            for answer, right in zip(pool.map(opened.run, batches), expected, strict=True):
                np.testing.assert_allclose(answer["embedding"], right, rtol=1e-4, atol=1e-3)
    assert measure(runtime, {ORT: network, OV: network}, batches[0]).keys() == {ORT, OV}


def test_outputs_keep_the_names_of_the_graph(tmp_path: Path) -> None:
    """OpenVINO gives an output every name of the nodes it merges into it."""
    pytest.importorskip("openvino")
    shape: list[str | int | None] = ["n", 3, "h", "w"]
    nodes = [
        helper.make_node("Sigmoid", ["image"], ["inner"]),
        helper.make_node("Identity", ["inner"], ["zebra"]),
        helper.make_node("Relu", ["inner"], ["ape"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("zebra", "ape")]
    graph = helper.make_graph(nodes, "names", [image], outputs)
    path = tmp_path / "names.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    batch = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype("f4")
    answer = Runtime(Wishes(openvino=True)).open(path).run(batch)
    assert set(answer) == {"zebra", "ape"}
    np.testing.assert_allclose(answer["zebra"], 1 / (1 + np.exp(-batch)), rtol=1e-4)


def test_openvino_is_loaded_without_its_telemetry(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    program = (
        "import sys, threading\n"
        "from embedding_calculator.models.runtime.open_vino import OpenVino\n"
        "OpenVino()\n"
        "print('openvino_telemetry' in sys.modules, threading.active_count())\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={"HOME": str(tmp_path)}
    )
    assert told.stdout.split() == ["False", "1"]
    assert not list(tmp_path.iterdir())
