"""Consensus: objects of several cutting directions become one set, by the votes of the directions on each voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitonb.errors import InputError
from mitonb.post.agreement import agree
from mitonb.post.atoms import Atoms
from mitonb.post.runs import Runs, paint, relabelled, runs_of
from mitonb.post.tables import as_ids
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = ["agreed", "consensus"]


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
        `votes`, `consensus_iou` and `lone_objects` are read. With fewer directions than votes, all must agree.
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
    if len(parts) == 1:
        return parts[0] if in_place else parts[0].copy()
    return paint(agreed([runs_of(p) for p in parts], recipe), parts[0] if in_place else None)


def agreed(directions: Sequence[Runs], recipe: Recipe) -> Runs:
    """Join the objects of several directions; `consensus` says how.

    Parameters
    ----------
    directions : sequence of Runs
        Tracked objects of one to three directions, turned to (z, y, x).
    recipe : Recipe
        As for `consensus`.
    """
    if len(directions) == 1:
        return directions[0]
    atoms = Atoms(len(directions))
    runs = atoms.number(directions)
    return relabelled(runs, agree(*atoms.found(), recipe))


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
