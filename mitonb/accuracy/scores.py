"""Scores: the figures of one comparison, all of them from its table of overlaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mitonb.accuracy import partitions
from mitonb.accuracy.assignment import assigned
from mitonb.accuracy.mistakes import KINDS, Mistake, mistakes
from mitonb.accuracy.ranking import average_precision
from mitonb.accuracy.showing import as_html, as_text
from mitonb.errors import InputError

if TYPE_CHECKING:
    from mitonb.accuracy.partitions import Rand, Variation
    from mitonb.accuracy.table import Flags, Table
    from mitonb.overlaps import Counts

__all__ = ["COCO_IOUS", "EDGES", "Detection", "Match", "Scores", "Stratum", "thresholds"]

COCO_IOUS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""0.5, 0.55, ... 0.95: the thresholds that COCO's AP is the mean of."""
EDGES = (5_000, 15_000)
"""Voxels at which MitoEM divides small, medium and large objects."""

_ANY_SIZE = (0.0, float("inf"))


class Detection(NamedTuple):
    """How many objects were found at one threshold; rates are 1 when there was nothing to find and nothing found.

    `accuracy` is found / (found + false + missed); `sq` is the mean IoU of the objects found, and `pq`, the panoptic
    quality, is `sq` x `f1`.
    """

    iou: float
    found: int
    false: int
    missed: int
    precision: float
    recall: float
    f1: float
    pq: float
    accuracy: float
    sq: float


class Match(NamedTuple):
    """An object of the labels and the object of the truth that it stands for."""

    id: int
    truth: int
    iou: float


class Stratum(NamedTuple):
    """Objects of one size: more than `low` and at most `high` voxels; `truths` of them are in the truth."""

    name: str
    low: float
    high: float
    truths: int
    ap: float
    detection: Detection


