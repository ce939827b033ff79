"""Kept maps: what the net said about the planes of a stack, so that thresholds can move without running it again."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.maps import Maps
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = ["IN_MEMORY", "KeptMaps", "median_planes", "plane_shape"]


IN_MEMORY = 256 << 20  # bytes of one axis


def plane_shape(shape: tuple[int, int, int], axis: Axis) -> tuple[int, int]:
    """Return (h, w) of the planes of a (z, y, x) volume along an axis."""
    h, w = (n for i, n in enumerate(shape) if i != AXES[axis])
    return h, w


def median_planes(planes: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return the median of planes, pixel by pixel; of two middle values their mean, rounded up.

    Parameters
    ----------
    planes : sequence of uint8 arrays
        At least one plane, all of one shape; they are not changed.
    """
    rows = list(planes)
    if len(rows) == 1:
        return rows[0].copy()
    # Forgetful selection: of more than half of the values, the lowest and the highest can be neither middle value.
    middle = 1 if len(rows) % 2 else 2
    size = (len(rows) + middle) // 2 + 1
    window, rest = rows[:size], rows[size:]
    while len(window) > middle:
        window = _ends_out(window)
        if rest:
            window.append(rest.pop())
    if middle == 1:
        return window[0]
    low, high = (w.astype(np.uint16) for w in window)
    return ((low + high + 1) >> 1).astype(np.uint8)


def _ends_out(values: list[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.uint8]]:
    """Remove, pixel by pixel, the lowest and the highest of at least three arrays."""
    inner, high = [], values[0]
    for value in values[1:]:
        inner.append(np.minimum(high, value))
        high = np.maximum(high, value)
    low, rest = inner[0], []
    for value in inner[1:]:
        rest.append(np.maximum(low, value))
        low = np.minimum(low, value)
    return rest


