"""The inside of a process that answers photos for ``make bench``; nothing but the standard library, so that any Python
can be one.

It says on standard output which ways of answering it has; then it is told a way and a file, line by line, and says
when it is done.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path


def answer_questions(ways: Mapping[str, Callable[[bytes], object]]) -> None:
    """Answer until nobody asks any more. What libraries print meanwhile goes to standard error."""
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        print(*ways, file=answers)
        for question in sys.stdin:
            way, _, path = question.rstrip("\n").partition("\t")
            ways[way](content(path))
            print(file=answers)


@cache
def content(path: str) -> bytes:
    """A photo as its client would have sent it: read once."""
    return Path(path).read_bytes()
