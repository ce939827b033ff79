"""Comparing: labels and truth in, scores out; in 3-D, or profile by profile in planes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mitonb.accuracy.scores import Scores, thresholds
from mitonb.accuracy.table import Table
from mitonb.errors import AxesError, InputError
from mitonb.labels import Labels
from mitonb.overlaps import AnyLabels, integers, pairs, profiles
from mitonb.stack import AXES, Axis, VoxelSize, checked_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["score", "score_planes", "size_notes"]

Ignore: TypeAlias = npt.NDArray[Any] | int | None
Ranking: TypeAlias = Mapping[int, float] | npt.NDArray[Any] | None


def score(
    labels: AnyLabels,
    truth: AnyLabels,
    *,
    ious: float | Sequence[float] = (0.5, 0.75),
    ignore: Ignore = None,
    smallest: int = 0,
    ranking: Ranking = None,
) -> Scores:
    """Compare labels with truth.

    The voxels are read once, into a table of overlaps; IoU, Dice, precision, recall, F1, PQ, accuracy and AP at any
    threshold, VI, adapted Rand and the list of mistakes are all sums over that table.

    Parameters
    ----------
    labels, truth : Labels or integer or bool array
        The same shape, any number of axes; 0 is background; ids may be sparse and up to 2**64 - 1.
    ious : float or sequence of float
        Thresholds to show; any other can be asked of the result.
    ignore : bool or integer array, or int, optional
        Voxels that do not count: those that are not 0 in an array of the same shape, or those with this id in the
        truth (which may be negative there).
    smallest : int
        Objects below this many voxels are neither found nor wrong.
    ranking : mapping or array, optional
        How sure each label is, for average precision: a number per id, or a map of the same shape (such as the semantic
        probability) whose mean inside each label is taken. By default larger labels go first.

    Returns
    -------
    Scores

    Raises
    ------
    AxesError
        If the shapes differ.
    InputError
        If an array does not hold whole numbers at or above 0, or another value is none that it could be.

    Examples
    --------
    >>> truth = np.array([1, 1, 1, 1, 0, 2, 2])
    >>> score(np.array([5, 5, 5, 0, 0, 0, 0]), truth).at(0.75).recall
    0.5
    """
    ious, smallest = thresholds(ious), _size(smallest)
    a = integers(labels, "labels")
    b, mask = _without_ignored(truth, ignore)
    if a.shape != b.shape:
        raise AxesError(f"Labels and truth need one shape, got {a.shape} and {b.shape}. Crop or resample one of them.")
    table = Table.of(pairs(a, b, mask))
    sizes = (x.voxel_size if isinstance(x, Labels) else None for x in (labels, truth))
    return Scores(table, ious, smallest, _ranks(table, a, mask, ranking), size_notes(*sizes))


def size_notes(labels: VoxelSize | None, truth: VoxelSize | None) -> tuple[str, ...]:
    """Say where labels and truth claim different voxel sizes: one of them may belong to another volume."""
    if labels is None or truth is None or np.allclose(labels, truth, rtol=1e-3):
        return ()
    ours, theirs = (" x ".join(f"{v:g}" for v in size) for size in (labels, truth))
    return (
        f"The labels say voxels of {ours} nm, the truth {theirs} nm: they were compared voxel by voxel, whatever they "
        "say. Check that both belong to the same volume.",
    )


def score_planes(
    labels: AnyLabels,
    truth: AnyLabels,
    *,
    axis: Axis = "xy",
    ious: float | Sequence[float] = (0.5, 0.75),
    ignore: Ignore = None,
    smallest: int = 0,
) -> Scores:
    """Compare profiles: in every plane, each connected piece of an id is one object (8-connected).

    What a model does in 2-D is judged by this: an id that is cut twice by a plane shows two profiles there, and
    profiles of different planes have nothing to do with each other. All planes are counted together.

    Parameters
    ----------
    labels, truth : Labels or (z, y, x) integer array
        Ids per plane or of the volume: only what is connected within a plane matters.
    axis : {"xy", "xz", "yz"}
        Which planes.
    ious, ignore, smallest
        As in `score`; `smallest` counts pixels of a profile.

    Returns
    -------
    Scores
        Its ids number the profiles, plane after plane.

    Raises
    ------
    AxesError, InputError
        As `score`, and if the arrays are not volumes.
    """
    a = integers(labels, "labels")
    b, mask = _without_ignored(truth, ignore)
    for array in (a, b):
        if array.ndim != 3:
            raise AxesError(
                f"Planes are cut from 3 axes (z, y, x), got shape {array.shape}. For one plane pass x[None]."
            )
    checked_axis(axis)
    sizes = (x.voxel_size if isinstance(x, Labels) else None for x in (labels, truth))
    scores = score(profiles(a, AXES[axis]), profiles(b, AXES[axis]), ious=ious, ignore=mask, smallest=smallest)
    return replace(scores, notes=size_notes(*sizes))


def _without_ignored(truth: AnyLabels, ignore: Ignore) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Return the truth as ids at or above 0, and the voxels that do not count."""
    if ignore is None:
        return integers(truth, "truth"), None
    if isinstance(ignore, bool | np.bool_ | float | str):
        raise InputError(f"What to ignore is an id of the truth or an array of its shape, got {ignore!r}.")
    if isinstance(ignore, int | np.integer):
        values = np.asarray(getattr(truth, "data", truth)) if int(ignore) < 0 else integers(truth, "truth")
        mask = np.asarray(values == ignore)
        # A mark below 0, such as -1, is no id: take it out before the ids are looked at.
        return integers(np.where(mask, 0, values) if int(ignore) < 0 else values, "truth"), mask
    mask = np.asarray(ignore)
    b = integers(truth, "truth")
    if mask.dtype.kind not in "bui":
        raise InputError(f"The voxels to ignore are marked by True or a whole number, got dtype {mask.dtype}.")
    if mask.shape != b.shape:
        raise AxesError(f"The voxels to ignore need the shape of the truth, {b.shape}, got {mask.shape}.")
    return b, mask != 0


