"""A reader of ``symbol.json``: an MXNet graph as its nodes in order, each with typed access to its attributes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedding_calculator.errors import ModelError

_MAX_BYTES = 32 * 1024 * 1024
_VARIABLE = "null"


@dataclass(frozen=True, slots=True)
class Node:
    """One operator or variable.

    ``inputs`` are the earlier nodes it reads, as (index of the node, which of its outputs). ``attributes`` are
    strings, as MXNet writes them: ``"(3, 3)"``, ``"True"``, ``"2e-05"``.
    """

    name: str
    operator: str
    inputs: tuple[tuple[int, int], ...]
    attributes: Mapping[str, str]

    @property
    def is_variable(self) -> bool:
        """Whether it is a parameter or an input of the network rather than an operator."""
        return self.operator == _VARIABLE

    def text(self, key: str, default: str) -> str:
        """An attribute as it stands; ``default`` where it is absent or says ``None``."""
        value = self.attributes.get(key, default)
        return default if value == "None" else value

    def flag(self, key: str, default: bool) -> bool:
        """``True``/``1`` or ``False``/``0``."""
        value = self.text(key, str(default)).lower()
        if value not in ("true", "false", "1", "0"):
            raise self.refusal(f"{key}={value}")
        return value in ("true", "1")

    def number(self, key: str, default: float | None = None) -> float:
        """A number; without a ``default`` it must be there."""
        value = self.text(key, "" if default is None else str(default))
        try:
            return float(value)
        except ValueError as cause:
            raise self.refusal(f"{key}={value}") from cause

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number; without a ``default`` it must be there."""
        number = self.number(key, default)
        if not number.is_integer():
            raise self.refusal(f"{key}={number}")
        return int(number)

    def integers(self, key: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A tuple or list of whole numbers, or a single one."""
        value = self.text(key, str(default))
        if not re.fullmatch(r"[\[(]?[\d\s,L-]*[\])]?", value):
            raise self.refusal(f"{key}={value}")
        return tuple(int(number) for number in re.findall(r"-?\d+", value))

    def refusal(self, reason: str) -> ModelError:
        """What to raise where the operator is known but not this way of using it."""
        return ModelError(f"MXNet operator {self.operator} (node {self.name!r}) is not supported with {reason}")


@dataclass(frozen=True, slots=True)
class Symbol:
    """A graph: its nodes, every one after those it reads, and its outputs as (index of the node, which output)."""

    nodes: tuple[Node, ...]
    heads: tuple[tuple[int, int], ...]

    def select(self, outputs: list[str]) -> Symbol:
        """The same graph with other outputs, named as MXNet names them: the node's name and ``_output``.

        Raises:
            ModelError: there is no such output.
        """
        index = {f"{node.name}_output": i for i, node in enumerate(self.nodes)}
        for name in outputs:
            if name not in index:
                raise ModelError(f"the MXNet graph has no output {name!r}")
        return Symbol(self.nodes, tuple((index[name], 0) for name in outputs))

    def needed(self) -> list[int]:
        """Indices of the nodes that the outputs depend on, in order."""
        wanted = {index for index, _ in self.heads}
        for index in range(len(self.nodes) - 1, -1, -1):
            if index in wanted:
                wanted.update(source for source, _ in self.nodes[index].inputs)
        return sorted(wanted)


def read_symbol(path: Path) -> Symbol:
    """The graph of a ``symbol.json``, whether it calls attributes ``attrs``, ``attr`` or ``param``.

    Raises:
        ModelError: the file is not such a graph.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ModelError(f"{path.name} is too large for an MXNet symbol file")
    try:
        document = json.loads(path.read_bytes())
        nodes = tuple(_node(entry, index) for index, entry in enumerate(document["nodes"]))
        heads = tuple(_references(document["heads"], len(nodes)))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as cause:
        raise ModelError(f"{path.name} is not an MXNet symbol file: {cause!r}") from cause
    return Symbol(nodes, heads)


def _node(entry: Mapping[str, Any], index: int) -> Node:
    attributes: dict[str, str] = {}
    for key in ("attr", "param", "attrs"):
        attributes.update({str(name): str(value) for name, value in (entry.get(key) or {}).items()})
    return Node(str(entry["name"]), str(entry["op"]), tuple(_references(entry["inputs"], index)), attributes)


def _references(entries: list[list[int]], end: int) -> list[tuple[int, int]]:
    """(node, output) pairs, each of a node before ``end``: so a graph cannot have a circle."""
    references = [(int(entry[0]), int(entry[1]) if len(entry) > 1 else 0) for entry in entries]
    for node, _ in references:
        if not 0 <= node < end:
            raise ValueError(f"a node reads node {node}, which does not come before it")
    return references
