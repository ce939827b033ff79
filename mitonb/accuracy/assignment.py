"""Assignment: which object stands for which, when each may be used once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from mitonb.accuracy.table import Table
    from mitonb.overlaps import Counts

__all__ = ["assigned", "groups"]


def assigned(table: Table, able: Counts) -> Counts:
    """Choose among pairs of a table so that no object is used twice.

    Parameters
    ----------
    table : Table
    able : (p,) int64 array
        Indices of the pairs that may be chosen.

    Returns
    -------
    chosen : (q,) int64 array
        Sorted: as many pairs as can be, and of all such choices the one with the highest IoU in all.
    """
    rows, columns = table.rows[able], table.columns[able]
    rivals = (np.bincount(rows, minlength=len(table.ids))[rows] > 1) | (
        np.bincount(columns, minlength=len(table.truths))[columns] > 1
    )
    # Above an IoU of 0.5 a partner is the only one; only below (or just at) it is there something to assign.
    chosen, open_pairs = [able[~rivals]], able[rivals]
    if len(open_pairs):
        # What does not overlap does not compete: one small problem per group instead of one of all against all.
        group = groups(table, open_pairs)[table.rows[open_pairs]]
        order = np.argsort(group, kind="stable")
        starts = np.flatnonzero(np.diff(group[order])) + 1
        chosen += [_best(table, part) for part in np.split(open_pairs[order], starts)]
    return np.sort(np.concatenate(chosen))


def groups(table: Table, pairs: Counts) -> Counts:
    """Number the groups of objects that pairs connect: (n + m,), labels first, then truths."""
    n, m = len(table.ids), len(table.truths)
    edges = np.ones(len(pairs), np.int8), (table.rows[pairs], table.columns[pairs] + n)
    _, group = connected_components(coo_matrix(edges, shape=(n + m, n + m)), directed=False)
    return np.asarray(group, np.int64)


def _best(table: Table, pairs: Counts) -> Counts:
    """Solve the assignment of one group."""
    rows, r = np.unique(table.rows[pairs], return_inverse=True)
    columns, c = np.unique(table.columns[pairs], return_inverse=True)
    gain = np.zeros((len(rows), len(columns)))
    # All IoUs together are less than one pair more.
    gain[r, c] = 1 + table.ious[pairs] / (min(gain.shape) + 1)
    lookup = np.full(gain.shape, -1, np.int64)
    lookup[r, c] = pairs
    chosen = lookup[linear_sum_assignment(gain, maximize=True)]
    return np.asarray(chosen[chosen >= 0])
