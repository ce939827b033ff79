"""Where two label sets differ: a list of mistakes with their places, errors by size with intervals, agreement."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from mitonb.accuracy import Mistake, score
from mitonb.details import faces_between
from mitonb.errors import InputError
from mitonb.labels import AnyLabels, integers
from mitonb.measurements import measure
from mitonb.stack import VoxelSize

_ROUNDS = 2000  # of the bootstrap


def list_mistakes(labels: AnyLabels, truth: AnyLabels, *, iou: float = 0.5, smallest: int = 0) -> pd.DataFrame:
    """List what is wrong with labels, each mistake with its place: where two parts meet, or the middle of what differs.

    Parameters
    ----------
    labels, truth : Labels or (z, y, x) integer array
        Of one shape; the truth may be the labels of another annotator.
    iou, smallest
        As in `score`.

    Returns
    -------
    pandas.DataFrame
        A row for each mistake, the largest first: ``kind`` (see `Mistake`), ``ids`` and ``truths`` (tuples), the
        place ``z``, ``y``, ``x`` (a voxel), and ``voxels``, how many are wrong.

    Raises
    ------
    AxesError, InputError
        As `score`, and if they are no volumes.

    Examples
    --------
    >>> truth = np.zeros((1, 4, 9), np.uint8)
    >>> truth[:, 1:3, 1:8] = 1
    >>> labels = np.where(np.arange(9) < 5, truth, truth * 2)
    >>> list_mistakes(labels, truth)[["kind", "ids", "x", "voxels"]].to_dict("records")
    [{'kind': 'split', 'ids': (1, 2), 'x': 4, 'voxels': 6}]
    """
    a, b = integers(labels, "labels"), integers(truth, "truth")
    wrong = score(a, b, smallest=smallest).mistakes(iou)
    ours, theirs = (measure(ids).set_index("id") for ids in (a, b))
    rows = []
    for one in wrong:
        corners = pd.concat([ours.loc[list(one.ids)], theirs.loc[list(one.truths)]])
        start = corners[["z0", "y0", "x0"]].min().to_numpy(int)
        box = tuple(map(slice, start, corners[["z1", "y1", "x1"]].max().to_numpy(int)))
        place, voxels = _place(a[box], b[box], one)
        z, y, x = (start + place).tolist()
        rows.append((one.kind, one.ids, one.truths, z, y, x, voxels))
    table = pd.DataFrame(rows, columns=["kind", "ids", "truths", "z", "y", "x", "voxels"])
    return table.sort_values("voxels", ascending=False, kind="stable", ignore_index=True)


def _place(a: npt.NDArray[Any], b: npt.NDArray[Any], one: Mistake) -> tuple[npt.NDArray[np.int64], int]:
    """Return the voxel of a mistake in its box, and how many voxels are wrong."""
    own, true = np.isin(a, one.ids), np.isin(b, one.truths)
    meeting, small = [], 0
    for parts, names, inside in ((a, one.ids, true), (b, one.truths, own)):
        if len(names) > 1:
            kept = np.where(np.isin(parts, names) & inside, parts, 0)
            counts = np.sort([np.count_nonzero(kept == name) for name in names])
            small += int(counts[:-1].sum())
            # A face between an id and nothing is the outside of an object.
            faces, owners = faces_between(kept, np.ones(3), np.zeros(3))
            same, index = np.unique(faces, axis=0, return_inverse=True)
            meeting.append(same[np.bincount(index.reshape(-1), minlength=len(same)) > 1] if len(owners) else faces)
    faces = np.concatenate(meeting) if meeting else np.zeros((0, 3))
    if len(faces):
        nearest = np.argmin(((faces - np.median(faces, axis=0)) ** 2).sum(axis=1))
        return np.floor(faces[nearest]).astype(np.int64), small
    differ = own != true
    differ = differ if differ.any() else own | true
    depth = ndimage.distance_transform_edt(np.pad(differ, 1))[1:-1, 1:-1, 1:-1]
    place = np.array(np.unravel_index(np.argmax(depth), depth.shape))
    return place, small or int(differ.sum())


def errors_by_size(
    labels: AnyLabels, truth: AnyLabels, *, by: str = "voxels", edges: Sequence[float] | npt.NDArray[Any] | None = None,
    iou: float = 0.5, blocks: tuple[int, int, int] = (3, 3, 3), voxel_size: VoxelSize | float | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return how many objects were found, by their size or length, with intervals that respect neighbourhood.

    Objects near each other succeed or fail together: the volume is cut into blocks, and blocks are drawn at random,
    with repeats, 2000 times (Efron 1979); the interval holds 95 % of what comes out.

    Parameters
    ----------
    labels, truth : Labels or (z, y, x) integer array
    by : str
        A column of `measure`, such as "voxels", "length_nm" or "volume_um3".
    edges : sequence or array of float, optional
        Where one class ends and the next begins; by default quarters of the truth.
    iou : float
        From which overlap on an object is found.
    blocks : tuple of int
        Into how many blocks z, y and x are cut; an axis of one voxel is not.
    voxel_size : optional
        As for `measure`.

    Returns
    -------
    pandas.DataFrame
        A row for each class and one for all: ``low``, ``high``, ``truths``, ``found``, ``recall`` with
        ``recall_low`` and ``recall_high``, ``labels``, ``right``, ``precision`` with its limits. Labels count in the
        class of their own size.

    Raises
    ------
    AxesError, InputError
        As `score` and `measure`, and if there is no such column, or an axis is cut into no block.
    """
    if len(blocks) != 3 or not all(float(n).is_integer() and n >= 1 for n in blocks):
        raise InputError(f"The volume is cut into 1 block or more along z, y and x, got blocks={blocks!r}.")
    matches = score(labels, truth).matches(iou)
    sides = []
    for ids, good in ((truth, {m.truth for m in matches}), (labels, {m.id for m in matches})):
        table = measure(ids, voxel_size=voxel_size)
        if by not in table:
            known = ", ".join(name for name in table if table[name].dtype.kind in "if")
            raise InputError(f"There is no column {by!r} to sort objects by. There are {known}.")
        cut = np.minimum(blocks, np.array(table.attrs["shape"]))
        cells = (table[["z", "y", "x"]].to_numpy() * cut / table.attrs["shape"]).astype(int)
        block = np.ravel_multi_index(tuple(np.minimum(cells, cut - 1).T), tuple(cut))
        sides.append((table[by].to_numpy(float), table.id.isin(good).to_numpy(), block, int(np.prod(cut))))
    if edges is None:
        edges = np.quantile(sides[0][0], (0.25, 0.5, 0.75)) if len(sides[0][0]) else ()
    inner = np.unique(edges)
    ends = [-np.inf, *inner.tolist(), np.inf]
    rows = []
    for low, high in [*pairwise(ends), (-np.inf, np.inf)][: None if len(inner) else 1]:
        row: dict[str, Any] = {"low": max(low, 0), "high": high}
        names = (("truths", "found", "recall"), ("labels", "right", "precision"))
        for (values, good, block, count), (total, found, share) in zip(sides, names, strict=True):
            here = (values > low) & (values <= high)
            some = np.stack([np.bincount(block[here & chosen], minlength=count) for chosen in (good, here)], axis=1)
            limits = (share, f"{share}_low", f"{share}_high")
            row |= {total: int(here.sum()), found: int(good[here].sum())}
            row |= zip(limits, _interval(some), strict=True)
        rows.append(row)
    return pd.DataFrame(rows, index=[*(f"class {k + 1}" for k in range(len(rows) - 1)), "all"])