@dataclass(frozen=True, eq=False)  # arrays have no one answer to whether they are equal
class Scores:
    """What a comparison of labels with truth found.

    Attributes
    ----------
    table : Table
        Every figure comes from here.
    ious : tuple of float
        Thresholds that are shown.
    smallest : int
        Objects below this many voxels are not counted.
    ranks : (n,) float64 array or None
        How sure each label is, in the order of `table.ids`, for average precision; by default its size, as MitoEM does
        where a network gives no confidence.
    notes : tuple of str
        What was odd about the two, in sentences for the user.
    """

    table: Table
    ious: tuple[float, ...] = (0.5, 0.75)
    smallest: int = 0
    ranks: npt.NDArray[np.float64] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def iou(self) -> float:
        """Intersection over union of the foregrounds."""
        both = int(self.table.overlaps.sum())
        either = int(self.table.id_voxels.sum()) + int(self.table.truth_voxels.sum()) - both
        return both / either if either else 1.0

    @property
    def dice(self) -> float:
        """Dice coefficient (F1 of the voxels) of the foregrounds."""
        total = int(self.table.id_voxels.sum()) + int(self.table.truth_voxels.sum())
        return 2 * int(self.table.overlaps.sum()) / total if total else 1.0

    @property
    def counts(self) -> tuple[int, int]:
        """How many labels and how many truths count."""
        labels, truths = self._counted
        return int(labels.sum()), int(truths.sum())

    def matches(self, iou: float = 0.5) -> list[Match]:
        """Return the objects found: pairs with at least this IoU, each object once, as many pairs as can be."""
        t = self.table
        return [
            Match(int(t.ids[t.rows[i]]), int(t.truths[t.columns[i]]), float(t.ious[i])) for i in self._assigned(iou)
        ]

    def at(self, iou: float = 0.5, *, sizes: tuple[float, float] = _ANY_SIZE) -> Detection:
        """Return precision, recall, F1, accuracy and panoptic quality with objects found at this IoU.

        Parameters
        ----------
        iou : float
            Above 0, up to 1; a pair counts as found when its IoU is at least this.
        sizes : tuple of float
            Only truth of more than the first and at most the second number of voxels is found or missed; a label
            without a partner is false only if it is of that size itself.

        Raises
        ------
        InputError
            If the threshold is outside its range, or the sizes are in the wrong order.
        """
        low, high = _limits(sizes)
        use, (labels, truths) = self._assigned(iou), self._counted
        alone = labels.copy()
        alone[self.table.rows[use]] = False
        use = use[_between(self.table.truth_voxels[self.table.columns[use]], low, high)]
        found = len(use)
        false = int((alone & _between(self.table.id_voxels, low, high)).sum())
        missed = int((truths & _between(self.table.truth_voxels, low, high)).sum()) - found
        overlap = float(self.table.ious[use].sum())
        return _detection(iou, found, false, missed, overlap)

    def ap(self, iou: float | Sequence[float] = COCO_IOUS, *, sizes: tuple[float, float] = _ANY_SIZE) -> float:
        """Return the average precision as COCO and MitoEM count it: precision at 101 recalls, ranked labels.

        It forgives false labels that rank low: read it together with `at(0.75).accuracy`.

        Parameters
        ----------
        iou : float or sequence of float
            One threshold (0.75 for AP-75), or several to take the mean of; by default 0.5 to 0.95 in steps of 0.05.
        sizes : tuple of float
            Only truth of more than the first and at most the second number of voxels is asked for.

        Raises
        ------
        InputError
            As `at`.
        """
        limits = _limits(sizes)
        ranks = self.table.id_voxels.astype(np.float64) if self.ranks is None else self.ranks
        each = [average_precision(self.table, ranks, self._counted, t, limits) for t in thresholds(iou)]
        return float(np.mean(each))

    def strata(self, iou: float = 0.75, *, edges: Sequence[float] = EDGES) -> list[Stratum]:
        """Return the figures by size of the objects.

        Parameters
        ----------
        iou : float
            From which overlap on an object counts as found.
        edges : sequence of float
            Voxels at which one size ends and the next begins; the upper one belongs to the smaller size.

        Raises
        ------
        InputError
            As `at`, and if the edges do not rise.
        """
        bounds = [0.0, *map(float, edges), float("inf")]
        if any(a >= b for a, b in pairwise(bounds)):
            raise InputError(f"The edges of the sizes rise, from above 0 voxels, got {tuple(edges)}.")
        names = ("small", "medium", "large") if len(bounds) == 4 else [f"size {k}" for k in range(1, len(bounds))]
        strata = []
        for name, (low, high) in zip(names, pairwise(bounds), strict=True):
            got = self.at(iou, sizes=(low, high))
            strata.append(Stratum(name, low, high, got.found + got.missed, self.ap(iou, sizes=(low, high)), got))
        return strata

    def variation(self, *, background: bool = False) -> Variation:
        """Return the variation of information, in bits, as its split and its merge part.

        Parameters
        ----------
        background : bool
            Whether the background of the truth counts as one region; by default only voxels inside objects of the
            truth are compared. Background of the labels is one region in both cases.
        """
        return partitions.variation(self.table, background=background)

    def rand(self, *, background: bool = False) -> Rand:
        """Return the adapted Rand error with its precision and recall.

        Parameters
        ----------
        background : bool
            As for `variation`.
        """
        return partitions.rand(self.table, background=background)

    def mistakes(self, iou: float = 0.5) -> list[Mistake]:
        """Return what went wrong, by groups of objects that overlap by a quarter of the smaller one or more."""
        return mistakes(self.table, self._counted, iou, self._assigned(iou))

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain numbers and lists, ready for JSON."""
        labels, truths = self.counts
        variation = self.variation()
        wrong = self.mistakes()
        kinds = Counter(m.kind for m in wrong)
        return {
            "iou": self.iou,
            "dice": self.dice,
            "labels": labels,
            "truth": truths,
            "at": [self.at(t)._asdict() for t in self.ious],
            "ap": self.ap(),
            "ap50": self.ap(0.5),
            "ap75": self.ap(0.75),
            "accuracy75": self.at(0.75).accuracy,
            "sizes75": [_plain(s) for s in self.strata()],
            "vi": {**variation._asdict(), "total": variation.total},
            "vi_with_background": self.variation(background=True).total,
            "rand": self.rand()._asdict(),
            "notes": list(self.notes),
            "mistakes": {kind: kinds[kind] for kind in KINDS},
            "mistake_ids": [m._asdict() for m in wrong],
        }

    @cached_property
    def _counted(self) -> tuple[Flags, Flags]:
        return self.table.counted(self.smallest)

    def _assigned(self, iou: float) -> Counts:
        """Return the indices of the pairs that stand for each other at a threshold."""
        (iou,) = thresholds(iou)
        labels, truths = self._counted
        table = self.table
        return assigned(table, np.flatnonzero((table.ious >= iou) & labels[table.rows] & truths[table.columns]))

    def __repr__(self) -> str:
        return as_text(self.as_dict())

    def _repr_html_(self) -> str:
        return as_html(self.as_dict())


def thresholds(iou: float | Sequence[float]) -> tuple[float, ...]:
    """Return one or several IoU thresholds as a tuple.

    Raises
    ------
    InputError
        If there is none, or one is not above 0 and at most 1.
    """
    several = tuple(iou) if isinstance(iou, Sequence | np.ndarray) and not isinstance(iou, str) else (iou,)
    for t in several:
        if not isinstance(t, Real) or isinstance(t, bool) or not 0 < float(t) <= 1:
            raise InputError(f"An IoU threshold is above 0 and at most 1, got {t!r}.")
    if not several:
        raise InputError("At least one IoU threshold is needed, such as 0.5.")
    return tuple(float(t) for t in several)


def _detection(iou: float, found: int, false: int, missed: int, overlap: float) -> Detection:
    """Make rates of counts; `overlap` is the sum of the IoUs of the objects found."""
    total = found + false + missed
    return Detection(
        float(iou),
        found,
        false,
        missed,
        precision=found / (found + false) if found + false else float(missed == 0),
        recall=found / (found + missed) if found + missed else float(false == 0),
        f1=2 * found / (total + found) if total else 1.0,
        pq=2 * overlap / (total + found) if total else 1.0,
        accuracy=found / total if total else 1.0,
        sq=overlap / found if found else float(total == 0),
    )


def _limits(sizes: tuple[float, float]) -> tuple[float, float]:
    low, high = sizes
    if not 0 <= low < high:
        raise InputError(f"Sizes go from at least 0 voxels up to more than that, got {sizes}.")
    return float(low), float(high)


def _between(voxels: Counts, low: float, high: float) -> Flags:
    return np.asarray((voxels > low) & (voxels <= high))


def _plain(stratum: Stratum) -> dict[str, Any]:
    """Return a stratum with its detection beside it; JSON has no infinity."""
    values = stratum._asdict()
    detection = values.pop("detection")._asdict()
    return {**values, "high": None if values["high"] == float("inf") else values["high"], **detection}
