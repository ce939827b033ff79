"""Overlap tables: how many voxels each pair of ids shares, in one pass; and ids rewritten by a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.post.compiled import jit

if TYPE_CHECKING:
    from mitonb.maps import Ids

__all__ = ["as_ids", "grown", "overlaps", "relabel", "slot"]


def overlaps(a: Ids, b: Ids) -> npt.NDArray[np.int64]:
    """Count the pixels that each pair of ids shares.

    Parameters
    ----------
    a, b : arrays of unsigned int of one shape
        Ids; 0 is background and makes no pair.

    Returns
    -------
    table : (n, 3) int64 array
        (id in a, id in b, pixels), sorted.
    """
    keys, counts = _pairs(_flat(a), _flat(b))
    order = np.argsort(keys)
    keys, counts = keys[order], counts[order]
    return np.stack(
        [(keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64), counts], 1
    )


def relabel(ids: npt.NDArray[np.uint32], table: npt.NDArray[np.uint32]) -> None:
    """Replace each id, in place, by what the table holds for it; 0 stays 0.

    Parameters
    ----------
    ids : uint32 array
        Changed in place; plane by plane where it is not contiguous.
    table : (largest id + 1,) uint32 array
        New id of each old one.
    """
    for plane in ids if ids.ndim == 3 else [ids]:
        if plane.flags.c_contiguous:
            _relabel(plane.reshape(-1), table)
        else:
            plane[...] = table[plane]


def as_ids(ids: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint32]:
    """Return ids as a contiguous uint32 array, of the same values.

    Raises
    ------
    InputError
        If an id is below 0 or above 2**32 - 1: cut off to 32 bits it would become another object, or background.
    """
    if ids.dtype.kind not in "bui" or (
        not np.can_cast(ids.dtype, np.uint32) and ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < 2**32
    ):
        raise InputError(f"Ids are whole numbers from 0 to {2**32 - 1}, got {ids.dtype}. Renumber them first.")
    return np.ascontiguousarray(ids, dtype=np.uint32)


def _flat(ids: Ids) -> npt.NDArray[np.uint32]:
    return as_ids(ids).reshape(-1)


@jit
def _relabel(ids: Any, table: Any) -> None:
    for k in range(len(ids)):
        if ids[k] != 0:
            ids[k] = table[ids[k]]


@jit
def slot(keys: Any, key: Any) -> Any:
    """Return the place of a key in an open table, or the free place where it belongs; free places hold 0."""
    mask = np.uint64(len(keys) - 1)
    at = ((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(17)) & mask
    while keys[at] != 0 and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@jit
def grown(keys: Any, values: Any) -> Any:
    """Return a table of twice the size with the same content."""
    bigger = np.zeros(2 * len(keys), np.uint64)
    moved = np.zeros(2 * len(keys), np.int64)
    for k in range(len(keys)):
        if keys[k] != 0:
            at = slot(bigger, keys[k])
            bigger[at] = keys[k]
            moved[at] = values[k]
    return bigger, moved


@jit
def _pairs(a: Any, b: Any) -> Any:
    keys = np.zeros(256, np.uint64)
    counts = np.zeros(256, np.int64)
    used = 0
    k = 0
    n = len(a)
    while k < n:
        p, q = a[k], b[k]
        start = k
        k += 1
        # Neighbours mostly repeat: one look-up for a whole run.
        while k < n and a[k] == p and b[k] == q:
            k += 1
        if p == 0 or q == 0:
            continue
        key = (np.uint64(p) << np.uint64(32)) | np.uint64(q)
        at = slot(keys, key)
        if keys[at] == 0:
            if 2 * used >= len(keys):
                keys, counts = grown(keys, counts)
                at = slot(keys, key)
            keys[at] = key
            used += 1
        counts[at] += k - start
    there = np.flatnonzero(keys)
    return keys[there], counts[there]
