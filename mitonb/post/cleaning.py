"""Cleaning: holes filled and specks dropped, object by object, without touching a neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitonb.post.holes import filled
from mitonb.post.run_tables import numbered
from mitonb.post.runs import Runs, paint, relabelled, runs_of
from mitonb.post.statistics import Statistics
from mitonb.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mitonb.maps import Ids

__all__ = ["clean", "cleaned", "fill_holes"]


def clean(labels: Ids, recipe: Recipe | None = None, *, connected: bool = False) -> npt.NDArray[np.uint32]:
    """Fill holes, drop small and flat objects, and number what is left 1.. by first voxels.

    Parameters
    ----------
    labels : (z, y, x) array of unsigned int
        Instance ids; not changed.
    recipe : Recipe, optional
        `fill_holes`, `min_size` (voxels) and `min_span` (shortest side of the box, voxels) are read. A side counts only
        where the volume is that deep: nothing in a stack of one plane can span two. There `min_area`, where it is less,
        stands for `min_size`. `drop_border` drops what touches the border of the volume.
    connected : bool
        Make each connected piece (26 neighbours) an object of its own first.
    """
    if connected:
        import cc3d

        labels = cc3d.connected_components(labels, connectivity=26)
    return paint(cleaned(numbered(runs_of(labels))[0], recipe or Recipe()))


def cleaned(runs: Runs, recipe: Recipe) -> Runs:
    """Fill holes, drop small and flat objects, and number what is left 1.. by first voxels; `clean` says how.

    Parameters
    ----------
    runs : Runs
        A volume (z, y, x) of ids 1..n.
    recipe : Recipe
        As for `clean`.
    """
    if recipe.fill_holes:
        runs = filled(runs)
    statistics = Statistics(runs.shape, int(runs.ids.max(initial=0)))
    statistics.add(runs)
    return relabelled(runs, statistics.decide(recipe)[0])


def fill_holes(plane: npt.NDArray[np.uint32]) -> None:
    """Fill, in place, each background region of a plane that one object alone surrounds.

    A region that touches the border of the plane or a second object is no hole, so no object can lose a pixel and no
    gap between two objects can close.
    """
    paint(filled(runs_of(plane)), plane[None])
