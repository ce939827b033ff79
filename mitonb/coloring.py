"""Colours of the objects of one volume: those of the hash, but never the same for two neighbours."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import cc3d
import fastremap
import numpy as np
import numpy.typing as npt

from mitonb.colors import HASH, PALETTE, SLOTS, slots
from mitonb.labels import Labels

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mitonb.box import Box

__all__ = ["Coloring", "coloring_of", "neighbors"]

_STRIDES = (2, 4, 8)
"""Pixels in a plane between two samples; objects nearer than that are neighbours, though they do not touch."""
_REACH = 16
"""Voxels around an edit in which it can make neighbours."""
_PATIENCE = 8
"""How often one object may change its colour in one go, before two of a colour are left as they are."""


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

    An object has the slot of its hash (`mitonb.colors`), unless a neighbour has the same: then the one of them
    that has fewer neighbours takes another slot, and keeps it.

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
    def of(cls, ids: npt.NDArray[Any]) -> Coloring:
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

    def hexes(self, ids: Iterable[int]) -> list[str]:
        """Return the colours of ids as CSS text, such as "#e69f00"."""
        rgb = np.rint(self.rgb(np.asarray(list(ids), np.int64)).reshape(-1, 3) * 255).astype(int)
        return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb]

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
        pairs, seen = neighbors(here), fastremap.unique(here).tolist()
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
        turns: dict[int, int] = {}
        open_pairs = pairs[::-1]
        while open_pairs:
            a, b = open_pairs.pop()
            if self.slot(a) != self.slot(b):
                continue
            # Who is new moves, so that the others keep theirs; else who has fewer neighbours, for a hub hardly any is
            # left; of equals the younger.
            for one in sorted((a, b), key=lambda i: (i in self._known, len(self._near.get(i, ())), -i)):
                if one in fixed or turns.get(one, 0) >= _PATIENCE:
                    continue
                turns[one] = turns.get(one, 0) + 1
                if self._move(one):
                    open_pairs += [[one, other] for other in sorted(self._near[one], reverse=True)]
                    break

    def _move(self, one: int) -> bool:
        """Take the slot that the fewest neighbours have, and return whether it is another one."""
        taken = np.bincount([self.slot(other) for other in self._near[one]], minlength=SLOTS)
        old = self.slot(one)
        # From the hash's own slot on, so that it comes back to that where it can.
        order = (np.arange(SLOTS) + _hashed(one)) % SLOTS
        new = int(order[np.argmin(taken[order])])
        if new == old:
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
    """Return the slot of the hash, as `colors.slots`, for one id and without arrays."""
    return ((id * HASH & 0xFFFFFFFF) >> 16) * SLOTS >> 16
