"""Accuracy: labels against truth by voxels, objects and partition; every figure is a sum over one table of overlaps."""

import html
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from numbers import Real
from typing import Any, Literal, NamedTuple, TypeAlias

import cc3d
import fastremap
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

from mitonb.errors import AxesError, InputError
from mitonb.labels import AnyLabels, Labels, integers
from mitonb.post.tables import pairs
from mitonb.stack import AXES, Axis, VoxelSize, checked_axis

Counts: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Values: TypeAlias = npt.NDArray[np.float64]
Ignore: TypeAlias = npt.NDArray[Any] | int | None
Ranking: TypeAlias = Mapping[int, float] | npt.NDArray[Any] | None
Kind = Literal["missing", "false", "split", "merged", "mixed", "poor"]

COCO_IOUS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""0.5, 0.55, ... 0.95: the thresholds that COCO's AP is the mean of."""
EDGES = (5_000, 15_000)
"""Voxels at which MitoEM divides small, medium and large objects."""

_ANY_SIZE = (0.0, float("inf"))
_SHARE = 0.25  # an overlap says that two objects belong together when it is this share of the smaller one
_KINDS: dict[tuple[int, int], Kind] = {
    (0, 1): "missing", (1, 0): "false", (2, 1): "split", (1, 2): "merged", (2, 2): "mixed", (1, 1): "poor",
}  # fmt: skip
"""What is wrong with a group of so many labels and truths; 2 stands for more than one."""


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


class Mistake(NamedTuple):
    """What went wrong with a group of objects that overlap each other.

    `kind` is "missing" (truth without a label), "false" (label without truth), "split" (one truth, several
    labels), "merged" (one label, several truths), "mixed" (several of both: many to many) or "poor" (one of both,
    but their IoU is too low).
    """

    kind: Kind
    ids: tuple[int, ...]
    truths: tuple[int, ...]


class Stratum(NamedTuple):
    """Objects of one size: more than `low` and at most `high` voxels; `truths` of them are in the truth."""

    name: str
    low: float
    high: float
    truths: int
    ap: float
    detection: Detection


class Variation(NamedTuple):
    """Variation of information in bits (Meila 2007); 0 is best.

    `split` is the entropy of the labels within the truth (objects cut up), `merge` that of the truth within the
    labels (objects run together); `total` is their sum.
    """

    split: float
    merge: float

    @property
    def total(self) -> float:
        """Split and merge together: the distance of the two partitions."""
        return self.split + self.merge


class Rand(NamedTuple):
    """Adapted Rand error (1 - F1 of the pairs of different voxels), with precision and recall of those pairs."""

    error: float
    precision: float
    recall: float


