"""Stacks: lazy (z, y, x) image volumes with a voxel size, and the planes cut out of them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mitonb.errors import AxesError, InputError
from mitonb.memory import require_room

Axis = Literal["xy", "xz", "yz"]
AXES: dict[Axis, int] = {"xy": 0, "xz": 1, "yz": 2}
VoxelSize = tuple[float, float, float]
_LARGE = 1 << 24
"""Pixels of planes that take long to read where they are cut into blocks."""


@runtime_checkable
class LazyArray(Protocol):
    """What a stack needs of its data: a shape, a dtype, and slicing that returns numpy arrays."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True)
class Plane:
    """One 2-D section of a stack, with what a model needs to know about it.

    Attributes
    ----------
    image : (h, w) array
        Pixels in the dtype of the stack.
    axis : {"xy", "xz", "yz"}
        Direction that the planes are cut along ("xy" is cut along z).
    index : int
        Position along that direction.
    intensity : tuple of float
        Black and white point of the whole stack, as `Stack.intensity`.
    contrast : tuple of float or None
        1st and 99th percentile of the whole stack, as `Stack.contrast`; None: take those of the image.
    pixel_size : tuple of float or None
        (row, column) size in nm.
    """

    image: npt.NDArray[Any]
    axis: Axis = "xy"
    index: int = 0
    intensity: tuple[float, float] = (0.0, 255.0)
    contrast: tuple[float, float] | None = None
    pixel_size: tuple[float, float] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) in pixels."""
        h, w = self.image.shape
        return h, w

    def inverted(self) -> "Plane":
        """Return the plane with its grey values turned round: what is dark becomes bright."""
        dtype = self.image.dtype
        contrast = None if self.contrast is None else _turned(self.contrast, dtype)
        image = Inverted(self.image)[:, :]
        return replace(self, image=image, intensity=_turned(self.intensity, dtype), contrast=contrast)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.image, dtype=dtype)


@dataclass(frozen=True, eq=False)
class Level:
    """A resolution of a stack, which is opened when its voxels are first asked for.

    Attributes
    ----------
    factors : tuple of float
        (z, y, x): how many voxels of the stack one of this level stands for.
    offset : tuple of float
        (z, y, x): the middle of its first voxel, counted in voxels of the stack from the middle of the first there. Of
        means of n voxels it is (n - 1) / 2, of every n-th voxel 0.
    load : callable
        Returns its voxels.
    """

    factors: tuple[float, float, float]
    offset: tuple[float, float, float]
    load: Callable[[], LazyArray] = field(repr=False)

    @cached_property
    def data(self) -> LazyArray:
        """Its voxels, (z, y, x)."""
        return self.load()

    def inverted(self, top: float | None = None) -> "Level":
        """Return the level with its grey values turned round, as `Stack.inverted`."""
        return replace(self, load=lambda: Inverted(self.data, top))


@dataclass(frozen=True)
class Stack:
    """A lazy image volume.

    Attributes
    ----------
    data : LazyArray
        Volume in (z, y, x) order; read plane by plane, never as a whole unless asked.
    voxel_size : tuple of float or None
        (z, y, x) in nm; None when the file does not say.
    name : str
        Shown to the user.
    source : str or None
        Path or address that the stack was opened from.
    intensity : tuple of float
        Black and white point, by the rule of `intensity_range`.
    notes : tuple of str
        What the reader decided or could not find out, in sentences for the user.
    coarser : tuple of Level
        Lower resolutions of the same voxels, the finest of them first, where the file has some.
    origin : tuple of float
        (z, y, x) in nm: where the file says that the middle of the first voxel lies.
    focus : tuple of int or None
        (z, y, x): the voxel that is looked at first, where a link says so.
    opened : mapping or None
        What else `mn.open` was told, so that another process can open the same; None where that would be something
        else, such as a level of it.
    """

    data: LazyArray
    voxel_size: VoxelSize | None = None
    name: str = "stack"
    source: str | None = None
    intensity: tuple[float, float] = field(default=(0.0, 0.0))
    notes: tuple[str, ...] = ()
    coarser: tuple[Level, ...] = field(default=(), repr=False, compare=False)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    focus: tuple[int, int, int] | None = None
    opened: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.data, str | os.PathLike):
            raise InputError(f"A stack is made of voxels, got the path {str(self.data)!r}. Open it with mn.open(path).")
        if in_order(self.data) is not self.data:
            object.__setattr__(self, "data", in_order(self.data))
        if not (hasattr(self.data, "shape") and hasattr(self.data, "dtype")):
            object.__setattr__(self, "data", np.asarray(self.data))
        shape = tuple(self.data.shape)
        if len(shape) != 3:
            raise AxesError(f"A stack needs 3 axes (z, y, x), got shape {shape}. For one image pass image[None].")
        if 0 in shape:
            raise InputError(f"A stack needs at least one voxel on each axis, got shape {shape}.")
        kind = np.dtype(self.data.dtype).kind
        if kind not in "buif":
            raise InputError(f"A stack needs real numbers, got dtype {self.data.dtype}. Convert it first (abs()).")
        if self.voxel_size is not None:
            object.__setattr__(self, "voxel_size", voxel_size_of(self.voxel_size))
        if self.intensity == (0.0, 0.0):
            object.__setattr__(self, "intensity", intensity_range(self.data))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) in voxels."""
        z, y, x = (int(n) for n in self.data.shape)
        return z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the voxels."""
        return np.dtype(self.data.dtype)

    @cached_property
    def contrast(self) -> tuple[float, float]:
        """1st and 99th percentile of the finite values in a sample of planes: what the picture really uses."""
        return _percentiles(self.data, 1.0, 99.0)

    @property
    def levels(self) -> tuple[Level, ...]:
        """All resolutions, that of the stack itself first; none is opened by asking for them."""
        return Level((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), lambda: self.data), *self.coarser

    def at_level(self, level: int) -> "Stack":
        """Return one of its resolutions (0 is the finest) as a stack, with its voxel size and its place in nm.

        Raises
        ------
        InputError
            If there is no such level.
        """
        k = whole_number(level)
        if k is None or not 0 <= k <= len(self.coarser):
            raise InputError(f"{self.name} has levels 0 (finest) to {len(self.coarser)}, got {level!r:.60}.")
        if k == 0:
            return self
        found = self.levels[k]
        sizes = self.voxel_size or (1.0, 1.0, 1.0)
        z, y, x = (size * factor for size, factor in zip(sizes, found.factors, strict=True))
        place = np.add(self.origin, np.multiply(found.offset, sizes)).tolist()
        return replace(
            self, data=found.data, voxel_size=self.voxel_size and (z, y, x), name=f"{self.name} level {k}",
            coarser=(), origin=tuple(place), focus=None, opened=None,
        )  # fmt: skip

    def count(self, axis: Axis = "xy") -> int:
        """Return the number of planes along an axis."""
        return self.shape[AXES[checked_axis(axis)]]

    def plane(self, index: int, axis: Axis = "xy") -> Plane:
        """Read one plane; negative indices count from the end.

        Raises
        ------
        InputError
            If there is no such plane or axis.
        TooLargeError
            If the plane would not fit into memory.
        """
        n = self.count(axis)
        k = checked_plane(index, n, axis, lowest=-n) % n
        key: list[Any] = [slice(None)] * 3
        key[AXES[axis]] = k
        image = read_part(self.data, tuple(key))
        pixel = None
        if self.voxel_size is not None:
            row, column = (v for i, v in enumerate(self.voxel_size) if i != AXES[axis])
            pixel = (row, column)
        return Plane(image, axis, k, self.intensity, self.contrast, pixel)

    def read(self) -> npt.NDArray[Any]:
        """Read the whole volume into memory.

        Raises
        ------
        TooLargeError
            If it would not fit.
        """
        return read_part(self.data, (slice(None),) * 3)

    def inverted(self, top: float | None = None) -> "Stack":
        """Return the same stack with its grey values turned round: what is dark becomes bright.

        Parameters
        ----------
        top : float, optional
            The value v that 0 becomes, as all others become v minus their own. By default what keeps the dtype: its
            largest number for bool and unsigned integers, -1 for signed ones, 0 for floats.
        """
        intensity = (0.0, 0.0) if top is not None else _turned(self.intensity, self.dtype)
        coarser = tuple(one.inverted(top) for one in self.coarser)
        return replace(self, data=Inverted(self.data, top), intensity=intensity, coarser=coarser, opened=None)

    def with_voxel_size(self, *nm: float) -> "Stack":
        """Return the same stack with a voxel size: one number, or (z, y, x), in nm."""
        return replace(self, voxel_size=given_voxel_size(nm[0] if len(nm) == 1 else nm))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.read(), dtype=dtype)

    def __repr__(self) -> str:
        size = "voxel size unknown" if self.voxel_size is None else "{:g} x {:g} x {:g} nm".format(*self.voxel_size)
        return f"Stack({self.name!r}, {' x '.join(map(str, self.shape))}, {self.dtype}, {size})"


class Inverted:
    """A lazy array with its grey values turned round, in the same dtype; see `Stack.inverted`."""

    def __init__(self, source: LazyArray, top: float | None = None) -> None:
        self.source, self.top = source, top
        self.dtype = np.dtype(source.dtype)
        self.shape = tuple(int(n) for n in source.shape)

    @property
    def blocks(self) -> tuple[int, ...] | None:
        """Sides of the blocks that the file is read by, where it has blocks."""
        return getattr(self.source, "blocks", None)

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        values = np.asarray(self.source[key])
        if self.dtype.kind == "b":
            return ~values
        end = _end(self.dtype) if self.top is None else self.top
        return np.asarray(self.dtype.type(end) - values, self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(read_part(self, (slice(None),) * len(self.shape)), dtype=dtype)


def _end(dtype: np.dtype[Any]) -> int:
    """Return what 0 becomes when values of a dtype are turned round."""
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else {"b": 1, "i": -1, "f": 0}[dtype.kind]


def _turned(ends: tuple[float, float], dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the black and white point of what is turned round."""
    end = _end(dtype)
    return end - ends[1], end - ends[0]


