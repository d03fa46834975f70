"""Annotated photos in the layouts that the field uses: FDDB's ellipses, WIDER FACE's boxes, and CSV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ParameterError
from embedding_calculator.evaluation.detection import (
    Flags,
    Indices,
    match_boxes,
    match_noses,
    read_boxes,
    read_noses,
)

_WIDER = "wider_face_*_bbx_gt.txt"


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedPhoto:
    """One photo's file and its faces.

    ``noses``: ``(N, 2)``; where only boxes are annotated, their centres. ``boxes``: ``(N, 4)``, or None where only
    noses are annotated.
    """

    name: str
    path: Path
    noses: Floats
    boxes: Floats | None

    @classmethod
    def boxed(cls, name: str, path: Path, boxes: Floats) -> AnnotatedPhoto:
        """From boxes ``(N, 4)``."""
        return cls(name, path, np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32), boxes)

    def matters(self, min_width: float) -> Flags:
        """Which faces ``(N,)`` are at least so many pixels wide; all where only noses are annotated."""
        if self.boxes is None:
            return np.ones(len(self.noses), bool)
        return np.asarray(self.boxes[:, 2] - self.boxes[:, 0] >= min_width, bool)

    def match(self, found: Floats, overlap: float) -> Indices:
        """Which annotated face each found box ``(N, 4)`` is, -1 for none: by its box if there is one, else its nose."""
        if self.boxes is None:
            return match_noses(self.noses, found)
        return match_boxes(self.boxes, found, overlap)


def open_dataset(annotations: Path, images: Path | None = None) -> list[AnnotatedPhoto]:
    """Read annotations; the photos stay on the disk.

    Args:
        annotations: FDDB's folder (``FDDB-folds/*-ellipseList.txt``); WIDER FACE's ``wider_face_*_bbx_gt.txt`` or the
            one folder it is in; or a CSV with boxes (image, x_min, y_min, x_max, y_max) or noses (image, nose_x,
            nose_y).
        images: the folder that names are in; by default where the layout has it, for a CSV ``images`` beside it or
            its own folder.

    Raises:
        ParameterError: it is none of these, or malformed.
    """
    if annotations.is_dir():
        if lists := sorted((annotations / "FDDB-folds").glob("*-ellipseList.txt")):
            photos = [photo for path in lists for photo in _fddb(path, images or annotations / "originalPics")]
        elif len(files := sorted(annotations.glob(_WIDER))) == 1:
            photos = list(_wider(files[0], images or _wider_images(files[0])))
        else:
            raise ParameterError(
                f"{annotations} has neither FDDB-folds/*-ellipseList.txt nor one {_WIDER}; several need to be named"
            )
    elif annotations.match(_WIDER):
        photos = list(_wider(annotations, images or _wider_images(annotations)))
    else:
        photos = list(_csv(annotations, images))
    if not photos:
        raise ParameterError(f"{annotations} names no photo")
    return photos


def _csv(path: Path, images: Path | None) -> Iterator[AnnotatedPhoto]:
    folder = images or (path.parent / "images" if (path.parent / "images").is_dir() else path.parent)
    with _readable(path), path.open(encoding="utf-8-sig") as file:
        noses_only = "nose_x" in file.readline()
    if noses_only:
        yield from nosed(path, folder)
    else:
        for name, boxes in read_boxes(path).items():
            yield AnnotatedPhoto.boxed(name, folder / name, boxes)


def nosed(path: Path, images: Path | None = None) -> Iterator[AnnotatedPhoto]:
    """From a CSV of noses; by default the photos are beside it.

    Raises:
        ParameterError: it is none.
    """
    for name, noses in read_noses(path).items():
        yield AnnotatedPhoto(name, (images or path.parent) / name, noses, None)


def _fddb(path: Path, images: Path) -> Iterator[AnnotatedPhoto]:
    """A photo's name without its suffix, how many faces, and a line of each: radii, angle, centre, 1."""
    for name, rows in _counted(path, columns=6):
        yield AnnotatedPhoto.boxed(name, images / f"{name}.jpg", _around_ellipses(rows))


def _around_ellipses(ellipses: Floats) -> Floats:
    """The upright boxes that ellipses touch: ``(N, 5+)`` of radii a and b, angle of a, centre -> ``(N, 4)``."""
    a, b, angle, x, y = ellipses[:, :5].T
    half_width = np.hypot(a * np.cos(angle), b * np.sin(angle))
    half_height = np.hypot(a * np.sin(angle), b * np.cos(angle))
    boxes: Floats = np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1)
    return boxes


def _wider(path: Path, images: Path) -> Iterator[AnnotatedPhoto]:
    """A photo's path, how many faces, and a line of each: x, y, width, height, blur ... invalid (the eighth) ...

    A photo without faces has a line of zeros all the same.
    """
    for name, rows in _counted(path, columns=10, always_a_row=True):
        valid = rows[(rows[:, 7] == 0) & (rows[:, 2:4] > 0).all(axis=1)]
        boxes = np.concatenate([valid[:, :2], valid[:, :2] + valid[:, 2:4]], axis=1)
        yield AnnotatedPhoto.boxed(name, images / name, boxes)


def _wider_images(path: Path) -> Path:
    """WIDER FACE keeps ``WIDER_val/images`` beside the folder with ``wider_face_val_bbx_gt.txt``, or in it."""
    part = path.name.split("_")[2]
    places = [folder / f"WIDER_{part}" / "images" for folder in (path.parent, path.parent.parent)]
    return next((place for place in places if place.is_dir()), path.parent / "images")


def _counted(path: Path, columns: int, *, always_a_row: bool = False) -> Iterator[tuple[str, Floats]]:
    with _readable(path):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        position = 0
        while position < len(lines):
            name, count = lines[position], int(lines[position + 1]) if position + 1 < len(lines) else 0
            end = position + 2 + max(count, int(always_a_row))
            if end > len(lines):
                raise ValueError(f"the faces of {name} are cut short")
            rows = [line.split()[:columns] for line in lines[position + 2 : position + 2 + count]]
            yield name, np.array(rows, np.float32).reshape(-1, columns)
            position = end


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside, the annotations are to blame."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ParameterError(f"{path} is not as its layout wants it: {error}") from error
