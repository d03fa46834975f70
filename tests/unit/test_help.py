"""``--help``: what the docstrings say, every character of it, with paragraphs wrapped where the terminal ends."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from embedding_calculator.cli import app


def commands(group: Any, *above: str) -> dict[str, str]:
    """The docstring of every command by its words."""
    found: dict[str, str] = {}
    for name, command in group.commands.items():
        words = (*above, name)
        found |= commands(command, *words) if hasattr(command, "commands") else {" ".join(words): command.help}
    return found


COMMANDS = commands(typer.main.get_command(app))


@pytest.mark.parametrize("words", COMMANDS)
def test_paragraphs_are_whole(words: str) -> None:
    told = CliRunner(env={"COLUMNS": "1000"}).invoke(app, [*words.split(), "--help"]).stdout
    lines = {line.strip() for line in told.splitlines()}
    for paragraph in COMMANDS[words].split("\n\n"):
        assert " ".join(paragraph.split()) in lines
