"""From a face in a picture to the square of pixels a network was trained on.

Coordinates count from the centre of the first pixel: so detectors answer, templates are drawn, and the recognisers'
own alignment warped. A raster's pixels share edges, not centres, with those of a coarser one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from embedding_calculator.arrays import Floats, Matrices, Pixels
from embedding_calculator.imaging.picture import Picture

_FINE_ENOUGH = 1.25
"""Raster pixels a crop pixel from which no finer decode is asked for: it would cost a large photo more than its
networks, and crops from either differ by less than a grey level."""

_FINENESS = 2.0
"""Raster pixels a crop pixel that are sampled, bilinearly; a finer region is averaged down to this first, so that none
is skipped. Averaged down to one, sampling blurs a second time, which makes old faces half a year younger to the
networks of dlib_zoo."""


class Crop(Protocol):
    """A way to cut a face, as data: hashable, so that plugins with the same needs share one cut."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the crop in pixels."""
        ...

    def matrices(self, boxes: Floats, landmarks: Floats) -> Matrices:
        """Affine maps, whole-picture to crop coordinates: ``(N, 4)``, ``(N, 5, 2)`` -> ``(N, 2, 3)``.

        A face without extent gets a map that is not invertible, or not finite; ``cut`` answers it with black.
        """
        ...


@dataclass(frozen=True, slots=True)
class SimilarityCrop:
    """Shifts, turns and scales a face so that its five points come to lie nearest to ``template``.

    ``template`` holds the points' places in the crop, in the order of ``Detections.landmarks``; ``size`` is the
    crop's width and height in pixels; ``weights`` say how much each point counts, 0 for one that the network's own
    alignment did not know. Nearest in the sense of least squares, without mirroring: Umeyama,
    "Least-squares estimation of transformation parameters between two point patterns", PAMI 13(4), 1991,
    https://doi.org/10.1109/34.88573.
    """

    template: tuple[tuple[float, float], ...]
    size: tuple[int, int]
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)

    def matrices(self, boxes: Floats, landmarks: Floats) -> Matrices:  # noqa: ARG002 - the points say it all
        """Affine maps, whole-picture to crop coordinates: ``(N, 4)``, ``(N, 5, 2)`` -> ``(N, 2, 3)``."""
        # As complex numbers a turn with a scale is one factor, so the least squares have a closed form.
        points = landmarks[..., 0].astype(np.float64) + 1j * landmarks[..., 1]
        targets = np.array([complex(x, y) for x, y in self.template])
        weights = np.array(self.weights, np.complex128) / sum(self.weights)
        centres, centre = points @ weights, complex(targets @ weights)
        spread = points - centres[:, None]
        extent = np.abs(spread) ** 2 @ weights.real
        factors = (spread.conj() * (targets - centre)) @ weights / np.where(extent > 0, extent, np.inf)
        return turning_maps(factors, centres, centre)


def turning_maps(factors: NDArray[np.complex128], centres: NDArray[np.complex128], target: complex) -> Matrices:
    """The maps ``z -> factor * (z - centre) + target`` of the complex plane: ``(N,)`` and ``(N,)`` -> ``(N, 2, 3)``."""
    offsets = target - factors * centres
    rows = [[factors.real, -factors.imag, offsets.real], [factors.imag, factors.real, offsets.imag]]
    return np.moveaxis(np.array(rows), -1, 0)


ARCFACE_112 = SimilarityCrop(
    template=((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)),
    size=(112, 112),
)
"""The alignment that ArcFace (https://arxiv.org/abs/1801.07698) and most recognisers since were trained with."""


@dataclass(frozen=True, slots=True)
class BoxCrop:
    """The box itself, upright, squeezed to ``size`` (width, height in pixels) whatever its shape.

    The box's edges are cut to whole pixels first, as a slice of the picture has them; its landmarks do not matter.
    """

    size: tuple[int, int]

    def matrices(self, boxes: Floats, landmarks: Floats) -> Matrices:  # noqa: ARG002 - the box says it all
        """Affine maps, whole-picture to crop coordinates: ``(N, 4)``, ``(N, 5, 2)`` -> ``(N, 2, 3)``."""
        edges = np.trunc(boxes.astype(np.float64))
        sides = edges[:, 2:] - edges[:, :2]
        factors = np.where(sides > 0, self.size / np.where(sides > 0, sides, 1), 0)
        maps = np.zeros((len(boxes), 2, 3))
        maps[:, [0, 1], [0, 1]] = factors
        # The edge of a pixel lies half a pixel before its centre, here and there.
        maps[:, :, 2] = factors * (0.5 - edges[:, :2]) - 0.5
        return maps


