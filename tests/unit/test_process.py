"""What the service does to its whole process, seen from outside in processes of their own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FREED = """
import asyncio, psutil
from embedding_calculator.http.memory import trim_regularly

async def trim_once():
    task = asyncio.create_task(trim_regularly())
    await asyncio.sleep(0.3)
    task.cancel()

blocks = [bytes(4000) for _ in range(50_000)]
blocks = blocks[-1:]
before = psutil.Process().memory_info().rss
asyncio.run(trim_once())
print((before - psutil.Process().memory_info().rss) // 2**20)
"""

WARNED = """
import warnings
from embedding_calculator.http.logs import configure
from embedding_calculator.settings import Settings

configure(Settings())
warnings.warn("these bytes are odd", UserWarning)
"""


def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True, timeout=60)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it")
def test_memory_under_a_byte_in_use_is_given_back() -> None:
    assert int(run(FREED).stdout) > 150


@pytest.mark.parametrize(("level", "told"), [("INFO", False), ("WARNING", False), ("DEBUG", True)])
def test_only_who_debugs_reads_what_decoders_warn_of(level: str, told: bool) -> None:
    assert ("these bytes are odd" in run(WARNED, LOGGING_LEVEL_NAME=level).stderr) == told
