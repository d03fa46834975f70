"""What ``scan`` shows on the terminal: a table whose rows come as they are known, in the order of the photos."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

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

_Row: TypeAlias = tuple[str, list[tuple[str, str]]]
"""A photo's name, and each cell with its style."""


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
        if not self._headed:
            self._headed = True
            self._print([("photo", [(column, "") for column in self._columns])], style="bold")
        self._print(self._rows(self._names[index], scan))

    def _rows(self, name: str, scan: Scan) -> Iterator[_Row]:
        if not scan.faces:
            yield name, [("no face", "dim")]
        false = set() if scan.wrong is None else set(scan.wrong.false.tolist())
        for number, face in enumerate(scan.faces, 1):
            box = face.box
            cells = {
                "face": f"{number} false" if number - 1 in false else str(number),
                "box": f"{box.x_min},{box.y_min} {box.x_max - box.x_min}x{box.y_max - box.y_min}",
                "sure": f"{box.probability:.0%}",
                "age": face.age.years if face.age else "",
                "gender": face.gender.value if face.gender else "",
                "yaw, pitch": f"{face.pose.yaw:+.0f}°, {face.pose.pitch:+.0f}°" if face.pose else "",
            }
            style = "red" if number - 1 in false else ""
            yield name if number == 1 else "", [(cells[column], style) for column in self._columns]
        if scan.wrong is not None and len(scan.wrong.missed):
            yield "", [(f"{len(scan.wrong.missed)} missed", "red")]

    def _print(self, rows: Iterable[_Row], style: str = "") -> None:
        text, width = Text(style=style, end=""), self._name_width
        for name, cells in rows:
            # A name that is too long goes on below: a path is read whole or is of no use.
            start, *rest = [name[at : at + width] for at in range(0, len(name), width)] or [""]
            text.append(start.ljust(width))
            for column, (cell, colour) in zip(self._columns, cells, strict=False):
                text.append(" " + cell.ljust(_COLUMNS[column]), colour)
            text.append("\n" + "".join(f"{more}\n" for more in rest))
        self._console.print(text, soft_wrap=True, highlight=False, end="")
