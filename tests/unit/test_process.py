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

USED_AGAIN = """
import resource
from concurrent.futures import ThreadPoolExecutor
from embedding_calculator.http.memory import return_memory_promptly

def photo():  # As much as a small one takes, in blocks none of which comes from the system by itself.
    blocks = [bytes(bytearray(2**20)) for _ in range(6)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

return_memory_promptly()
with ThreadPoolExecutor(1) as pool:
    pool.submit(photo).result()
    before = faults()
    for _ in range(20):
        pool.submit(photo).result()
    print((faults() - before) // 20)
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_what_a_small_photo_needs_is_used_again() -> None:
    pages = int(run(USED_AGAIN).stdout)
    assert pages < 100, "of 1536, fetched from the system for every photo"


@pytest.mark.parametrize(("level", "told"), [("INFO", False), ("WARNING", False), ("DEBUG", True)])
def test_only_who_debugs_reads_what_decoders_warn_of(level: str, told: bool) -> None:
    assert ("these bytes are odd" in run(WARNED, LOGGING_LEVEL_NAME=level).stderr) == told
