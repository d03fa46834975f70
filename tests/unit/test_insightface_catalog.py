"""The catalogue's InsightFace entries, against a table of what is published and of how the original used it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import pytest

from embedding_calculator.models.catalog import Catalog, Entry

ENTRIES = {entry.name: entry for entry in Catalog.load() if entry.plugins[0].startswith("insightface.")}
ENTRIES = {name: entry for name, entry in ENTRIES.items() if entry.files["network"].importer in {"mxnet", "onnx"}}
MXNET = ("*-symbol.json", "*-0000.params")


class Original(NamedTuple):
    """A model of the original: where it is published, and the hash of its weights if it is known."""

    plugins: tuple[str, ...]
    drive: str
    hashed: str
    size: tuple[int, int] | None
    parameters: dict[str, object]


def detector(drive: str, hashed: str, landmark_std: float) -> Original:
    head = {"head": "retinaface", "threshold": 0.8, "overlap": 0.4, "landmark_std": landmark_std}
    return Original(("FaceDetector",), drive, hashed, None, head)


def calculator(drive: str, hashed: str, coefficients: list[float], threshold: float) -> Original:
    parameters = {"similarity_coefficients": coefficients, "difference_threshold": threshold}
    return Original(("Calculator",), drive, hashed, (112, 112), parameters)


MNET_V1 = "ea0d60a1df12658742d4555e28437373250e793fd720027c763331083ddf7081"
MNET_V2 = "b6524c10e0d0b230a01fe7587648784d2f58a35dd3bb18b96e3da417130ad8f0"
MOBILEFACENET = "b151f97e392e68cb540fb9710a91a574a4187d491eeda77d1c1799ae6dc3b82b"
GENDERAGE = "01788b7eaa2516636cbd976fad7883164aaeb0bd4027e878ff457f79fe9021aa"
R50, R100 = "39fd1e087a2a2ed70a154ac01fecaa86c315d01b", "95be21b58e29e9c1237f229dae534bd854009ce0"

ORIGINALS = {
    "retinaface_mnet025_v1": detector("1ggNFFqpe0abWz6V1A82rnxD6fyxB8W2c", MNET_V1, 1.0),
    "retinaface_mnet025_v2": detector("1EYTMxgcNdlvoL1fSC8N1zkaWrX75ZoNL", MNET_V2, 0.2),
    "retinaface_r50_v1": detector("1LZ5h9f_YC5EdbIZAqVba9TKHipi90JBj", R50, 1.0),
    "arcface_mobilefacenet": calculator(
        "17TpxpyHuUc1ZTm3RIbfvhnBcZqhyKszV", MOBILEFACENET, [1.26538905, 5.552089201], 200
    ),
    "arcface_r100_v1": calculator("11xFaEHIQLNze3-2RUV1cQfT-q6PKKfYp", R100, [1.23132175, 6.602259425], 400),
    "arcface_resnet34": calculator("1ECp5XrLgfEAnwyTYFEhJgIsOAw6KaHa7", "", [1.2462842, 5.981636853], 400),
    "arcface_resnet50": calculator("1a9nib4I9OIVORwsqLB0gz0WuLC32E8gf", "", [1.2375747, 5.973354538], 400),
    "arcface-r50-msfdrop75": calculator("1gNuvRNHCNgvFtz7SjhW82v2-znlAYaRO", "", [1.2350148, 7.071431642], 400),
    "arcface-r100-msfdrop75": calculator("1lAnFcBXoMKqE-SkZKTmi6MsYAmzG0tFw", "", [1.224676, 6.322647217], 400),
    "arcface_mobilefacenet_casia_masked": calculator(
        "1ltcJChTdP1yQWF9e1ESpTNYAVwxLSNLP", "", [1.22507105, 7.321198934], 200
    ),
    "genderage_v1": Original(
        ("AgeDetector", "GenderDetector", "GenderAgeDetector"),
        "1J9hqSWqZz6YvMMNrDrmrzEW9anhvdKuC",
        GENDERAGE,
        (112, 112),
        {},
    ),
    "2d106det": Original(("Landmarks2d106Detector",), "18cL35hF2exZ8u4pfLKWjJGxF0ySuYM2o", "", (192, 192), {}),
}


class Packed(NamedTuple):
    """A network of today's packs, in any of them, as (pack, file)."""

    plugin: str
    sha256: str
    places: tuple[tuple[str, str], ...]


PACKS = {
    "det_500m": Packed(
        "FaceDetector",
        "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a",
        (("buffalo_sc", "det_500m"),),
    ),
    "det_2.5g": Packed(
        "FaceDetector",
        "041f73f47371333d1d17a6fee6c8ab4e6aecabefe398ff32cca4e2d5eaee0af9",
        (("buffalo_m", "det_2.5g"),),
    ),
    "det_10g": Packed(
        "FaceDetector",
        "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        (("buffalo_l", "det_10g"), ("antelopev2", "scrfd_10g_bnkps")),
    ),
    "w600k_r50": Packed(
        "Calculator",
        "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        (("buffalo_l", "w600k_r50"),),
    ),
    "w600k_mbf": Packed(
        "Calculator",
        "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
        (("buffalo_sc", "w600k_mbf"),),
    ),
    "glintr100": Packed(
        "Calculator",
        "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
        (("antelopev2", "glintr100"),),
    ),
}

