"""Assignment: which object stands for which, when each may be used once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

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
    return np.sort(np.concatenate([able[~rivals], _best(table, able[rivals])]))


def groups(table: Table, pairs: Counts) -> Counts:
    """Number the groups of objects that pairs connect: (n + m,), labels first, then truths."""
    n, m = len(table.ids), len(table.truths)
    edges = np.ones(len(pairs), np.int8), (table.rows[pairs], table.columns[pairs] + n)
    _, group = connected_components(coo_array(edges, shape=(n + m, n + m)), directed=False)
    return np.asarray(group, np.int64)


def _best(table: Table, pairs: Counts) -> Counts:
    """Choose among pairs that compete: as many as can be, then the highest IoU in all."""
    if len(pairs) == 0:
        return pairs
    rows, r = np.unique(table.rows[pairs], return_inverse=True)
    columns, c = np.unique(table.columns[pairs], return_inverse=True)
    n, m = len(rows), len(columns)
    # Each row may also stay alone, in a column of its own, at twice the cost: so there always is a full matching, and
    # one pair more saves more than all IoUs together. Sparse: what does not overlap is not even looked at.
    alone = np.arange(n)
    cost = np.concatenate([1 - table.ious[pairs] / (n + 1), np.full(n, 2.0)])
    graph = csr_array((cost, (np.append(r, alone), np.append(c, m + alone))), shape=(n, m + n))
    row, column = min_weight_full_bipartite_matching(graph)
    real = column < m
    order = np.lexsort((c, r))
    found = np.searchsorted(r[order] * m + c[order], row[real] * m + column[real])
    return np.asarray(pairs[order[found]])
