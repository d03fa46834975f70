"""Numbers for networks that nobody trained, of a size that keeps every layer's values in a sane range."""

from __future__ import annotations

import numpy as np

from embedding_calculator.arrays import Floats

_BLOCK = 1_000_003  # prime, so that rows of a long weight begin at different places of the block


class Weights:
    """An endless row of numbers, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._normal = np.tile(random.standard_normal(_BLOCK, dtype=np.float32), 2)
        self._position = 0

    def normal(self, shape: tuple[int, ...], deviation: float = 1.0, mean: float = 0.0) -> Floats:
        """Normally distributed numbers."""
        size = int(np.prod(shape))
        taken = np.resize(self._normal[self._position : self._position + min(size, _BLOCK)], size)
        self._position = (self._position + size) % _BLOCK
        answer: Floats = (taken * np.float32(deviation) + np.float32(mean)).reshape(shape)
        return answer

    def layer(self, shape: tuple[int, ...]) -> Floats:
        """A weight ``(outputs, inputs, ...)`` that keeps the spread of what it is given, where half of that is cut."""
        return self.normal(shape, float(np.sqrt(2 / np.prod(shape[1:]))))

    def positive(self, shape: tuple[int, ...]) -> Floats:
        """Around one, never near zero: variances and scales."""
        answer: Floats = np.clip(self.normal(shape, 0.1, 1.0), np.float32(0.5), np.float32(1.5))
        return answer
