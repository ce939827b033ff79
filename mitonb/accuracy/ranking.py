"""Average precision: how precise the surest labels are while more and more of the truth is found, as COCO counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mitonb.accuracy.table import Flags, Table
    from mitonb.overlaps import Counts

__all__ = ["average_precision"]

_RECALLS = np.arange(101)  # percent at which precision is read


def average_precision(
    table: Table, ranks: npt.NDArray[np.float64], counted: tuple[Flags, Flags], iou: float, sizes: tuple[float, float]
) -> float:
    """Return the mean precision at 101 recalls.

    Labels are asked in the order of their rank; each takes, of the truths with at least this IoU that are still free,
    the best one. Truth that does not count or is not of these sizes is neither found nor missed: a label that can
    only take such a one is left out, and so is a free label that does not count or is not of these sizes.

    Parameters
    ----------
    table : Table
    ranks : (n,) float array
        How sure each label is, higher first; equal ones go by their ids.
    counted : pair of bool arrays
        Which labels and truths count.
    iou : float
        From which overlap on a label may stand for a truth.
    sizes : tuple of float
        More voxels than the first, at most the second.
    """
    low, high = sizes
    wanted = counted[1] & (table.truth_voxels > low) & (table.truth_voxels <= high)
    fitting = counted[0] & (table.id_voxels > low) & (table.id_voxels <= high)
    taken = _taken(table, ranks, wanted, counted[0], iou)
    took = taken >= 0
    found = np.zeros(len(took), bool)
    found[took] = wanted[taken[took]]
    false = ~took & fitting
    order = np.lexsort((table.ids, -ranks))
    order = order[(found | false)[order]]
    total = int(wanted.sum())
    if total == 0:
        return float(len(order) == 0)
    hits = np.cumsum(found[order])
    precision = hits / np.arange(1, len(order) + 1)
    # Precision never rises again on the way to a higher recall: take the best that is still to come.
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    # In whole numbers: 0.07 of 100 objects is 7 of them, however floats round it.
    return float(best[np.searchsorted(100 * hits, _RECALLS * total)].mean())


def _taken(table: Table, ranks: npt.NDArray[np.float64], wanted: Flags, asked: Flags, iou: float) -> Counts:
    """Return the index of the truth that each label takes, -1 for none."""
    able = np.flatnonzero((table.ious >= iou) & asked[table.rows])
    row, column = table.rows[able], table.columns[able]
    # By label, surest first; within one label wanted truth first, then the better overlap.
    order = np.lexsort((column, -table.ious[able], ~wanted[column], table.ids[row], -ranks[row]))
    taken = np.full(len(table.ids), -1, np.int64)
    free = np.ones(len(table.truths), bool)
    for r, c in zip(row[order].tolist(), column[order].tolist(), strict=True):
        if taken[r] < 0 and free[c]:
            taken[r], free[c] = c, False
    return taken