def _interval(counts: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """Return the share of good ones among all, of (blocks, 2) counts, and its 95 % limits when blocks are drawn."""
    counts = counts[counts.any(axis=1)]
    if not len(counts):
        return np.nan, np.nan, np.nan
    good, whole = counts.sum(axis=0).tolist()
    if len(counts) < 2:
        return good / whole, np.nan, np.nan
    drawn = np.random.default_rng(0).integers(0, len(counts), (_ROUNDS, len(counts)))
    sums = counts[drawn].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], (0.025, 0.975))
    return good / whole, float(low), float(high)


def agreement(annotators: Mapping[str, AnyLabels], *, smallest: int = 0) -> pd.DataFrame:
    """Return how far annotators of one volume agree, each with each; none of them is the truth.

    Parameters
    ----------
    annotators : mapping of str to Labels or integer array
        Their labels by name, two or more, of one shape.
    smallest : int
        Objects below this many voxels do not count.

    Returns
    -------
    pandas.DataFrame
        A row for two annotators each: ``dice`` and Cohen's ``kappa`` of the voxels (Cohen 1960), ``f1_50`` and
        ``f1_75`` of the objects (matched at IoU 0.5 and 0.75), ``vi`` (variation of information in bits),
        ``objects_first``, ``objects_second``, and how many groups of objects differ, by kind; "missing" is what the
        first lacks, "false" what the second lacks, "split" what the first has in more parts, "merged" the second.

    Raises
    ------
    InputError
        If there are fewer than two.
    """
    if len(annotators) < 2:
        raise InputError(f"Agreement is between two annotators or more, got {len(annotators)}.")
    rows = []
    for (first, a), (second, b) in combinations(annotators.items(), 2):
        scores = score(a, b, smallest=smallest)
        facts, t = scores.as_dict(), scores.table
        both, ours, theirs = (float(x.sum()) for x in (t.overlaps, t.id_voxels, t.truth_voxels))
        total = ours + theirs - both + t.neither
        chance = (ours * theirs + (total - ours) * (total - theirs)) / total**2
        kappa = ((both + t.neither) / total - chance) / (1 - chance) if chance < 1 else 1.0
        rows.append({
            "first": first, "second": second, "dice": scores.dice, "kappa": kappa, "f1_50": scores.at(0.5).f1,
            "f1_75": scores.at(0.75).f1, "vi": facts["vi"]["total"], "objects_first": facts["labels"],
            "objects_second": facts["truth"], **facts["mistakes"],
        })  # fmt: skip
    return pd.DataFrame(rows)
