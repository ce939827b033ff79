"""Consensus: objects of several cutting directions become one set, by the votes of the directions on each voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.post.agreement import agree
from mitonb.post.compiled import jit
from mitonb.post.tables import as_ids, relabel
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Atoms", "consensus"]


def consensus(
    volumes: Mapping[Axis, npt.NDArray[np.uint32]], recipe: Recipe | None = None, *, in_place: bool = False
) -> npt.NDArray[np.uint32]:
    """Join the objects that were tracked along several directions.

    A voxel belongs to an object where `recipe.votes` directions say so. Which voxels are one object is put to the vote
    too: voxels that carry the same ids in all directions are one atom, two groups of atoms are joined while the mean
    vote over their pairs of voxels ("the same object": 1, "different ones": -1, no object: 0) is above 0, the clearest
    case first; then groups that most directions bridge with one object. So one direction that tears an object apart, or
    runs two into one, is outvoted by the other two.
    Volumes are read once and written once; all else happens on the list of atoms. The names of ids have no effect.

    Parameters
    ----------
    volumes : mapping of axis to (z, y, x) uint32 array
        Tracked objects of each direction, all in (z, y, x) order.
    recipe : Recipe, optional
        `votes`, `cluster_iou` and `lone_objects` are read. With fewer directions than votes, all must agree.
    in_place : bool
        Write the result into the first volume instead of a new array.

    Returns
    -------
    labels : (z, y, x) uint32 array
        1.. in the order of their first voxels.

    Raises
    ------
    InputError
        If there is no volume, an unknown axis, or the shapes differ.
    """
    recipe = recipe or Recipe()
    parts = _in_order(volumes)
    result = parts[0] if in_place else parts[0].copy()
    if len(parts) == 1:
        return result
    atoms = Atoms(len(parts))
    atoms.number(parts, result)
    relabel(result, agree(*atoms.found(), recipe))
    return result


class Atoms:
    """Numbers the atoms of a volume, part by part: voxels that carry the same ids in all directions are one atom.

    Parameters
    ----------
    directions : int
        Two or three.

    Examples
    --------
    >>> atoms = Atoms(2)
    >>> numbers = np.zeros(4, np.uint32)
    >>> atoms.number([np.array([5, 5, 0, 5], np.uint32), np.array([0, 2, 2, 0], np.uint32)], numbers)
    >>> numbers.tolist(), atoms.found()[0].tolist(), atoms.found()[1].tolist()
    ([1, 2, 3, 1], [[0, 0], [5, 0], [5, 2], [0, 2]], [0, 2, 1, 1])
    """

    def __init__(self, directions: int) -> None:
        self.directions = directions
        self._count = 0
        self._table = np.zeros(1024, np.int64)
        self._atoms = np.zeros((512, 3), np.uint32)
        self._sizes = np.zeros(512, np.int64)

    def number(self, parts: Sequence[npt.NDArray[np.uint32]], out: npt.NDArray[np.uint32]) -> None:
        """Write the atom number of each voxel of the next part of the volume.

        Parameters
        ----------
        parts : sequence of contiguous uint32 arrays of one shape
            Ids of each direction.
        out : contiguous uint32 array
            0 where no direction has an object; it may be one of the parts.
        """
        flat = [p.reshape(-1) for p in parts]
        self._table, self._atoms, self._sizes, self._count = _atoms(
            flat[0], flat[1], flat[-1], self.directions == 3, out.reshape(-1),
            self._table, self._atoms, self._sizes, self._count,
        )  # fmt: skip

    def found(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Return the ids (n, directions) and the voxels (n,) of each atom, in the order of first voxels."""
        n = self._count + 1
        return self._atoms[:n, : self.directions], self._sizes[:n]


def _in_order(volumes: Mapping[Axis, npt.NDArray[np.uint32]]) -> list[npt.NDArray[np.uint32]]:
    if not volumes or any(axis not in AXES for axis in volumes):
        raise InputError(f"Consensus needs volumes of some of {', '.join(AXES)}, got {', '.join(volumes) or 'none'}.")
    parts = [as_ids(volumes[axis]) for axis in AXES if axis in volumes]
    if len({p.shape for p in parts}) > 1:
        raise InputError(
            "All directions must be in (z, y, x) order and have one shape, got "
            + ", ".join(f"{axis} {volumes[axis].shape}" for axis in volumes) + "."
        )  # fmt: skip
    return parts


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
def _atoms(
    first: Any, second: Any, last: Any, third: Any, out: Any, table: Any, atoms: Any, sizes: Any, count: Any
) -> Any:
    """Number the distinct triples of ids by their first voxels; write the numbers to `out`, which may be `first`."""
    zero = np.uint32(0)
    k, n = 0, len(first)
    while k < n:
        a, b = first[k], second[k]
        c = last[k] if third else zero
        start = k
        k += 1
        while k < n and first[k] == a and second[k] == b and (not third or last[k] == c):
            k += 1
        number = np.int64(0)
        if a != 0 or b != 0 or c != 0:
            at = _place(table, atoms, a, b, c)
            if table[at] == 0:
                if count + 1 == len(sizes):
                    atoms = np.concatenate((atoms, np.zeros_like(atoms)))
                    sizes = np.concatenate((sizes, np.zeros_like(sizes)))
                    table = np.zeros(2 * len(table), np.int64)
                    for j in range(1, count + 1):
                        table[_place(table, atoms, atoms[j, 0], atoms[j, 1], atoms[j, 2])] = j
                    at = _place(table, atoms, a, b, c)
                count += 1
                table[at] = count
                atoms[count, 0], atoms[count, 1], atoms[count, 2] = a, b, c
            number = table[at]
            sizes[number] += k - start
        for j in range(start, k):
            out[j] = number
    return table, atoms, sizes, count
