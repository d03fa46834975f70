"""A report as one HTML file that needs nothing beside it: plots are inside, and so are the pictures of mistakes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from embedding_calculator.evaluation.extras import tools_extra

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a header; all columns but the first are aligned to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, a sentence, and what there is to see: a plot, a table, a gallery of ``(picture, caption)``."""

    title: str
    text: str = ""
    plot: Path | None = None
    table: Table | None = None
    gallery: Sequence[tuple[Path, str]] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """``facts`` are the few numbers that come first, each with what it is: ``("99.3 %", "accuracy")``.

    ``asked`` says how to get the same report again: what was measured, with which plugins.
    """

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    asked: Sequence[tuple[str, str]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the HTML file.

        Raises:
            ConfigurationError: the extra ``tools`` is not installed.
        """
        with tools_extra():
            from jinja2 import Environment
        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        environment.filters["data_uri"] = _data_uri
        template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
        made = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
        path.write_text(template.render(report=self, made=made), encoding="utf-8")


def _data_uri(path: Path) -> str:
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
