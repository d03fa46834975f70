"""The blocks of code in the documentation, for tests that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_REASON = re.compile(r"<!-- not run: \S.*-->\n$")


@dataclass(frozen=True, slots=True)
class Block:
    """``excused``: a comment right before it says why it is not run."""

    page: Path
    line: int
    language: str
    code: str
    excused: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        yield Block(page, line, fence[1], fence[2], bool(_REASON.search(text, 0, fence.start())))


def code_of(page: str, language: str) -> str:
    """The first block of this language on a page of docs/."""
    return next(block.code for block in blocks(ROOT / "docs" / page) if block.language == language)