def read_part(data: LazyArray, key: tuple[Any, ...]) -> npt.NDArray[Any]:
    """Read a part of a volume, after asking whether there is room for it.

    Parameters
    ----------
    data : LazyArray
        What is read.
    key : tuple of int and slice
        One for each axis.

    Raises
    ------
    TooLargeError
        If the part would not fit into memory.
    """
    if not isinstance(data, np.ndarray):
        sides = [len(range(*k.indices(n))) for k, n in zip(key, data.shape, strict=True) if isinstance(k, slice)]
        require_room(sides, data.dtype)
    return np.asarray(data[key])


def checked_axis(axis: Axis) -> Axis:
    """Return an axis, or refuse what is none."""
    if not isinstance(axis, str) or axis not in AXES:
        raise InputError(f"An axis is one of {', '.join(AXES)}, got {axis!r}.")
    return axis


def whole_number(value: Any) -> int | None:
    """Return a whole number of Python or numpy as an int; None for all else, such as True, 2.0 and NaN."""
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None


def checked_plane(index: Any, count: int, axis: Axis, *, lowest: int = 0) -> int:
    """Return the number of a plane, of so many along an axis, as an int.

    Raises
    ------
    InputError
        If it is no whole number or there is no such plane.
    """
    k = whole_number(index)
    if k is None or not lowest <= k < count:
        raise InputError(f"This stack has {count} {axis} planes (0 to {count - 1}), got plane {index!r}.")
    return k


