"""Measurements: one table with size, place, length and brightness of every object; a column is a row of COLUMNS."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import fastremap
import numpy as np
import numpy.typing as npt
import pandas as pd

from mitonb.details import Found, details
from mitonb.errors import AxesError, InputError
from mitonb.labels import AnyLabels, Labels, integers, scale_note
from mitonb.stack import LazyArray, Stack, VoxelSize, in_order, read_part, voxel_size_of

Vectors = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
_CHUNK = 1 << 24  # voxels looked at in one go: bounds the memory beside the labels


def measure(
    labels: AnyLabels | Stack, *, stack: Stack | npt.NDArray[np.generic] | None = None,
    voxel_size: float | tuple[float, float, float] | None = None, also: str | Iterable[str] = (),
    others: AnyLabels | Stack | None = None, mask: AnyLabels | Stack | None = None, within_nm: float = 0,
) -> pd.DataFrame:  # fmt: skip
    """Measure every object; one row per id, in the order of the ids.

    The volume is read in pieces of bounded size, however many objects there are: labels in a file that are larger than
    memory are measured as `measure(mn.open(path))`.

    Parameters
    ----------
    labels : Labels, (z, y, x) integer array, or Stack of whole numbers
        0 is background.
    stack : Stack or (z, y, x) array, optional
        Image of the same shape; adds the mean intensity. It is read piece by piece.
    voxel_size : float or tuple of float, optional
        One number or (z, y, x), in nm; by default that of the stack, else that of the labels. Where the two differ, a
        warning says so.

    also : str or iterable of str
        Groups of columns that take longer, object by object: "shape", "skeleton" (volumes only) and "neighbours", or
        "all". They need a voxel size.
    others : Labels, integer array or Stack, optional
        A second label set of the same shape, such as endoplasmic reticulum: adds contacts with it, and distances to it.
    mask : Labels, bool or integer array, or Stack, optional
        A region of the same shape, such as a nucleus: adds the share of each object inside, and its distance.
    within_nm : float
        How far surfaces may be apart where they are in contact; by default they must touch.

    Returns
    -------
    pandas.DataFrame
        The `COLUMNS` that apply; docs/measuring.md says what each means, its unit and its method. Without a voxel size
        there are no lengths in nm, and no volumes in µm³. ``attrs["voxel_size"]`` is what was used, None when
        unknown, ``attrs["shape"]`` the shape of the volume.

    Raises
    ------
    AxesError
        If the labels are not a volume, or the image has another shape.
    InputError
        If the labels are no whole numbers, a voxel size is not positive or missing, there is no such group, or
        `within_nm` is below 0 or of no use.

    Examples
    --------
    >>> table = measure(np.array([[[0, 4, 4, 4]], [[0, 0, 0, 0]]]), voxel_size=(10, 10, 10))
    >>> int(table.voxels[0]), float(table.length_nm[0]), float(table.volume_um3[0])
    (3, 30.0, 3e-06)
    """
    data = _labels(labels)
    image = None if stack is None else stack.data if isinstance(stack, Stack) else np.asarray(in_order(stack))
    if image is not None and tuple(image.shape) != data.shape:
        raise AxesError(f"The image needs the shape of the labels, {data.shape}, got {tuple(image.shape)}.")
    size = _voxel_size(labels, stack, voxel_size)
    known, flat = size is not None, data.shape[0] == 1
    groups = _groups(also, others is not None, mask is not None, known)
    if within_nm != 0 and not {"neighbours", "others"} & {*groups}:
        raise InputError(
            f'within_nm={within_nm!r} says how far contacts reach, and none are asked for. Add also="neighbours", or '
            "give others=."
        )
    objects = _Objects(data, size, image)
    applies = {
        "voxel size": known, "volume": known and not flat, "section": known and flat, "no voxel size": not known,
        "image": image is not None, "": True,
    }  # fmt: skip
    if size is not None:
        near = [None if region is None else _alike(region, data) for region in (others, mask)]
        found = Found(data, objects.ids, objects.start, objects.stop, np.array(size))
        objects.detail.update(details(found, groups, *near, within=within_nm))
    chosen = (c for c in COLUMNS if applies[c.needs] and (not c.group or c.group in groups))
    table = pd.DataFrame({column.name: column.values(objects) for column in chosen})
    table.attrs.update(voxel_size=size, shape=data.shape)
    return table


class _Objects:
    """Sums over the voxels of each of n objects.

    Attributes
    ----------
    ids : (n,) uint64 array
    unit : (3,) array
        Size of a voxel in nm, or 1; of a single section 0 along z.
    count : (n,) int64 array
    first, second : (n, 3) and (n, 3, 3) arrays
        Sums of z, y, x and of their products.
    start, stop : (n, 3) int64 array
        Box.
    light, bright, lit : (n,) arrays
        Sum of the finite image values, of their squares, and their number.
    length : (n,) array
        Reach along the longest principal axis, or an axis of the volume, in units.
    spread, axis : (n, 3), (n, 3) array
        Variance along the principal axes, from the smallest, and the direction of the largest one.
    detail : mapping of str to (n,) array
        What was asked for beyond that.
    """

    def __init__(self, data: LazyArray, size: VoxelSize | None, image: Any) -> None:
        self.shape, self.unit, self.ids = data.shape, np.array(size or (1.0, 1.0, 1.0)), _ids(data)
        self.unit[0] *= data.shape[0] > 1
        self.detail = defaultdict[str, npt.NDArray[Any]](lambda: np.zeros(0))  # what no objects have
        n = len(self.ids)
        self.count, self.light, self.bright, self.lit = np.zeros(n, np.int64), np.zeros(n), np.zeros(n), np.zeros(n)
        self.first, self.second = np.zeros((n, 3)), np.zeros((n, 3, 3))
        self.start, self.stop = np.full((n, 3), np.iinfo(np.int64).max), np.zeros((n, 3), np.int64)
        for z, index, where in _slabs(data, self.ids):
            self.count += np.bincount(index, minlength=n)
            for a in range(3):
                np.minimum.at(self.start[:, a], index, where[a])
                np.maximum.at(self.stop[:, a], index, where[a] + 1)
                self.first[:, a] += np.bincount(index, where[a], minlength=n)
                for b in range(a + 1):
                    self.second[:, a, b] += np.bincount(index, where[a] * where[b], minlength=n)
            if image is not None:
                values = _read(image, z)[where[0] - z.start, where[1], where[2]].astype(np.float64)
                good = np.isfinite(values)
                self.light += np.bincount(index[good], values[good], minlength=n)
                self.bright += np.bincount(index[good], values[good] ** 2, minlength=n)
                self.lit += np.bincount(index[good], minlength=n)
        self.spread, self.axis = self._principal()
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        for _, index, where in _slabs(data, self.ids):
            along = sum(w * self.axis[index, k] * self.unit[k] for k, w in enumerate(where))
            np.minimum.at(low, index, along)
            np.maximum.at(high, index, along)
        # Centres of voxels were projected; half a voxel more on both sides reaches the outer faces.
        length = high - low + (np.abs(self.axis) * self.unit).sum(axis=1)
        self.length = np.maximum(length, ((self.stop - self.start) * self.unit).max(axis=1, initial=0))

    def _principal(self) -> tuple[Vectors, Vectors]:
        """Return the spread of each object along its axes in physical space, and the direction of the largest."""
        middle = self.first / self.count[:, None]
        spread = self.second / self.count[:, None, None] - middle[:, :, None] * middle[:, None]
        # Voxels are boxes, not points: an object of one section is as thick as the section. The lower half is read.
        values, vectors = np.linalg.eigh((spread + np.eye(3) / 12) * self.unit[:, None] * self.unit)
        return np.asarray(values), np.asarray(vectors[:, :, -1])


class Column(NamedTuple):
    """A column of the table, and how it is shown.

    Attributes
    ----------
    name : str
    values : callable
        Gives the column, one value for each object.
    needs : {"", "voxel size", "volume", "section", "no voxel size", "image"}
        The column is left out where this is not so; "volume" and "section" need a voxel size, too.
    title : str
        Head of the column on the screen; "" is not shown there.
    tip : str
        What it means.
    factor, digits : float and int
        What is shown is the value times the factor, with so many digits behind the point.
    kind : {"number", "id", "flag"}
    width : int
        At least so many pixels.
    group : str
        What must be asked for: see `measure`.
    """

    name: str
    values: Callable[[_Objects], npt.NDArray[Any]]
    needs: str = ""
    title: str = ""
    tip: str = ""
    factor: float = 1
    digits: int = 0
    kind: str = "number"
    width: int = 90
    group: str = ""


def _ids_shown(o: _Objects) -> npt.NDArray[Any]:
    return o.ids if o.ids.max(initial=0) >= 2**63 else o.ids.astype(np.int64)


def _truncated(o: _Objects) -> npt.NDArray[np.bool_]:
    return np.asarray((((o.start == 0) | (o.stop == o.shape)) & (np.array(o.shape) > 1)).any(axis=1))


def _mean_intensity(o: _Objects) -> Vectors:
    return o.light / np.where(o.lit > 0, o.lit, np.nan)


def _sd_intensity(o: _Objects) -> Vectors:
    lit = np.where(o.lit > 0, o.lit, np.nan)
    return np.sqrt(np.maximum(o.bright / lit - (o.light / lit) ** 2, 0))


def _edge_weight(o: _Objects) -> Vectors:
    """Return one over the chance that an object of this box is seen whole, 0 of those that are not."""
    free = np.array(o.shape) - (o.stop - o.start) - 1
    chance = np.where(np.array(o.shape) > 1, np.maximum(free, 1) / o.shape, 1).prod(axis=1)
    return np.where(_truncated(o), 0, 1 / chance)


def _volume(o: _Objects) -> Vectors:
    return o.count * o.unit.prod()


def _whole_surface(o: _Objects) -> Vectors:
    """Return the surface of objects that are seen whole: the cut is none."""
    return np.where(_truncated(o), np.nan, o.detail["surface"])


def _line(name: str, o: _Objects) -> Vectors:
    """Return what a centre line tells; nothing of slices, cut off above and below: thinned, they are a bush."""
    reach = (o.stop - o.start) * o.unit
    through = (o.start == 0) & (o.stop == o.shape) & (np.array(o.shape) > 1)
    thin = np.stack([reach[:, k] < np.delete(reach, k, axis=1).min(axis=1) for k in range(3)], axis=1)
    return np.where((through & thin).any(axis=1), np.nan, o.detail[name])


def _sphericity(o: _Objects) -> Vectors:
    return np.pi ** (1 / 3) * (6 * _volume(o)) ** (2 / 3) / _whole_surface(o)


def _circularity(o: _Objects) -> Vectors:
    return 4 * np.pi * o.count * o.unit[1:].prod() / _whole_surface(o) ** 2


def _aspect(o: _Objects) -> Vectors:
    return np.sqrt(o.spread[:, 2] / o.spread[:, 0 if o.unit[0] else 1])


def _tilt(o: _Objects) -> Vectors:
    return np.degrees(np.arccos(np.clip(np.abs(o.axis[:, 0]), 0, 1)))


def _azimuth(o: _Objects) -> Vectors:
    return np.degrees(np.arctan2(o.axis[:, 1], o.axis[:, 2])) % 180


def _detail(name: str, o: _Objects, scale: float = 1) -> npt.NDArray[Any]:
    return o.detail[name] * scale if scale != 1 else o.detail[name]


def _middle(axis: int, o: _Objects) -> Vectors:
    return o.first[:, axis] / o.count


def _corner(end: int, axis: int, o: _Objects) -> Counts:
    return (o.start, o.stop)[end][:, axis]


_REACH = "Reach along its longest axis, in "
COLUMNS = (
    Column("id", _ids_shown, title="object", tip="Id of the object", kind="id"),
    Column("volume_um3", lambda o: o.count * (o.unit.prod() / 1e9), "volume", "volume µm³",
           "Volume in cubic micrometres", digits=4, width=100),
    Column("area_um2", lambda o: o.count * (o.unit[1:].prod() / 1e6), "section", "area µm²",
           "Area in square micrometres", digits=4, width=100),
    Column("voxels", lambda o: o.count, title="voxels", tip="Number of voxels"),
    Column("length_nm", lambda o: o.length, "voxel size", "length µm", _REACH + "micrometres", 1e-3, 2),
    Column("length_voxels", lambda o: o.length, "no voxel size", "length vx", _REACH + "voxels", digits=1),
    *(Column(axis, partial(_middle, k), title=axis, tip=f"Middle: {('plane', 'row', 'column')[k]}", width=60)
      for k, axis in enumerate("zyx")),
    *(Column(f"{axis}{end}", partial(_corner, end, k)) for end in (0, 1) for k, axis in enumerate("zyx")),
    Column("truncated", _truncated, title="at border", kind="flag", width=76,
           tip="Whether it touches the border of the volume, so that only a part was seen"),
    Column("edge_weight", _edge_weight),
    Column("mean_intensity", _mean_intensity, "image"),
    Column("sd_intensity", _sd_intensity, "image"),
    *(Column(*rest)._replace(group=group) for group, rows in {
        "shape": (
            ("surface_um2", partial(_detail, "surface", scale=1e-6), "volume", "surface µm²", "Surface", 1, 3),
            ("sphericity", _sphericity, "volume", "sphericity", "1 for a ball, less for all else", 1, 3),
            ("complexity", lambda o: _whole_surface(o) ** 3 / (16 * np.pi**2 * _volume(o) ** 2), "volume",
             "complexity", "Mitochondrial complexity index: 0.72 for a ball, more for all else", 1, 2),
            ("perimeter_nm", partial(_detail, "surface"), "section", "outline µm", "Length of the outline", 1e-3, 3),
            ("circularity", _circularity, "section", "circularity", "1 for a disc, less for all else", 1, 3),
            ("feret_nm", partial(_detail, "feret"), "voxel size", "feret µm", "Largest width", 1e-3, 2),
            ("width_nm", partial(_detail, "narrow"), "voxel size", "width µm", "Smallest width", 1e-3, 2),
            ("aspect_ratio", _aspect, "voxel size", "aspect", "Longest by shortest axis", 1, 2),
            ("tilt_deg", _tilt, "volume", "tilt °", "Angle between its longest axis and z"),
            ("azimuth_deg", _azimuth, "voxel size", "azimuth °", "Direction of its longest axis in the xy plane"),
        ),
        "skeleton": (
            ("skeleton_nm", partial(_line, "line"), "volume", "skeleton µm", "Length along its own line", 1e-3, 2),
            ("branch_points", partial(_line, "branches"), "volume", "forks", "Branch points"),
            ("end_points", partial(_line, "ends"), "volume", "ends", "Ends of its line"),
            ("diameter_nm", partial(_line, "thick"), "volume", "diameter nm", "Mean along its line"),
            ("diameter_min_nm", partial(_line, "thinnest"), "volume"),
            ("diameter_max_nm", partial(_line, "thickest"), "volume"),
        ),
        "neighbours": (
            ("neighbours", partial(_detail, "neighbours"), "voxel size", "neighbours", "Objects in contact"),
            ("contact_um2", partial(_detail, "contact", scale=1e-6), "volume", "contact µm²", "With others", 1, 4),
            ("contact_nm", partial(_detail, "contact"), "section"),
        ),
        "others": (
            ("others", partial(_detail, "others"), "voxel size", "others", "Objects of the second set in contact"),
            ("others_um2", partial(_detail, "touch", scale=1e-6), "volume", "others µm²", "With the second set", 1, 4),
            ("others_contact_nm", partial(_detail, "touch"), "section"),
            ("others_distance_nm", partial(_detail, "others_distance"), "voxel size"),
        ),
        "mask": (
            ("in_mask", partial(_detail, "in_mask"), "voxel size", "inside", "Share inside of the region", 1, 2),
            ("mask_distance_nm", partial(_detail, "mask_distance"), "voxel size", "to region µm", "", 1e-3, 2),
        ),
    }.items() for rest in rows),
)  # fmt: skip
"""What is measured. A new measurement is one more row here; the table on the screen shows what has a title."""


def _labels(labels: AnyLabels | Stack) -> LazyArray:
    """Return the ids, still in their file if they are there."""
    data: LazyArray = labels.data if isinstance(labels, Stack) else integers(labels, "labels")
    if data.dtype.kind not in "bui":
        raise InputError(f"Labels are whole numbers, got dtype {data.dtype}. Open the labels, not the image.")
    if len(data.shape) != 3:
        raise AxesError(f"Labels need 3 axes (z, y, x), got shape {data.shape}. For one plane pass ids[None].")
    return data


GROUPS = {
    "shape": "surface, widths, direction", "skeleton": "centre line, forks, diameter", "neighbours": "contacts",
}  # fmt: skip
"""What `measure` can be asked for beside the columns that are always there, and what is in each."""


def _groups(also: str | Iterable[str], others: bool, mask: bool, known: bool) -> tuple[str, ...]:
    """Return the groups of columns that are wanted."""
    named = GROUPS if also == "all" else (also,) if isinstance(also, str) else tuple(also)
    if unknown := [name for name in named if name not in GROUPS]:
        there = ", ".join(f"{name!r} ({what})" for name, what in GROUPS.items())
        raise InputError(
            f"There is no group of columns {unknown[0]!r}. There are {there}, and 'all'; others= and mask= bring "
            "theirs with them."
        )
    wanted = (*named, *["others"] * others, *["mask"] * mask)
    if wanted and not known:
        raise InputError(
            f"The columns of {', '.join(wanted)} are in nm, and the voxel size is unknown. Give a voxel_size, such as "
            "(30, 5, 5); with 1 the results are in voxels."
        )
    return wanted


def _alike(region: Any, data: LazyArray) -> LazyArray:
    found = _labels(region)
    if tuple(found.shape) != tuple(data.shape):
        raise AxesError(f"A second label set needs the shape of the labels, {data.shape}, got {tuple(found.shape)}.")
    return found


def _voxel_size(labels: Any, stack: Any, given: float | tuple[float, float, float] | None) -> VoxelSize | None:
    """Take the voxel size that was given, else that of the stack, else that of the labels."""
    if given is not None:
        return voxel_size_of(given)
    own, image = (x.voxel_size if isinstance(x, Labels | Stack) else None for x in (labels, stack))
    if said := scale_note(image, own):
        warnings.warn(f"{said} Or give measure a voxel_size.", stacklevel=3)
    return image or own


def _ids(data: LazyArray) -> npt.NDArray[np.uint64]:
    """Return the sorted ids of the objects."""
    found = [fastremap.unique(part) for _, part in _parts(data)]
    ids = np.unique(np.concatenate(found)) if found else np.zeros(0, np.uint64)
    if ids.dtype.kind == "i" and ids.min(initial=0) < 0:
        raise InputError(f"Labels start at 0, got {ids.min()}.")
    return ids[ids > 0].astype(np.uint64)


def _parts(data: LazyArray) -> Iterator[tuple[slice, npt.NDArray[np.generic]]]:
    """Yield some planes at a time: which, and their ids as one block of memory."""
    planes = max(1, _CHUNK // max(1, data.shape[1] * data.shape[2]))
    for z in range(0, data.shape[0], planes):
        part = np.ascontiguousarray(_read(data, slice(z, z + planes)))
        yield slice(z, z + len(part)), part.view(np.uint8) if part.dtype.kind == "b" else part


def _read(data: LazyArray, planes: slice) -> npt.NDArray[np.generic]:
    return read_part(data, (planes, slice(None), slice(None)))


def _slabs(data: LazyArray, ids: npt.NDArray[np.uint64]) -> Iterator[tuple[slice, Counts, list[Counts]]]:
    """Yield for some planes at a time: which, and the index into `ids` and (z, y, x) of each voxel of an object."""
    for planes, part in _parts(data):
        place = np.flatnonzero(part)
        if len(place) == 0:
            continue
        present, number = fastremap.unique(part.ravel()[place], return_inverse=True)
        z, y, x = np.unravel_index(place, part.shape)
        yield planes, np.searchsorted(ids, present.astype(np.uint64))[number], [z + planes.start, y, x]
