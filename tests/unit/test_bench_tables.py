"""What ``make bench`` makes of its measurements: known numbers in, known verdicts out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
from benchmarks.growth import contact_sheet, fit
from benchmarks.rows import Memory, Photo, Row
from benchmarks.tables import costs, memory, targets, verdicts

from embedding_calculator import FaceAnalyzer

CPU = {"floor": 0.010, "library": 0.011, "service": 0.012}  # Seconds a photo.


def row(name: str, work: str, clients: int = 1, cpu: float | None = None) -> Row:
    made = Row(name, work, lambda photo: photo, psutil.Process(), clients)
    for kind in ("small", "big"):
        made._seconds[kind] = [0.020] * 10
        made._cpu[kind] = [cpu or CPU[name]] * 3
        made._wall[kind] = [0.025] * 3
    return made


def rows(service_detection: float = 0.0115) -> list[Row]:
    works = ("detection", "embeddings", "everything")
    made = [row(name, work) for name in ("floor", "library") for work in works]
    made += [row("service", work, clients) for work in works[1:] for clients in (1, 4)]
    return [*made, row("service", "detection", cpu=service_detection)]


def test_targets_that_are_met_and_missed() -> None:
    found = {target.text: target for target in targets(rows(), ready=410)}
    assert found["CPU, small photo, detection: service / floor"].found == pytest.approx(1.15)
    assert found["CPU, small photo, detection: service / floor"].met
    assert found["CPU, small photo, embeddings: service / floor"].found == pytest.approx(1.2)
    assert not found["CPU, small photo, embeddings: service / floor"].met
    assert found["CPU of the web, small photo, everything: service - library"].found == pytest.approx(1.0)
    assert found["small photos a second, everything, 4 clients"].found == pytest.approx(40)
    assert found["small photos a second, everything, 4 clients"].met
    assert not found["memory when ready"].met


def test_tables_for_pages() -> None:
    spared = Row("slow", "detection", lambda photo: photo, psutil.Process(), big=False)
    spared.measure("big", [Photo(Path("a"), b"a")])
    page = costs([row("service", "detection", 4), spared]).on_page().splitlines()
    assert page[2] == "| service, detection, 4 clients | 20.0 | 20.0 | 12.0 | 40.0 | 20.0 | 20.0 | 12.0 | 40.0 |"
    assert page[3].endswith("| - | - | - | - | - | - | - | - |")
    assert memory({"service": Memory(300.4, 500, 320)}).on_page().endswith("| service | 300 | 500 | 320 |\n")
    assert "| memory when ready | ≤ 400 MB | 410 MB | no |" in verdicts(targets(rows(), 410)).on_page()


def test_a_line_through_points_is_found() -> None:
    x = np.array([0.1, 1, 10, 36])
    line = fit(x.tolist(), (4 + 1.5 * x).tolist())
    assert (line.start, line.slope) == pytest.approx((4, 1.5))


@pytest.mark.integration
def test_contact_sheets_hold_as_many_faces_as_they_say() -> None:
    analyzer = FaceAnalyzer()
    assert [len(analyzer.find_faces(contact_sheet(faces), plugins=())) for faces in (1, 8, 64)] == [1, 8, 64]