@dataclass(frozen=True, eq=False)  # arrays have no one answer to whether they are equal
class Table:
    """How objects of the labels and objects of the truth overlap; ignored voxels are in none of its numbers.

    Attributes
    ----------
    ids, truths : (n,), (m,) uint64 array
        Objects of labels and of truth, sorted, without background.
    id_voxels, truth_voxels : (n,), (m,) int64 array
        Their sizes.
    rows, columns, overlaps : (k,) int64 array
        Object `ids[rows[i]]` and object `truths[columns[i]]` share `overlaps[i]` voxels; sorted.
    neither : int
        Voxels that are background in both.
    """

    ids: npt.NDArray[np.uint64]
    truths: npt.NDArray[np.uint64]
    id_voxels: Counts
    truth_voxels: Counts
    rows: Counts
    columns: Counts
    overlaps: Counts
    neither: int = 0

    @classmethod
    def of(cls, first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64], counts: Counts) -> "Table":
        """Build the table from pairs of ids, background included, and the voxels of each pair."""
        # One more pair of no voxels, so that the background is number 0 on both sides.
        ids, row = np.unique(np.append(first, np.uint64(0)), return_inverse=True)
        truths, column = np.unique(np.append(second, np.uint64(0)), return_inverse=True)
        counts = np.append(counts, 0)
        both, neither = (row > 0) & (column > 0), (row == 0) & (column == 0)
        sizes = _sums(row, counts, len(ids))[1:], _sums(column, counts, len(truths))[1:]
        places = row[both] - 1, column[both] - 1
        return cls(ids[1:], truths[1:], *sizes, *places, counts[both], int(counts[neither].sum()))

    @cached_property
    def ious(self) -> Values:
        """IoU of each pair of overlapping objects, (k,)."""
        union = self.id_voxels[self.rows] + self.truth_voxels[self.columns] - self.overlaps
        return np.asarray(self.overlaps / union)

    @cached_property
    def outside(self) -> tuple[Counts, Counts]:
        """Voxels of each label on the background of the truth, and of each truth on that of the labels."""
        inside = _sums(self.rows, self.overlaps, len(self.ids))
        covered = _sums(self.columns, self.overlaps, len(self.truths))
        return self.id_voxels - inside, self.truth_voxels - covered

    def counted(self, smallest: int) -> tuple[Flags, Flags]:
        """Which labels and which truths count: not the small ones, nor labels that mostly lie on small truth."""
        truths = self.truth_voxels >= smallest
        on_small = ~truths[self.columns]
        covered = _sums(self.rows[on_small], self.overlaps[on_small], len(self.ids))
        return (self.id_voxels >= smallest) & (2 * covered < np.maximum(self.id_voxels, 1)), truths

    def groups(self, chosen: Flags) -> Counts:
        """Number the groups of objects that the chosen pairs connect: (n + m,), labels first, then truths."""
        n, m = len(self.ids), len(self.truths)
        edges = self.overlaps[chosen], (self.rows[chosen], self.columns[chosen] + n)
        _, group = connected_components(coo_array(edges, shape=(n + m, n + m)), directed=False)
        return np.asarray(group, np.int64)

    def assign(self, able: Counts) -> Counts:
        """Choose as many of these pairs as can be, no object used twice, then the highest IoU in all; by index."""
        if len(able) == 0:
            return able
        rows, r = np.unique(self.rows[able], return_inverse=True)
        columns, c = np.unique(self.columns[able], return_inverse=True)
        n, m = len(rows), len(columns)
        # Each row may also stay alone, in a column of its own, at twice the cost: so there always is a full matching,
        # and one pair more saves more than all IoUs together. Sparse: what does not overlap is not even looked at.
        cost = np.concatenate([1 - self.ious[able] / (n + 1), np.full(n, 2.0)])
        graph = csr_array((cost, (np.append(r, np.arange(n)), np.append(c, m + np.arange(n)))), shape=(n, m + n))
        row, column = min_weight_full_bipartite_matching(graph)
        partner = np.empty(n, np.int64)
        partner[row] = column
        return np.asarray(able[partner[r] == c])


