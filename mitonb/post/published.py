"""The rules of the published MitoNet software, for comparison; what mitonb does otherwise is in docs/published.md."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from mitonb.maps import Image, Maps, Points
from mitonb.post.centers import aim as aim_pixel
from mitonb.post.centers import group as group_pixels
from mitonb.recipe import Recipe

STUFF_AREA = 64
"""Pixels of a plane below which a class whose objects are not told apart is left out of it."""

Numbers = npt.NDArray[np.int64]
Classes = npt.NDArray[np.unsignedinteger[Any]] | npt.NDArray[np.bool_]


# ------------------------------------------------------------------------------------------------ a plane to its ids


def claim(maps: Maps, classes: Classes, recipe: Recipe, *, kind: int = 0) -> npt.NDArray[np.uint32]:
    """Return the center of each pixel of one class, before connected pieces become objects of their own.

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
        `center_threshold`, `center_window`, `fine_boundaries` and `downsampling` are read.
    kind : int
        Which class.

    Returns
    -------
    groups : (h, w) uint32 array
        1 + index of the center; 0 is background.
    """
    center, offsets, stride = _read(maps, recipe)
    points = peaks(center, recipe.center_threshold, recipe.center_window)
    groups = group(classes > 0, offsets, points, output_stride=stride)
    if classes.max(initial=0) > 1:
        groups *= (modes(groups, classes) == kind + 1)[groups]
    return groups


def aim(maps: Maps, recipe: Recipe, place: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the spot that a pixel (y, x) of the plane points at, (2,) y, x in pixels: that of its pixel of the map."""
    _, offsets, stride = _read(maps, recipe)
    cell = place[0] // stride, place[1] // stride
    every = np.ones(offsets.shape[1:], np.bool_)
    return aim_pixel(every, np.asarray(offsets, np.float32) / np.float32(stride), cell) * stride


def centers(maps: Maps, recipe: Recipe) -> Points:
    """Return the centers that decoding uses, as (n, 2) rows of (y, x) in pixels of the plane."""
    center, _, stride = _read(maps, recipe)
    return peaks(center, recipe.center_threshold, recipe.center_window) * stride


def peaks(center: Image, threshold: float, window: int) -> Points:
    """Find each pixel that is the highest of its window and above a threshold.

    All pixels of a plateau are peaks. The window of an even side reaches one pixel farther back than ahead.

    Parameters
    ----------
    center : (h, w) float array
        Heatmap.
    threshold : float
        Peaks are strictly above it.
    window : int
        Side of the square window in pixels of the map.

    Returns
    -------
    points : (n, 2) int64 array
        (y, x) in pixels of the map, in reading order.
    """
    heat = np.asarray(center, np.float32)
    highest = ndimage.maximum_filter(heat, window, mode="constant", cval=-np.inf)
    return np.argwhere((heat == highest) & (heat > np.float32(threshold)))


def group(
    foreground: npt.NDArray[np.bool_], offsets: npt.NDArray[np.floating[Any]], points: Points, *, output_stride: int = 1
) -> npt.NDArray[np.uint32]:
    """Give each foreground pixel the number of the center that its pixel of the map points at.

    Parameters
    ----------
    foreground : (h, w) bool array
        Pixels to group.
    offsets : (2, h', w') float array
        (dy, dx) in pixels of the plane; h' is at least h / output_stride.
    points : (n, 2) int64 array
        Centers (y, x) in pixels of the offset map, in reading order.
    output_stride : int
        Pixels of the plane per pixel of the offset map; all pixels of such a square get the same number.

    Returns
    -------
    groups : (h, w) uint32 array
        1 + index of the nearest center (the first of equals); 0 is background, and everything is if there are no
        centers.
    """
    if len(points) == 0:
        return np.zeros(foreground.shape, np.uint32)
    needed = np.ones(offsets.shape[1:], np.bool_)
    if output_stride == 1:
        needed[tuple(map(slice, foreground.shape))] = foreground
    cells = group_pixels(needed, np.asarray(offsets, np.float32) / np.float32(output_stride), points)
    pixels = cells.repeat(output_stride, 0).repeat(output_stride, 1)
    return pixels[tuple(map(slice, foreground.shape))] * foreground


