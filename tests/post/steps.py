"""The steps of a run from ids of planes to labels, each for whole volumes in memory."""

from __future__ import annotations

from collections.abc import Mapping

import fastremap
import numpy as np
import numpy.typing as npt

from mitonb.post.cleaning import ObjectTable, fill_holes
from mitonb.post.consensus import JoinedRegions, agglomerate
from mitonb.post.tables import as_ids
from mitonb.post.tracking import Tracker
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis

Ids = npt.NDArray[np.unsignedinteger]
Volume = npt.NDArray[np.uint32]


def track(planes: Ids, recipe: Recipe | None = None) -> npt.NDArray[np.uint32]:
    """Give the same id to the same object on successive planes."""
    tracker = Tracker(recipe or Recipe())
    small = (fastremap.renumber(as_ids(plane), in_place=False)[0] for plane in planes)
    numbers = [done for plane in small for done in tracker.add(plane)] + list(tracker.rest())
    return tracker.objects()[np.stack(numbers)] if numbers else np.zeros(planes.shape, np.uint32)


def consensus(volumes: Mapping[Axis, Volume], recipe: Recipe | None = None) -> Volume:
    """Join the objects that were tracked along several directions."""
    parts = [as_ids(volumes[axis]) for axis in AXES if axis in volumes]
    if len(parts) == 1:
        return parts[0].copy()
    joined = JoinedRegions(len(parts))
    numbers = joined.number(parts)
    return agglomerate(*joined.found(), recipe or Recipe())[numbers]


def clean(labels: Ids, recipe: Recipe | None = None) -> Volume:
    """Fill holes, drop small and flat objects, and number what is left 1.. by first voxels."""
    recipe = recipe or Recipe()
    ids = as_ids(fastremap.renumber(as_ids(labels), in_place=False)[0])
    if recipe.fill_holes:
        fill_holes(ids)
    table = ObjectTable(ids.shape, int(ids.max(initial=0)))
    table.add(ids)
    return table.decide(recipe)[0][ids]