def in_order(array: Any) -> Any:
    """Return an array with its axes in the order z, y, x where they are named (xarray); others as they are.

    Raises
    ------
    AxesError
        If there are named axes that something has to be chosen on, which `mn.open` does.
    """
    names = getattr(array, "dims", None)
    if not isinstance(names, tuple) or not hasattr(array, "transpose"):
        return array
    letters = "".join(str(name).lower() if len(str(name)) == 1 else "?" for name in names)
    if "".join(sorted(letters)) == "xyz":
        return array if letters == "zyx" else array.transpose(*(names[letters.index(axis)] for axis in "zyx"))
    if {"y", "x"} <= set(letters) and letters != "yx":
        raise AxesError(
            f"The axes of this array are called {', '.join(map(str, names))}. Open it with mn.open(array, channel=...) "
            "or mn.open_labels(array), which choose z, y and x by name."
        )
    return array


def voxel_size_of(given: Any) -> VoxelSize:
    """Return a (z, y, x) voxel size in nm from one number or three.

    Raises
    ------
    InputError
        If it is not one or three positive numbers.
    """
    try:
        parts = [given] * 3 if np.ndim(given) == 0 else list(given)
        wrong = any(isinstance(v, bool | np.bool_ | str | bytes) for v in parts)
        sizes = [float(v) for v in parts]
    except (TypeError, ValueError, OverflowError):
        wrong, sizes = True, []
    if wrong or len(sizes) != 3 or not all(np.isfinite(v) and v > 0 for v in sizes):
        raise InputError(f"voxel_size is one size or three (z, y, x) in positive nanometres, got {given!r}.")
    return sizes[0], sizes[1], sizes[2]


