"""Write the parts of the documentation that the code knows better: routes, settings, models, commands.

A page holds them between ``<!-- generated: NAME -->`` and ``<!-- end -->``; all else in it is written by hand.

    python scripts/generate_docs.py            brings them up to date
    python scripts/generate_docs.py --check    exit status 1 and a list of pages where they are not
    python scripts/generate_docs.py --picture  draws docs/images/astronaut.png
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer
from rich.filesize import decimal

from embedding_calculator.cli import app as commands
from embedding_calculator.http.app import interface
from embedding_calculator.models.catalog import Catalog, Entry, Source
from embedding_calculator.settings import Settings

ROOT = Path(__file__).parents[1]

_MARKED = re.compile(r"(<!-- generated: ([a-z -]+) -->\n).*?(<!-- end -->)", re.DOTALL)
CHART_SCHEMA = ROOT / "deploy/helm/embedding-calculator/values.schema.json"

_COMPUTED_DEFAULTS = {
    "uwsgi_threads": "processors granted",
    "models_dir": "the user's cache folder; on Linux `~/.cache/embedding-calculator/models`",
    "queue_limit": "16 a thread",
    "max_connections": "what the file descriptors allow, at most 4096",
}


def table(*rows: Iterable[str]) -> str:
    """Rows of cells as a Markdown table, the first its head."""
    head, *body = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *body))


def routes() -> str:
    """Every operation of the OpenAPI document: parameters, body, answers."""
    return "\n".join(
        _operation(f"{method.upper()} {path}", operation)
        for path, methods in _document()["paths"].items()
        for method, operation in methods.items()
    )


def shapes() -> str:
    """Every schema of the OpenAPI document: fields, types, meanings."""
    return "\n".join(
        f"### {name}\n\n{schema['description']}\n\n"
        + table(
            ("field", "type", "meaning"),
            *((f"`{field}`", _type(value), _meaning(value)) for field, value in schema["properties"].items()),
        )
        for name, schema in _document()["components"]["schemas"].items()
    )


def settings() -> str:
    """Every variable, its default and its meaning."""
    rows = [("variable", "default", "meaning")]
    for name, field in Settings.model_fields.items():
        default = _COMPUTED_DEFAULTS[name] if field.default_factory else _default(field.default)
        rows.append((f"`{name.upper()}`", default, field.description or ""))
    return table(*rows)


def models() -> str:
    """Every model of the catalogue, by the plugins that may use it."""
    return "\n".join(
        f"### {', '.join(f'`{plugin}`' for plugin in plugins)}\n\n"
        + table(
            ("model", "licence", "commercial", "verified", "size", "from"),
            *(
                (
                    f"[{entry.name}]({entry.homepage})",
                    entry.licence,
                    entry.commercial,
                    entry.verified,
                    _size(entry),
                    _places(entry),
                )
                for entry in entries
            ),
        )
        for plugins, entries in groupby(sorted(Catalog.load(), key=_plugins), _plugins)
    )


def default_models() -> str:
    """The models that a service without any variables uses."""
    from embedding_calculator.engine.assembly import configured_entries

    entries = configured_entries(Settings.model_construct(), Catalog.load())
    return table(
        ("model", "for", "licence", "commercial use"),
        *((f"[{one.name}]({one.homepage})", f"`{one.plugins[0]}`", one.licence, one.commercial) for one in entries),
    )


def command_list() -> str:
    """Every subcommand and the first sentence of its help."""
    return table(("command", "what it does"), *_commands(typer.main.get_command(commands), "embedding-calculator"))


SECTIONS: Mapping[str, Callable[[], str]] = {
    "routes": routes,
    "shapes": shapes,
    "settings": settings,
    "models": models,
    "default models": default_models,
    "commands": command_list,
}


def _commands(command: Any, path: str) -> Iterator[tuple[str, str]]:
    for name, child in command.commands.items():
        if hasattr(child, "commands"):
            yield from _commands(child, f"{path} {name}")
        else:
            yield f"`{path} {name}`", child.get_short_help_str(limit=1000)


@cache
def _document() -> dict[str, Any]:
    return interface(with_keys=True).openapi()


def _operation(title: str, operation: Mapping[str, Any]) -> str:
    parts = [f"### {title}\n\n{operation['summary']}\n"]
    if parameters := operation.get("parameters"):
        rows = [
            (f"`{one['name']}`", _type(one["schema"]), _default(one["schema"].get("default")), one["description"])
            for one in parameters
        ]
        parts.append(table(("parameter", "type", "default", "meaning"), *rows))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        fields = content["schema"].get("properties", {}).items()
        body = [(f"`{name}`", _type(value), value.get("description", "")) for name, value in fields]
        told = table(("field", "type", "meaning"), *body) if body else content["schema"].get("description", "") + "\n"
        parts.append(f"Body, `{kind}`:\n\n{told}")
    answers = [
        (status, _answer(answer.get("content", {})), answer["description"])
        for status, answer in operation["responses"].items()
    ]
    parts.append(table(("status", "answer", ""), *answers))
    return "\n".join(parts)


def _answer(content: Mapping[str, Any]) -> str:
    """What an answer is: the shape of its JSON, and the kinds of its other content."""
    return " or ".join(
        _type(one["schema"]) if kind == "application/json" else f"`{kind}`" for kind, one in content.items()
    )


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a few words."""
    match schema:
        case {"$ref": reference}:
            name = reference.rpartition("/")[2]
            words = f"[{name}](#{name.lower()})"
        case {"anyOf": [*kinds, {"type": "null"}]}:
            words = f"{' or '.join(map(_type, kinds))}, optional"
        case {"enum": values}:
            words = " or ".join(f"`{value}`" for value in values)
        case {"const": value}:
            words = f"`{value}`"
        case {"prefixItems": items}:
            words = f"{len(items)} x {_type(items[0])}"
        case {"items": item}:
            words = f"list of {_type(item)}"
        case {"additionalProperties": dict(value)}:
            words = f"{schema['type']} of {_type(value)}"
        case _:
            words = schema.get("format") or schema["type"]
    return str(words)


