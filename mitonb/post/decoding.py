"""Decoding: from the maps of a plane or a block to the ids of its objects, in the way of the net that drew them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.maps import Maps, Points
from mitonb.post import published
from mitonb.post.centers import aim, connect, group, peaks
from mitonb.post.contours import watershed
from mitonb.recipe import Recipe

Ids = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]

_LEAST_SEED = 8
"""Pixels of the smallest seed of an object."""


def decode(maps: Maps, recipe: Recipe | None = None, *, kind: int = 0, stuff: Sequence[int] = ()) -> Ids:
    """Turn the maps of a plane or a block into ids, one class at a time.

    Foreground is where the semantic map reaches `recipe.semantic_threshold`. How it becomes objects depends on what the
    net draws beside it:

    - *centers and offsets*: each pixel belongs to the center nearest to the place it points at;
    - *contours*, with or without *distances*: seeds deep inside grow over the foreground, highest probability first;
    - *affinities*: pixels are joined along each axis where the net says that they belong together;
    - nothing: the connected pieces of the foreground.

    What belongs together but is not connected becomes several objects, and so does foreground that nothing claims.
    In planes, what is below `recipe.min_area` pixels is dropped.

    Parameters
    ----------
    maps : Maps
        As the network made them, or their kept form.
    recipe : Recipe, optional
        `semantic_threshold`, `min_area` and `instances` are read; for centers `center_threshold` and `center_distance`;
        for contours `seed_threshold`, `contour_threshold` and `seed_distance`; affinities count as contours where they
        are low. With "pieces" objects are the connected pieces of the foreground whatever the net draws; with "none"
        all of them get the id 1. Where `rules` are the published ones, `center_window` and `fine_boundaries` are read
        instead of `center_distance`.
    kind : int
        Which class of the semantic map.
    stuff : sequence of int
        Classes whose objects are not told apart: by the published rules, no object takes their pixels.

    Returns
    -------
    ids : ([d,] h, w) uint32 array
        0 is background; objects are 1.. in reading order of their first pixels.

    Raises
    ------
    InputError
        If the maps have no such class.

    Examples
    --------
    >>> import numpy as np
    >>> from mitonb.post.targets import targets
    >>> drawn = np.zeros((32, 64), np.uint32)
    >>> drawn[4:28, 4:30], drawn[4:28, 30:60] = 1, 2
    >>> bool((decode(targets(drawn)) == drawn).all())
    True
    """
    recipe = recipe or Recipe()
    return settle(claim(maps, recipe, kind=kind, stuff=stuff), recipe)


def settle(claims: Ids | Mask, recipe: Recipe) -> Ids:
    """Make objects of what claims pixels: connected pieces, without those that are too small; see `decode`."""
    ids, _ = connect(claims, recipe.min_area if claims.ndim == 2 else 0)
    return np.minimum(ids, 1) if recipe.instances == "none" else ids


def claim(maps: Maps, recipe: Recipe, *, kind: int = 0, stuff: Sequence[int] = ()) -> Ids | Mask:
    """Return what each pixel is claimed by, before pieces are told apart and small ones dropped; see `decode`.

    Parameters are those of `decode`. For centers the numbers are 1.. in the order of `centers`, 0 is background.
    """
    inside = foreground(maps, recipe, kind=kind)
    if by_rules(maps, recipe) and recipe.instances == "centers":
        several = len(maps.semantic) > 1
        classes = np.where(np.isin(best := _most_probable(maps), np.add(stuff, 1)), 0, best) if several else inside
        return published.claim(maps, classes, recipe, kind=kind)
    if by_rules(maps, recipe) and recipe.instances == "none" and np.count_nonzero(inside) < published.STUFF_AREA:
        return np.zeros_like(inside)
    head = decoder(maps, recipe)
    return _DECODERS[head](maps, inside, recipe, kind) if head else inside


def by_rules(maps: Maps, recipe: Recipe) -> bool:
    """Return whether the published rules decode these maps: those of a plane with centers."""
    return recipe.rules == "published" and "center" in maps and len(maps.shape) == 2


def decoder(maps: Maps, recipe: Recipe) -> str:
    """Return the head whose decoder tells objects apart, "" where connected foreground is one object."""
    return next((head for head in _DECODERS if head in maps and recipe.instances == "centers"), "")


def foreground(maps: Maps, recipe: Recipe, *, kind: int = 0) -> Mask:
    """Return where one class reaches the threshold and, of several classes, is the most probable one; ([d,] h, w) bool.

    By the published rules, a class of several is where it is more probable than the others and the background.
    """
    classes = len(maps.semantic)
    if not 0 <= kind < classes:
        raise InputError(f"These maps have {classes} classes (0 to {classes - 1}), got class {kind}.")
    if recipe.rules == "published" and classes > 1:
        return np.asarray(_most_probable(maps) == kind + 1)
    inside = reaches(maps.semantic[kind], recipe.semantic_threshold)
    if classes > 1:
        inside &= maps.semantic.argmax(axis=0) == kind
    return inside


def reaches(values: npt.NDArray[Any], threshold: float) -> Mask:
    """Return where a probability, of bytes or floats, is at least a threshold, as decoding compares them."""
    # In bytes 0.5 is reached from 128 on; the small number forgives 0.2 * 255 = 51.000000000000004.
    least = np.uint8(math.ceil(threshold * 255 - 1e-6)) if values.dtype == np.uint8 else values.dtype.type(threshold)
    return np.asarray(values >= least)


def centers(maps: Maps, recipe: Recipe) -> Points:
    """Return the centers that decoding uses, as (n, 2 or 3) rows of ([z,] y, x) in pixels; none without such a head.

    Centers closer than `recipe.center_distance` pixels (Chebyshev) are one.
    """
    if "center" not in maps:
        return np.empty((0, len(maps.shape)), np.int64)
    if recipe.rules == "published":
        return published.centers(maps, recipe)
    return _peaks(maps.cropped().cornered(), recipe) * maps.output_stride


def vote(maps: Maps, recipe: Recipe, inside: Mask, place: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return where the offset of a pixel (y, x) of a plane leads in decoding, (2,) y, x in pixels."""
    if by_rules(maps, recipe):
        return published.aim(maps, recipe, place)
    maps = maps.cropped().cornered()
    return aim(inside, maps.offsets, place, output_stride=maps.output_stride)


