"""What the documentation says is true: its commands run, its links lead somewhere, its tables are current."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import httpx
import pytest
import typer
from PIL import Image
from skimage.data import astronaut

from conftest import free_port, wait_until_ready
from embedding_calculator.cli import app as commands
from embedding_calculator.http.app import interface
from embedding_calculator.settings import Settings
from pages import FENCE, ROOT, Block, blocks

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader of the documentation is: photos lie around."""
    photo = Image.fromarray(astronaut())  # type: ignore[no-untyped-call]
    photo.save(tmp_path / "photo.jpg", quality=92)
    photo.crop((60, 0, 380, 320)).save(tmp_path / "another.jpg")
    photo.crop((140, 20, 310, 220)).save(tmp_path / "thumbnail.jpg")
    (tmp_path / "holiday").mkdir()
    photo.save(tmp_path / "holiday/first.png")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "holiday/second.webp")
    return tmp_path


@pytest.mark.integration
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_shell_and_python_block_runs(page: Path, folder: Path, service: str) -> None:
    """In the order of the page, in one folder, as somebody would who reads it from top to bottom."""
    for block in blocks(page):
        assert block.language in {"bash", "python", "json", "toml", "text"}, f"{block} is in a language nobody runs"
        if block.language in {"bash", "python"} and not block.excused:
            run(block, folder, service)


def run(block: Block, folder: Path, service: str) -> None:
    code = block.code.replace("http://localhost:3000", service)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if code.rstrip().endswith("embedding-calculator serve"):
        port = str(free_port())
        serve(code.replace("8080", port), folder, environment | {"ML_PORT": port})
        return
    command = [sys.executable, "-c", code] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert not re.search(r'"message": ?"\d{3} ', done.stdout), f"{block}: the service refused it: {done.stdout}"


def serve(code: str, folder: Path, environment: dict[str, str]) -> None:
    """A block that serves is right if it gets ready."""
    with TemporaryFile() as log:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", code], cwd=folder, env=environment, stderr=log, start_new_session=True
        )
        try:
            wait_until_ready(f"http://127.0.0.1:{environment['ML_PORT']}", process, log)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists(page: Path) -> None:
    """Those in blocks that are not run, too."""
    for block in blocks(page):
        code = block.code.replace("\\\n", " ") if block.language == "bash" else ""
        for words in re.findall(r"^[^#\n]*?\bembedding-calculator +([^#|\n]+)", code, re.MULTILINE):
            command: Any = typer.main.get_command(commands)
            for word in words.split():
                if word.startswith("--"):
                    assert word in {name for one in command.params for name in one.opts}, f"{block}: {words}"
                elif hasattr(command, "commands"):
                    assert word in command.commands, f"{block}: {words}"
                    command = command.commands[word]


@pytest.mark.integration
def test_the_answer_that_the_readme_shows(folder: Path, service: str) -> None:
    (shown,) = [json.loads(block.code) for block in blocks(ROOT / "README.md") if block.language == "json"]
    with (folder / "photo.jpg").open("rb") as photo:
        plugins = {"face_plugins": "landmarks,age,gender,pose"}
        answer = httpx.post(service + "/find_faces", params=plugins, files={"file": photo}).json()
    assert_shows(shown, answer)


def assert_shows(shown: Any, real: Any) -> None:
    """The same shape, and numbers that differ by no more than processors do; ``...`` stands for more."""
    if isinstance(shown, dict):
        told = {key: value for key, value in shown.items() if key != "..."}
        assert told.keys() == real.keys() if len(told) == len(shown) else told.keys() <= real.keys()
        for key, value in told.items():
            assert_shows(value, real[key])
    elif isinstance(shown, list):
        for one, other in zip(shown, real, strict=True):
            assert_shows(one, other)
    elif isinstance(shown, str):
        assert shown == real
    else:
        assert real == pytest.approx(shown, abs=0.1 if abs(shown) < 1 else 3)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in _LINK.findall(page.read_text(encoding="utf-8")):
            if not link.startswith(("http://", "https://")):
                path, _, anchor = link.partition("#")
                target = page.parent / path if path else page
                assert target.is_file(), f"{page.name} links to {link}"
                assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def anchors(page: Path) -> set[str]:
    headings = _HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_site_and_the_readme() -> None:
    navigation, readme = (ROOT / "mkdocs.yml").read_text(), (ROOT / "README.md").read_text()
    for page in PAGES[1:]:
        assert f"- {page.name}\n" in navigation
        assert page.name == "index.md" or f"(docs/{page.name})" in readme


def test_every_route_is_told() -> None:
    page = (ROOT / "docs/http-api.md").read_text()
    document = interface(with_keys=True).openapi()
    assert "/batch/find_faces" in document["paths"]
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"### {method.upper()} {path}\n" in page
    assert "`/apidocs`" in page
    assert "`/frs-core-api.json`" in page


def test_every_setting_is_told() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    for name in Settings.model_fields:
        assert f"| `{name.upper()}` |" in page


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    told = set(re.findall(r"[\w.-]+", " ".join(re.findall(r"^\| (.+?) \|", page, re.MULTILINE))))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in itertools.chain(project["dependencies"], *project["optional-dependencies"].values()):
        name = re.split(r"[^\w.-]", requirement)[0]
        assert name in told or name == project["name"]


def test_generated_parts_are_current() -> None:
    command = [sys.executable, "scripts/generate_docs.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra: pip install '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in tmp_path.rglob("*.html"):
        assert not re.search(r'src="(https?:)?//|<link[^>]+stylesheet[^>]+href="(https?:)?//', page.read_text())