@dataclass(frozen=True, eq=False)
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
    ranks: Values | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def iou(self) -> float:
        """Intersection over union of the foregrounds."""
        both, total = self._foreground
        return both / (total - both) if total else 1.0

    @property
    def dice(self) -> float:
        """Dice coefficient (F1 of the voxels) of the foregrounds."""
        both, total = self._foreground
        return 2 * both / total if total else 1.0

    @property
    def counts(self) -> tuple[int, int]:
        """How many labels and how many truths count."""
        labels, truths = self._counted
        return int(labels.sum()), int(truths.sum())

    def matches(self, iou: float = 0.5) -> list[Match]:
        """Return the objects found: pairs with at least this IoU, each object once, as many pairs as can be."""
        t, use = self.table, self._assigned(iou)
        columns = t.ids[t.rows[use]], t.truths[t.columns[use]], t.ious[use]
        return [Match(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

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
        wanted, fitting = self._wanted(sizes)
        use = self._assigned(iou)
        alone = fitting.copy()
        alone[self.table.rows[use]] = False
        use = use[wanted[self.table.columns[use]]]
        found, false = len(use), int(alone.sum())
        missed = int(wanted.sum()) - found
        overlap, total = float(self.table.ious[use].sum()), found + false + missed
        return Detection(
            float(iou), found, false, missed,
            precision=found / (found + false) if found + false else float(missed == 0),
            recall=found / (found + missed) if found + missed else float(false == 0),
            f1=2 * found / (total + found) if total else 1.0,
            pq=2 * overlap / (total + found) if total else 1.0,
            accuracy=found / total if total else 1.0,
            sq=overlap / found if found else float(total == 0),
        )  # fmt: skip

    def ap(self, iou: float | Sequence[float] = COCO_IOUS, *, sizes: tuple[float, float] = _ANY_SIZE) -> float:
        """Return the average precision as COCO and MitoEM count it: precision at 101 recalls, ranked labels.

        Labels are asked from the surest to the least sure; each takes, of the truths with at least this IoU that are
        still free, the best one. A label that can only take truth that does not count is left out. AP forgives false
        labels that rank low: read it together with `at(0.75).accuracy`.

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
        wanted, fitting = self._wanted(sizes)
        return float(np.mean([self._average_precision(t, wanted, fitting) for t in _thresholds(iou)]))

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
        ends = [0.0, *map(float, edges), float("inf")]
        if any(a >= b for a, b in pairwise(ends)):
            raise InputError(f"The edges of the sizes rise, from above 0 voxels, got {tuple(edges)}.")
        names = ("small", "medium", "large") if len(ends) == 4 else [f"size {k}" for k in range(1, len(ends))]
        strata = []
        for name, sizes in zip(names, pairwise(ends), strict=True):
            got = self.at(iou, sizes=sizes)
            strata.append(Stratum(name, *sizes, got.found + got.missed, self.ap(iou, sizes=sizes), got))
        return strata

    def variation(self, *, background: bool = False) -> Variation:
        """Return the variation of information, in bits, as its split and its merge part.

        Parameters
        ----------
        background : bool
            Whether the background of the truth counts as one region; by default only voxels inside objects of the
            truth are compared. Background of the labels is one region in both cases.
        """
        both, labels, truths = (_entropy(voxels) for voxels in self._regions(background))
        # An entropy of what is certain may come out as -1e-16.
        return Variation(max(0.0, both - truths), max(0.0, both - labels))

    def rand(self, *, background: bool = False) -> Rand:
        """Return the adapted Rand error (Arganda-Carreras et al. 2015) with its precision and recall.

        Parameters
        ----------
        background : bool
            As for `variation`.
        """
        both, labels, truths = (float((voxels * (voxels - 1)).sum()) for voxels in self._regions(background))
        # No pair together anywhere: nothing to get wrong in that direction.
        error = 1 - 2 * both / (labels + truths) if labels + truths else 0.0
        return Rand(error, both / labels if labels else 1.0, both / truths if truths else 1.0)

    def mistakes(self, iou: float = 0.5) -> list[Mistake]:
        """Return what went wrong, by groups of objects that overlap by a quarter of the smaller one or more."""
        t, n = self.table, len(self.table.ids)
        smaller = np.minimum(t.id_voxels[t.rows], t.truth_voxels[t.columns])
        group = t.groups((t.overlaps >= _SHARE * smaller) | (t.ious >= iou))
        members: dict[int, tuple[list[int], list[int]]] = {}
        for node in np.flatnonzero(np.concatenate(self._counted)).tolist():
            side, value = (0, t.ids[node]) if node < n else (1, t.truths[node - n])
            members.setdefault(int(group[node]), ([], []))[side].append(int(value))
        good = {(m.id, m.truth) for m in self.matches(iou)}
        return [
            Mistake(_KINDS[min(len(ids), 2), min(len(truths), 2)], tuple(ids), tuple(truths))
            for ids, truths in members.values()
            if len(ids) != 1 or len(truths) != 1 or (ids[0], truths[0]) not in good
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain numbers and lists, ready for JSON."""
        labels, truths = self.counts
        variation, wrong = self.variation(), self.mistakes()
        kinds = Counter(m.kind for m in wrong)
        strata = [{**s._asdict(), "high": None if s.high == float("inf") else s.high} for s in self.strata()]
        return {
            "iou": self.iou, "dice": self.dice, "labels": labels, "truth": truths,
            "at": [self.at(t)._asdict() for t in self.ious],
            "ap": self.ap(), "ap50": self.ap(0.5), "ap75": self.ap(0.75), "accuracy75": self.at(0.75).accuracy,
            "sizes75": [{**s, **s.pop("detection")._asdict()} for s in strata],
            "vi": {**variation._asdict(), "total": variation.total},
            "vi_with_background": self.variation(background=True).total,
            "rand": self.rand()._asdict(),
            "notes": list(self.notes),
            "mistakes": {kind: kinds[kind] for kind in _KINDS.values()},
            "mistake_ids": [m._asdict() for m in wrong],
        }  # fmt: skip

    def __repr__(self) -> str:
        first, *rest = _sentences(self.as_dict())
        return "\n".join([f"Scores: {first}", *(" ".join(f"{c:>9}" for c in row) for row in self._rows()), *rest])

    def _repr_html_(self) -> str:
        first, *rest = (html.escape(sentence) for sentence in _sentences(self.as_dict()))
        head, *body = ("".join(f"<td>{cell}</td>" for cell in row) for row in self._rows())
        table = f"<thead><tr>{head.replace('td>', 'th>')}</tr></thead><tbody><tr>{'</tr><tr>'.join(body)}</tr></tbody>"
        return f"<p>{first}</p><table>{table}</table><p>{'<br>'.join(rest)}</p>"

    def _rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the table of thresholds as text, its head first."""
        yield ("at IoU", "F1", "accuracy", "precision", "recall", "PQ", "found", "false", "missed")
        for d in map(self.at, self.ious):
            rates = (f"{rate:.3f}" for rate in (d.f1, d.accuracy, d.precision, d.recall, d.pq))
            yield (f"{d.iou:g}", *rates, str(d.found), str(d.false), str(d.missed))

    @cached_property
    def _counted(self) -> tuple[Flags, Flags]:
        return self.table.counted(self.smallest)

    @property
    def _foreground(self) -> tuple[int, int]:
        """Voxels that are foreground in both, and the sum of both foregrounds."""
        t = self.table
        return int(t.overlaps.sum()), int(t.id_voxels.sum() + t.truth_voxels.sum())

    def _wanted(self, sizes: tuple[float, float]) -> tuple[Flags, Flags]:
        """Return which truths, and which labels without a partner, count at these sizes."""
        low, high = sizes
        if not 0 <= low < high:
            raise InputError(f"Sizes go from at least 0 voxels up to more than that, got {sizes}.")
        (labels, truths), t = self._counted, self.table
        wanted = truths & (t.truth_voxels > low) & (t.truth_voxels <= high)
        return wanted, labels & (t.id_voxels > low) & (t.id_voxels <= high)

    def _assigned(self, iou: float) -> Counts:
        """Return the indices of the pairs that stand for each other at a threshold."""
        (iou,) = _thresholds(iou)
        (labels, truths), t = self._counted, self.table
        return t.assign(np.flatnonzero((t.ious >= iou) & labels[t.rows] & truths[t.columns]))

    def _average_precision(self, iou: float, wanted: Flags, fitting: Flags) -> float:
        """Return the mean precision at 101 recalls of the wanted truth."""
        t = self.table
        ranks = t.id_voxels.astype(np.float64) if self.ranks is None else self.ranks
        able = np.flatnonzero((t.ious >= iou) & self._counted[0][t.rows])
        rows, columns = t.rows[able], t.columns[able]
        # By label, surest first; within one label wanted truth first, then the better overlap.
        able_order = np.lexsort((columns, -t.ious[able], ~wanted[columns], t.ids[rows], -ranks[rows]))
        taken: dict[int, int] = {}
        free = set(columns.tolist())
        for row, column in zip(rows[able_order].tolist(), columns[able_order].tolist(), strict=True):
            if row not in taken and column in free:
                taken[row] = column
                free.remove(column)
        took = np.zeros(len(t.ids), bool)
        took[list(taken)] = True
        found = np.zeros(len(t.ids), bool)
        found[list(taken)] = wanted[list(taken.values())]
        order = np.lexsort((t.ids, -ranks))
        hits = np.cumsum(found[order[(found | (fitting & ~took))[order]]])
        if not wanted.any():
            return float(len(hits) == 0)
        # Precision never rises again on the way to a higher recall: take the best that is still to come.
        best = np.maximum.accumulate(np.append(hits / np.arange(1, len(hits) + 1), 0.0)[::-1])[::-1]
        # In whole numbers: 0.07 of 100 objects is 7 of them, however floats round it.
        return float(best[np.searchsorted(100 * hits, np.arange(101) * int(wanted.sum()))].mean())

    def _regions(self, background: bool) -> tuple[Values, Values, Values]:
        """Return the voxels of each overlap, of each region of the labels and of each region of the truth.

        The background of the labels is one region wherever the truth has voxels that count.
        """
        t = self.table
        on_background, unlabelled = t.outside
        outside = np.append(on_background, t.neither) * background
        joint = t.overlaps, unlabelled, outside
        labels = t.id_voxels - on_background + outside[:-1], [unlabelled.sum() + outside[-1]]
        truths = t.truth_voxels, [outside.sum()]
        # Floats: the squares of voxel counts do not fit into 64 bits.
        first, second, third = (np.concatenate(x).astype(np.float64) for x in (joint, labels, truths))
        return first, second, third


def score(
    labels: AnyLabels, truth: AnyLabels, *, ious: float | Sequence[float] = (0.5, 0.75), ignore: Ignore = None,
    smallest: int = 0, ranking: Ranking = None,
) -> Scores:  # fmt: skip
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
    ious = _thresholds(ious)
    if not isinstance(smallest, Real) or isinstance(smallest, bool) or not 0 <= smallest < 2**63 or smallest % 1:
        raise InputError(f"The smallest object is a whole number of voxels from 0 on, got {smallest!r}.")
    a = integers(labels, "labels")
    b, mask = _without_ignored(truth, ignore)
    if a.shape != b.shape:
        raise AxesError(f"Labels and truth need one shape, got {a.shape} and {b.shape}. Crop or resample one of them.")
    table = Table.of(*pairs(a, b, mask))
    sizes = (x.voxel_size if isinstance(x, Labels) else None for x in (labels, truth))
    return Scores(table, ious, int(smallest), _ranks(table, a, mask, ranking), size_notes(*sizes))


def score_planes(
    labels: AnyLabels, truth: AnyLabels, *, axis: Axis = "xy", ious: float | Sequence[float] = (0.5, 0.75),
    ignore: Ignore = None, smallest: int = 0,
) -> Scores:  # fmt: skip
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
            raise AxesError(f"Planes need 3 axes (z, y, x), got shape {array.shape}. For one plane pass x[None].")
    k = AXES[checked_axis(axis)]
    sizes = (x.voxel_size if isinstance(x, Labels) else None for x in (labels, truth))
    scores = score(_profiles(a, k), _profiles(b, k), ious=ious, ignore=mask, smallest=smallest)
    return replace(scores, notes=size_notes(*sizes))


def size_notes(labels: VoxelSize | None, truth: VoxelSize | None) -> tuple[str, ...]:
    """Say where labels and truth claim different voxel sizes: one of them may belong to another volume."""
    if labels is None or truth is None or np.allclose(labels, truth, rtol=1e-3):
        return ()
    ours, theirs = (" x ".join(f"{v:g}" for v in size) for size in (labels, truth))
    text = f"The labels say voxels of {ours} nm, the truth {theirs} nm: they were compared voxel by voxel."
    return (f"{text} Check that both belong to the same volume.",)


def _profiles(ids: npt.NDArray[Any], axis: int) -> npt.NDArray[np.uint32]:
    """Number the connected pieces (8 neighbours) of each id in each plane, 1..n over all planes."""
    planes = np.moveaxis(ids, axis, 0)
    out = np.zeros(planes.shape, np.uint32)
    total = 0
    for plane, target in zip(planes, out, strict=True):
        numbers, _ = fastremap.renumber(np.ascontiguousarray(plane), in_place=False)
        pieces, count = cc3d.connected_components(numbers, connectivity=8, return_N=True)
        target[...] = np.where(pieces > 0, pieces + np.uint32(total), 0)
        total += int(count)
    return np.moveaxis(out, 0, axis)


def _thresholds(iou: float | Sequence[float]) -> tuple[float, ...]:
    """Return one or several IoU thresholds as a tuple."""
    several = tuple(iou) if isinstance(iou, Sequence | np.ndarray) and not isinstance(iou, str) else (iou,)
    for t in several:
        if not isinstance(t, Real) or isinstance(t, bool) or not 0 < float(t) <= 1:
            raise InputError(f"An IoU threshold is above 0 and at most 1, got {t!r}.")
    if not several:
        raise InputError("At least one IoU threshold is needed, such as 0.5.")
    return tuple(float(t) for t in several)


def _without_ignored(truth: AnyLabels, ignore: Ignore) -> tuple[npt.NDArray[Any], Flags | None]:
    """Return the truth as ids at or above 0, and the voxels that do not count."""
    if ignore is None:
        return integers(truth, "truth"), None
    if isinstance(ignore, bool | np.bool_ | float | str):
        raise InputError(f"What to ignore is an id of the truth or an array of its shape, got {ignore!r}.")
    if isinstance(ignore, int | np.integer):
        values = np.asarray(getattr(truth, "data", truth))
        mask = np.asarray(values == ignore)
        # A mark below 0, such as -1, is no id: take it out before the ids are looked at.
        return integers(np.where(mask, 0, values) if ignore < 0 else truth, "truth"), mask
    mask, b = np.asarray(ignore), integers(truth, "truth")
    if mask.dtype.kind not in "bui":
        raise InputError(f"The voxels to ignore are marked by True or a whole number, got dtype {mask.dtype}.")
    if mask.shape != b.shape:
        raise AxesError(f"The voxels to ignore need the shape of the truth, {b.shape}, got {mask.shape}.")
    return b, mask != 0


def _ranks(table: Table, labels: npt.NDArray[Any], mask: Flags | None, ranking: Ranking) -> Values | None:
    """Return how sure each label of the table is, None for its size."""
    if ranking is None:
        return None
    if isinstance(ranking, Mapping):
        if missing := [i for i in table.ids.tolist() if i not in ranking]:
            raise InputError(f"The ranking has no number for {len(missing)} of the labels, such as {missing[0]}.")
        ranks = np.array([float(ranking[i]) for i in table.ids.tolist()], np.float64)
    else:
        ranks = _means(table, labels, mask, np.asarray(ranking))
    if not np.isfinite(ranks).all():
        raise InputError("A label cannot be ranked by a number that is not finite.")
    return ranks


def _means(table: Table, labels: npt.NDArray[Any], mask: Flags | None, heat: npt.NDArray[Any]) -> Values:
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
        total += np.bincount(row, values[there].astype(np.float64), minlength=len(total))
    return np.asarray(total / table.id_voxels)


def _sums(index: npt.NDArray[np.integer], values: Counts, count: int) -> Counts:
    """Add up voxels by index; floats count them exactly up to 2**53."""
    return np.bincount(index, values, minlength=count).astype(np.int64)


def _entropy(voxels: Values) -> float:
    """Return the entropy of a division of voxels in bits; 0 where there are none."""
    share = voxels[voxels > 0] / max(voxels.sum(), 1)
    return float(-(share * np.log2(share)).sum())


def _sentences(f: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures of `Scores.as_dict` that are no table, in words."""
    yield f"{f['labels']} labels, {f['truth']} in truth; foreground IoU {f['iou']:.3f}, Dice {f['dice']:.3f}"
    sizes = ", ".join(f"{s['name']} {s['ap']:.3f} ({s['truths']})" for s in f["sizes75"] if s["truths"])
    by_size = f"; AP-75 by size: {sizes}" if sizes else ""
    yield f"AP {f['ap']:.3f}, AP-50 {f['ap50']:.3f}, AP-75 {f['ap75']:.3f}{by_size}"
    vi, error = f["vi"], f["rand"]["error"]
    parts = f"(split {vi['split']:.3f}, merge {vi['merge']:.3f})"
    yield f"VI {vi['total']:.3f} bits {parts}; adapted Rand error {error:.3f}"
    if f["dice"] < 0.9 and vi["total"] <= f["vi_with_background"] / 2:
        yield (
            "VI and adapted Rand error look only inside the objects of the truth, where missing objects are one region "
            f"and false ones do not count: read Dice and F1 first. With the background, VI is "
            f"{f['vi_with_background']:.3f} bits."
        )
    wrong = ", ".join(f"{count} {kind}" for kind, count in f["mistakes"].items() if count)
    yield f"Mistakes at IoU 0.5: {wrong or 'none'}"
    yield from f["notes"]