def _peaks(maps: Maps, recipe: Recipe) -> Points:
    """Return centers in pixels of the center map."""
    radius = -(-recipe.center_distance // maps.output_stride) - 1
    return peaks(maps.center, recipe.center_threshold, radius)


def _by_centers(maps: Maps, inside: Mask, recipe: Recipe, kind: int) -> Ids:
    maps = maps.cropped().cornered()
    return group(inside, maps.offsets, _peaks(maps, recipe), output_stride=maps.output_stride)


def find_seeds(maps: Maps, inside: Mask, recipe: Recipe, *, kind: int = 0) -> tuple[Ids, int]:
    """Return where objects of a net that draws contours start, as numbers 1..count, and the count."""
    semantic, contour = maps.semantic[kind], maps["contour"]
    core = inside & reaches(semantic, recipe.seed_threshold)
    core &= ~reaches(contour[min(kind, len(contour) - 1)], recipe.contour_threshold)
    if "distance" in maps:
        distance = maps["distance"]
        core &= distance[min(kind, len(distance) - 1)] > recipe.seed_distance
    return connect(core, _LEAST_SEED)


def _by_contours(maps: Maps, inside: Mask, recipe: Recipe, kind: int) -> Ids:
    semantic = maps.semantic[kind]
    seeds, count = find_seeds(maps, inside, recipe, kind=kind)
    level = semantic if semantic.dtype == np.uint8 else np.rint(np.clip(semantic, 0, 1) * 255).astype(np.uint8)
    ids = watershed(level, seeds, inside)
    return np.where(inside & (ids == 0), np.uint32(count + 1), ids)


def _by_affinities(maps: Maps, inside: Mask, recipe: Recipe, kind: int) -> Ids:
    """Join each pixel with the one before it along each axis where the affinity ([z,] y, x) reaches a threshold."""
    within = inside.reshape((1,) * (3 - inside.ndim) + inside.shape)
    graph = np.zeros(within.shape, np.uint8)
    for axis, affinity in enumerate(maps["affinities"][-inside.ndim :], 3 - inside.ndim):
        with_last = np.moveaxis(within & reaches(affinity.reshape(graph.shape), 1 - recipe.contour_threshold), axis, 0)
        joined = (with_last[1:] & np.moveaxis(within, axis, 0)[:-1]).astype(np.uint8)
        along = np.moveaxis(graph, axis, 0)
        along[:-1] |= joined << 2 * axis  # the way to the next pixel, and the way back
        along[1:] |= joined << 2 * axis + 1
    return cc3d.color_connectivity_graph(graph, connectivity=6).astype(np.uint32).reshape(inside.shape) * inside


_DECODERS: dict[str, Callable[[Maps, Mask, Recipe, int], Ids]] = {
    "center": _by_centers,
    "contour": _by_contours,
    "affinities": _by_affinities,
}
"""What decodes a net that draws such a map; the first that is there counts."""


def _most_probable(maps: Maps) -> npt.NDArray[np.uint8]:
    """Return 1 + the most probable class of each pixel, 0 where that is the background, which has the rest."""
    whole = 255 if maps.semantic.dtype == np.uint8 else 1
    background = whole - maps.semantic.sum(axis=0, dtype=np.float32)
    best = maps.semantic.max(axis=0)
    return np.where(best > background, maps.semantic.argmax(axis=0) + 1, 0).astype(np.uint8)
