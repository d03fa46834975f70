"""The pictures of ``make bench``: what a photo costs, and how that grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from benchmarks.growth import Curve, Growth
from benchmarks.rows import Row
from benchmarks.tables import KINDS
from embedding_calculator.evaluation import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"floor": "#c3cbd2", "library": "#86cfc4", "service": plots.TEAL}
_PEER = "#f0a892"
_WORKS = {"detection": "Detection", "embeddings": "With embeddings", "everything": "With everything"}
_TITLES = {"small": "Small photos", "big": "Photos of 12 to 36 megapixels"}


def draw_costs(rows: Sequence[Row], path: Path) -> None:
    """CPU of a photo as bars, the same work together, small photos beside big ones."""
    shown = [row for row in rows if row.clients == 1]
    places: dict[int, float] = {}
    for work in _WORKS:
        start = max(places.values(), default=-1.8) + 1.8
        places |= {id(row): start + number for number, row in enumerate(row for row in shown if row.work == work)}
    figure = Figure((10, 0.31 * max(places.values()) + 1.6), layout="constrained")
    for number, kind in enumerate(KINDS):
        axes = figure.add_subplot(1, 2, number + 1)
        plots.style(axes, "ms of CPU a photo", "")
        axes.set_title(_TITLES[kind], loc="left", color=plots.INK, fontsize=11, fontweight="bold")
        bars = [(row, cost.cpu * 1000) for row in shown if (cost := row.cost(kind))]
        # One that costs ten times as much as all others would leave nothing of them to be seen.
        longest = 1.15 * max(cpu for row, cpu in bars if row.name in _COLOURS or "insightface" in row.name)
        for row, cpu in bars:
            place, colour = places[id(row)], _COLOURS.get(row.name, _PEER)
            axes.barh(place, min(cpu, longest), height=0.78, color=colour)
            beyond = " →" if cpu > longest else ""
            axes.annotate(
                f"{cpu:.0f}{beyond}" if cpu >= 9.95 else f"{cpu:.1f}",
                (min(cpu, longest), place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=plots.INK,
                fontsize=8.5,
            )
        for row in shown:
            if row.cost(kind) is None:
                axes.text(0, places[id(row)], " not measured", color=plots.GREY, fontsize=8.5, va="center")
        axes.set(ylim=(max(places.values()) + 0.7, -1.3), xlim=(0, longest * 1.14))
        axes.grid(visible=False, axis="y")
        axes.set_yticks([places[id(row)] for row in shown], [row.name if number == 0 else "" for row in shown])
        for work, title in _WORKS.items():
            top = min(places[id(row)] for row in shown if row.work == work)
            axes.text(0, top - 0.68, title, color=plots.GREY, fontsize=9, va="center")
    _write(figure, path)


def draw_growth(growth: Growth, path: Path) -> None:
    """Points measured, lines fitted, each named at its end."""
    figure = Figure((12.5, 3.8), layout="constrained")
    pixels, faces, clients = (figure.add_subplot(1, 3, number) for number in (1, 2, 3))
    for axes, title, x, y in (
        (pixels, "Pixels", "Megapixels", "ms of CPU a photo"),
        (faces, "Faces", "Faces in the photo", "ms of CPU a photo"),
        (clients, "Clients", "Clients at once", "ms until the answer (median)"),
    ):
        plots.style(axes, x, y)
        axes.set_title(title, loc="left", color=plots.INK, fontsize=11, fontweight="bold")
    for curve, colour in zip(growth.pixels, (plots.TEAL, plots.CORAL), strict=True):
        _curve(pixels, curve, colour, f"{curve.name}\n{curve.line.slope:.1f} ms\na megapixel")
    for curve, colour in zip(growth.faces, (plots.GREY, plots.TEAL, plots.CORAL), strict=True):
        _curve(faces, curve, colour, f"{curve.name}\n{curve.line.slope:.1f} ms a face")
    _curve(clients, growth.clients, plots.TEAL, f"{1000 / growth.clients.line.slope:.0f} photos\na second")
    for axes in (pixels, faces, clients):
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.margins(x=0)
    _write(figure, path)


def _curve(axes: Axes, curve: Curve, colour: str, label: str) -> None:
    ends = np.array([0, curve.x[-1]])
    axes.plot(ends, [curve.line.at(end) for end in ends], color=colour, linewidth=1.6, alpha=0.55)
    axes.plot(curve.x, curve.values, "o", color=colour, markersize=5, clip_on=False, zorder=3)
    end = (curve.x[-1], curve.values[-1])
    axes.annotate(
        label,
        end,
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontsize=9,
        annotation_clip=False,
    )


def _write(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, facecolor=plots.PAPER)
