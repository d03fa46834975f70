"""What the C library does with memory that is free: give it back. For the process that serves, and no other's.

Large blocks come from the system one by one and go back at once. Smaller ones lie in heaps, one for every few threads,
which grow to the most that was ever in them at once and shrink only from their end: sixteen of them, each with one byte
in use beyond what pictures left free, held 600 MB after ten minutes of everything at once.
"""

from __future__ import annotations

import asyncio
import ctypes
import time
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # In glibc's malloc.h.
_LARGE_BLOCK_BYTES = 8 << 20  # Pillow's blocks are larger; what small photos need is not, and is used again.
_KEPT_BYTES = 2 * _LARGE_BLOCK_BYTES  # Free at the end of each thread's heap: what the next small photo needs.

_PAUSE = 1.0  # Seconds. To trim costs less than a millisecond, and what was used meanwhile shows no difference.
_WORTHWHILE = 0.05  # Seconds of CPU since the last time; who only waits has left nothing.

_OTHER_LIBRARY = OSError, AttributeError, TypeError  # Not glibc: it has habits of its own.


def return_memory_promptly() -> None:
    """Have the C library give large blocks back to the system as soon as they are free.

    For the whole process, so that only who owns it calls this. By itself glibc takes a large block that was freed as a
    sign to keep the next ones: each thread then holds on to the largest picture it ever saw. What lies free at the end
    of a heap is kept up to a limit: whoever sets the one number has the other fixed at 128 KB, and then every small
    photo gets its memory anew from the system, 1300 pages and 2 ms of CPU.
    """
    with suppress(*_OTHER_LIBRARY):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


async def trim_regularly() -> None:
    """Have the C library give back every free page of its heaps, whenever there was work; until cancelled."""
    with suppress(*_OTHER_LIBRARY):
        trim = ctypes.CDLL(None).malloc_trim
        trimmed = 0.0
        while True:
            if time.process_time() - trimmed >= _WORTHWHILE:
                await asyncio.to_thread(trim, 0)
                trimmed = time.process_time()
            await asyncio.sleep(_PAUSE)
