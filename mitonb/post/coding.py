"""Coding: planes of ids as runs of equal pixels, and runs back into a part of a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit

if TYPE_CHECKING:
    from mitonb.maps import Ids

__all__ = ["Runs", "draw", "encode"]

Runs = npt.NDArray[np.uint32]
"""(n, 3): first pixel (flat index), length and id of each run; sorted, background left out, none beyond its row."""

_SAME = np.zeros(0, np.uint32)


def encode(plane: Ids) -> Runs:
    """Return the runs of a (h, w) plane of ids.

    Examples
    --------
    >>> encode(np.array([[0, 7, 7], [7, 0, 2]], np.uint32)).tolist()
    [[1, 2, 7], [3, 1, 7], [5, 1, 2]]
    """
    runs: Runs = _encode(np.ascontiguousarray(plane, dtype=np.uint32))
    return runs


def draw(
    runs: Runs, ends: npt.NDArray[np.int64], out: npt.NDArray[np.uint32], *, top: int = 0,
    table: npt.NDArray[np.uint32] | None = None,
) -> None:  # fmt: skip
    """Draw the runs of some planes.

    Parameters
    ----------
    runs : (n, 3) uint32 array
        Runs of all planes, one plane after the other.
    ends : (planes,) int64 array
        Where the runs of each plane end.
    out : (planes, rows, w) uint32 array
        Gets the ids; what no run covers stays as it is. It may be a view with any strides.
    top : int
        Row of the planes that is row 0 of `out`; all runs lie in the rows from there.
    table : (largest id + 1,) uint32 array, optional
        New id of each id.
    """
    _draw(runs, ends, out, top, _SAME if table is None else table)


@jit
def _encode(plane: Any) -> Any:
    h, w = plane.shape
    count = 0
    for y in range(h):
        last = np.uint32(0)
        for x in range(w):
            here = plane[y, x]
            if here != last:
                if here != 0:
                    count += 1
                last = here
    runs = np.empty((count, 3), np.uint32)
    k = -1
    for y in range(h):
        last = np.uint32(0)
        for x in range(w):
            here = plane[y, x]
            if here != last:
                if last != 0:
                    runs[k, 1] = y * w + x - runs[k, 0]
                if here != 0:
                    k += 1
                    runs[k, 0] = y * w + x
                    runs[k, 2] = here
                last = here
        if last != 0:
            runs[k, 1] = (y + 1) * w - runs[k, 0]
    return runs


@jit
def _draw(runs: Any, ends: Any, out: Any, top: Any, table: Any) -> None:
    planes, rows, w = out.shape
    at = np.zeros(planes, np.int64)
    at[1:] = ends[:-1]
    # Row by row through all planes: where `out` is turned, neighbouring planes share cache lines.
    for row in range(rows):
        first = (top + row) * w
        for p in range(planes):
            k = at[p]
            while k < ends[p] and runs[k, 0] < first + w:
                value = runs[k, 2]
                if len(table) > 0:
                    value = table[value]
                start = np.int64(runs[k, 0]) - first
                for x in range(start, start + np.int64(runs[k, 1])):
                    out[p, row, x] = value
                k += 1
            at[p] = k
