"""Decoding: from the maps of a plane to the ids of its profiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.post.centers import peaks
from mitonb.post.grouping import group_runs
from mitonb.post.profiles import profile_runs
from mitonb.post.published import decoding as published
from mitonb.post.runs import Runs, paint, relabelled, runs_of
from mitonb.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mitonb.maps import Maps, Points

__all__ = ["centers", "decode", "decode_runs", "foreground"]


def decode(maps: Maps, recipe: Recipe | None = None, *, kind: int = 0) -> npt.NDArray[np.uint32]:
    """Turn the maps of a plane into ids, one class at a time.

    Foreground is where the semantic map reaches `recipe.semantic_threshold`. Each foreground pixel belongs to the
    center nearest to the place it points at; what belongs to one center but is not connected becomes several profiles,
    and so does foreground that has no center at all. Profiles below `recipe.min_area` pixels are dropped.

    Parameters
    ----------
    maps : Maps
        As the network made them, or their kept form.
    recipe : Recipe, optional
        `semantic_threshold`, `center_threshold`, `center_distance`, `min_area` and `instances` are read. Without
        centers ("pieces") profiles are the connected pieces of the foreground; with "none" all of them get the id 1.
        Where `rules` are the published ones, `center_window` and `fine_boundaries` are read instead of
        `center_distance`.
    kind : int
        Which class of the semantic map.

    Returns
    -------
    ids : (h, w) uint32 array
        0 is background; profiles are 1.. in reading order of their first pixels.

    Raises
    ------
    InputError
        If the maps have no such class.

    Examples
    --------
    >>> import numpy as np
    >>> from mitonb.post.target_maps import targets
    >>> drawn = np.zeros((32, 64), np.uint32)
    >>> drawn[4:28, 4:30], drawn[4:28, 30:60] = 1, 2
    >>> bool((decode(targets(drawn)) == drawn).all())
    True
    """
    ids: npt.NDArray[np.uint32] = paint(decode_runs(maps, recipe, kind=kind))[0]
    return ids


def decode_runs(maps: Maps, recipe: Recipe | None = None, *, kind: int = 0, stuff: Sequence[int] = ()) -> Runs:
    """Return what `decode` returns as runs of one plane, which tracking takes as they are.

    `stuff` are classes whose objects are not told apart: by the published rules, no object takes their pixels.
    """
    recipe = recipe or Recipe()
    if recipe.rules == "published" and recipe.instances == "centers":
        return published.decode(maps, _classes(maps, recipe, kind, stuff), recipe, kind=kind)
    inside = foreground(maps, recipe, kind=kind)
    if recipe.rules == "published" and recipe.instances == "none" and np.count_nonzero(inside) < published.STUFF_AREA:
        inside = np.zeros_like(inside)
    if recipe.instances == "centers":
        maps = maps.cropped().cornered()
        groups = group_runs(inside, maps.offsets, _peaks(maps, recipe), step=maps.output_stride)
        return profile_runs(groups, recipe.min_area)[0]
    pieces, count = profile_runs(runs_of(inside.view(np.uint8)), recipe.min_area)
    if recipe.instances == "pieces":
        return pieces
    return relabelled(pieces, np.minimum(np.arange(count + 1), 1).astype(np.uint32))


def foreground(maps: Maps, recipe: Recipe, *, kind: int = 0) -> npt.NDArray[np.bool_]:
    """Return where one class reaches the threshold and, of several classes, is the most probable one; (h, w) bool.

    By the published rules, a class of several is where it is more probable than the others and the background.
    """
    classes = len(maps.semantic)
    if not 0 <= kind < classes:
        raise InputError(f"These maps have {classes} classes (0 to {classes - 1}), got class {kind}.")
    if recipe.rules == "published" and classes > 1:
        best: npt.NDArray[np.bool_] = _most_probable(maps) == kind + 1
        return best
    probability = maps.semantic[kind]
    if probability.dtype == np.uint8:
        # 0.5 is reached from 128 on; the small number forgives 0.2 * 255 = 51.000000000000004.
        inside = probability >= np.uint8(math.ceil(recipe.semantic_threshold * 255 - 1e-6))
    else:
        inside = probability >= probability.dtype.type(recipe.semantic_threshold)
    if classes > 1:
        inside &= maps.semantic.argmax(axis=0) == kind
    result: npt.NDArray[np.bool_] = inside
    return result


def centers(maps: Maps, recipe: Recipe) -> Points:
    """Return the centers that decoding uses, as (n, 2) rows of (y, x) in pixels of the plane.

    Centers closer than `recipe.center_distance` pixels of the plane (Chebyshev) are one.
    """
    if recipe.rules == "published":
        return published.centers(maps, recipe)
    return _peaks(maps.cropped().cornered(), recipe) * maps.output_stride


def _peaks(maps: Maps, recipe: Recipe) -> Points:
    """Return centers in pixels of the center map."""
    radius = -(-recipe.center_distance // maps.output_stride) - 1
    return peaks(maps.center, recipe.center_threshold, radius)


def _classes(
    maps: Maps, recipe: Recipe, kind: int, stuff: Sequence[int]
) -> npt.NDArray[np.bool_] | npt.NDArray[np.uint8]:
    """Return the foreground of one class; of several classes, and the background, 1 + the most probable one."""
    inside = foreground(maps, recipe, kind=kind)
    if len(maps.semantic) == 1:
        return inside
    classes = _most_probable(maps)
    classes[np.isin(classes, [k + 1 for k in stuff])] = 0
    return classes


def _most_probable(maps: Maps) -> npt.NDArray[np.uint8]:
    """Return 1 + the most probable class of each pixel, 0 where that is the background, which has the rest."""
    whole = 255 if maps.semantic.dtype == np.uint8 else 1
    background = whole - maps.semantic.sum(axis=0, dtype=np.float32)
    best = maps.semantic.max(axis=0)
    classes: npt.NDArray[np.uint8] = np.where(best > background, maps.semantic.argmax(axis=0) + 1, 0).astype(np.uint8)
    return classes
