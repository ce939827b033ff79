"""Centers: the peaks of a heatmap, the pixels that point at each of them, and the connected pieces of those."""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import cc3d
import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.morphology import local_maxima

from mitonb.maps import Ids, Image, Points
from mitonb.post.tables import replaced, stretches

F = TypeVar("F", bound=Callable[..., Any])
_NOWHERE = np.empty((0, 0, 0, 3), np.float32)


def peaks(center: Image, threshold: float, radius: int) -> Points:
    """Find local maxima of a center heatmap.

    A peak is above the threshold and nothing within `radius` is higher. A plateau has one peak, its pixel nearest to
    its middle; of equal peaks within `radius` of each other the first in reading order stands.

    Parameters
    ----------
    center : ([d,] h, w) float array
        Heatmap; NaN is never a peak.
    threshold : float
        Peaks are strictly above it.
    radius : int
        Chebyshev distance in pixels of the map.

    Returns
    -------
    points : (n, 2 or 3) int64 array
        ([z,] y, x) of each peak in pixels of the map, in reading order.
    """
    heat = np.nan_to_num(np.asarray(center, np.float32), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    inner = (slice(1, -1),) * heat.ndim  # with a margin, for a map all at one height has a peak, too
    padded = np.pad(heat, 1, constant_values=-np.inf)
    summits = local_maxima(padded, connectivity=heat.ndim)[inner] > 0  # type: ignore[no-untyped-call]
    plateaus, count = connect(summits & (heat > np.float32(threshold)))
    places, number = np.argwhere(plateaus), plateaus[plateaus > 0]
    sizes = np.bincount(number, minlength=count + 1).clip(1)
    middle = np.stack([np.bincount(number, place, count + 1) / sizes for place in places.T], axis=1)
    order = np.lexsort((((places - middle[number]) ** 2).sum(axis=1), number))
    points = places[order][np.unique(number[order], return_index=True)[1]]
    highest = ndimage.maximum_filter(heat, 2 * max(1, int(radius)) + 1, mode="nearest")
    points = points[(heat == highest)[tuple(points.T)]]
    gone = set[int]()  # all that stand within the radius of each other are as high
    for first, second in sorted(cKDTree(points).query_pairs(max(1, int(radius)), p=np.inf)):
        gone |= set() if first in gone else {second}
    points = np.delete(points, list(gone), axis=0)
    return points[np.lexsort(points.T[::-1])]


def group(
    foreground: npt.NDArray[np.bool_], offsets: npt.NDArray[np.floating[Any]], points: Points, *, output_stride: int = 1
) -> npt.NDArray[np.uint32]:
    """Give each foreground pixel the number of the center that it points at.

    Each map pixel points at the spot (its place + its offset). Between map pixels the spot is the mean of those around,
    weighted linearly, with foreground neighbours alone where there are some: what the net says about the background
    must not bend the border of an object.

    Parameters
    ----------
    foreground : ([d,] h, w) bool array
        Pixels to group.
    offsets : (2 or 3, [d',] h', w') float array
        ([dz,] dy, dx) in pixels; h' = ceil(h / output_stride). Values that are not finite count as 0.
    points : (n, 2 or 3) int64 array
        Centers ([z,] y, x) in pixels of the offset map.
    output_stride : int
        Pixels of the plane per pixel of the offset map.

    Returns
    -------
    groups : ([d,] h, w) uint32 array
        1 + index of the nearest center (of equals the first in reading order); 0 is background; all foreground is 1 if
        there are no centers.
    """
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    if len(points) == 0:
        return mask.astype(np.uint32)
    order = np.lexsort(points.T[::-1])
    spots = points[order].astype(np.float32) * np.float32(output_stride)
    # Whatever is closer to a center than half way to its neighbour needs no search.
    apart = cKDTree(spots).query(spots, k=2)[0][:, 1] if len(spots) > 1 else np.full(1, np.inf)
    clear = (apart * 0.4999).astype(np.float32) ** 2
    if mask.ndim == 2:
        spots = np.insert(spots, 1, 0, axis=1)
    args = _prepared(mask, offsets, output_stride)
    groups: npt.NDArray[np.uint32] = _group(*args, output_stride, spots, clear, _NOWHERE).reshape(mask.shape)
    number_of = np.append(0, order + 1).astype(np.uint32)
    return groups if (np.diff(order) == 1).all() else np.asarray(number_of[groups])


def aim(
    foreground: npt.NDArray[np.bool_], offsets: npt.NDArray[np.floating[Any]], place: tuple[int, int], *,
    output_stride: int = 1,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Return the spot that one pixel (y, x) of a plane points at, if it is foreground; (2,) y, x in pixels.

    Parameters are those of `group`, which places it there, too.
    """
    cell = [k // output_stride for k in place]
    start = [k * output_stride for k in cell]
    around = foreground[tuple(slice(k, k + 2 * output_stride) for k in start)].astype(np.bool_)
    at = place[0] - start[0], place[1] - start[1]
    around[at] = True
    aims = np.zeros((around.shape[0], 1, around.shape[1], 3), np.float32)
    args = _prepared(around, offsets[:, cell[0] : cell[0] + 2, cell[1] : cell[1] + 2], output_stride)
    _group(*args, output_stride, np.zeros((1, 3), np.float32), np.full(1, np.inf, np.float32), aims)
    return aims[at[0], 0, at[1], ::2] + np.asarray(start)


def connect(ids: Ids | npt.NDArray[np.bool_], min_size: int = 0) -> tuple[npt.NDArray[np.uint32], int]:
    """Split ids into connected pieces (8 neighbours in a plane, 26 in a volume) and number them in reading order.

    Parameters
    ----------
    ids : ([d,] h, w) array of unsigned int or bool
        Pixels with the same id may be one object; 0 is background.
    min_size : int
        Pieces with fewer pixels become background.

    Returns
    -------
    pieces : ([d,] h, w) uint32 array
        1..count in the order of each piece's first pixel.
    count : int
        Number of pieces.
    """
    if not ids.any():
        return np.zeros(ids.shape, np.uint32), 0
    # As a volume of numbers: for masks, and for planes of one row, cc3d has paths of its own that fail on small ones.
    volume = np.ascontiguousarray(ids).view(np.uint8 if ids.dtype == bool else ids.dtype)
    volume = volume.reshape((1,) * (3 - ids.ndim) + ids.shape)
    pieces: Any
    pieces, count = cc3d.connected_components(volume, connectivity=26, return_N=True, out_dtype=np.uint32)
    if min_size > 1:
        start, length = stretches(pieces)
        large = np.bincount(pieces.reshape(-1)[start], length, count + 1) >= min_size
        large[0] = False
        pieces, count = replaced(pieces, (np.cumsum(large) * large).astype(np.uint32)), int(large.sum())
    return pieces.reshape(ids.shape), count


def _prepared(
    mask: npt.NDArray[np.bool_], offsets: npt.NDArray[np.floating[Any]], stride: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return mask and offsets as volumes, and the corners of a cell of the map with their shares."""
    if mask.ndim == 2:  # a plane is a volume with a middle axis of one pixel: centers are in order along the first
        field = np.zeros((3, offsets.shape[1], 1, offsets.shape[2]), np.float32)
        field[::2, :, 0] = offsets
    else:
        field = np.ascontiguousarray(offsets, dtype=np.float32)
    if not np.isfinite(field).all():
        field = np.nan_to_num(field, nan=0, posinf=0, neginf=0)
    volume, corners = (mask, range(8)) if mask.ndim == 3 else (mask[:, None], (0, 1, 4, 5))
    return volume, field, *_shares(np.array(corners if stride > 1 else [0]), stride)


def _shares(corners: npt.NDArray[np.int64], stride: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the corners of a cell of the map, 4 * z + 2 * y + x, with their linear shares in each of its pixels."""
    part = np.indices((stride,) * 3) / stride
    ahead = (corners[:, None] >> np.array([2, 1, 0]) & 1)[..., None, None, None]
    # A trace for all: a pixel may lie on a side whose corners are background.
    return corners, (np.where(ahead, part, 1 - part).prod(axis=1) + 1e-6).astype(np.float32)


def jit(function: F) -> F:
    """Compile a function of arrays and numbers with numba; it runs without the interpreter's lock.

    In hot loops indices that only grow from 0 on are made `np.uint64`: for others numba tests at each access whether
    they count from the end, which keeps simple loops from becoming vector code and doubles the cost of many others.

    The machine code is cached on disk: beside the package, else in the user's cache folder. Where nothing can be
    written, the function is compiled again in each process instead of failing.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        compiled: Any = njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return cast("F", njit(**options)(function))
    cache = getattr(compiled, "_cache", None)
    if cache is not None:
        cache.load_overload, cache.save_overload = map(_if_possible, (cache.load_overload, cache.save_overload))
    return cast("F", compiled)


def _if_possible(access: Callable[..., Any]) -> Callable[..., Any]:
    """Let a full disk, or a cache that was taken away, cost some seconds of compilation instead of the call."""

    def access_if_possible(*what: Any) -> Any:
        with contextlib.suppress(OSError):
            return access(*what)

    return access_if_possible


@jit
def _group(mask: Any, field: Any, corners: Any, shares: Any, stride: Any, spots: Any, clear: Any, aims: Any) -> Any:
    """Return 1 + the nearest of (n, 3) spots, which are sorted, for where each pixel of a (d, h, w) mask points.

    Pixels between map pixels have a share in each of those around, by `shares` (corners, stride, stride, stride).
    Where they point is written into `aims` (d, h, w, 3), unless that is empty.
    """
    groups = np.zeros(mask.shape, np.uint32)
    places, says = np.empty((len(corners), 3), np.float32), np.empty(len(corners), np.float32)
    owner = 0
    for z in range(mask.shape[0]):
        for y in range(mask.shape[1]):
            i, j = z // stride, y // stride
            for n in range(field.shape[3]):
                asked = False
                for x in range(n * stride, min((n + 1) * stride, mask.shape[2])):
                    if not mask[z, y, x]:
                        continue
                    a, b, c, total = field[0, i, j, n], field[1, i, j, n], field[2, i, j, n], np.float32(1)
                    if stride > 1:
                        if not asked:
                            _ask(mask, field, stride, i, j, n, corners, places, says)
                            asked = True
                        a = b = c = total = np.float32(0)
                        for k in range(len(says)):
                            share = says[k] * shares[k, z - i * stride, y - j * stride, x - n * stride]
                            a, b, c = a + share * places[k, 0], b + share * places[k, 1], c + share * places[k, 2]
                            total += share
                    a = a / total + np.float32(i * stride)
                    b = b / total + np.float32(j * stride)
                    c = c / total + np.float32(n * stride)
                    if aims.size > 0:
                        aims[z, y, x, 0], aims[z, y, x, 1], aims[z, y, x, 2] = a, b, c
                    away = (spots[owner, 0] - a) ** 2 + (spots[owner, 1] - b) ** 2 + (spots[owner, 2] - c) ** 2
                    if not away < clear[owner]:  # pixels mostly point at the center of the one before
                        above = groups[max(0, z - 1), y, x]
                        owner = _nearest(spots, a, b, c, owner if above == 0 else np.int64(above) - 1)
                    groups[z, y, x] = owner + 1
    return groups


@jit
def _ask(mask: Any, field: Any, stride: Any, i: Any, j: Any, n: Any, corners: Any, places: Any, says: Any) -> None:
    """Write where the map pixels around (i, j, n) point, from there, and which have a say: foreground if possible."""
    _, depth, h, w = field.shape
    for m in range(len(corners)):
        k = corners[m]
        p, q, r = min(i + k // 4, depth - 1), min(j + k // 2 % 2, h - 1), min(n + k % 2, w - 1)
        says[m] = mask[p * stride, q * stride, r * stride]
        places[m, 0] = field[0, p, q, r] + (p - i) * stride
        places[m, 1] = field[1, p, q, r] + (q - j) * stride
        places[m, 2] = field[2, p, q, r] + (r - n) * stride
    if not says.any():
        says[:] = 1


@jit
def _nearest(spots: Any, a: Any, b: Any, c: Any, guess: Any) -> Any:
    """Return the spot nearest to (a, b, c), the first of equals; look from a guess on while there may be a nearer."""
    best = guess
    least = (spots[best, 0] - a) ** 2 + (spots[best, 1] - b) ** 2 + (spots[best, 2] - c) ** 2
    for k in range(guess + 1, len(spots)):
        beyond = spots[k, 0] - a
        if beyond > 0 and beyond**2 > least:
            break
        away = beyond**2 + (spots[k, 1] - b) ** 2 + (spots[k, 2] - c) ** 2
        if away < least:
            best, least = k, away
    for k in range(guess - 1, -1, -1):
        beyond = spots[k, 0] - a
        if beyond < 0 and beyond**2 > least:
            break
        away = beyond**2 + (spots[k, 1] - b) ** 2 + (spots[k, 2] - c) ** 2
        if away < least or (away == least and k < best):
            best, least = k, away
    return best
