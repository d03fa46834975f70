"""What the routes share, and the one order in which a request is judged, computed and answered."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from starlette.requests import Request

from embedding_calculator.engine.admission import Admission, Ticket, pixels_of
from embedding_calculator.engine.analyzer import Analyzer, box_of
from embedding_calculator.engine.choices import Choices
from embedding_calculator.engine.intake import take_in
from embedding_calculator.engine.timing import MeasuredPicture
from embedding_calculator.errors import NoFaceFoundError
from embedding_calculator.http.metrics import Metrics
from embedding_calculator.http.parameters import Parameters
from embedding_calculator.http.tracing import Tracing
from embedding_calculator.plugins.base import FacePlugin, Fields, needs_detection
from embedding_calculator.plugins.registry import Configured
from embedding_calculator.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """Nothing in it changes while the service runs; what belongs to a request travels with the request."""

    choices: Choices
    settings: Settings
    admission: Admission
    metrics: Metrics
    tracing: Tracing

    def status(self, parameters: Parameters) -> dict[str, Any]:
        """What runs here."""
        analyzer = self.choices.named(parameters.models)
        calculator = analyzer.calculator
        return {
            "status": "OK",
            "build_version": self.settings.app_version_string,
            "calculator_version": calculator.version,
            "similarity_coefficients": calculator.run.similarity_coefficients,
            "available_plugins": analyzer.versions,
            "models": self.choices.names,
            "engines": self.choices.running,
        }

    def find_faces(self, data: bytes, parameters: Parameters, ticket: Ticket) -> dict[str, Any]:
        """Detection and the plugins that were asked for."""
        analyzer = self.choices.named(parameters.models)
        plugins = analyzer.chosen(parameters.face_plugins)
        if not parameters.detect_faces:
            plugins = tuple(plugin for plugin in plugins if not needs_detection(plugin.run))
        versions = {configured.slug: configured.version for configured in (analyzer.detector, *plugins)}
        result = self._faces(data, parameters, ticket, analyzer, plugins, detect=parameters.detect_faces)
        return {"plugins_versions": versions, "result": result}

    def scan_faces(self, data: bytes, parameters: Parameters, ticket: Ticket) -> dict[str, Any]:
        """The legacy endpoint: detection and embeddings, whatever else was asked for."""
        analyzer = self.choices.named(parameters.models)
        result = self._faces(data, parameters, ticket, analyzer, (analyzer.calculator,), detect=True)
        return {"calculator_version": "ScannerWithPlugins", "result": result}

    def _faces(
        self,
        data: bytes,
        parameters: Parameters,
        ticket: Ticket,
        analyzer: Analyzer,
        plugins: tuple[Configured[FacePlugin], ...],
        *,
        detect: bool,
    ) -> list[dict[str, Any]]:
        stopwatch = ticket.stopwatch
        stopwatch.plugins = {configured.slug: configured.version for configured in (analyzer.detector, *plugins)}
        with stopwatch.stage("open"):
            encoded = take_in(data, self.settings, stored_chroma=analyzer.stored_chroma)
        ticket.take_pixels(pixels_of(encoded.working_bytes))
        picture = MeasuredPicture(encoded, stopwatch)
        threshold = parameters.threshold()
        with stopwatch.stage("detector"):
            faces, milliseconds = analyzer.detect(picture, threshold) if detect else (analyzer.take_whole(picture), 0.0)
        if not len(faces):
            raise NoFaceFoundError
        faces = faces[: parameters.limit()]
        embedding_format = parameters.embedding_format()
        ticket.check()
        with stopwatch.stage("crop"):
            description = analyzer.describe(picture, faces, plugins, whole=not detect)
            for slug, start, end in description.times:
                stopwatch.add(slug, start, end)
        stopwatch.faces += len(faces)
        times = {slug: int(value) for slug, value in {"detector": milliseconds, **description.milliseconds}.items()}
        return [
            {**_formatted(fields, embedding_format), "box": box_of(faces, index), "execution_time": times}
            for index, fields in enumerate(description.fields)
        ]


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    return cast(Service, request.app.state.service)


def _formatted(fields: Fields, embedding_format: str) -> Fields:
    if embedding_format != "base64" or "embedding" not in fields:
        return fields
    little_endian = np.ascontiguousarray(fields["embedding"], "<f4").tobytes()
    return {**fields, "embedding": binascii.b2a_base64(little_endian, newline=False).decode()}