RGB_ONLY = {"2d106det", *PACKS}
WEIGHTS_SEEN = {
    *("retinaface_mnet025_v1", "retinaface_mnet025_v1-rgb", "retinaface_mnet025_v2", "retinaface_mnet025_v2-rgb"),
    *("arcface_mobilefacenet", "arcface_mobilefacenet-rgb", "genderage_v1", "genderage_v1-rgb"),
    *("det_500m", "det_2.5g"),
}
"""Models whose authentic weights were run by these tests, on real photos, in the order of colours of the entry."""


def test_there_is_nothing_else() -> None:
    siblings = {f"{name}-rgb" for name in ORIGINALS if name not in RGB_ONLY}
    assert set(ENTRIES) == {*ORIGINALS, *siblings, *PACKS}
    assert {name for name, entry in ENTRIES.items() if entry.verified == "weights"} == WEIGHTS_SEEN


def test_a_family_without_a_named_model_uses_what_the_original_used() -> None:
    catalog = Catalog.load()
    assert catalog.find("insightface.FaceDetector").name == "retinaface_mnet025_v1"
    assert catalog.find("insightface.Calculator").name == "arcface_mobilefacenet"
    for plugin in ("AgeDetector", "GenderDetector", "GenderAgeDetector"):
        assert catalog.find(f"insightface.{plugin}").name == "genderage_v1"
    assert catalog.find("insightface.Landmarks2d106Detector").name == "2d106det"


@pytest.mark.parametrize("name", ENTRIES)
def test_its_licence_is_told(name: str) -> None:
    entry = ENTRIES[name]
    assert entry.licence == "InsightFace: non-commercial research"
    assert entry.commercial == "no"
    assert entry.homepage.startswith("https://github.com/deepinsight/insightface")


@pytest.mark.parametrize("name", ORIGINALS)
@pytest.mark.parametrize("suffix", ["", "-rgb"])
def test_a_model_of_the_original(name: str, suffix: str) -> None:
    if suffix and name in RGB_ONLY:
        assert name + suffix not in ENTRIES
        return
    entry, known = ENTRIES[name + suffix], ORIGINALS[name]
    assert entry.plugins == tuple(f"insightface.{plugin}" for plugin in known.plugins)
    # The original fed its networks planes in the other order than they were trained on, but not this one.
    assert entry.input.colour == ("rgb" if suffix or name in RGB_ONLY else "bgr")
    assert entry.input.size == known.size
    assert entry.input.mean == (0, 0, 0)
    assert entry.input.scale == (1, 1, 1)
    assert entry.parameters == known.parameters
    assert entry.stored_chroma == (not suffix and bool(known.parameters))

    file = entry.files["network"]
    assert file.importer == "mxnet"
    fixed: dict[str, object] = {} if known.size is None else {"input_size": list(known.size)}
    if known.size == (112, 112):
        fixed["outputs"] = ["fc1_output"]
    assert file.options == fixed
    for part, pattern in zip(file.parts, MXNET, strict=True):
        (source,) = part.sources
        assert source.url == f"https://drive.google.com/uc?id={known.drive}"
        assert source.member == pattern
        assert part.filename.endswith(pattern[1:])
    assert hash_of(entry) == known.hashed


def hash_of(entry: Entry) -> str:
    """The hash of the weights, whichever there is."""
    weights = entry.parts[-1]
    return weights.sha256 or weights.sha1 or ""


@pytest.mark.parametrize("name", PACKS)
def test_a_network_of_the_packs(name: str) -> None:
    entry, known = ENTRIES[name], PACKS[name]
    (part,) = entry.parts
    assert entry.plugins == (f"insightface.{known.plugin}",)
    assert part.filename == f"{name}.onnx"
    assert part.sha256 == known.sha256
    release = "https://github.com/deepinsight/insightface/releases/download/v0.7"
    assert [(source.url, source.member) for source in part.sources] == [
        (f"{release}/{pack}.zip", f"*{file}.onnx") for pack, file in known.places
    ]
    assert entry.input.colour == "rgb"
    assert entry.input.mean == (127.5,) * 3
    if known.plugin == "FaceDetector":
        assert entry.input.size is None
        assert entry.input.scale == (1 / 128,) * 3
        assert entry.parameters == {"head": "scrfd", "threshold": 0.5, "overlap": 0.4}
        assert entry.files["network"].options == {"dynamic_batch": False}
    else:
        assert entry.input.size == (112, 112)
        assert entry.input.scale == (1 / 127.5,) * 3
        # The original's for its largest ArcFace: nobody has fitted these.
        assert entry.parameters == {"similarity_coefficients": [1.23132175, 6.602259425]}
        assert entry.files["network"].options == {}


SHA1 = {
    "retinaface_mnet025_v1": "2c9de8116d1f448fd1d4661f90308faae34c990a",
    "retinaface_mnet025_v2": "0db1d07921d005e6c9a5b38e059452fc5645e5a4",
    "genderage_v1": "7dd8111652b7aac2490c5dcddeb268e53ac643e6",
}
"""Of the weights as their publisher tells it, where the catalogue has the sha256 of the same file."""


@pytest.mark.parametrize("name", sorted(WEIGHTS_SEEN))
def test_the_hashes_are_those_of_the_published_files(shared: Path, name: str) -> None:
    published = name.removesuffix("-rgb")
    folder = shared / "models/insightface" / published
    for part in ENTRIES[name].parts:
        content = (folder / part.filename).read_bytes()
        assert part.sha256 == hashlib.sha256(content).hexdigest()
        assert part.bytes == len(content)
    if published in SHA1:
        assert hashlib.sha1(content).hexdigest() == SHA1[published]
