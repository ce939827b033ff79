"""Drawn planes whose profiles can be counted by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint32]


def grid(shape: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the row and column of each pixel."""
    y, x = np.indices(shape)
    return y, x


def disk(labels: Plane, number: int, y: float, x: float, radius: float) -> Plane:
    """Draw a disk over what is there."""
    rows, columns = grid(labels.shape)  # type: ignore[arg-type]
    return np.where((rows - y) ** 2 + (columns - x) ** 2 <= radius**2, np.uint32(number), labels)


def ring(labels: Plane, number: int, y: float, x: float, radius: float, width: float) -> Plane:
    """Draw a ring over what is there."""
    rows, columns = grid(labels.shape)  # type: ignore[arg-type]
    distance = np.hypot(rows - y, columns - x)
    return np.where(np.abs(distance - radius) <= width / 2, np.uint32(number), labels)


def arc(labels: Plane, number: int, y: float, x: float, radius: float, width: float) -> Plane:
    """Draw the upper half of a ring: a curved profile whose centroid lies outside of it."""
    rows, _ = grid(labels.shape)  # type: ignore[arg-type]
    return np.where((ring(np.zeros_like(labels), 1, y, x, radius, width) == 1) & (rows <= y), np.uint32(number), labels)


def same_partition(a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32]) -> bool:
    """Return whether two arrays of ids are the same up to the names of the ids."""
    if a.shape != b.shape or not np.array_equal(a == 0, b == 0):
        return False
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == pairs.shape[1] == len(np.unique(pairs[1]))
