"""Corrections: what of some labels a user has touched, and how the result of a run is laid around it.

An object is *corrected* when an edit by hand that still stands has changed any voxel of it: painted, erased, filled,
merged, put. A run leaves corrected objects as they are, and what was erased or deleted stays background. An object of
the run that lies to at least one half in such voxels is one that the user has seen to already, and is left out; of
every other the voxels that are free are put. Which edits stand is read from the journal: undo takes the protection
back, and so does a run that was told to replace corrections, where it ran.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import fastremap
import numpy as np
import numpy.typing as npt

from mitonb.box import Box
from mitonb.edit import ops
from mitonb.edit.blocks import digest
from mitonb.edit.effects import Edit, Part, Volume, changed
from mitonb.overlaps import pairs
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from mitonb.edit.project import Project
    from mitonb.labels import Labels

__all__ = ["adopt", "adopt_plane", "corrected", "plane_with"]

Mask = npt.NDArray[np.bool_]

_BY_HAND = ("paint", "erase", "fill", "merge", "delete", "put_plane")


def corrected(project: Project, box: Box) -> tuple[set[int], Mask]:
    """Return the ids of all corrected objects, gone ones too, and the voxels of a box that a run leaves as they are."""
    parts, table = _by_hand(project), project.table
    ids = {id for part in parts for id in np.unique(part.runs[:, 2:]).tolist()} - {0}
    keep = np.zeros(box.shape, bool)
    for part in parts:
        here, there = _shared(box, part.box)
        keep[here] |= changed(part)[there]
    keep &= project.labels[box.slices] == 0
    for id in ids & table.counts.keys():
        here, there = _shared(box, table.boxes[id])
        keep[here] |= project.labels[table.boxes[id].slices][there] == id
    return ids, keep


def adopt(project: Project, labels: Labels, *, replace_corrected: bool = False) -> Edit:
    """Replace all labels but what is corrected by the result of a run; see `mitonb.session.Session.adopt`."""
    old, new = project.labels, labels.data
    said: dict[str, Any] = {"name": labels.name, "digest": digest(new)}
    ids, keep = (set(), None) if replace_corrected else corrected(project, Box((0, 0, 0), _shape(old)))
    found, sizes = fastremap.unique(new, return_counts=True)
    size = dict(zip(found.tolist(), sizes.tolist(), strict=True))
    out, erased = _left_out(new, old, keep, size) if keep is not None and keep.any() else ([], 0)
    names = _known_as(project, new, ids) if project.table.counts else {}
    names |= dict.fromkeys(out, 0)
    # An id that is or was in use must not become that of another object. Somebody has it in hand and would paint into
    # that, or takes the other for the one that he knows; and what has the id of an object that was merged or deleted
    # by hand would count as corrected from then on.
    used = ids | project.in_hands() | project.table.counts.keys()
    clash = sorted(used & size.keys() - names.keys() - {0})
    names |= dict(zip(clash, project.free_ids(len(clash), among=size), strict=True))
    if any(id != name for id, name in names.items()):
        new = fastremap.remap(new, names, preserve_missing_labels=True)
    if keep is not None and keep.any():
        new = np.where(keep, old, new)
    if keep is not None:
        said |= {"kept": len(ids & project.table.counts.keys()), "erased": erased}
    return replace(ops.adopt(old, new), intent=said)


def adopt_plane(
    project: Project, ids: Volume, axis: Axis, index: int, *, iou: float, replace_corrected: bool = False
) -> Edit:
    """Replace a plane but what is corrected by profiles of a run; see `mitonb.session.Session.adopt_plane`."""
    new, kept, erased = plane_with(project, ids, axis, index, iou=iou, replace_corrected=replace_corrected)
    edit = ops.put_plane(project.labels, new, axis, index)
    said = {} if replace_corrected else {"kept": kept, "erased": erased}
    return replace(edit, kind="adopt_plane", intent={**edit.intent, "iou": float(iou), **said})


def plane_with(
    project: Project, ids: Volume, axis: Axis, index: int, *, iou: float, replace_corrected: bool = False
) -> tuple[Volume, int, int]:
    """Return the plane that `adopt_plane` puts, and how many objects are kept, and how many left out as erased."""
    box = ops.whole_plane(project.labels, ids.shape, axis, index)
    # Small numbers first: tables below are as long as the largest.
    ids = np.unique(np.append(ids, 0), return_inverse=True)[1][:-1].reshape(ids.shape).astype(np.uint32)
    planes = np.moveaxis(project.labels, AXES[axis], 0)
    old, kept, erased = planes[index], set[int](), 0
    keep = np.zeros(old.shape, bool)
    if not replace_corrected:
        all_corrected, keep = corrected(project, box)
        keep = keep.reshape(old.shape)
        kept = all_corrected & set(np.unique(old).tolist())
        found, sizes = np.unique(ids, return_counts=True)
        out, erased = _left_out(ids, old, keep, dict(zip(found.tolist(), sizes.tolist(), strict=True)))
        ids = np.where(np.isin(ids, out), 0, ids)
    names = _names(ids, planes, index, iou, kept)
    unknown = [id for id in np.unique(ids[ids > 0]).tolist() if id not in names]
    names |= dict(zip(unknown, project.free_ids(len(unknown)), strict=True))
    table = np.zeros(int(ids.max(initial=0)) + 1, np.uint32)
    table[list(names)] = list(names.values())
    return np.where(keep, old, table[ids]), len(kept), erased


def _by_hand(project: Project) -> list[Part]:
    """Return what the standing edits by hand changed, without those that a run was told to replace."""
    parts: list[Part] = []
    standing = [project.rows[seq - 1] for seq in project.undoable]
    replaced = [k for k, row in enumerate(standing) if row.kind == "adopt" and "kept" not in row.intent]
    for row in standing[replaced[-1] if replaced else 0 :]:
        if row.kind in _BY_HAND:
            parts += project.effect(row.seq)
        elif row.kind == "adopt_plane" and "kept" not in row.intent and row.intent.get("axis") in AXES:
            kept, index = AXES[row.intent["axis"]], int(row.intent["index"])
            parts = [p for p in parts if (p.box.start[kept], p.box.stop[kept]) != (index, index + 1)]
    return parts


def _left_out(new: Volume, old: Volume, keep: Mask, size: dict[int, int]) -> tuple[list[int], int]:
    """Return the objects of a run that lie mostly in voxels that stay, and how many of them mostly in erased ones."""
    ids, inside = np.unique(new[keep], return_counts=True)
    hits = {id: n for id, n in zip(ids.tolist(), inside.tolist(), strict=True) if id and 2 * n >= size[id]}
    ids, empty = np.unique(new[keep & (old == 0)], return_counts=True)
    return list(hits), sum(2 * n > hits.get(id, 2 * n) for id, n in zip(ids.tolist(), empty.tolist(), strict=True))


def _known_as(project: Project, new: Volume, taken: set[int]) -> dict[int, int]:
    """Return which objects of a run have which ids: those of the objects of which they cover one half or more.

    The greatest overlaps come first, each id once; those of corrected objects are taken.
    """
    found: dict[int, int] = {}
    named = set(taken)
    first, second, counts = pairs(new, project.labels)
    inside = (first > 0) & (second > 0)
    shared = zip(*(values[inside].tolist() for values in (counts, first, second)), strict=True)
    for n, a, b in sorted(shared, key=lambda pair: (-pair[0], pair[1] != pair[2])):
        if 2 * n >= project.table.counts[b] and a not in found and b not in named:
            found[a] = b
            named.add(b)
    return found


def _names(ids: Volume, planes: Volume, index: int, least: float, taken: set[int]) -> dict[int, int]:
    """Return which profile may take the id of an object that it covers, on this plane or else on a neighbouring one.

    Pairs of the highest IoU come first, each id once; those of corrected objects of this plane are taken.
    """
    for near in (index, index - 1, index + 1):
        if not 0 <= near < len(planes):
            continue
        there = np.where(np.isin(planes[near], list(taken)), 0, planes[near])
        if there.any():
            return _matches(ids, there, least)
    return {}


def _matches(ids: Volume, there: Volume, least: float) -> dict[int, int]:
    both = (ids > 0) & (there > 0)
    pairs, shared = np.unique(np.stack([ids[both], there[both]]), axis=1, return_counts=True)
    new, old = np.bincount(ids.ravel()), dict(zip(*np.unique(there, return_counts=True), strict=True))
    iou = [n / (new[a] + old[b] - n) for (a, b), n in zip(pairs.T.tolist(), shared.tolist(), strict=True)]
    found: dict[int, int] = {}
    for k in np.argsort(iou)[::-1]:
        a, b = pairs[:, k].tolist()
        if iou[k] >= least and a not in found and b not in found.values():
            found[a] = b
    return found


def _shared(box: Box, other: Box) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return where two boxes overlap, as an index into each."""
    low = [max(a, b) for a, b in zip(box.start, other.start, strict=True)]
    high = [max(a, min(b, c)) for a, b, c in zip(low, box.stop, other.stop, strict=True)]
    return tuple(tuple(slice(a - s, b - s) for a, b, s in zip(low, high, b.start, strict=True)) for b in (box, other))  # type: ignore[return-value]


def _shape(labels: Volume) -> tuple[int, int, int]:
    z, y, x = labels.shape
    return z, y, x
