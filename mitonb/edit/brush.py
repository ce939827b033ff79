"""Brushes: the pixels that a round brush covers when it is drawn along a line."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError

__all__ = ["MAX_RADIUS", "disk", "stroke", "trail"]

Pixels = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MAX_RADIUS = 1024.0
_LONGEST = 1_000_000
_MOST = 1 << 28  # pixels that all disks may add, counted with repeats: a few seconds of work
_PIECE = 1 << 22


def disk(radius: float) -> Pixels:
    """Return the (n, 2) offsets (row, column) with row**2 + column**2 <= radius**2."""
    r = int(radius)
    rows, columns = np.mgrid[-r : r + 1, -r : r + 1]
    return np.argwhere(rows**2 + columns**2 <= radius**2) - r


def trail(points: npt.NDArray[np.floating]) -> Pixels:
    """Return the (m, 2) pixels of a polyline: rounded half up, each at most one step from the one before.

    Raises
    ------
    InputError
        If the line is longer than a million pixels.
    """
    corners = np.floor(points + 0.5)
    if np.abs(np.diff(corners, axis=0)).sum() > _LONGEST:
        raise InputError(f"A stroke has at most {_LONGEST} pixels. Paint it in pieces.")
    corners = corners.astype(np.int64)
    moves = np.diff(corners, axis=0)
    counts = np.abs(moves).max(axis=1)
    segment = np.repeat(np.arange(len(moves)), counts)
    done = np.arange(len(segment)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    part = (done / counts[segment])[:, None]
    steps = corners[segment] + np.floor(moves[segment] * part + 0.5).astype(np.int64)
    return np.concatenate([corners[:1], steps])


def stroke(points: npt.NDArray[np.floating], radius: float, shape: tuple[int, int]) -> Pixels:
    """Draw a disk along a polyline on a plane.

    Parameters
    ----------
    points : (n, 2) float array
        (row, column) in pixels; may lie outside the plane.
    radius : float
        In pixels; 0 draws single pixels.
    shape : tuple of int
        (h, w) of the plane.

    Returns
    -------
    (m,) int array
        Flat (row, column) index of the pixels that the brush covers, ascending, without repeats.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise InputError(f"A brush radius is 0 to {MAX_RADIUS:g} pixels, got {radius}.")
    centers = trail(points)
    steps = np.diff(centers, axis=0, prepend=centers[:1])
    near: Mask = np.all((centers >= -int(radius)) & (centers < np.array(shape) + int(radius)), axis=1)
    if near.sum() * (4 * radius + 1) > _MOST:
        raise InputError(f"A stroke of {near.sum()} pixels is too long for a radius of {radius:g}. Paint it in pieces.")
    # A center that is dropped here covers nothing on the plane, so its successor needs no more than its crescent.
    first, centers, steps = bool(near[0]), centers[near], steps[near]
    covered = [centers[:1] + disk(radius)] if first else []
    direction = steps @ np.array([3, 1])
    for way in np.unique(direction[direction != 0]):
        row, column = (int(v) for v in steps[np.argmax(direction == way)])
        offsets = _crescent(radius, row, column)
        behind = centers[direction == way]
        # A long scribble with a large brush is joined piece by piece, so that it never takes more than a plane.
        for at in range(0, len(behind), max(1, _PIECE // len(offsets))):
            piece = behind[at : at + max(1, _PIECE // len(offsets))]
            covered.append((piece[:, None] + offsets).reshape(-1, 2))
            if sum(map(len, covered)) > _PIECE:
                index = _flat(np.concatenate(covered), shape)
                covered = [np.stack(np.divmod(index, shape[1]), axis=1)]
    return _flat(np.concatenate(covered), shape) if covered else np.zeros(0, np.int64)


def _flat(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """Return the flat index of the pixels on the plane, ascending, without repeats."""
    row, column = pixels.T
    index: Pixels = (row * shape[1] + column)[(row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])]
    index.sort()
    new = np.ones(len(index), bool)
    new[1:] = index[1:] != index[:-1]
    return index[new]


@lru_cache(maxsize=64)
def _crescent(radius: float, row: int, column: int) -> Pixels:
    """Return the offsets of a disk that a disk one step behind does not cover."""
    offsets = disk(radius)
    behind = offsets + np.array([row, column])
    new: Pixels = offsets[(behind**2).sum(axis=1) > radius**2]
    return new
