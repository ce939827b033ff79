"""Colours of objects and of maps, the same in 2D, 3D, tables, legends and plots.

An object has the colour of its id, by one integer hash, in plain arithmetic on unsigned 32-bit integers (products
modulo 2**32)::

    h    = id * 0x9E3779B1                       2**32 / golden ratio: neighbouring ids land far apart
    slot = ((h >> 16) * 32) >> 16                0..31, a row of PALETTE

A scrambling hash would give the same colour to two of any seven objects or so; this one gives different colours to any
21 successive ids, and objects that touch mostly have such ids. Where two neighbours have the same slot all the same, a
`Coloring` gives one of them another. Id 0 is background and has no colour (black).

Any two of the palette are at least CIE dE 10 apart (1976 and 2000) where both fill the same grey, any grey, at opacity
0.45, the viewer's first; so is each from that grey. Grey, which looks like EM, is left out.

The maps of a network have a `Ramp` each, in MAPS; the viewer gets these tables, too.
"""

import threading
from collections.abc import Collection
from typing import Any, NamedTuple

import cc3d
import fastremap
import numpy as np
import numpy.typing as npt

from mitonb.box import Box
from mitonb.errors import AxesError
from mitonb.labels import Labels
from mitonb.stack import Plane, Stack

AnyImage = Plane | npt.NDArray[Any]

HASH = 0x9E3779B1
"""Factor of the hash above."""

PALETTE = (
    (218, 239, 137), (132, 70, 7), (0, 128, 50), (255, 153, 178), (206, 125, 96), (255, 204, 153),
    (0, 151, 141), (45, 0, 255), (100, 154, 0), (16, 124, 255), (160, 255, 0), (128, 0, 51), (212, 185, 0),
    (26, 102, 128), (129, 110, 18), (139, 25, 0), (150, 184, 255), (255, 60, 106), (127, 102, 206),
    (255, 155, 8), (255, 100, 0), (0, 213, 35), (247, 142, 255), (202, 0, 255), (254, 17, 166), (102, 0, 128),
    (251, 3, 0), (0, 255, 255), (102, 230, 178), (152, 232, 255), (0, 179, 255), (0, 49, 133),
)  # fmt: skip
"""The colours, (r, g, b) 0..255; found by a random search, see the test of their distances."""

SLOTS = len(PALETTE)
"""How many colours there are."""


