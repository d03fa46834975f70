"""The pictures of the reports, drawn by Matplotlib on figures of their own: no state of the process is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from embedding_calculator.evaluation.attributes import AgeReport, Confusion
from embedding_calculator.evaluation.detection import Curve, Doubles
from embedding_calculator.evaluation.extras import tools_extra
from embedding_calculator.evaluation.similarity import Labels
from embedding_calculator.evaluation.verification import Roc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_FEW_DECADES = 0.01
"""A logarithmic axis that begins above it has too few powers of ten to mark only these."""

Plot: TypeAlias = "Figure"

TEAL, CORAL, INK, GREY, PAPER = "#0f9d8a", "#e4572e", "#17212b", "#8a97a3", "#ffffff"
SERIES = (TEAL, CORAL, "#3d5a98", "#e0a100", "#8f4fa8", "#5f6b76")


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write ``name.png`` and ``name.svg`` into the folder; returns the path of the latter."""
    svg = folder / f"{name}.svg"
    figure.savefig(folder / f"{name}.png", dpi=160, facecolor=PAPER)
    figure.savefig(svg, facecolor=PAPER, metadata={"Date": None})
    return svg


def roc_curve(roc: Roc) -> Figure:
    """True accepts over false ones, on a logarithmic scale, where what matters is not squeezed into a corner."""
    figure, axes = _figure("False accepts: pairs of two people taken for one", "True accepts")
    from matplotlib.ticker import LogLocator

    floor = max(1e-4, float(roc.false_accepts[roc.false_accepts > 0].min()) / 2)
    # A logarithmic axis has no zero: what is accepted without any false accept is drawn at the left edge.
    shown = np.concatenate([[floor], roc.false_accepts[roc.false_accepts > floor]])
    true = np.concatenate([[roc.true_accepts_at(floor)], roc.true_accepts[roc.false_accepts > floor]])
    axes.set_xscale("log")
    axes.plot(shown, true, drawstyle="steps-post", color=TEAL, linewidth=2.2, solid_capstyle="round")
    axes.fill_between(shown, true, step="post", color=TEAL, alpha=0.08)
    axes.set(xlim=(floor, 1), ylim=(min(0.9, float(true.min())) - 0.005, 1.003))
    axes.tick_params("x", which="minor", length=0, labelbottom=False)
    if floor > _FEW_DECADES:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    _percent(axes.xaxis, axes.yaxis)
    return figure


def distance_histogram(distances: Doubles, same: Labels, threshold: float) -> Figure:
    """How the distances of both kinds of pairs are spread: each kind's share in every one of 50 bins."""
    figure, axes = _figure("Distance of the pair's embeddings", "Share of the pairs of a kind")
    bins = np.linspace(0, float(distances.max()), 51).tolist()
    for chosen, colour, label in ((same, TEAL, "one person"), (~same, CORAL, "two people")):
        weights = np.full(int(chosen.sum()), 1 / chosen.sum())
        axes.hist(distances[chosen], bins, weights=weights, color=colour, alpha=0.75, label=label)
    axes.axvline(threshold, color=INK, linewidth=1.4, linestyle=(0, (4, 3)), label=f"threshold {threshold:.3f}")
    _percent(axes.yaxis)
    _legend(axes, "upper left")
    return figure


def age_errors(report: AgeReport) -> Figure:
    """Mean absolute error of every decade of life, with how many people it is the mean of."""
    figure, axes = _figure("Age in years", "Mean error in years")
    names = [f"{decade.first} to {decade.first + 9}" for decade in report.decades]
    errors = [decade.error for decade in report.decades]
    bars = axes.bar(names, errors, color=TEAL, width=0.72)
    axes.bar_label(bars, [f"{decade.people}" for decade in report.decades], padding=2, color=GREY, fontsize=8)
    axes.axhline(report.error, color=CORAL, linewidth=1.4, linestyle=(0, (4, 3)), label=f"all: {report.error:.1f}")
    axes.tick_params("x", rotation=35)
    axes.margins(y=0.12)
    _legend(axes, "upper left")
    return figure


def age_scatter(years: Doubles, told: Doubles) -> Figure:
    """Every person: the known age and the age told."""
    figure, axes = _figure("Age in years", "Age told (middle of the range)")
    top = float(max(years.max(), told.max())) * 1.04
    axes.plot([0, top], [0, top], color=GREY, linewidth=1)
    axes.scatter(years, told, s=16, color=TEAL, alpha=0.55, linewidths=0)
    axes.set(xlim=(0, top), ylim=(0, top))
    return figure