def needed_scale(crop: Crop, boxes: Floats, landmarks: Floats) -> float:
    """The scale, 0 to 1, at which ``cut`` wants the picture for these faces; 0 if it can cut none of them."""
    return _enough(_usable_maps(crop, boxes, landmarks)[1])


def cut(picture: Picture, crop: Crop, boxes: Floats, landmarks: Floats) -> Pixels:
    """Every face's crop, ``(N, H, W, 3)`` uint8 RGB, from pixels no finer than needed; outside the picture is black.

    ``boxes`` is ``(N, 4)`` and ``landmarks`` ``(N, 5, 2)``, in pixels of the whole picture. A face that lies outside
    the picture or has no extent gives a black crop.

    Raises:
        ImageUnreadableError, ImageTooLargeError, BusyError: see ``Picture.raster``.
    """
    width, height = crop.size
    crops = np.zeros((len(boxes), height, width, 3), np.uint8)
    usable, maps = _usable_maps(crop, boxes, landmarks)
    if usable.size == 0:
        return crops

    raster = picture.raster(_enough(maps))
    for face, matrix in zip(usable, maps, strict=True):
        crops[face] = _warp(raster.pixels, _from_coarser(matrix, 1 / raster.scale_x, 1 / raster.scale_y), crop.size)
    return crops


def _usable_maps(crop: Crop, boxes: Floats, landmarks: Floats) -> tuple[NDArray[np.intp], Matrices]:
    """Which faces can be cut, ``(M,)``, and their maps, ``(M, 2, 3)``."""
    with np.errstate(invalid="ignore", over="ignore"):
        maps = crop.matrices(boxes, landmarks)
        usable = np.flatnonzero((_scales(maps) > 0) & np.isfinite(maps).all(axis=(1, 2)))
    return usable, maps[usable]


def _enough(maps: Matrices) -> float:
    return min(_FINE_ENOUGH * float(_scales(maps).max(initial=0)), 1.0)


def _from_coarser(matrix: NDArray[np.float64], times_x: float, times_y: float) -> NDArray[np.float64]:
    """The same map for a raster with that many times fewer pixels a side: there x was ``(x + 0.5) * times - 0.5``."""
    times = np.array([times_x, times_y])
    offset = matrix[:, 2] + matrix[:, :2] @ (times - 1) / 2
    return np.column_stack([matrix[:, :2] * times, offset])


def _scales(maps: Matrices) -> NDArray[np.float64]:
    """Crop pixels a picture pixel, ``(N,)``; zero where a map has no inverse."""
    scales: NDArray[np.float64] = np.sqrt(np.abs(np.linalg.det(maps[:, :, :2])))
    return scales


def _warp(pixels: Pixels, matrix: NDArray[np.float64], size: tuple[int, int]) -> Pixels:
    """One crop of ``size`` from a raster, ``matrix`` leading from the raster's coordinates to the crop's."""
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size], np.float64)
    seen = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    pixels_per_crop_pixel = 1 / _scales(matrix[None])[0]
    margin = 2 + pixels_per_crop_pixel
    left, top = np.clip(np.floor(seen.min(axis=0) - margin), 0, pixels.shape[1::-1]).astype(int)
    right, bottom = np.clip(np.ceil(seen.max(axis=0) + margin), 0, pixels.shape[1::-1]).astype(int)
    region = pixels[top:bottom, left:right]
    if region.size == 0:
        return np.zeros((size[1], size[0], 3), np.uint8)

    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ (left, top)
    if pixels_per_crop_pixel > _FINENESS:
        full = region.shape[1::-1]
        coarse = [max(1, round(side * _FINENESS / pixels_per_crop_pixel)) for side in full]
        region = cv2.resize(region, coarse, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        matrix = _from_coarser(matrix, full[0] / coarse[0], full[1] / coarse[1])
    return cv2.warpAffine(region, matrix, size, flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
