"""Names for the arrays that travel between the rooms.

Coordinates are pixels of the whole picture as a person sees it (after orientation), x to the right, y down.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""``(H, W, 3)`` or, for several crops, ``(N, H, W, 3)``; RGB, 0..255."""

Floats: TypeAlias = NDArray[np.float32]
"""Single-precision numbers: tensors, boxes ``(N, 4)``, landmarks ``(N, 5, 2)``, embeddings ``(N, D)``."""

Matrices: TypeAlias = NDArray[np.float64]
"""``(N, 2, 3)`` affine maps from picture coordinates to crop coordinates."""
