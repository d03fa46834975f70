"""What was computed for each photo, written down at once: whoever is interrupted goes on where they were."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from embedding_calculator.errors import ConfigurationError, InputError
from embedding_calculator.serialize import to_json

Answer = Mapping[str, Any]


class Journal:
    """A file of JSON lines: first what was asked, then one line a photo.

    ``asked`` is all that the answers depend on but the photos: plugins, thresholds.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        """Open the file, or begin it; its folder is made.

        Raises:
            ConfigurationError: the file answers another question.
        """
        self._path = path
        self._done: dict[str, Answer] = {}
        question = {"asked": json.loads(to_json(asked))}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = _read(path)
        if lines and lines[0] != question:
            raise ConfigurationError(
                f"{path} holds the answers to another question: {json.dumps(lines[0].get('asked'))}, "
                f"not {json.dumps(question['asked'])}. Choose another --output, or remove the file."
            )
        for line in lines[1:]:
            self._done[line["photo"]] = line["answer"]
        with path.open("wb") as file:
            file.writelines(to_json(line) for line in lines or [question])

    @property
    def done(self) -> int:
        """How many photos have their answer already."""
        return len(self._done)

    def answers(
        self, photos: Iterable[str], compute: Callable[[str], Answer], workers: int = 1
    ) -> Iterator[tuple[str, Answer]]:
        """Every photo's answer, in order; only those that are not in the file are computed.

        A photo that cannot be read has ``{"error": why}``, which is written down too.
        """
        names = list(dict.fromkeys(photos))
        missing = [name for name in names if name not in self._done]

        def try_to(name: str) -> Answer:
            try:
                return compute(name)
            except (InputError, OSError) as error:
                return {"error": str(error)}

        with ThreadPoolExecutor(workers) as pool, self._path.open("ab") as file:
            computed = pool.map(try_to, missing)
            try:
                for name in names:
                    if name not in self._done:
                        answer = json.loads(to_json(next(computed)))
                        file.write(to_json({"photo": name, "answer": answer}))
                        file.flush()
                        self._done[name] = answer
                    yield name, self._done[name]
            finally:
                # Whoever stops listening, or an error, stops the work not yet begun.
                pool.shutdown(wait=False, cancel_futures=True)


def _read(path: Path) -> list[dict[str, Any]]:
    """The whole lines of the file; one that was cut off by an interruption is dropped."""
    lines = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