def slots(ids: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    """Hash ids to the numbers 0..31; of ids above 2**32 - 1 the lower 32 bits count.

    Parameters
    ----------
    ids : array_like of int
        Any shape.

    Returns
    -------
    uint32 array
        Same shape.

    Examples
    --------
    >>> [int(s) for s in slots([0, 1, 2, 3])]
    [0, 19, 7, 27]
    """
    h = np.asarray(ids).astype(np.uint32) * np.uint32(HASH)
    return np.asarray(((h >> np.uint32(16)) * np.uint32(SLOTS)) >> np.uint32(16), dtype=np.uint32)


_STRIDES = (2, 4, 8)
"""Pixels in a plane between two samples; objects nearer than that are neighbours, though they do not touch."""
_AT_ONCE = 1 << 24
"""Voxels that are looked at together."""
_REACH = 16
"""Voxels around an edit in which it can make neighbours."""


def neighbors(ids: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Return the pairs of ids that touch, or that lie some pixels apart in a plane.

    Parameters
    ----------
    ids : (z, y, x) integer array

    Returns
    -------
    (n, 2) uint32 array
        The smaller id first; sorted.
    """
    # Small numbers are faster to look up, and cc3d takes no others than it has room for.
    small, names = fastremap.renumber(np.ascontiguousarray(ids), preserve_zero=True, in_place=False)
    pairs = set(cc3d.contacts(small, connectivity=6, surface_area=False))
    for stride in _STRIDES:
        pairs |= set(cc3d.region_graph(np.ascontiguousarray(small[:, ::stride, ::stride]), connectivity=26))
    back = np.zeros(len(names) + 1, np.uint32)
    for name, number in names.items():
        back[int(number)] = name
    found = np.sort(back[np.array(sorted(pairs), np.int64).reshape(-1, 2)], axis=1)
    return found[np.lexsort(found.T[::-1])]


class Coloring:
    """Which slot of the palette each object has; safe to use from several threads.

    An object has the slot of its hash, unless a neighbour has the same: then the one of them that has fewer neighbours
    takes another slot, and keeps it.

    Attributes
    ----------
    moved : dict of int to int
        The slot of each id that has another one than its hash.
    version : int
        Grows with every change of `moved`.

    Examples
    --------
    >>> labels = np.array([[[1, 1, 22, 22]]], np.uint32)
    >>> bool((Coloring.of(labels).rgb(1) == Coloring.of(labels).rgb(22)).all())
    False
    """

    def __init__(self) -> None:
        self.moved: dict[int, int] = {}
        self.version = 0
        self._near: dict[int, set[int]] = {}
        self._known: set[int] = set()
        self._lock = threading.Lock()

    @classmethod
    def of(cls, ids: npt.NDArray[Any]) -> "Coloring":
        """Choose the colours of a (z, y, x) volume of ids; the same volume always gets the same."""
        coloring = cls()
        coloring.follow(ids)
        return coloring

    def slot(self, id: int) -> int:
        """Return the slot of an id."""
        found = self.moved.get(id)
        return _hashed(id) if found is None else found

    def rgb(self, ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the colour of each id, (..., 3) float32, red, green, blue, 0..1; black for background."""
        array = np.asarray(ids)
        found = slots(array)
        if self.moved:
            with self._lock:
                known = np.array(sorted(self.moved.items()), np.int64)
            place = np.minimum(np.searchsorted(known[:, 0], array), len(known) - 1)
            found = np.where(known[place, 0] == array, known[place, 1], found)
        rgb = np.array(PALETTE, np.float32)[found] / np.float32(255)
        rgb[array == 0] = 0
        return rgb

    def follow(self, ids: npt.NDArray[Any], box: Box | None = None) -> None:
        """Look for neighbours in a volume, or around a box in which it has changed, and part those of one colour.

        Parameters
        ----------
        ids : (z, y, x) integer array
        box : Box, optional
            Where voxels may have changed; None looks everywhere, and forgets what was near before.
        """
        z, y, x = ids.shape
        part = None if box is None else box.grow((1, _REACH, _REACH)).clip((z, y, x))
        here = ids if part is None else ids[part.slices]
        # By planes that overlap, so that large volumes need no room of their own.
        depth = max(1, _AT_ONCE // max(1, here[:1].size))
        found, seen = [], set[int]()
        for k in range(0, max(1, len(here) - 1), depth):
            found.append(neighbors(here[k : k + depth + 1]))
            seen.update(fastremap.unique(here[k : k + depth + 1]).tolist())
        pairs = np.unique(np.concatenate(found), axis=0)
        with self._lock:
            if part is None or part.shape == ids.shape:
                self._near = {}
            for a, b in pairs.tolist():
                self._near.setdefault(a, set()).add(b)
                self._near.setdefault(b, set()).add(a)
            self._part(pairs.tolist())
            self._known.update(seen)

    def add(self, ids: npt.NDArray[Any]) -> None:
        """Choose the colours of what is new in a (z, y, x) array of ids; all others keep theirs.

        For what is only shown: what lies where in the volume is remembered as it was.
        """
        pairs = neighbors(ids).tolist()
        with self._lock:
            new = {i for pair in pairs for i in pair} - self._known
            self._near |= {one: set() for one in new}
            for a, b in pairs:
                for one, other in ((a, b), (b, a)):
                    if one in new:
                        self._near[one].add(other)
            self._part([pair for pair in pairs if new.intersection(pair)], self._known)

    def _part(self, pairs: list[list[int]], fixed: Collection[int] = ()) -> None:
        """Give other slots to objects until no pair has one colour, or nothing more can be done about it."""
        for a, b in pairs:
            if self.slot(a) != self.slot(b):
                continue
            # Who is new moves, so that the others keep theirs; else who has fewer neighbours, for a hub hardly any is
            # left; of equals the younger.
            for one in sorted((a, b), key=lambda i: (i in self._known, len(self._near.get(i, ())), -i)):
                if one not in fixed and self._move(one):
                    break

    def _move(self, one: int) -> bool:
        """Take the slot that the fewest neighbours have, and return whether it is another one."""
        taken = np.bincount([self.slot(other) for other in self._near[one]], minlength=SLOTS)
        old = self.slot(one)
        # From the hash's own slot on, so that it comes back to that where it can.
        order = (np.arange(SLOTS) + _hashed(one)) % SLOTS
        new = int(order[np.argmin(taken[order])])
        if taken[new] == taken[old]:
            return False
        if new == _hashed(one):
            self.moved.pop(one, None)
        else:
            self.moved[one] = new
        self.version += 1
        return True


def coloring_of(source: Any) -> Coloring:
    """Return the colours of a session or another owner of `colors`, or those of Labels or of an array of ids."""
    if isinstance(source, Coloring):
        return source
    if hasattr(source, "colors"):
        return coloring_of(source.colors)
    ids = np.asarray(source.data if isinstance(source, Labels) else source)
    return Coloring.of(ids if ids.ndim == 3 else ids[None])


def _hashed(id: int) -> int:
    """Return the slot of the hash, as `slots`, for one id and without arrays."""
    return ((id * HASH & 0xFFFFFFFF) >> 16) * SLOTS >> 16


class Ramp(NamedTuple):
    """The colours of a map.

    Attributes
    ----------
    stops : tuple of (r, g, b)
        0..255, at equal distances from value 0 to value 1; between two of them the colour is mixed.
    fade : (float, float)
        At the first value a map is not seen at all, from the second on fully.
    """

    stops: tuple[tuple[int, int, int], ...]
    fade: tuple[float, float]


MAPS = {
    # Dark violet, red, orange, pale yellow: reads as "how sure" on grey.
    "semantic": Ramp(((71, 13, 115), (230, 66, 61), (255, 237, 140)), (0.02, 0.4)),
    "center": Ramp(((0, 140, 191), (217, 255, 255)), (0.02, 0.5)),
    "contour": Ramp(((140, 60, 0), (255, 235, 150)), (0.02, 0.5)),
    "distance": Ramp(((0, 60, 110), (60, 180, 120), (250, 240, 150)), (0.02, 0.4)),
    # Once around: to the right is red, and on the screen, where y points down, the hues go clockwise. Fades by length.
    "offsets": Ramp(
        (
            (255, 64, 64), (238, 128, 17), (191, 191, 0), (128, 238, 17), (64, 255, 64), (17, 238, 128), (0, 191, 191),
            (17, 128, 238), (64, 64, 255), (128, 17, 238), (191, 0, 191), (238, 17, 128), (255, 64, 64),
        ),
        (0.0, 3.0),
    ),
}  # fmt: skip
"""The colours of the maps of a network."""


def map_colors(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return how a map of a network is drawn.

    Parameters
    ----------
    name : str
        Of the head; one that has no ramp in MAPS looks like "semantic".
    values : array_like of float
        0..1, any shape. Offsets are (2, h, w), (dy, dx) in pixels: the hue says the direction, and what is shorter than
        3 pixels fades.

    Returns
    -------
    (..., 4) float32 array
        Red, green, blue, opacity, 0..1.
    """
    given = np.nan_to_num(np.asarray(values, np.float32))
    value, strength = given, given
    if name == "offsets":
        value, strength = np.arctan2(*given) / (2 * np.pi) % 1, np.hypot(*given)
    ramp = MAPS.get(name, MAPS["semantic"])
    stops = np.array(ramp.stops, np.float32) / np.float32(255)
    rgb = [np.interp(np.clip(value, 0, 1), np.linspace(0, 1, len(stops)), channel) for channel in stops.T]
    low, high = ramp.fade
    part = np.clip((strength - low) / (high - low), 0, 1)
    return np.stack([*rgb, part * part * (3 - 2 * part)], axis=-1).astype(np.float32)


def overlay(
    image: AnyImage, labels: npt.NDArray[Any] | None = None, *, opacity: float | None = None, outline: bool = False,
    contrast: tuple[float, float] | None = None, colors: Any = None,
) -> npt.NDArray[np.float32]:  # fmt: skip
    """Return a plane in grey with its objects in colour.

    Parameters
    ----------
    image : Plane or (h, w) array
    labels : (h, w) integer array, optional
        Ids; 0 stays grey.
    opacity : float, optional
        How much colour covers the image, 0..1; by default 0.45, and 0.9 for outlines.
    outline : bool
        Colour only the rims of the objects.
    contrast : tuple of float, optional
        What is black and what is white; by default the `contrast` of the plane, else percentiles 1 and 99.
    colors : Session, Labels or (z, y, x) array of ids, optional
        The volume that the plane is of: its objects then have the colours that they have in its other views. By
        default neighbours on this plane differ.

    Returns
    -------
    (h, w, 3) float32 array
        Red, green, blue, 0..1.

    Raises
    ------
    AxesError
        If the image is not a plane, or the labels have another shape.
    """
    pixels = np.asarray(image.image if isinstance(image, Plane) else image)
    if pixels.ndim != 2:
        raise AxesError(f"A plane has 2 axes (y, x), got shape {pixels.shape}. For a plane of a stack: stack.plane(0).")
    known = contrast or (image.contrast if isinstance(image, Plane) else None)
    low, high = known or Stack(pixels[None], intensity=(0.0, 1.0)).contrast
    grey = np.clip((np.nan_to_num(pixels.astype(np.float32), nan=low) - low) / max(high - low, 1e-9), 0, 1)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    if labels is None:
        return rgb
    ids = np.asarray(labels)
    if ids.shape != pixels.shape:
        raise AxesError(f"Labels need the shape of the image, {pixels.shape}, got {ids.shape}.")
    where = ids > 0
    if outline:
        from skimage.segmentation import find_boundaries  # late: looking needs none of it

        where &= find_boundaries(ids, connectivity=1)  # type: ignore[no-untyped-call]
    if opacity is None:
        opacity = 0.9 if outline else 0.45
    rgb[where] += opacity * (coloring_of(ids if colors is None else colors).rgb(ids[where]) - rgb[where])
    return rgb
