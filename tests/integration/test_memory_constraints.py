"""The command ``memory-constraints``: too little memory fails, enough does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from embedding_calculator.cli import app
from embedding_calculator.errors import ParameterError

pytestmark = pytest.mark.integration


def test_too_little_and_enough(shared: Path) -> None:
    photos = [str(shared / "data/samples" / name) for name in ("000_5.jpg", "017_0.jpg")]
    arguments = ["memory-constraints", *photos, "--limits", "64m, 16g", "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"IMG_LENGTH_LIMITS": "640"})
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [(trial["photo"], trial["reason"] is None) for trial in told["trials"]] == [
        ("000_5.jpg", False),
        ("017_0.jpg", False),
        ("000_5.jpg", True),
        ("017_0.jpg", True),
    ]
    assert "does not start" in told["trials"][0]["reason"]
    assert told["smallest_bytes"] == {"640": 2**34}


def test_where_nothing_works_the_exit_status_says_so() -> None:
    result = CliRunner().invoke(app, ["memory-constraints", "--limits", "64m"], catch_exceptions=False)
    assert result.exit_code == 1
    assert "[  FAIL  ] 64m, IMG_LENGTH_LIMIT=640, a drawn face" in result.stdout
    assert "IMG_LENGTH_LIMIT=640: no limit works" in result.stdout


def test_wrong_limits_are_told() -> None:
    for arguments in (["--limits", "much"], ["--lengths", "long"], ["--limits", " "]):
        with pytest.raises(ParameterError):
            CliRunner().invoke(app, ["memory-constraints", *arguments], catch_exceptions=False)
