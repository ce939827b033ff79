"""Accuracy: compare labels with truth, by voxels and by objects, from one table of overlaps."""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mitonb.errors import AxesError, InputError
from mitonb.overlaps import AnyLabels, Counts, Pairs, integers, pairs, profiles
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Detection", "Match", "Mistake", "Scores", "score", "score_planes"]

Kind = Literal["missing", "false", "split", "merged", "mixed", "poor"]

_SHARE = 0.25  # an overlap says that two objects belong together when it is this share of the smaller one


class Detection(NamedTuple):
    """How many objects were found at one threshold; rates are 1 when there was nothing to find and nothing found."""

    iou: float
    found: int
    false: int
    missed: int
    precision: float
    recall: float
    f1: float
    pq: float


class Match(NamedTuple):
    """An object of the labels and the object of the truth that it stands for."""

    id: int
    truth: int
    iou: float


class Mistake(NamedTuple):
    """What went wrong with a group of objects that overlap each other.

    `kind` is "missing" (truth without a label), "false" (label without truth), "split" (one truth, several
    labels), "merged" (one label, several truths), "mixed" (several of both) or "poor" (one of both, but their IoU
    is too low).
    """

    kind: Kind
    ids: tuple[int, ...]
    truths: tuple[int, ...]


@dataclass(frozen=True)
class Scores:
    """What a comparison of labels with truth found; every figure comes from the table of overlaps.

    Attributes
    ----------
    ids, truths : (n,), (m,) uint64 array
        Objects of labels and of truth, sorted, without background.
    id_voxels, truth_voxels : (n,), (m,) int64 array
        Their sizes.
    rows, columns, overlaps : (k,) int64 array
        Object `ids[rows[i]]` and object `truths[columns[i]]` share `overlaps[i]` voxels.
    ious : tuple of float
        Thresholds that are shown.
    smallest : int
        Objects below this many voxels are not counted.
    """

    ids: npt.NDArray[np.uint64]
    truths: npt.NDArray[np.uint64]
    id_voxels: Counts
    truth_voxels: Counts
    rows: Counts
    columns: Counts
    overlaps: Counts
    ious: tuple[float, ...] = (0.5, 0.75)
    smallest: int = 0

    @property
    def iou(self) -> float:
        """Intersection over union of the foregrounds."""
        both, either = self.overlaps.sum(), self.id_voxels.sum() + self.truth_voxels.sum() - self.overlaps.sum()
        return float(both / either) if either else 1.0

    @property
    def dice(self) -> float:
        """Dice coefficient (F1 of the voxels) of the foregrounds."""
        total = self.id_voxels.sum() + self.truth_voxels.sum()
        return float(2 * self.overlaps.sum() / total) if total else 1.0

    @cached_property
    def pair_ious(self) -> npt.NDArray[np.float64]:
        """IoU of each pair of overlapping objects, (k,)."""
        union = self.id_voxels[self.rows] + self.truth_voxels[self.columns] - self.overlaps
        return np.asarray(self.overlaps / union)

    @cached_property
    def _counted(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which labels and which truths count: not the small ones, nor labels that mostly lie on small truth."""
        truths = self.truth_voxels >= self.smallest
        on_small = ~truths[self.columns]
        covered = np.bincount(self.rows[on_small], self.overlaps[on_small], minlength=len(self.ids))
        return (self.id_voxels >= self.smallest) & (2 * covered < np.maximum(self.id_voxels, 1)), truths

    def matches(self, iou: float = 0.5) -> list[Match]:
        """Return the objects found: pairs with at least this IoU, each object once, as many pairs as can be."""
        use = self._assigned(iou)
        return [
            Match(int(self.ids[self.rows[i]]), int(self.truths[self.columns[i]]), float(self.pair_ious[i])) for i in use
        ]

    def at(self, iou: float = 0.5) -> Detection:
        """Return precision, recall, F1 and panoptic quality with objects found at this IoU.

        Parameters
        ----------
        iou : float
            Above 0, up to 1; a pair counts as found when its IoU is at least this.

        Raises
        ------
        InputError
            If the threshold is outside that range.
        """
        use = self._assigned(iou)
        counted = self._counted
        found = len(use)
        false, missed = int(counted[0].sum()) - found, int(counted[1].sum()) - found
        total = 2 * found + false + missed
        return Detection(
            iou,
            found,
            false,
            missed,
            precision=found / (found + false) if found + false else float(missed == 0),
            recall=found / (found + missed) if found + missed else float(false == 0),
            f1=2 * found / total if total else 1.0,
            pq=2 * float(self.pair_ious[use].sum()) / total if total else 1.0,
        )

    def mistakes(self, iou: float = 0.5) -> list[Mistake]:
        """Return what went wrong, by groups of objects that overlap by a quarter of the smaller one or more."""
        matched = {(m.id, m.truth) for m in self.matches(iou)}
        smaller = np.minimum(self.id_voxels[self.rows], self.truth_voxels[self.columns])
        edge = (self.overlaps >= _SHARE * smaller) | (self.pair_ious >= iou)
        n, m = len(self.ids), len(self.truths)
        graph = coo_matrix((np.ones(edge.sum()), (self.rows[edge], self.columns[edge] + n)), shape=(n + m, n + m))
        _, group = connected_components(graph, directed=False)
        counted = np.concatenate(self._counted)
        groups: dict[int, tuple[list[int], list[int]]] = {}
        for node in np.flatnonzero(counted):
            pair = groups.setdefault(int(group[node]), ([], []))
            if node < n:
                pair[0].append(int(self.ids[node]))
            else:
                pair[1].append(int(self.truths[node - n]))
        named = (_name(tuple(a), tuple(b), matched) for a, b in groups.values())
        return [mistake for mistake in named if mistake is not None]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain numbers, ready for JSON."""
        return {
            "iou": self.iou,
            "dice": self.dice,
            "labels": int(self._counted[0].sum()),
            "truth": int(self._counted[1].sum()),
            "at": [self.at(t)._asdict() for t in self.ious],
        }

    def _assigned(self, iou: float) -> Counts:
        """Return the indices of the pairs that stand for each other at a threshold."""
        if not 0 < iou <= 1:
            raise InputError(f"An IoU threshold is above 0 and at most 1, got {iou}.")
        ids, truths = self._counted
        able = np.flatnonzero((self.pair_ious >= iou) & ids[self.rows] & truths[self.columns])
        rows, columns = self.rows[able], self.columns[able]
        rivals = (np.bincount(rows, minlength=len(self.ids))[rows] > 1) | (
            np.bincount(columns, minlength=len(self.truths))[columns] > 1
        )
        # Above an IoU of 0.5 a partner is the only one; only below (or just at) it is there something to assign.
        return np.sort(np.concatenate([able[~rivals], self._assign(able[rivals])]))

    def _assign(self, pairs: Counts) -> Counts:
        """Choose pairs so that no object is used twice: as many as can be, then the highest IoU in all."""
        if len(pairs) == 0:
            return pairs
        rows, r = np.unique(self.rows[pairs], return_inverse=True)
        columns, c = np.unique(self.columns[pairs], return_inverse=True)
        gain = np.zeros((len(rows), len(columns)))
        gain[r, c] = 1 + self.pair_ious[pairs] / (len(pairs) + 1)
        lookup = np.full(gain.shape, -1, np.int64)
        lookup[r, c] = pairs
        chosen = lookup[linear_sum_assignment(gain, maximize=True)]
        return np.asarray(chosen[chosen >= 0])

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for d in map(self.at, self.ious):
            yield (
                f"{d.iou:g}", f"{d.f1:.3f}", f"{d.precision:.3f}", f"{d.recall:.3f}", f"{d.pq:.3f}",
                str(d.found), str(d.false), str(d.missed),
            )  # fmt: skip

    def __repr__(self) -> str:
        head = f"Scores: foreground IoU {self.iou:.3f}, Dice {self.dice:.3f}"
        lines = [" ".join(f"{cell:>9}" for cell in row) for row in (_HEAD, *self._rows())]
        return "\n".join([head, *lines])

    def _repr_html_(self) -> str:
        def line(cells: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

        body = "".join(line(row, "td") for row in self._rows())
        return (
            f"<p>Foreground IoU {self.iou:.3f}, Dice {self.dice:.3f}</p>"
            f"<table><thead>{line(_HEAD, 'th')}</thead><tbody>{body}</tbody></table>"
        )


_HEAD = ("at IoU", "F1", "precision", "recall", "PQ", "found", "false", "missed")


def score(
    labels: AnyLabels,
    truth: AnyLabels,
    *,
    ious: float | tuple[float, ...] = (0.5, 0.75),
    ignore: npt.NDArray[np.bool_] | int | None = None,
    smallest: int = 0,
) -> Scores:
    """Compare labels with truth.

    Parameters
    ----------
    labels, truth : Labels or integer or bool array
        The same shape, any number of axes; 0 is background; ids may be sparse and up to 2**64 - 1.
    ious : float or tuple of float
        Thresholds to show; any other can be asked of the result.
    ignore : bool array or int, optional
        Voxels that do not count: those set in an array of the same shape, or those with this id in the truth.
    smallest : int
        Objects below this many voxels are neither found nor wrong.

    Returns
    -------
    Scores

    Raises
    ------
    AxesError
        If the shapes differ.
    InputError
        If an array does not hold whole numbers at or above 0.

    Examples
    --------
    >>> truth = np.array([1, 1, 1, 1, 0, 2, 2])
    >>> score(np.array([5, 5, 5, 0, 0, 0, 0]), truth).at(0.75).recall
    0.5
    """
    a, b = integers(labels, "labels"), integers(truth, "truth")
    if a.shape != b.shape:
        raise AxesError(f"Labels and truth need one shape, got {a.shape} and {b.shape}. Crop or resample one of them.")
    number = isinstance(ignore, int | np.integer)
    mask = None if ignore is None else (b == ignore if number else np.asarray(ignore, bool))
    ious = (ious,) if isinstance(ious, int | float) else tuple(ious)
    if mask is not None and mask.shape != a.shape:
        raise AxesError(f"The voxels to ignore need the shape of the labels, {a.shape}, got {mask.shape}.")
    for t in ious:
        if not 0 < t <= 1:
            raise InputError(f"An IoU threshold is above 0 and at most 1, got {t}.")
    return _summed(pairs(a, b, mask), ious, smallest)


def score_planes(
    labels: AnyLabels,
    truth: AnyLabels,
    *,
    axis: Axis = "xy",
    ious: float | tuple[float, ...] = (0.5, 0.75),
    ignore: npt.NDArray[np.bool_] | int | None = None,
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
    a, b = integers(labels, "labels"), integers(truth, "truth")
    for array in (a, b):
        if array.ndim != 3:
            raise AxesError(
                f"Planes are cut from 3 axes (z, y, x), got shape {array.shape}. For one plane pass x[None]."
            )
    if axis not in AXES:
        raise InputError(f"An axis is one of {', '.join(AXES)}, got {axis!r}.")
    mask = (b == ignore) if isinstance(ignore, int | np.integer) else ignore
    return score(profiles(a, AXES[axis]), profiles(b, AXES[axis]), ious=ious, ignore=mask, smallest=smallest)


def _summed(counted: Pairs, ious: tuple[float, ...], smallest: int) -> Scores:
    """Sum pairs that were counted in pieces, and take the background out."""
    a, b, count = counted
    ids, row = np.unique(a, return_inverse=True)
    truths, column = np.unique(b, return_inverse=True)
    summed = coo_matrix((count, (row, column)), shape=(len(ids), len(truths)), dtype=np.int64).tocsr().tocoo()
    id_voxels = np.bincount(summed.row, summed.data, minlength=len(ids)).astype(np.int64)
    truth_voxels = np.bincount(summed.col, summed.data, minlength=len(truths)).astype(np.int64)
    no_id, no_truth = int(len(ids) > 0 and ids[0] == 0), int(len(truths) > 0 and truths[0] == 0)
    rows, columns = summed.row.astype(np.int64) - no_id, summed.col.astype(np.int64) - no_truth
    real = (rows >= 0) & (columns >= 0)
    return Scores(
        ids[no_id:],
        truths[no_truth:],
        id_voxels[no_id:],
        truth_voxels[no_truth:],
        rows[real],
        columns[real],
        summed.data[real],
        tuple(ious),
        smallest,
    )


def _name(ids: tuple[int, ...], truths: tuple[int, ...], matched: set[tuple[int, int]]) -> Mistake | None:
    """Say what went wrong in a group of objects, None if nothing."""
    kind: Kind
    match len(ids), len(truths):
        case 0, _:
            kind = "missing"
        case _, 0:
            kind = "false"
        case 1, 1:
            if (ids[0], truths[0]) in matched:
                return None
            kind = "poor"
        case 1, _:
            kind = "merged"
        case _, 1:
            kind = "split"
        case _:
            kind = "mixed"
    return Mistake(kind, ids, truths)
