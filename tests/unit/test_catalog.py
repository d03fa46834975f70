"""The catalogue: what it accepts, what it refuses and how it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_calculator.errors import ConfigurationError
from embedding_calculator.models.catalog import PACKAGED, Catalog
from embedding_calculator.models.spec import InputSpec, Traits
from publisher import describe, tiny_network

TWO = """
[[model]]
name = "first"
plugins = ["a.Detector"]
licence = "MIT"
input = { colour = "bgr" }
[model.files.network]
importer = "onnx"
[[model.files.network.parts]]
filename = "first.onnx"

[[model]]
name = "second"
plugins = ["a.Detector", "b.Calculator"]
licence = "MIT"
input = { colour = "rgb", size = [112, 96], mean = [1, 2, 3] }
[model.files.pnet]
importer = "torch_mtcnn"
net = "pnet"
runtime = { bf16 = true }
input = { colour = "bgr", size = [12, 12] }
[[model.files.pnet.parts]]
filename = "pnet.pt"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "two.toml").write_text(TWO)
    return tmp_path


def test_the_first_entry_that_lists_a_plugin_is_its_default(folder: Path) -> None:
    catalog = Catalog.load(packaged=folder)
    assert [entry.name for entry in catalog] == ["first", "second"]
    assert catalog.find("a.Detector").name == "first"
    assert catalog.find("a.Detector", "second").name == "second"
    assert catalog.find("b.Calculator").name == "second"


def test_an_entry_is_typed(folder: Path) -> None:
    entry = Catalog.load(packaged=folder).entry("second")
    assert entry.input.size == (112, 96)
    assert entry.input.mean == (1.0, 2.0, 3.0)
    assert entry.files["pnet"].options == {"net": "pnet"}
    assert entry.files["pnet"].input == InputSpec((12, 12), "bgr")
    assert not entry.stored_chroma
    assert entry.files["pnet"].runtime == Traits(bf16=True, float32="onnxruntime")
    assert (entry.commercial, entry.verified) == ("unknown", "architecture")
    with pytest.raises(TypeError):
        entry.parameters["threshold"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("plugin", "model", "told"),
    [
        ("a.Detector", "third", "'a.Detector' has no model 'third'. It has: first, second"),
        ("c.Detector", None, "No model is for 'c.Detector'. There are models for: a.Detector, b.Calculator"),
    ],
)
def test_an_unknown_name_lists_what_there_is(folder: Path, plugin: str, model: str | None, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Catalog.load(packaged=folder).find(plugin, model)


def test_a_users_folder_adds_models(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "tiny.toml").write_text(describe(tiny_network()))
    catalog = Catalog.load([mine], packaged=folder)
    assert [entry.name for entry in catalog] == ["first", "second", "tiny"]
    assert catalog.entry("tiny").folder == mine


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model = 3", "no list of models"),
        ("[[model]\n", "not a readable TOML file"),
        ("[[models]]\nname = 'a'", "unknown key 'models'"),
        (TWO.replace('licence = "MIT"', ""), "model first: licence: Field required"),
        (TWO.replace('colour = "bgr"', 'color = "bgr"'), "model first: input: .*unknown key 'color'"),
        (TWO.replace("bf16 =", "int8 ="), r"model second: files\.pnet\.runtime: .*unknown key 'int8'"),
        (TWO.replace("size = [12, 12]", "side = 12"), r"model second: files\.pnet\.input: .*unknown key 'side'"),
        (TWO.replace('"first.onnx"', '"../first.onnx"'), r"files\.network\.parts\.0\.filename"),
        (TWO + 'sources = [{ index = "a==1" }]', "'index' needs 'member'"),
        (TWO + 'sources = [{ index = "a>=1", member = "x" }]', r"sources\.0\.index"),
        (TWO + 'sources = [{ index = "--find-links==1", member = "x" }]', r"sources\.0\.index"),
        (TWO + 'sources = [{ url = "file:///etc/passwd" }]', r"sources\.0\.url"),
        (TWO + "sources = [{}]", "either 'index' or 'url'"),
        (TWO + 'sources = [{ url = "http://example.org/p.pt" }]', "exchanged on its way: use https, or .* of pnet.pt"),
        (TWO.replace('"MIT"', '"MIT"\nparameters = { stored_chroma = true }'), "first: parameters: .*the model itself"),
        (TWO.replace('"MIT"', '"MIT"\nparameters = { second_look = {} }'), "parameters: .*'input' of the file 'onet'"),
        (TWO + 'sha256 = "ABC"', r"parts\.0\.sha256"),
        (TWO.replace('"MIT"', '"MIT"\nverified = "weights"'), r"needs the sha256 \(or sha1\) of first.onnx"),
        (TWO.replace("second", "first"), "named 'first'"),
    ],
)
def test_a_malformed_file_is_named_with_its_key(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=told) as caught:
        Catalog.load([tmp_path], packaged=tmp_path / "none")
    assert "wrong.toml" in str(caught.value) or "named" in str(caught.value)


@pytest.mark.parametrize(
    "part",
    [
        'sources = [{ url = "https://example.org/p.pt" }]',
        'sources = [{ url = "http://localhost:8000/p.pt" }]',
        f'sources = [{{ url = "http://example.org/p.pt" }}]\nsha1 = "{40 * "a"}"',
    ],
)
def test_addresses_that_nobody_can_exchange_a_file_at(tmp_path: Path, part: str) -> None:
    (tmp_path / "right.toml").write_text(TWO + part)
    assert len(Catalog.load(packaged=tmp_path).entry("second").parts[0].sources) == 1


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"MODEL_CATALOG names .*nowhere"):
        Catalog.load([tmp_path / "nowhere"])


def test_the_packaged_catalogue_is_well_formed() -> None:
    for entry in Catalog.load(packaged=PACKAGED):
        assert entry.homepage
        assert entry.licence