def confusion_matrix(confusion: Confusion) -> Figure:
    """Counts of truth (rows) and answer (columns), coloured by the share of the row."""
    figure, axes = _figure("Told", "Known")
    rows = confusion.counts.sum(axis=1, keepdims=True)
    shares = confusion.counts / np.maximum(rows, 1)
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("teal", [PAPER, "#d8f0ec", TEAL])
    axes.imshow(shares, cmap=colours, vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    labels = [label.replace("_", " ") for label in confusion.labels]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    for (row, column), count in np.ndenumerate(confusion.counts):
        light = shares[row, column] > 0.6
        text = f"{count}\n{shares[row, column]:.0%}".replace("%", " %")
        axes.text(column, row, text, ha="center", va="center", color=PAPER if light else INK)
    return figure


def precision_recall(curves: Mapping[str, Curve]) -> Figure:
    """Precision over recall for every detector, with its average precision."""
    figure, axes = _figure("Recall: share of the faces that are found", "Precision: share of the boxes that are faces")
    for (name, curve), colour in zip(curves.items(), cycle(SERIES), strict=False):
        label = f"{name}   AP {curve.average_precision:.3f}"
        axes.plot(curve.recall, curve.precision, color=colour, linewidth=2.2, label=label, solid_capstyle="round")
    floor = min((float(curve.precision.min()) for curve in curves.values() if len(curve.precision)), default=0.0)
    axes.set(xlim=(0, 1.01), ylim=(max(0.0, min(floor, 0.9) - 0.03), 1.01))
    _percent(axes.xaxis, axes.yaxis)
    _legend(axes, "lower left")
    return figure


def latencies(times: Mapping[str, Doubles]) -> Figure:
    """Histogram of answer times in milliseconds, one colour a load."""
    figure, axes = _figure("Milliseconds until the answer", "Share of the answers")
    longest = max((float(np.quantile(each, 0.995)) for each in times.values() if len(each)), default=1.0)
    bins = np.linspace(0, longest, 41).tolist()
    for (name, each), colour in zip(times.items(), cycle(SERIES), strict=False):
        weights = np.full(len(each), 1 / max(len(each), 1))
        # What took longer still is told by the table; here it would only squeeze the rest.
        axes.hist(each, bins, weights=weights, color=colour, alpha=0.55, label=name)
    _percent(axes.yaxis)
    _legend(axes, "upper right")
    return figure


def search_history(errors: Sequence[float], baseline: float) -> Figure:
    """The errors of every trial in order, and the fewest so far."""
    figure, axes = _figure("Trial", "Errors")
    numbers = np.arange(1, len(errors) + 1)
    axes.scatter(numbers, errors, s=16, color=GREY, alpha=0.6, linewidths=0, label="trial")
    axes.plot(numbers, np.minimum.accumulate(errors), color=TEAL, linewidth=2.2, drawstyle="steps-post", label="best")
    axes.axhline(baseline, color=CORAL, linewidth=1.4, linestyle=(0, (4, 3)), label="as in the catalogue")
    _whole(axes.xaxis, axes.yaxis)
    _legend(axes, "upper right")
    return figure


def search_slices(values: Mapping[str, Sequence[float]], errors: Sequence[float], best: Mapping[str, float]) -> Figure:
    """For every parameter the errors over its value; the best trial's values are marked."""
    with tools_extra():
        from matplotlib.figure import Figure
    columns = min(2, len(values))
    rows = -(-len(values) // columns)
    figure = Figure((7.2, 3.1 * rows), layout="constrained")
    for number, (name, tried) in enumerate(values.items(), 1):
        axes = figure.add_subplot(rows, columns, number)
        style(axes, name, "Errors")
        axes.scatter(tried, errors, s=16, color=TEAL, alpha=0.55, linewidths=0)
        axes.axvline(best[name], color=CORAL, linewidth=1.4)
        _whole(axes.yaxis)
    return figure


def _figure(x: str, y: str) -> tuple[Figure, Axes]:
    with tools_extra():
        from matplotlib.figure import Figure
    figure = Figure((7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    style(axes, x, y)
    return figure, axes


def style(axes: Axes, x: str, y: str) -> None:
    """A drawing's dress: quiet axes with these labels."""
    axes.set_xlabel(x, color=INK, labelpad=8)
    axes.set_ylabel(y, color=INK, labelpad=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.tick_params(colors="#4a5661", length=0, labelsize=9)
    axes.grid(axis="both", color="#e7ebee", linewidth=0.8)
    axes.set_axisbelow(True)


def _percent(*axis: Axis) -> None:
    from matplotlib.ticker import FuncFormatter

    for one in axis:
        one.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.4g} %"))


def _whole(*axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    for one in axis:
        one.set_major_locator(MaxNLocator(integer=True))


def _legend(axes: Axes, place: Literal["upper left", "upper right", "lower left"]) -> None:
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc=place)
