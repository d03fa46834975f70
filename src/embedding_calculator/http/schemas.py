"""The shapes of the answers, for the OpenAPI document only: answers are written by orjson, not validated twice."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Health(BaseModel):
    """The service is up."""

    status: Literal["OK"]


class Workers(BaseModel):
    """Worker processes: how many are alive with their models open, and how many there should be."""

    alive: int = Field(examples=[2])
    expected: int = Field(examples=[2])


class Readiness(Health):
    """The service can be sent requests."""

    workers: Workers | None = Field(None, description="Where there are several (`UWSGI_PROCESSES`).")


class Engine(BaseModel):
    """How a network runs."""

    engine: Literal["onnxruntime", "openvino"]
    device: str = Field(description="In the engine's own words.", examples=["CPU"])
    precision: Literal["f32", "bf16", "int8"]
    threads: int = Field(description="Of one call; calls run side by side.", examples=[1])
    nodes: dict[str, int] | None = Field(
        description="Nodes of the graph by device, where the engine tells it.", examples=[{"CPUExecutionProvider": 105}]
    )


class Status(BaseModel):
    """What runs here."""

    status: Literal["OK"]
    build_version: str = Field(examples=["dev"])
    calculator_version: str = Field(
        description="Stored with every embedding by clients, and compared later.", examples=["opencv_zoo.Calculator"]
    )
    similarity_coefficients: tuple[float, float] = Field(
        description="c0 and c1 of `(tanh((c0 - d) * c1) + 1) / 2`, d the distance of two embeddings of unit length."
    )
    available_plugins: dict[str, str] = Field(
        description="Slug to plugin.", examples=[{"detector": "opencv_zoo.FaceDetector", "age": "dlib_zoo.AgeDetector"}]
    )
    models: list[str] = Field(
        description="Detectors and calculators that a request may name.",
        examples=[["opencv_zoo.FaceDetector", "opencv_zoo.Calculator"]],
    )
    engines: dict[str, dict[str, Engine]] = Field(description="Model to its networks, and how each runs.")


class Box(BaseModel):
    """Pixels of the picture as a person sees it, and how sure the detector is."""

    x_min: int = Field(examples=[168])
    y_min: int = Field(examples=[54])
    x_max: int = Field(examples=[277])
    y_max: int = Field(examples=[199])
    probability: float = Field(ge=0, le=1, examples=[0.94])


class Age(BaseModel):
    """Years, both ends included."""

    low: int = Field(examples=[30])
    high: int = Field(examples=[40])
    probability: float = Field(ge=0, le=1)


class Gender(BaseModel):
    """As the network labels it."""

    value: Literal["male", "female"]
    probability: float = Field(ge=0, le=1)


class Mask(BaseModel):
    """Whether a mask is worn."""

    value: Literal["without_mask", "with_mask", "mask_weared_incorrect"]
    probability: float = Field(ge=0, le=1)


class Pose(BaseModel):
    """Degrees; zero looks into the camera."""

    pitch: float
    yaw: float
    roll: float


class Face(BaseModel):
    """One face: `box` and `execution_time` always, everything else if it was asked for."""

    model_config = ConfigDict(extra="allow")

    box: Box
    execution_time: dict[str, int] = Field(
        description="Milliseconds by slug, averaged over the faces of the picture.",
        examples=[{"detector": 12, "calculator": 9}],
    )
    embedding: list[float] | str | None = Field(
        None,
        description="Text with `embedding_format=base64`: the base64 of little-endian float32.",
        examples=[[0.021, -0.113, 0.054]],
    )
    landmarks: list[tuple[int, int]] | None = Field(
        None,
        description="Left eye, right eye, nose, mouth left, mouth right; left in the image.",
        examples=[[[198, 115], [245, 113], [225, 142], [206, 163], [244, 161]]],
    )
    age: Age | None = None
    gender: Gender | None = None
    pose: Pose | None = None
    mask: Mask | None = None


class Found(BaseModel):
    """Faces, largest box first."""

    plugins_versions: dict[str, str] = Field(
        description="The detector and the plugins that ran.", examples=[{"detector": "opencv_zoo.FaceDetector"}]
    )
    result: list[Face]


class Scanned(BaseModel):
    """Faces with embeddings, in the legacy shape."""

    calculator_version: Literal["ScannerWithPlugins"]
    result: list[Face]


class Error(BaseModel):
    """What went wrong."""

    message: str
