"""Atoms of a consensus: the voxels that carry the same ids in all directions, numbered on runs, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.post.compiled import jit
from mitonb.post.runs import Runs, longer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Atoms"]


class Atoms:
    """Numbers the atoms of a volume, block of planes after block: voxels with the same ids everywhere are one atom.

    Numbers follow the first voxels, so they do not depend on where blocks begin and end.

    Parameters
    ----------
    directions : int
        Two or three.

    Examples
    --------
    >>> from mitonb.post.runs import paint, runs_of
    >>> atoms = Atoms(2)
    >>> paint(atoms.number([runs_of(np.array([[5, 5, 0, 5]])), runs_of(np.array([[0, 2, 2, 0]]))])).tolist()
    [[[1, 2, 3, 1]]]
    >>> atoms.found()[0].tolist(), atoms.found()[1].tolist()
    ([[0, 0], [5, 0], [5, 2], [0, 2]], [0, 2, 1, 1])
    """

    def __init__(self, directions: int) -> None:
        if directions not in (2, 3):
            raise InputError(f"A consensus needs two or three directions, got {directions}.")
        self.directions = directions
        self._count = 0
        self._table = np.zeros(1024, np.int64)
        self._atoms = np.zeros((512, 3), np.uint32)
        self._sizes = np.zeros(512, np.int64)

    def number(self, parts: Sequence[Runs]) -> Runs:
        """Return the atom numbers of the next block.

        Parameters
        ----------
        parts : sequence of Runs of one shape
            Ids of each direction in this block, turned to (z, y, x).
        """
        if len(parts) != self.directions or len({p.shape for p in parts}) != 1:
            raise InputError(
                f"A block needs runs of {self.directions} directions in one shape, got {[p.shape for p in parts]}."
            )
        one, two, three = (*parts, _nothing(parts[0]))[:3]
        runs, (self._table, self._atoms, self._sizes, self._count) = _numbered(
            _tables(one), _tables(two), _tables(three), self._table, self._atoms, self._sizes, self._count
        )
        return Runs(one.shape, *runs)

    def found(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Return the ids (n, directions) and the voxels (n,) of each atom; row 0 is the background."""
        n = self._count + 1
        return np.ascontiguousarray(self._atoms[:n, : self.directions]), self._sizes[:n].copy()


def _nothing(like: Runs) -> Runs:
    """Return empty planes of the same shape."""
    empty = np.zeros(0, np.int32)
    return Runs(like.shape, np.zeros_like(like.first), empty, empty, empty.astype(np.uint32))


def _tables(runs: Runs) -> tuple[Any, Any, Any, Any]:
    return runs.first, runs.start, runs.stop, runs.ids


@jit
def _numbered(one: Any, two: Any, three: Any, table: Any, atoms: Any, sizes: Any, count: Any) -> Any:
    """Go along each row of three directions at once, from where one of them changes to where the next one does."""
    rows = len(one[0]) - 1
    nowhere = np.int64(1) << 40
    first = np.empty(rows + 1, np.int64)
    start, stop, number = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.uint32)
    done = 0
    for r in range(rows):
        first[r] = done
        i, j, k = one[0][r], two[0][r], three[0][r]
        i_end, j_end, k_end = one[0][r + 1], two[0][r + 1], three[0][r + 1]
        x = np.int64(0)
        while True:
            p = np.int64(one[1][i]) if i < i_end else nowhere
            q = np.int64(two[1][j]) if j < j_end else nowhere
            s = np.int64(three[1][k]) if k < k_end else nowhere
            x = max(x, min(p, q, s))
            if x == nowhere:
                break
            a, b, c = np.uint32(0), np.uint32(0), np.uint32(0)
            # Where a direction ends or, beyond its gap, begins.
            if p <= x:
                a, p = one[3][i], np.int64(one[2][i])
            if q <= x:
                b, q = two[3][j], np.int64(two[2][j])
            if s <= x:
                c, s = three[3][k], np.int64(three[2][k])
            end = min(p, q, s)
            at = _place(table, atoms, a, b, c)
            if table[at] == 0:
                if count + 1 == len(sizes):
                    table, atoms, sizes = _more(atoms, sizes)
                    at = _place(table, atoms, a, b, c)
                count += 1
                table[at] = count
                atoms[count, 0], atoms[count, 1], atoms[count, 2] = a, b, c
            sizes[table[at]] += end - x
            if done == len(start):
                start, stop, number = longer(start), longer(stop), longer(number)
            start[done], stop[done], number[done] = x, end, table[at]
            done += 1
            x = end
            if a != 0 and one[2][i] == x:
                i += 1
            if b != 0 and two[2][j] == x:
                j += 1
            if c != 0 and three[2][k] == x:
                k += 1
    first[rows] = done
    return (first, start[:done].copy(), stop[:done].copy(), number[:done].copy()), (table, atoms, sizes, count)


@jit
def _place(table: Any, atoms: Any, a: Any, b: Any, c: Any) -> Any:
    """Return the place of a triple in an open table of atom numbers, or the free place (0) where it belongs."""
    mask = np.uint64(len(table) - 1)
    mixed = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29)) ^ np.uint64(b)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(32)) ^ np.uint64(c)) * np.uint64(0x94D049BB133111EB)
    at = (mixed >> np.uint64(20)) & mask
    while True:
        k = table[at]
        if k == 0 or (atoms[k, 0] == a and atoms[k, 1] == b and atoms[k, 2] == c):
            return np.int64(at)
        at = (at + np.uint64(1)) & mask


@jit
def _more(atoms: Any, sizes: Any) -> Any:
    """Return tables with room for twice as many atoms."""
    more = np.concatenate((atoms, np.zeros_like(atoms)))
    table = np.zeros(4 * len(sizes), np.int64)
    for k in range(1, len(sizes)):
        table[_place(table, more, more[k, 0], more[k, 1], more[k, 2])] = k
    return table, more, np.concatenate((sizes, np.zeros_like(sizes)))
