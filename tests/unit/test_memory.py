"""Sizes, cgroups and limits of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from embedding_calculator.errors import ParameterError
from embedding_calculator.evaluation.memory import Trial, confined, find_cgroup, read_size, shown, smallest


@pytest.mark.parametrize(
    ("text", "size"), [("512m", 2**29), ("1.5G", 3 * 2**29), ("64k", 65536), ("2gb", 2**31), ("1000", 1000)]
)
def test_sizes(text: str, size: int) -> None:
    assert read_size(text) == size
    assert read_size(shown(size)) == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize("text", ["", "m", "-1g", "0", "1t", "1 2"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(ParameterError, match="not a size"):
        read_size(text)


def test_the_smallest_limit_is_one_under_which_all_photos_pass() -> None:
    trials = [
        Trial("a", 640, 1, "died"),
        Trial("a", 640, 2, None),
        Trial("b", 640, 2, "died"),
        Trial("a", 640, 3, None),
        Trial("b", 640, 3, None),
        Trial("a", 0, 3, "died"),
    ]
    assert smallest(trials) == {640: 3, 0: None}
    assert trials[0].line == "[  FAIL  ] 1, IMG_LENGTH_LIMIT=640, a: died"
    assert Trial("a.jpg", 640, 2**30, None).line == "[   OK   ] 1g, IMG_LENGTH_LIMIT=640, a.jpg"


def test_the_cgroup_is_one_that_hands_memory_down(tmp_path: Path) -> None:
    own, mount = tmp_path / "own", tmp_path / "mount"
    group = mount / "user.slice/app.scope"
    group.mkdir(parents=True)
    own.write_text("1:name=systemd:/elsewhere\n0::/user.slice/app.scope\n")
    assert find_cgroup(own, mount) is None
    (group / "cgroup.subtree_control").write_text("\n")
    (group.parent / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert find_cgroup(own, mount) == group.parent
    (group / "cgroup.subtree_control").write_text("memory\n")
    assert find_cgroup(own, mount) == group
    own.write_text("4:memory:/somewhere\n")
    assert find_cgroup(own, mount) is None


def test_a_command_joins_its_group_before_it_begins(tmp_path: Path) -> None:
    with confined([sys.executable, "-c", "import os; print(os.getpid())"], 2**20, tmp_path) as command:
        (group,) = tmp_path.iterdir()
        assert (group / "memory.max").read_text() == str(2**20)
        assert (group / "memory.swap.max").read_text() == "0"
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert (group / "cgroup.procs").read_text() == told


def test_without_a_group_addresses_are_limited() -> None:
    script = "bytearray(400 * 2**20); print('room')"
    for limit, room in ((2**28, False), (2**30, True)):
        with confined([sys.executable, "-c", script], limit, None) as command:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ("room" in done.stdout) == room
        assert room or "MemoryError" in done.stderr