def enlarge(values: npt.NDArray[np.floating[Any]], factor: int, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Enlarge maps bilinearly, corner pixels onto corner pixels, and cut them to a shape.

    Parameters
    ----------
    values : (..., h, w) float array
        Maps; what they hold is not scaled.
    factor : int
        Pixels per pixel.
    shape : (int, int)
        Height and width of the result, at most factor * (h, w).

    Returns
    -------
    maps : (..., height, width) float32 array
    """
    sides = (1,) * (values.ndim - 2) + (factor,) * 2
    larger = ndimage.zoom(values.astype(np.float32), sides, order=1, mode="nearest")
    return np.asarray(larger[..., : shape[0], : shape[1]])


def draw_targets(labels: npt.NDArray[np.integer[Any]], *, output_stride: int = 1, sigma: float = 6.0) -> Maps:
    """Draw target maps as the published software does.

    One pixel per id is set, blurred with a Gaussian of 4 sigma to each side, and the whole map is divided by its
    highest value: where centers are crowded they add up, and all others become dim. All pixels of an id share one
    center, even where it lies in pieces.

    Parameters
    ----------
    labels : (h, w) array of int
        Instance ids; 0 is background.
    output_stride : int
        Every so many pixels of the center and offset maps are kept.
    sigma : float
        Width of a center in pixels.

    Returns
    -------
    maps : Maps
        float32; one class. Offsets are 0 outside of objects.
    """
    inside = labels != 0
    y, x = np.nonzero(inside)
    _, number = np.unique(labels[y, x], return_inverse=True)
    count = np.bincount(number)
    middle = np.stack([np.bincount(number, weights=y) / count, np.bincount(number, weights=x) / count])
    offsets = np.zeros((2, *labels.shape), np.float32)
    offsets[:, y, x] = middle[:, number] - np.stack([y, x])
    heat = np.zeros(labels.shape, np.float32)
    heat[tuple(middle.astype(np.int64))] = 1
    reach = int(round(8 * sigma + 1) | 1) // 2
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    for axis in (0, 1):
        heat = ndimage.correlate1d(heat, kernel / kernel.sum(), axis, mode="constant")
    heat /= heat.max(initial=0) or 1
    s = output_stride
    return Maps(
        {"semantic": inside.astype(np.float32)[None], "center": heat[::s, ::s], "offsets": offsets[:, ::s, ::s]}, s
    )


def modes(groups: npt.NDArray[np.uint32], classes: Classes) -> npt.NDArray[np.int64]:
    """Return the class that most pixels of each group have, the lowest of equals; 0 for group 0 and empty ones."""
    count, width = int(groups.max(initial=0)) + 1, int(classes.max(initial=0)) + 1
    pairs = groups.astype(np.int64) * width + classes
    table = np.bincount(pairs.ravel(), minlength=count * width).reshape(count, width)
    modes: npt.NDArray[np.int64] = table.argmax(axis=1)
    modes[0] = 0
    return modes


def _read(maps: Maps, recipe: Recipe) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]], int]:
    """Return center and offset maps as decoding reads them, and their stride."""
    s = recipe.downsampling if maps.output_stride % recipe.downsampling == 0 else 1
    factor = maps.output_stride // s
    if not recipe.fine_boundaries or factor == 1:
        return maps.center, maps.offsets, maps.output_stride
    h, w = (n * factor for n in maps.center.shape) if any(maps.beyond) else (-(-n // s) for n in maps.shape)
    return enlarge(maps.center, factor, (h, w)), enlarge(maps.offsets, factor, (h, w)), s


# --------------------------------------------------------------------------------- objects of directions to one volume

# All is decided on joined regions (voxels with the same ids in all directions) instead of lists of runs; the outcome
# is the same. Where the order of objects matters it is that of directions, then ids.

_LEAST_IOU = 0.01
_LEAST_VOXELS = 100
"""Clusters, and voted objects, that share more than either of these are joined."""


def agglomerate(regions: npt.NDArray[np.uint32], sizes: Numbers, recipe: Recipe) -> npt.NDArray[np.uint32]:
    """Say which object each joined region belongs to, by the published rules.

    Objects of different directions that overlap are linked; those with an IoU above `recipe.consensus_iou` are
    clustered; clusters that overlap are merged, the one with the most neighbours first; a voxel stays where
    `recipe.votes` members of its cluster hold it; voted objects that still overlap are joined.

    Parameters
    ----------
    regions : (n, directions) uint32 array
        Ids of each region, 0 for none; row 0 is the background.
    sizes : (n,) int64 array
        Voxels of each region.
    recipe : Recipe
        `votes`, `consensus_iou` and `lone_objects` are read.

    Returns
    -------
    objects : (n,) uint32 array
        1.. ; 0 where too few members agree.
    """
    least = 1 if recipe.lone_objects else regions.shape[1] // 2 + 1
    # Fewer votes than members: the published software then merges whatever overlaps at all.
    surely = 0.0 if recipe.votes < least else recipe.consensus_iou
    direction, region = np.nonzero(regions.T)
    node = np.unique(direction * 2**32 + regions[region, direction], return_inverse=True)[1]
    nodes = int(node.max(initial=-1)) + 1
    holds = sparse.coo_array((np.ones(len(node)), (node, region)), (nodes, len(sizes))).tocsr()
    shared = sparse.triu((holds * sizes[None].astype(np.float64)) @ holds.T, 1).tocoo()
    p, q = shared.coords
    volume = holds @ sizes
    iou = shared.data / (volume[p] + volume[q] - shared.data)
    cluster = _components(nodes, p[iou > surely], q[iou > surely])
    near = _touching(cluster, cluster[p], cluster[q], iou, shared.data)
    held = np.split(holds.indices, holds.indptr[1:-1])
    objects = np.zeros(len(regions), np.uint32)
    count = 0
    for component in _groups(_components(nodes, p, q)):
        if len(component) < least:
            continue
        members = {k: set(component[cluster[component] == k].tolist()) for k in np.unique(cluster[component]).tolist()}
        voted = [_voted([held[n] for n in m], recipe.votes) for m in merge_clusters(members, near) if len(m) >= least]
        pairs = itertools.combinations(range(len(voted)), 2)
        links = [(a, b) for a, b in pairs if _one(voted[a], voted[b], sizes)]
        for together in _groups(_components(len(voted), *np.array(links, np.int64).reshape(-1, 2).T)):
            count += 1
            for k in together:
                objects[voted[k]] = count  # where objects overlap, the last one stands
    return objects


def merge_clusters(members: dict[int, set[int]], near: dict[int, set[int]]) -> list[set[int]]:
    """Merge neighbouring clusters, the one with the most neighbours first, until none has any.

    A cluster that has a larger neighbour is dealt out to all its neighbours; another one takes all its neighbours in.
    Neighbours of those that were taken in are not linked to the winner: a chain of five becomes three and two.

    Parameters
    ----------
    members : dict
        What is in each cluster; changed in place, as is `near`.
    near : dict
        Neighbours of each cluster, of these and of others.
    """

    def remove(k: int) -> None:
        for other in near.pop(k):
            near[other].discard(k)
        del members[k]

    while members:
        k = max(members, key=lambda k: len(near[k]))  # the first of equals
        if not near[k]:
            break
        if max(len(members[other]) for other in near[k]) > len(members[k]):
            for other in near[k]:
                members[other] |= members[k]
            remove(k)
        else:
            for other in sorted(near[k]):
                members[k] |= members[other]
                remove(other)
    return list(members.values())


def _touching(
    cluster: Numbers, p: Numbers, q: Numbers, iou: npt.NDArray[np.float64], shared: npt.NDArray[np.float64]
) -> dict[int, set[int]]:
    """Return the neighbours of each cluster: those with which, in the mean over all pairs of members, it overlaps."""
    size = np.bincount(cluster)
    near: dict[int, set[int]] = {k: set() for k in range(len(size))}
    apart = p != q
    (low, high), at = np.unique(np.sort([p[apart], q[apart]], axis=0), axis=1, return_inverse=True)
    pairs = size[low] * size[high]
    close = np.bincount(at, iou[apart]) / pairs > _LEAST_IOU
    close |= np.bincount(at, shared[apart]) / pairs > _LEAST_VOXELS
    for a, b in zip(low[close].tolist(), high[close].tolist(), strict=True):
        near[a].add(b)
        near[b].add(a)
    return near


def _voted(held: list[Numbers], votes: int) -> Numbers:
    """Return the regions that enough members hold."""
    regions, count = np.unique(np.concatenate(held), return_counts=True)
    return regions[count >= votes]


def _one(a: Numbers, b: Numbers, sizes: Numbers) -> bool:
    """Return whether two voted objects overlap so much that they are one."""
    shared = sizes[np.intersect1d(a, b)].sum()
    return bool(shared > min(_LEAST_VOXELS, _LEAST_IOU * (sizes[a].sum() + sizes[b].sum() - shared)))


def _components(count: int, p: Numbers, q: Numbers) -> Numbers:
    """Return the group of each of so many nodes that pairs link; groups are numbered by their first nodes."""
    graph = sparse.coo_array((np.ones(len(p), np.int8), (p, q)), (count, count))
    return sparse.csgraph.connected_components(graph, directed=False)[1]


def _groups(groups: Numbers) -> list[Numbers]:
    """Return the members of each group."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []
