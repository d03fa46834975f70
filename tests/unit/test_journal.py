"""Whoever is interrupted goes on where they were, and never with the answers to another question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embedding_calculator.errors import ConfigurationError, ImageUnreadableError
from embedding_calculator.evaluation.journal import Journal

ASKED = {"detector": "a"}


def test_what_is_done_is_not_computed_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def compute(name: str) -> dict[str, Any]:
        asked.append(name)
        if name == "stop":
            raise KeyboardInterrupt
        return {"faces": len(name)}

    path = tmp_path / "folder" / "journal.jsonl"
    with pytest.raises(KeyboardInterrupt):
        list(Journal(path, ASKED).answers(["a", "bb", "stop", "ccc"], compute))
    with path.open("ab") as file:
        file.write(b'{"photo":"ccc","ans')  # As if cut off in the middle of a line.

    asked.clear()
    journal = Journal(path, ASKED)
    assert journal.done == 2
    answers = dict(journal.answers(["a", "bb", "a", "ccc"], compute))
    assert asked == ["ccc"]
    assert answers == {"a": {"faces": 1}, "bb": {"faces": 2}, "ccc": {"faces": 3}}
    assert Journal(path, ASKED).done == 3


def test_a_photo_that_cannot_be_read_is_noted(tmp_path: Path) -> None:
    def compute(name: str) -> dict[str, Any]:
        raise ImageUnreadableError(f"{name} is broken")

    assert dict(Journal(tmp_path / "j", ASKED).answers(["a"], compute)) == {"a": {"error": "a is broken"}}


def test_another_question_needs_another_journal(tmp_path: Path) -> None:
    Journal(tmp_path / "j", ASKED)
    with pytest.raises(ConfigurationError, match=r"another question.*Choose another --output"):
        Journal(tmp_path / "j", {"detector": "b"})
