"""Fuzz targets one after the other, each in a process of its own: ``python -m fuzz [TARGET ...]``.

``FUZZ_SECONDS`` (60) is the time of each. Inputs that reach new code are kept in ``build/fuzz`` and are where the next
run begins; an input that breaks a target is kept there too, its name told.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from fuzz.targets import CORPUS, NEEDS_TENSORFLOW, TARGETS

KEPT = Path(__file__).parents[2] / "build" / "fuzz"


def main() -> int:
    """How many targets broke."""
    if find_spec("atheris") is None:
        print("Skipped: atheris is not installed (pip install '.[fuzz]'; Linux and macOS only).")
        return 0
    names = sys.argv[1:] or list(TARGETS)
    if find_spec("tensorflow") is None:
        if absent := sorted(NEEDS_TENSORFLOW.intersection(names)):
            print(f"Skipped: {', '.join(absent)}: TensorFlow is not installed (make fuzz-importers).")
        names = [name for name in names if name not in NEEDS_TENSORFLOW]
    broken = [name for name in names if not fuzz(name, int(os.environ.get("FUZZ_SECONDS", "60")))]
    if broken:
        print(f"Broken: {', '.join(broken)}; the inputs are in {KEPT}")
    return len(broken)


def fuzz(name: str, seconds: int) -> bool:
    """Whether the target held out."""
    found = KEPT / name
    found.mkdir(parents=True, exist_ok=True)
    flags = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={KEPT / name}-",
        "-max_len=8192",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    command = [sys.executable, "-m", "fuzz.one", name, *flags, str(found), str(CORPUS / name)]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    tried = re.search(r"number_of_executed_units:\s+(\d+)", run.stderr)
    print(f"{name}: {int(tried[1]) if tried else 0:,} inputs, {'broken' if run.returncode else 'nothing broke'}")
    if run.returncode:
        print(run.stdout[-4000:], run.stderr[-1000:], sep="\n")
    sys.stdout.flush()
    return run.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
