"""Runs: planes of ids as stretches of equal pixels along rows; what all of tracking, consensus and cleaning work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.post.compiled import jit
from mitonb.post.tables import as_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Runs", "joined", "longer", "paint", "relabelled", "runs_of"]

_BLOCK = np.uint64(16)
"""Pixels that are painted at once."""


@dataclass(frozen=True)
class Runs:
    """Ids of planes as runs: row by row, the stretches of equal pixels that are not background.

    A run costs 12 bytes, a row 8; planes of mitochondria come to less than one byte per voxel, empty ones to nearly
    nothing. Runs are never changed; functions return new ones.

    Attributes
    ----------
    shape : (n, h, w)
        Planes, rows and columns.
    first : (n * h + 1,) int64 array
        Number of the first run of each row, then the count of all.
    start, stop : (m,) int32 arrays
        Columns of each run, stop exclusive. Runs of a row are in order and do not overlap; where two touch, their ids
        differ.
    ids : (m,) uint32 array
        Id of each run, above 0.
    """

    shape: tuple[int, int, int]
    first: npt.NDArray[np.int64]
    start: npt.NDArray[np.int32]
    stop: npt.NDArray[np.int32]
    ids: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes that the tables take."""
        return self.first.nbytes + self.start.nbytes + self.stop.nbytes + self.ids.nbytes

    def block(self, begin: int, end: int) -> Runs:
        """Return the planes from `begin` to before `end`; the tables of runs are not copied."""
        n, h, w = self.shape
        if not 0 <= begin <= end <= n:
            raise InputError(f"There are planes 0 to {n}, got {begin} to {end}.")
        first = self.first[begin * h : end * h + 1]
        inside = slice(int(first[0]), int(first[-1]))
        return Runs((end - begin, h, w), first - first[0], self.start[inside], self.stop[inside], self.ids[inside])


def runs_of(ids: npt.NDArray[np.integer[Any]]) -> Runs:
    """Return ids as runs.

    Parameters
    ----------
    ids : (n, h, w) or (h, w) array of unsigned int
        Planes of ids; 0 is background.

    Raises
    ------
    InputError
        If there are not two or three axes, or an id needs more than 32 bits.

    Examples
    --------
    >>> runs = runs_of(np.array([[0, 7, 7, 3], [0, 0, 0, 0]]))
    >>> runs.start.tolist(), runs.stop.tolist(), runs.ids.tolist(), runs.first.tolist()
    ([1, 3], [3, 4], [7, 3], [0, 2, 2])
    """
    if ids.ndim not in (2, 3):
        raise InputError(f"Runs are taken from planes of ids (n, h, w) or (h, w), got shape {ids.shape}.")
    ids = as_ids(ids)
    n, h, w = (1, *ids.shape)[-3:]
    return Runs((n, h, w), *_scan(ids.reshape(n * h, w)))


def paint(
    runs: Runs,
    out: npt.NDArray[np.uint32] | None = None,
    *,
    table: npt.NDArray[np.uint32] | None = None,
    clear: bool = True,
) -> npt.NDArray[np.uint32]:
    """Return runs as an array of ids.

    Parameters
    ----------
    runs : Runs
        What to paint.
    out : (n, h, w) uint32 array, optional
        Is written and returned; a new array by default.
    table : (largest id + 1,) uint32 array, optional
        New id of each old one.
    clear : bool
        Write the background too; not needed where `out` holds nothing yet.
    """
    if table is None:
        table = np.zeros(0, np.uint32)
    new = out is None
    clear = clear and not new
    if out is None:
        out = np.zeros(runs.shape, np.uint32)  # pages that stay empty are never touched
    n, h, w = runs.shape
    if out.shape != runs.shape:
        raise InputError(f"Runs of shape {runs.shape} do not fit into an array of shape {out.shape}.")
    if out.flags.c_contiguous:
        _paint(runs.first, runs.start, runs.stop, runs.ids, table, out.reshape(n * h, w), clear, clear or new)
    else:
        for k in range(n):
            plane = paint(runs.block(k, k + 1), table=table if len(table) else None)[0]
            out[k] = plane if clear else np.where(plane > 0, plane, out[k])
    return out


