"""What ``scan`` shows on the terminal: a table whose rows come as they are known, in the order of the photos."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from embedding_calculator.cli.shared import counted

if TYPE_CHECKING:
    from rich.console import Console

    from embedding_calculator.evaluation.detection import Mistakes
    from embedding_calculator.results import Face

_COLUMNS = {"face": 8, "box": 21, "sure": 4, "age": 7, "gender": 6, "yaw, pitch": 10}
"""With their widths: rows are printed before it is known how wide others will be."""
_ASKED_BY = {"age": "age", "gender": "gender", "yaw, pitch": "pose"}
_NARROWEST = 12


@dataclass(frozen=True, slots=True)
class Scan:
    """What became of one photo: its faces, or why there are none; and what is ``wrong`` where answers are known."""

    photo: Path
    faces: list[Face]
    error: str | None = None
    wrong: Mistakes | None = None

    @property
    def sound(self) -> bool:
        """Whether it could be read and nothing is known to be wrong."""
        return not self.error and not self.wrong


class ScanTable:
    """Keeps only what is ready before its turn, and sums."""

    def __init__(self, console: Console, names: Sequence[str], slugs: Collection[str]) -> None:
        """``names`` are those of all photos, in order; columns that none of ``slugs`` fills are left out."""
        self._console = console
        self._names = names
        self._columns = [name for name in _COLUMNS if name not in _ASKED_BY or _ASKED_BY[name] in slugs]
        taken = sum(_COLUMNS[name] + 1 for name in self._columns)
        longest = max(len("photo"), *map(len, names))
        self._name_width = min(longest, max(_NARROWEST, console.width - taken))
        self._early: dict[int, Scan] = {}
        self._next = 0
        self._headed = False
        self.sound = True
        """Whether all photos are."""
        self.photos = self._faces = self._unread = self._judged = self._missed = self._false = 0

    def add(self, index: int, scan: Scan) -> None:
        """Show it, and those that waited for it; or let it wait for those before it."""
        self.sound = self.sound and scan.sound
        self.photos += 1
        self._faces += len(scan.faces)
        self._unread += scan.error is not None
        if scan.wrong is not None:
            self._judged += 1
            self._missed += len(scan.wrong.missed)
            self._false += len(scan.wrong.false)
        self._early[index] = scan
        while self._next in self._early:
            self._show(self._next)
            self._next += 1

    def finish(self) -> None:
        """Show what still waits, and the sums."""
        for index in sorted(self._early):
            self._show(index)
        unread = f"; {self._unread} could not be read" if self._unread else ""
        sums = f"{counted(self._faces, 'face')} in {counted(self.photos, 'photo')}{unread}"
        self._console.print(f"\n{sums}", style="bold")
        if self._judged:
            style = "bold red" if self._missed or self._false else "bold green"
            judged = f"{counted(self._judged, 'photo')} judged: {counted(self._missed, 'face')} missed"
            self._console.print(f"{judged}, {self._false} false", style=style)

    def _show(self, index: int) -> None:
        scan = self._early.pop(index)
        if scan.error is not None:
            told = f"{os.path.relpath(scan.photo)}: {scan.error}"
            self._console.print(told, style="red", highlight=False, markup=False, soft_wrap=True)
            return
        table = Table(header_style="bold", box=None, pad_edge=False, show_header=not self._headed)
        self._headed = True
        table.add_column("photo", width=self._name_width, overflow="fold")
        for column in self._columns:
            table.add_column(column, width=_COLUMNS[column], overflow="fold")
        self._fill(table, Text(self._names[index]), scan)
        self._console.print(table)

    def _fill(self, table: Table, name: Text, scan: Scan) -> None:
        if not scan.faces:
            table.add_row(name, "[dim]no face[/dim]")
        false = set() if scan.wrong is None else set(scan.wrong.false.tolist())
        for number, face in enumerate(scan.faces, 1):
            box = face.box
            cells = {
                "face": f"[red]{number} false[/red]" if number - 1 in false else str(number),
                "box": f"{box.x_min},{box.y_min} {box.x_max - box.x_min}x{box.y_max - box.y_min}",
                "sure": f"{box.probability:.0%}",
                "age": face.age.years if face.age else "",
                "gender": face.gender.value if face.gender else "",
                "yaw, pitch": f"{face.pose.yaw:+.0f}°, {face.pose.pitch:+.0f}°" if face.pose else "",
            }
            table.add_row(name if number == 1 else "", *(cells[column] for column in self._columns))
        if scan.wrong is not None and len(scan.wrong.missed):
            table.add_row("", f"[red]{len(scan.wrong.missed)} missed[/red]")