def _meaning(schema: Mapping[str, Any]) -> str:
    bounds = f"{schema['minimum']:g} to {schema['maximum']:g}" if {"minimum", "maximum"} <= schema.keys() else ""
    return str(schema.get("description", bounds))


def _default(value: Any) -> str:
    if value is None or value in {(), ""}:
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _plugins(entry: Entry) -> tuple[str, ...]:
    return entry.plugins


def _size(entry: Entry) -> str:
    return decimal(entry.bytes) if entry.bytes else "unknown"


def _places(entry: Entry) -> str:
    """The places of the entry's parts, most preferred first, each once."""
    return ", ".join(dict.fromkeys(_place(source) for part in entry.parts for source in part.sources))


def _place(source: Source) -> str:
    if source.index:
        package, _, version = source.index.partition("==")
        return f"[{package} {version}](https://pypi.org/project/{package}/{version}/)"
    return f"[{urlsplit(source.url or '').netloc}]({source.url})"


def draw_picture(target: Path) -> None:
    """The astronaut of scikit-image with everything that the default set finds, as ``scan --output`` draws it.

    It is the JPEG whose JSON the README shows beside it, and that tests/docs sends for it.
    """
    from PIL import Image
    from skimage.data import astronaut

    from embedding_calculator import FaceAnalyzer
    from embedding_calculator.imaging.draw import annotate, marks_of
    from embedding_calculator.imaging.picture import ArrayPicture

    pixels = astronaut()  # type: ignore[no-untyped-call]
    photo = io.BytesIO()
    Image.fromarray(pixels).save(photo, "JPEG", quality=92)
    drawn = annotate(ArrayPicture(pixels), marks_of(FaceAnalyzer().find_faces(photo.getvalue())))
    drawn.quantize(256).save(target, optimize=True)  # a third of the bytes


def _with_all_settings(schema: str) -> str:
    """The Helm chart's schema, knowing every variable but the port, which the chart sets itself."""
    document = json.loads(schema)
    names = sorted(name.upper() for name in Settings.model_fields if name != "ml_port")
    document["properties"]["settings"]["propertyNames"]["enum"] = names
    return json.dumps(document, indent=2) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Exit status: 1 where ``--check`` found something out of date."""
    if "--picture" in arguments:
        draw_picture(ROOT / "docs/images/astronaut.png")
    stale = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        current = _MARKED.sub(lambda found: f"{found[1]}\n{SECTIONS[found[2]]()}\n{found[3]}", text)
        if current != text:
            stale.append(page.relative_to(ROOT))
            if "--check" not in arguments:
                page.write_text(current, encoding="utf-8")
    if (chart := _with_all_settings(CHART_SCHEMA.read_text(encoding="utf-8"))) != CHART_SCHEMA.read_text(
        encoding="utf-8"
    ):
        stale.append(CHART_SCHEMA.relative_to(ROOT))
        if "--check" not in arguments:
            CHART_SCHEMA.write_text(chart, encoding="utf-8")
    for page in stale:
        print(f"{page}: {'out of date; run: make docs' if '--check' in arguments else 'brought up to date'}")
    return int("--check" in arguments and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