def doubt_voxel_size(size: VoxelSize) -> str:
    """Return why no electron microscope gives voxels of this size in nm; "" if one may."""
    low, high, longest = 0.02, 2e5, 1000
    if low <= min(size) <= max(size) <= high and max(size) <= longest * min(size):
        return ""
    sides = " x ".join(f"{side:g}" for side in size)
    return (
        f"voxels of {sides} nm: sides are {low:g} to {high:.0f} nm, and the longest is at most {longest} times the "
        "shortest"
    )


def given_voxel_size(given: Any) -> VoxelSize:
    """Return a (z, y, x) voxel size in nm that a user gives as one number or three.

    Raises
    ------
    InputError
        If it is not one or three positive numbers, or so far from any microscope that another unit was meant.
    """
    size = voxel_size_of(given)
    if doubt := doubt_voxel_size(size):
        raise InputError(f"No microscope has {doubt}. Sizes are in nm: 0.005 um is 5.")
    return size


def intensity_range(data: LazyArray) -> tuple[float, float]:
    """Return the black and white point of a volume, by a rule that can be said in one line.

    bool is 0..1 and uint8 is 0..255; every other dtype takes the 0.1 and 99.9 percentiles of the finite
    values in up to nine planes spread over the stack; of a file whose planes are large and cut into blocks, in nine
    blocks. Lower resolutions are not asked: a mean of voxels hides what is darkest and brightest. The largest number
    that a dtype could hold says nothing about what a camera wrote, so it is never used beyond uint8.

    Returns
    -------
    low, high : float
        Always finite, with high > low.
    """
    dtype = np.dtype(data.dtype)
    if dtype == np.bool_:
        return 0.0, 1.0
    if dtype == np.uint8:
        return 0.0, 255.0
    return _percentiles(data, 0.1, 99.9)


def _percentiles(data: LazyArray, low: float, high: float) -> tuple[float, float]:
    """Return two percentiles of the finite values in up to nine thinned planes or blocks, always apart."""
    blocks = getattr(data, "blocks", None)
    sample = _in_blocks(data, blocks) if blocks and data.shape[1] * data.shape[2] >= _LARGE else _in_planes(data)
    sample = sample.astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return 0.0, 1.0
    # Between the two ends of float64 the distance overflows; nobody measures there.
    a, b = (float(v) for v in np.percentile(np.clip(sample, -1e300, 1e300), (low, high)))
    # One is nothing beside large numbers.
    return (a, b) if b > a else (a, a + max(1.0, abs(a) * 1e-6))


def _in_planes(data: LazyArray) -> npt.NDArray[Any]:
    """Return values of up to nine planes from the first to the last, thinned."""
    planes = np.unique(np.linspace(0, data.shape[0] - 1, 9).astype(int))
    steps = [max(1, n // 512) for n in data.shape[1:]]
    return np.concatenate(
        [read_part(data, (int(z), slice(None), slice(None)))[:: steps[0], :: steps[1]].ravel() for z in planes]
    )


def _in_blocks(data: LazyArray, sides: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return values of nine blocks around the middle of a volume; those that are filled with one value count once.

    Around the tissue many volumes are empty.
    """
    found = []
    for k in range(9):
        # Each third of the middle half along each axis, three times: a Latin square.
        thirds = (k % 3, k // 3, (k % 3 + k // 3) % 3)
        middles = [n * (2 + third) / 6 for n, third in zip(data.shape, thirds, strict=True)]
        starts = [int(at // side) * side for at, side in zip(middles, sides, strict=True)]
        box = [slice(a, min(a + side, n)) for a, side, n in zip(starts, sides, data.shape, strict=True)]
        part = read_part(data, tuple(box)).ravel()
        part = part[:: max(1, part.size >> 18)]
        found.append(part[:1] if (part == part[0]).all() else part)
    return np.concatenate(found)
