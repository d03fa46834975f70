"""The same tables for a terminal and for a page: costs, memory, and what is demanded of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable

from benchmarks.rows import Cost, Memory, Row

KINDS = ("small", "big")


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first column is a name, the others are numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def on_terminal(self) -> RichTable:
        """For rich."""
        drawn = RichTable(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for number, column in enumerate(self.header):
            drawn.add_column(column.replace(" ", "\n", 1), justify="right" if number else "left", no_wrap=True)
        for row in self.rows:
            drawn.add_row(*row)
        return drawn

    def on_page(self) -> str:
        """For Markdown."""
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def costs(rows: Iterable[Row]) -> Table:
    """Every row: milliseconds until the answer, milliseconds of CPU, and photos a second."""
    header = ["", *(f"{kind} {what}" for kind in KINDS for what in ("p50", "p95", "CPU", "a second"))]
    body = []
    for row in rows:
        cells = [cell for kind in KINDS for cell in _cells(row.cost(kind))]
        clients = f", {row.clients} clients" if row.clients > 1 else ""
        body.append([f"{row.name}, {row.work}{clients}", *cells])
    return Table(header, body)


def _cells(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["-"] * 4
    return [*(f"{seconds * 1000:.1f}" for seconds in (cost.p50, cost.p95, cost.cpu)), f"{cost.rate:.1f}"]


def memory(seen: Mapping[str, Memory]) -> Table:
    """What is resident of every process."""
    body = [[name, f"{one.ready:.0f}", f"{one.peak:.0f}", f"{one.end:.0f}"] for name, one in seen.items()]
    return Table(["MB resident", "ready", "at most", "at the end"], body)


@dataclass(frozen=True, slots=True)
class Target:
    """What is demanded: a number ``found`` that is at most ``bound``, or at least, where more is better."""

    text: str
    unit: str
    found: float
    bound: float
    more_is_better: bool = False

    @property
    def met(self) -> bool:
        """Whether it is so."""
        return self.found >= self.bound if self.more_is_better else self.found <= self.bound


def targets(rows: Iterable[Row], ready: float) -> list[Target]:
    """The demands on the service, for a processor with bf16. "With embeddings" is all that the floor does, too."""
    costs = {(row.name, row.work, row.clients, kind): row.cost(kind) for row in rows for kind in KINDS}

    def of(name: str, work: str, kind: str = "small", clients: int = 1) -> Cost:
        cost = costs[name, work, clients, kind]
        assert cost is not None
        return cost

    made = [
        Target(
            f"CPU, {kind} photo, {work}: service / floor",
            "",
            of("service", work, kind).cpu / of("floor", work, kind).cpu,
            1.15,
        )
        for work in ("detection", "embeddings")
        for kind in KINDS
    ]
    return [
        *made,
        Target("CPU, small photo, detection", "ms", of("service", "detection").cpu * 1000, 15),
        Target("CPU, small photo, everything", "ms", of("service", "everything").cpu * 1000, 55),
        Target(
            "small photos a second, everything, 4 clients", "", of("service", "everything", clients=4).rate, 34, True
        ),
        Target("p50, big photo, embeddings", "ms", of("service", "embeddings", "big").p50 * 1000, 60),
        *(
            Target(
                f"CPU of the web, small photo, {work}: service - library",
                "ms",
                (of("service", work).cpu - of("library", work).cpu) * 1000,
                3,
            )
            for work in ("detection", "embeddings", "everything")
        ),
        Target("memory when ready", "MB", ready, 400),
    ]


def verdicts(all_targets: Iterable[Target]) -> Table:
    """Demanded, found, met."""
    body = []
    for one in all_targets:
        sign, unit = "≥" if one.more_is_better else "≤", f" {one.unit}" if one.unit else ""
        digits = 0 if one.bound >= 100 else 2 if one.bound < 2 else 1
        body.append(
            [one.text, f"{sign} {one.bound:g}{unit}", f"{one.found:.{digits}f}{unit}", "yes" if one.met else "no"]
        )
    return Table(["target", "demanded", "found", "met"], body)
