"""Tables of known answers, as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from embedding_calculator.errors import ParameterError


def read_table(path: Path, columns: Collection[str]) -> list[dict[str, str]]:
    """The rows of a CSV file whose first line names its columns.

    Raises:
        ParameterError: the file cannot be read, one of ``columns`` is absent, or there is no row.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ParameterError(f"{path} cannot be read as CSV: {error}") from error
    if absent := [column for column in columns if column not in (reader.fieldnames or ())]:
        there = ", ".join(filter(None, reader.fieldnames or ())) or "nothing"
        lacks = f"the column{'s' if len(absent) > 1 else ''} {', '.join(absent)}"
        raise ParameterError(f"{path} lacks {lacks}; its first line must name {', '.join(columns)}, and names {there}")
    if not rows:
        raise ParameterError(f"{path} has no row")
    return rows