def _size(smallest: int) -> int:
    if not isinstance(smallest, Real) or isinstance(smallest, bool) or not 0 <= smallest < 2**63 or smallest % 1:
        raise InputError(f"The smallest object is a whole number of voxels from 0 on, got {smallest!r}.")
    return int(smallest)


def _ranks(
    table: Table, labels: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None, ranking: Ranking
) -> npt.NDArray[np.float64] | None:
    """Return how sure each label of the table is, None for its size."""
    if ranking is None:
        return None
    if isinstance(ranking, Mapping):
        missing = [i for i in table.ids.tolist() if i not in ranking]
        if missing:
            raise InputError(f"The ranking has no number for {len(missing)} of the labels, such as {missing[0]}.")
        ranks = np.array([float(ranking[i]) for i in table.ids.tolist()], np.float64)
    else:
        ranks = _means(table, labels, mask, np.asarray(ranking))
    if not np.isfinite(ranks).all():
        raise InputError("A label cannot be ranked by a number that is not finite.")
    return ranks


def _means(
    table: Table, labels: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None, heat: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Return the mean of a map inside each label, plane by plane of the first axis."""
    if heat.shape != labels.shape or heat.dtype.kind not in "buif":
        raise AxesError(
            f"A map that ranks labels has their shape, {labels.shape}, and numbers, got {heat.shape} {heat.dtype}. "
            "Otherwise give a mapping of id to number."
        )
    total = np.zeros(len(table.ids))
    for k, (ids, values) in enumerate(zip(labels, heat, strict=True)):
        there = ids > 0 if mask is None else (ids > 0) & ~mask[k]
        row = np.searchsorted(table.ids, ids[there].astype(np.uint64))
        total += np.bincount(row, values[there].astype(np.float64), minlength=len(table.ids))
    return np.asarray(total / table.id_voxels)