def joined(parts: Sequence[Runs]) -> Runs:
    """Return the planes of all parts, one part after the other.

    Raises
    ------
    InputError
        If there is no part, or planes differ in shape.
    """
    if len({p.shape[1:] for p in parts}) != 1:
        raise InputError("Runs can be joined if their planes have one shape, got " + str([p.shape for p in parts][:4]))
    offsets = np.cumsum([0, *(len(p) for p in parts)])
    first = np.concatenate([*(p.first[:-1] for p in parts), np.zeros(1, np.int64)])
    first += np.repeat(offsets, [*(len(p.first) - 1 for p in parts), 1])
    return Runs(
        (sum(p.shape[0] for p in parts), *parts[0].shape[1:]), first,
        np.concatenate([p.start for p in parts]), np.concatenate([p.stop for p in parts]),
        np.concatenate([p.ids for p in parts]),
    )  # fmt: skip


def relabelled(runs: Runs, table: npt.NDArray[np.uint32]) -> Runs:
    """Return runs with other ids; runs that become 0 go, and runs of one id that touch become one.

    Parameters
    ----------
    runs : Runs
        What to relabel.
    table : (largest id + 1,) uint32 array
        New id of each old one.
    """
    return Runs(runs.shape, *_relabelled(runs.first, runs.start, runs.stop, runs.ids, table))


@jit
def longer(array: Any) -> Any:
    """Return an array of twice the length that begins with this one."""
    longer = np.empty(2 * len(array), array.dtype)
    for k in range(len(array)):  # a slice would compile numba's messages on shapes along with it
        longer[k] = array[k]
    return longer


@jit
def _scan(ids: Any) -> Any:
    rows, w = ids.shape
    start = np.empty(1024, np.int32)
    stop = np.empty(1024, np.int32)
    what = np.empty(1024, np.uint32)
    first = np.empty(rows + 1, np.int64)
    count = 0
    for r in range(rows):
        first[r] = count
        row = ids[r]
        x = 0
        while True:
            # Background, many pixels at a step: the inner loop has no way out, so that it becomes vector code.
            while x + 32 <= w:
                any_ = np.uint32(0)
                for j in range(32):
                    any_ |= row[x + j]
                if any_ != 0:
                    break
                x += 32
            while x < w and row[x] == 0:
                x += 1
            if x >= w:
                break
            here = row[x]
            if count == len(start):
                start, stop, what = longer(start), longer(stop), longer(what)
            start[count] = x
            x += 1
            while x + 8 <= w:
                other = np.uint32(0)
                for j in range(8):
                    other |= row[x + j] ^ here
                if other != 0:
                    break
                x += 8
            while x < w and row[x] == here:
                x += 1
            stop[count] = x
            what[count] = here
            count += 1
    first[rows] = count
    return first, start[:count].copy(), stop[:count].copy(), what[:count].copy()


@jit
def _paint(first: Any, start: Any, stop: Any, ids: Any, table: Any, out: Any, clear: Any, empty: Any) -> None:
    """Paint rows; `empty`: what is not painted is, or shall be, 0."""
    rows, w = out.shape
    flat = out.reshape(-1)
    for r in range(rows):
        if clear:
            out[r, :] = 0
        for k in range(np.uint64(first[r]), np.uint64(first[r + 1])):
            here = ids[k] if len(table) == 0 else table[ids[k]]
            if here == 0:
                continue
            x, end = np.uint64(r * w + start[k]), np.uint64(r * w + stop[k])
            if empty and end + _BLOCK <= np.uint64(len(flat)):
                # Whole blocks, then zeros over what they wrote too far: runs are short, and to count out their last
                # pixels costs more than to write them. What comes behind, the next row too, is painted later.
                while x < end:
                    for n in range(_BLOCK):
                        flat[x + n] = here
                    x += _BLOCK
                for n in range(_BLOCK):
                    flat[end + n] = 0
            else:
                for n in range(x, end):
                    flat[n] = here


@jit
def _relabelled(first: Any, start: Any, stop: Any, ids: Any, table: Any) -> Any:
    new_first = np.empty_like(first)
    new_start, new_stop, new_ids = np.empty_like(start), np.empty_like(stop), np.empty_like(ids)
    count = 0
    for r in range(len(first) - 1):
        new_first[r] = count
        for k in range(first[r], first[r + 1]):
            here = table[ids[k]]
            if here == 0:
                continue
            if count > new_first[r] and new_ids[count - 1] == here and new_stop[count - 1] == start[k]:
                new_stop[count - 1] = stop[k]
            else:
                new_start[count], new_stop[count], new_ids[count] = start[k], stop[k], here
                count += 1
    new_first[len(first) - 1] = count
    return new_first, new_start[:count].copy(), new_stop[:count].copy(), new_ids[:count].copy()