class KeptMaps:
    """Maps of the planes of one stack, in memory or in files.

    The semantic maps are kept as the net made them (uint8), not after the median over planes, so that the median can
    change too; center and offsets are float16 at the resolution of the net's head.

    Parameters
    ----------
    shape : tuple of int, optional
        (z, y, x) of the stack in voxels; a run that fills the maps sets it.
    folder : path, optional
        Keep the maps in files there; "memory" keeps them in memory, "auto" keeps up to 256 MB of an axis in memory and
        more in a temporary folder. Files go when this object goes.

    Attributes
    ----------
    about : dict
        What a run says about its image, for the labels that are decoded from the maps: voxel_size, name, record.
    """

    def __init__(self, shape: tuple[int, int, int] | None = None, folder: str | Path = "auto") -> None:
        self.about: dict[str, Any] = {}
        self._shape = shape
        self._key: Hashable = None
        self._planes: dict[tuple[Axis, int], Maps] = {}
        self._files: dict[Axis, _AxisFiles] = {}
        self._wish = folder
        self._folder: Path | None = None
        self._numbers = itertools.count()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the stack in voxels.

        Raises
        ------
        InputError
            If no run has filled the maps.
        """
        if self._shape is None:
            raise InputError("These maps are empty: segment a stack with them first.")
        return self._shape

    def put(self, axis: Axis, index: int, maps: Maps) -> None:
        """Keep the maps of one plane, in their kept form.

        Raises
        ------
        InputError
            If there is no such plane or the maps have another size.
        """
        self._check(axis, index)
        if maps.shape != plane_shape(self.shape, axis):
            raise InputError(
                f"The {axis} planes of this stack are {plane_shape(self.shape, axis)} pixels, got maps of {maps.shape}."
            )
        kept = maps.kept()
        if axis not in self._files and self._in_files(kept.nbytes * self.shape[AXES[axis]]):
            # A new name each time: somebody may still look at maps in the old files, and to cut a mapped file short
            # would end the whole process.
            stem = self._own_folder() / f"{axis}-{next(self._numbers)}"
            self._files[axis] = _AxisFiles(stem, self.shape[AXES[axis]], kept)
        if axis in self._files:
            self._files[axis].put(index, kept)
        else:
            self._planes[axis, index] = kept

    def get(self, axis: Axis, index: int) -> Maps:
        """Return the maps of one plane as the net made them.

        Raises
        ------
        InputError
            If the net has not run on this plane.
        """
        self._check(axis, index)
        if not self.has(axis, index):
            raise InputError(f"The net has not run on {axis} plane {index} yet. Predict it, then decode.")
        return self._files[axis].get(index) if axis in self._files else self._planes[axis, index]

    def has(self, axis: Axis, index: int) -> bool:
        """Return whether the maps of this plane are kept."""
        if axis in self._files:
            return bool(self._files[axis].there[index])
        return (axis, index) in self._planes

    def count(self, axis: Axis) -> int:
        """Return how many planes of an axis are kept."""
        return sum(self.has(axis, i) for i in range(self.shape[AXES[axis]]))

    def plane(self, axis: Axis, index: int, median: int = 1) -> Maps:
        """Return the maps of one plane, its semantic map after the median over neighbouring planes.

        Parameters
        ----------
        axis : {"xy", "xz", "yz"}
            Direction that the planes are cut along.
        index : int
            Position along that direction.
        median : int
            Planes (odd) in the window. It is cut off at the ends of the stack and leaves out planes that are not kept:
            only unfiltered planes ever enter.
        """
        maps = self.get(axis, index)
        reach = median // 2
        around = range(max(0, index - reach), min(self.shape[AXES[axis]], index + reach + 1))
        window = [self.get(axis, i).semantic for i in around if self.has(axis, i)]
        if len(window) == 1:
            return maps
        return Maps(median_planes(window), maps.center, maps.offsets, maps.step)

    def drop(self, axis: Axis, index: int) -> None:
        """Forget the maps of one plane."""
        self._planes.pop((axis, index), None)
        if axis in self._files:
            self._files[axis].there[index] = False

    def clear(self) -> None:
        """Forget all maps, and what a run has said about them."""
        self._planes.clear()
        self._files.clear()
        self.about = {}

    def claim(self, shape: tuple[int, int, int], key: Hashable) -> None:
        """Say which image and net the maps are of; those of another one are forgotten."""
        if self._key != key or self._shape != shape:
            self.clear()
            self._key, self._shape = key, shape

    @property
    def nbytes(self) -> int:
        """Size of the maps in bytes, in memory or on disk."""
        # Copies: a job may put planes meanwhile.
        return sum(m.nbytes for m in list(self._planes.values())) + sum(f.nbytes for f in list(self._files.values()))

    def _in_files(self, nbytes: int) -> bool:
        return self._wish not in ("auto", "memory") or (self._wish == "auto" and nbytes > IN_MEMORY)

    def _own_folder(self) -> Path:
        if self._folder is None:
            parent = None if self._wish == "auto" else Path(self._wish)
            self._folder = Path(tempfile.mkdtemp(prefix="mitonb-maps-", dir=parent))
            weakref.finalize(self, shutil.rmtree, str(self._folder), ignore_errors=True)
        return self._folder

    def _check(self, axis: Axis, index: int) -> None:
        if axis not in AXES:
            raise InputError(f"An axis is one of {', '.join(AXES)}, got {axis!r}.")
        if not 0 <= index < self.shape[AXES[axis]]:
            n = self.shape[AXES[axis]]
            raise InputError(f"This stack has {n} {axis} planes (0 to {n - 1}), got plane {index}.")


def _remove(path: str) -> None:
    """Remove a file that nobody looks at any more; where that is too early, it goes with the folder."""
    with contextlib.suppress(OSError):
        Path(path).unlink(missing_ok=True)


class _AxisFiles:
    """Memory-mapped maps of all planes of one axis."""

    def __init__(self, stem: Path, planes: int, like: Maps) -> None:
        self.step = like.step
        self.there = np.zeros(planes, np.bool_)
        self._arrays = [
            self._map(stem, name, planes, array)
            for name, array in (("semantic", like.semantic), ("center", like.center), ("offsets", like.offsets))
        ]

    @staticmethod
    def _map(stem: Path, name: str, planes: int, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
        # The file is sparse: planes that the net has not seen take no room on disk.
        path = stem.with_name(f"{stem.name}-{name}")
        array = np.memmap(path, like.dtype, "w+", shape=(planes, *like.shape))
        weakref.finalize(array, _remove, str(path))
        return array

    def put(self, index: int, maps: Maps) -> None:
        for array, value in zip(self._arrays, (maps.semantic, maps.center, maps.offsets), strict=True):
            array[index] = value
        self.there[index] = True

    def get(self, index: int) -> Maps:
        semantic, center, offsets = (np.asarray(a[index]) for a in self._arrays)
        return Maps(semantic, center, offsets, self.step)

    @property
    def nbytes(self) -> int:
        return int(sum(a[0].nbytes for a in self._arrays) * self.there.sum())
