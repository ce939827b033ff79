"""Overlaps: which id of one array meets which id of another, and on how many voxels."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Counts", "Pairs", "pairs"]

Counts: TypeAlias = npt.NDArray[np.int64]
Pairs: TypeAlias = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], Counts]

_CHUNK = 1 << 24  # voxels compared at a time: bounds the memory beside the two arrays


def pairs(a: npt.NDArray[Any], b: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None = None) -> Pairs:
    """Count the voxels on which each id of one array meets each id of another, background included.

    Parameters
    ----------
    a, b : integer array
        The same shape; ids at or above 0, up to 2**64 - 1.
    mask : bool array, optional
        Voxels that are left out.

    Returns
    -------
    ids, others : (k,) uint64 array
    counts : (k,) int64 array
        Each pair that occurs, once, sorted.
    """
    # numba takes half a second to load: whoever only looks at labels need not wait for it.
    from mitonb.post.tables import PairTable

    if a.ndim > 1 and all(x.flags.f_contiguous for x in (a, b)):
        # The order of the voxels is all one to a table: read them as they lie in memory.
        a, b, mask = a.T, b.T, None if mask is None else mask.T
    table = PairTable()
    a, b = (x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "i" else x for x in (a, b))
    rows = max(1, _CHUNK // max(1, a[0].size)) if a.ndim and len(a) else 1
    for k in range(0, len(a) if a.ndim else 0, rows):
        part = slice(k, k + rows)
        counted = () if mask is None else ~mask[part]
        table.count(a[part][counted], b[part][counted])
    first, second, counts = table.columns()
    order = np.lexsort((second, first))
    order = order[counts[order] > 0]
    return first[order], second[order], counts[order]
