"""Mistakes: what went wrong, by groups of objects that overlap each other, with their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from mitonb.accuracy.assignment import groups

if TYPE_CHECKING:
    from mitonb.accuracy.table import Flags, Table
    from mitonb.overlaps import Counts

__all__ = ["KINDS", "Kind", "Mistake", "mistakes"]

Kind = Literal["missing", "false", "split", "merged", "mixed", "poor"]
KINDS: tuple[Kind, ...] = ("missing", "false", "split", "merged", "mixed", "poor")

_SHARE = 0.25  # an overlap says that two objects belong together when it is this share of the smaller one


class Mistake(NamedTuple):
    """What went wrong with a group of objects that overlap each other.

    `kind` is "missing" (truth without a label), "false" (label without truth), "split" (one truth, several
    labels), "merged" (one label, several truths), "mixed" (several of both: many to many) or "poor" (one of both,
    but their IoU is too low).
    """

    kind: Kind
    ids: tuple[int, ...]
    truths: tuple[int, ...]


def mistakes(table: Table, counted: tuple[Flags, Flags], iou: float, matched: Counts) -> list[Mistake]:
    """Return the groups in which something went wrong.

    Parameters
    ----------
    table : Table
    counted : pair of bool arrays
        Which labels and truths count; the others are in no group.
    iou : float
        Pairs with this IoU belong together, and so do pairs that share a quarter of the smaller object.
    matched : int64 array
        Indices of the pairs that stand for each other.
    """
    smaller = np.minimum(table.id_voxels[table.rows], table.truth_voxels[table.columns])
    group = groups(table, np.flatnonzero((table.overlaps >= _SHARE * smaller) | (table.ious >= iou)))
    n = len(table.ids)
    members: dict[int, tuple[list[int], list[int]]] = {}
    for node in np.flatnonzero(np.concatenate(counted)).tolist():
        pair = members.setdefault(int(group[node]), ([], []))
        if node < n:
            pair[0].append(int(table.ids[node]))
        else:
            pair[1].append(int(table.truths[node - n]))
    good = set(zip(table.ids[table.rows[matched]].tolist(), table.truths[table.columns[matched]].tolist(), strict=True))
    named = ((_kind(ids, truths, good), ids, truths) for ids, truths in members.values())
    return [Mistake(kind, tuple(ids), tuple(truths)) for kind, ids, truths in named if kind]


def _kind(ids: list[int], truths: list[int], good: set[tuple[int, int]]) -> Kind | None:
    """Say what went wrong in a group of objects, None if nothing."""
    match len(ids), len(truths):
        case 0, _:
            return "missing"
        case _, 0:
            return "false"
        case 1, 1:
            return None if (ids[0], truths[0]) in good else "poor"
        case 1, _:
            return "merged"
        case _, 1:
            return "split"
        case _:
            return "mixed"
