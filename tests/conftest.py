"""Fixtures shared by all tests: where the evaluation photos lie, if they are here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Photos with known answers and authentic weights; they lie beside the repository and are not part of it."""
    folder = Path(os.environ.get("EC_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip("needs ../shared: photos and weights for evaluation, which are not part of the project")
    return folder
