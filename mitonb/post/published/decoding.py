"""Decoding by the published rules: every foreground pixel to a center, classes by the mode of each object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.profiles import profile_runs
from mitonb.post.published.centers import enlarged, group_runs, peaks
from mitonb.post.runs import Runs, paint, relabelled, runs_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from mitonb.maps import Maps, Points
    from mitonb.recipe import Recipe

__all__ = ["STUFF_AREA", "centers", "decode", "panoptic"]

STUFF_AREA = 64
"""Pixels of a plane below which a class whose objects are not told apart is left out of it."""

Classes = npt.NDArray[np.unsignedinteger[Any]] | npt.NDArray[np.bool_]


def decode(maps: Maps, classes: Classes, recipe: Recipe, *, kind: int = 0, connected: bool = True) -> Runs:
    """Turn the maps of a plane into ids of one class.

    Each pixel of any class belongs to the center nearest to the place it points at. Without `recipe.fine_boundaries`
    that is decided for the pixels of the offset map and enlarged. All pixels of a center get the class that most of
    them have. Without any center nothing is found. Where the maps go beyond the plane, so do centers and groups, before
    they are cut to the plane.

    Parameters
    ----------
    maps : Maps
        Center and offsets are read.
    classes : (h, w) array of unsigned int or bool
        1 + class of each pixel, 0 for background.
    recipe : Recipe
        `center_threshold`, `center_window`, `fine_boundaries`, `downsampling` and `min_area` are read.
    kind : int
        Which class.
    connected : bool
        Make each connected piece (8 neighbours) an object of its own.

    Returns
    -------
    ids : Runs
        One plane.
    """
    center, offsets, step = _read(maps, recipe)
    inside = classes.astype(np.bool_, copy=False)
    if any(maps.beyond):  # foreground ends where the plane does, but centers and groups go on
        sides = zip(offsets.shape[1:], inside.shape, strict=True)
        inside = np.pad(inside, [(0, max(0, n * step - m)) for n, m in sides])
    groups = group_runs(inside, offsets, peaks(center, recipe.center_threshold, recipe.center_window), step=step)
    if any(maps.beyond):
        groups = runs_of(paint(groups)[0][: maps.shape[0], : maps.shape[1]])
    if classes.dtype != np.bool_ and classes.max(initial=0) > 1:
        modes = _modes(paint(groups)[0], classes)
        groups = relabelled(groups, np.where(modes == kind + 1, np.arange(len(modes)), 0).astype(np.uint32))
    return profile_runs(groups, recipe.min_area)[0] if connected else groups


def centers(maps: Maps, recipe: Recipe) -> Points:
    """Return the centers that decoding uses, as (n, 2) rows of (y, x) in pixels of the plane."""
    center, _, step = _read(maps, recipe, offsets=False)
    return peaks(center, recipe.center_threshold, recipe.center_window) * step


def panoptic(
    classes: Classes,
    groups: npt.NDArray[np.uint32],
    things: Collection[int],
    *,
    divisor: int,
    stuff_area: int = STUFF_AREA,
) -> npt.NDArray[np.int64]:
    """Merge a class map with groups into panoptic ids: class * divisor + number, as the published software writes.

    Parameters
    ----------
    classes : (h, w) array of unsigned int
        Class of each pixel, 0 for background.
    groups : (h, w) uint32 array
        Number of the center of each pixel; pixels that are no things are not looked at.
    things : collection of int
        Classes whose objects are told apart. Any other becomes one region of class * divisor where no object lies.
    divisor : int
        Above the number of objects.
    stuff_area : int
        A region with fewer pixels is left out.

    Returns
    -------
    ids : (h, w) int64 array
    """
    thing = np.isin(classes, list(things))
    inside = np.where(thing, groups, 0)
    modes = _modes(inside, classes)
    number = np.zeros(len(modes), np.int64)
    for kind in things:
        members = np.flatnonzero(modes == kind)
        number[members] = kind * divisor + np.arange(1, len(members) + 1)
    ids: npt.NDArray[np.int64] = number[inside]
    for kind in np.unique(classes):
        if kind != 0 and kind not in things:
            region = (classes == kind) & (ids == 0)
            if np.count_nonzero(region) >= stuff_area:
                ids[region] = int(kind) * divisor
    return ids


def _modes(groups: npt.NDArray[np.uint32], classes: Classes) -> npt.NDArray[np.int64]:
    """Return the class that most pixels of each group have, the lowest of equals; 0 for group 0 and empty ones."""
    count, width = int(groups.max(initial=0)) + 1, int(classes.max(initial=0)) + 1
    pairs = groups.astype(np.int64) * width + classes
    table = np.bincount(pairs.ravel(), minlength=count * width).reshape(count, width)
    modes: npt.NDArray[np.int64] = table.argmax(axis=1)
    modes[0] = 0
    return modes


def _read(
    maps: Maps, recipe: Recipe, *, offsets: bool = True
) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]], int]:
    """Return center and offset maps as decoding reads them, and their step."""
    s = recipe.downsampling if maps.output_stride % recipe.downsampling == 0 else 1
    factor = maps.output_stride // s
    if not recipe.fine_boundaries or factor == 1:
        return maps.center, maps.offsets, maps.output_stride
    h, w = (n * factor for n in maps.center.shape) if any(maps.beyond) else (-(-n // s) for n in maps.shape)
    return enlarged(maps.center, factor, (h, w)), enlarged(maps.offsets, factor, (h, w)) if offsets else maps.offsets, s
