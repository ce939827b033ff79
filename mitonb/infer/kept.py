"""Kept maps: what the net said about a stack, in one Zarr group, for thresholds that move without running it again."""

import json
import math
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mitonb.box import Region
from mitonb.errors import CorruptFileError, InputError
from mitonb.files import atomic_write, explain_disk
from mitonb.io.limits import size_text
from mitonb.io.zarr import scratch_array
from mitonb.maps import FLOATS, Maps
from mitonb.stack import AXES, Axis, checked_axis, checked_plane

IN_MEMORY = 256 << 20  # bytes of one axis
VOLUME: Literal["zyx"] = "zyx"
"""In place of an axis: the maps of a 3-D net, which are one block for the whole stack, with index 0."""

FORMAT, VERSION = "mitonb-kept-maps", 2
HEADER = ".zattrs"
_CHUNK = 64
_MOST = 1 << 20
"""Planes of a volume that lie in one file."""


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
    for end in range(len(rows) - 1, 0, -1):  # sorted by pairs: far quicker than numpy's partition
        for k in range(end):
            rows[k], rows[k + 1] = np.minimum(rows[k], rows[k + 1]), np.maximum(rows[k], rows[k + 1])
    low, high = rows[(len(rows) - 1) // 2], rows[len(rows) // 2]
    return high if low is high else ((low.astype(np.uint16) + high + 1) >> 1).astype(np.uint8)


class KeptMaps:
    """Maps of the planes of one stack, or of all of it by a 3-D net, in memory or in files.

    The semantic maps are kept as the net made them (uint8), not after the median over planes, so that the median can
    change too. There is an array for each head and direction, with a plane a chunk, and a table of what is there.

    Parameters
    ----------
    shape : tuple of int, optional
        (z, y, x) of the stack in voxels; a run that fills the maps sets it.
    folder : path, optional
        Keep the maps in files there, where they stay: another process that names the folder goes on with them.
        "memory" keeps them in memory; "auto" keeps up to 256 MB of an axis in memory, and more in a temporary folder
        that goes when this object goes.

    Attributes
    ----------
    about : dict
        What a run says about its image, for the labels that are decoded from the maps: voxel_size, name, record,
        classes, scale.

    Raises
    ------
    InputError
        If the folder holds something else.
    CorruptFileError
        If its header is damaged.

    Examples
    --------
    ``mn.segment(stack, recipe, kept=KeptMaps(folder="cell-maps"))``, and on another day
    ``mn.redecode(KeptMaps(folder="cell-maps"), recipe.replace(center_threshold=0.2))``
    """

    def __init__(self, shape: tuple[int, int, int] | None = None, folder: str | Path = "auto") -> None:
        self.about: dict[str, Any] = {}
        self.key: Any = None
        """What the maps depend on besides pixels, as it was claimed."""
        self.region: Region | None = None
        """The part of the stack that the maps are about; None is all of it."""
        self.folder = None if folder in ("auto", "memory") else Path(folder).expanduser()
        """Where the files are, if there are any."""
        self.on_disk = self.folder is not None
        """Whether all maps are in files, in a folder that the user named."""
        self._shape = shape
        self._in_memory = folder == "memory"
        self._axes: dict[str, _Group] = {}
        if self.folder is not None:
            self._reopen(self.folder)

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

    @property
    def nbytes(self) -> int:
        """Size of the maps in bytes, in memory or on disk."""
        return sum(group.nbytes for group in list(self._axes.values()))  # a copy: a job may put planes meanwhile

    def put(self, axis: Axis | Literal["zyx"], index: int, maps: Maps, digest: bytes = b"") -> None:
        """Keep the maps of one plane, or of the whole stack, in their kept form.

        Parameters
        ----------
        digest : bytes
            What identifies the pixels of the plane (`mitonb.io.record.plane_digest`, 32 bytes), where they are known.

        Raises
        ------
        InputError
            If there is no such plane, the maps have another size, or the disk is full or refuses.
        """
        self._check(axis, index)
        want = self.shape if axis == VOLUME else plane_shape(self.shape, axis)
        if maps.shape != want:
            raise InputError(f"The {axis} planes of this stack are {want} pixels, got maps of {maps.shape}.")
        kept = maps.kept()
        with self._saying():
            if axis not in self._axes:
                self._axes[axis] = self._made(axis, kept)
            self._axes[axis].put(index, kept, digest)

    def get(self, axis: Axis | Literal["zyx"], index: int) -> Maps:
        """Return the maps of one plane, or of the whole stack, as the net made them.

        Raises
        ------
        InputError
            If the net has not run on this plane.
        CorruptFileError
            If a file was changed or cut off.
        """
        self._check(axis, index)
        if not self.has(axis, index):
            raise InputError(f"The network has not run on {axis} plane {index} yet. Predict it, then decode.")
        return self._axes[axis].get(index)

    def has(self, axis: Axis | Literal["zyx"], index: int) -> bool:
        """Return whether the maps of this plane are kept."""
        return axis in self._axes and self._axes[axis].has(index)

    def digest(self, axis: Axis | Literal["zyx"], index: int) -> bytes:
        """Return what identifies the pixels that the maps of a plane are of; empty where that is not known."""
        return self._axes[axis].digest(index) if axis in self._axes else b""

    def count(self, axis: Axis | Literal["zyx"]) -> int:
        """Return how many planes of an axis are kept."""
        return sum(self.has(axis, i) for i in range(self._planes(axis)))

    def plane(self, axis: Axis, index: int, median: int = 1) -> Maps:
        """Return the maps of one plane, its semantic map after the median over neighbouring planes.

        Of a 3-D net, it is cut out of the volume: heads at full resolution alone, and there is no median.

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
        if self.has(VOLUME, 0):
            return _cut(self.get(VOLUME, 0), axis, index)
        maps = self.get(axis, index)
        reach = median // 2
        around = range(max(0, index - reach), min(self.shape[AXES[axis]], index + reach + 1))
        there = [i for i in around if self.has(axis, i) and (self.region is None or self.region.touches(axis, i))]
        window = [maps.semantic if i == index else self._axes[axis].head("semantic", i) for i in there]
        return maps if len(window) < 2 else maps.replace(semantic=median_planes(window))

    def sections(self, axis: Axis = "xy") -> Callable[[int], Maps | None]:
        """Return what gives the maps of a plane as the net made them, and None where it has not run on one."""
        if self.has(VOLUME, 0):
            whole = self.get(VOLUME, 0)  # read once
            return lambda index: _cut(whole, axis, index)
        return lambda index: self.get(axis, index) if self.has(axis, index) else None

    def drop(self, axis: Axis | Literal["zyx"], index: int) -> None:
        """Forget the maps of one plane."""
        if self.has(axis, index):
            with self._saying():
                self._axes[axis].drop(index)

    def clear(self) -> None:
        """Forget all maps, and what a run has said about them; files go."""
        self._axes = {}
        self.about = {}
        if self.folder is not None and self.folder.is_dir():
            for axis in (*AXES, VOLUME):
                shutil.rmtree(self.folder / axis, ignore_errors=True)
            for name in (".zgroup", HEADER):
                (self.folder / name).unlink(missing_ok=True)

    def claim(self, shape: tuple[int, int, int], key: Any, region: Region | None = None) -> None:
        """Say which image and net the maps are of; those of another one are forgotten. JSON can write the key.

        Planes that a region does not touch hold nothing, and count for no median.

        Raises
        ------
        InputError
            If they are in a folder that the user named, and of another image or net: they may have cost hours.
        """
        described = None if region is None else region.to_json()
        key = json.loads(json.dumps(key if described is None else {**key, "region": described}))
        if self.key == key and self._shape == shape:
            return
        if self.on_disk and self._axes:
            changes = differences({"shape": self._shape, "net": self.key}, {"shape": shape, "net": key})
            raise InputError(
                f"The maps in {self.folder} are of another run: {changes}. Give another folder, or clear() these maps "
                "first."
            )
        self.clear()
        self.key, self._shape, self.region = key, shape, region
        if described is not None:
            self.about["region"] = described

    def tell(self, **about: Any) -> None:
        """Say what a run knows about its image; it is kept beside the maps.

        Raises
        ------
        InputError
            If the disk is full or refuses.
        """
        self.about.update(about)
        if self.folder is not None and self._axes:
            with self._saying():
                self._write_header(self.folder)

    def _planes(self, axis: Axis | Literal["zyx"]) -> int:
        return 1 if axis == VOLUME else self.shape[AXES[checked_axis(axis)]]

    def _check(self, axis: Axis | Literal["zyx"], index: int) -> None:
        checked_plane(index, self._planes(axis), axis)  # type: ignore[arg-type]

    def _made(self, axis: Axis | Literal["zyx"], maps: Maps) -> "_Group":
        """Return the group of a direction whose first maps come, in memory or in files."""
        form, count = _form_of(maps), self._planes(axis)
        whole = maps.nbytes * count
        if not self.on_disk and (self._in_memory or whole <= IN_MEMORY):
            return _Group(None, axis, count, form)
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="mitonb-maps-"))
            weakref.finalize(self, shutil.rmtree, str(self.folder), ignore_errors=True)
        self.folder.mkdir(exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if whole > free:  # after the first plane instead of the last that fits
            raise InputError(
                f"The maps need {size_text(whole)} for each direction, and the disk of {self.folder} has "
                f"{size_text(free)} free. Free some space. {self._advice}"
            )
        group = _Group(self.folder, axis, count, form)
        self._write_header(self.folder, {axis: form})
        return group

    def _saying(self) -> AbstractContextManager[None]:
        """Say in words what a disk refuses: it is full, or a file is larger than it takes."""
        folder = self.folder or Path(tempfile.gettempdir())
        return explain_disk(f"Maps cannot be kept in {folder}", folder, self._advice)

    @property
    def _advice(self) -> str:
        if self.on_disk:
            return "Maps of the planes that were kept so far are whole: run again to go on from them."
        return "Or let the variable TMPDIR name a folder with more room, or keep no maps."

    def _write_header(self, folder: Path, more: Mapping[str, Any] | None = None) -> None:
        axes = {**{axis: group.form for axis, group in self._axes.items()}, **(more or {})}
        header = {"format": FORMAT, "version": VERSION, "shape": self.shape, "key": self.key, "about": self.about}
        for name, values in ((".zgroup", {"zarr_format": 2}), (HEADER, {**header, "axes": axes})):
            with atomic_write(folder / name) as temporary:
                temporary.write_text(json.dumps(values, indent=1), "utf-8")

    def _reopen(self, folder: Path) -> None:
        found = _read_header(folder)
        if found is None:
            if not folder.parent.is_dir():
                raise InputError(f"The folder {folder.parent} does not exist. Create it first.")
            return
        z, y, x = found["shape"]
        if self._shape is not None and self._shape != (z, y, x):
            raise InputError(f"The maps in {folder} are of a stack of {(z, y, x)} voxels, not of {self._shape}.")
        self._shape = (z, y, x)
        self.key, self.about = found.get("key"), dict(found.get("about") or {})
        if "region" in self.about:
            self.region = Region.from_json(self.about["region"])
        for axis, form in found["axes"].items():
            try:
                self._axes[axis] = _Group(folder, axis, self._planes(axis), form)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                reason = " ".join(str(error).split())[:160]
                raise CorruptFileError(
                    f"{folder / HEADER} or the {axis} maps are damaged ({reason}). Delete the folder and segment again."
                ) from error


class _Group:
    """The maps of all planes of one direction: an array for each head, and a table of which planes are there.

    Parameters
    ----------
    folder : path or None
        Where the group of all directions is; None is memory.
    axis : str
        Name of this one.
    count : int
        Planes.
    form : mapping
        `heads` with their shapes, and the rest of what `Maps` is made of; see `_form_of`.
    """

    def __init__(self, folder: Path | None, axis: str, count: int, form: Mapping[str, Any]) -> None:
        self.form = dict(form)
        self._names = list(form["heads"])
        self._where = f"{axis} plane {{}} of the maps in {folder}"

        def opened(name: str, dtype: str, shape: Sequence[int], chunks: Sequence[int]) -> Any:
            # What a crash of the machine leaves undone, the checksums find.
            return scratch_array(folder and folder / axis / name, shape, dtype, chunks)

        self._heads = {
            name: opened(name, "<f2" if name in FLOATS else "|u1", [count, *shape], [1, *_chunk(shape)])
            for name, shape in form["heads"].items()
        }
        # there (0 or 1), 32 bytes of what identifies the pixels, and a checksum for each head
        width = 9 + len(self._names)
        self._stored = opened("planes", "<u4", [count, width], [count, width])
        self._table = np.ascontiguousarray(self._stored.read().result())
        self._bytes = sum(head.dtype.numpy_dtype.itemsize * math.prod(head.shape[1:]) for head in self._heads.values())

    @property
    def nbytes(self) -> int:
        """Bytes of the planes that are there."""
        return int(self._bytes * self._table[:, 0].sum(dtype=np.int64))

    def has(self, index: int) -> bool:
        """Return whether the maps of a plane are there."""
        return bool(self._table[index, 0])

    def digest(self, index: int) -> bytes:
        """Return what identifies the pixels that the maps of a plane are of; empty where that is not known."""
        row = self._table[index, 1:9]
        return row.tobytes() if row.any() else b""

    def put(self, index: int, maps: Maps, digest: bytes) -> None:
        """Write the maps of a plane, which are in their kept form; until all is written, none are there."""
        if _form_of(maps) != self.form:
            raise InputError("These maps have other heads than those that are kept already. Clear those first.")
        if self.has(index):
            self._mark(index, 0)
        parts = [np.ascontiguousarray(maps[name]) for name in self._names]
        for future in [self._heads[name][index].write(a) for name, a in zip(self._names, parts, strict=True)]:
            future.result()
        sums = [zlib.crc32(part.data) for part in parts]
        self._mark(index, [1, *np.frombuffer(digest.ljust(32, b"\0"), "<u4"), *sums])

    def drop(self, index: int) -> None:
        """Forget a plane; what is zero takes no room."""
        self._mark(index, 0)
        for head in self._heads.values():
            head[index].write(0).result()

    def head(self, name: str, index: int) -> npt.NDArray[Any]:
        """Return one head of a plane.

        Raises
        ------
        CorruptFileError
            If it is not what was written.
        """
        k = 9 + self._names.index(name)
        try:
            found: npt.NDArray[Any] = np.ascontiguousarray(self._heads[name][index].read().result())
            good = zlib.crc32(found.data) == self._table[index, k]
        except ValueError:  # a chunk that was cut off
            good = False
        if not good:
            raise CorruptFileError(f"{self._where.format(index)} was read back changed. Delete it and segment again.")
        return found

    def get(self, index: int) -> Maps:
        """Return the maps of a plane."""
        heads = {name: self.head(name, index) for name in self._names}
        return Maps(heads, self.form["output_stride"], self.form["pixel_offset"], tuple(self.form["beyond"]))

    def _mark(self, index: int, row: Any) -> None:
        self._table[index] = row
        self._stored.write(self._table).result()


def _form_of(maps: Maps) -> dict[str, Any]:
    """Return what all planes of a direction have in common; JSON can write it."""
    return {
        "heads": {name: list(head.shape) for name, head in maps.heads.items()},
        "output_stride": maps.output_stride, "pixel_offset": float(maps.pixel_offset), "beyond": list(maps.beyond),
    }  # fmt: skip


def _chunk(shape: Sequence[int]) -> list[int]:
    """Return how much of a head lies in one file: a whole plane, or some planes of a volume."""
    return [*shape[:-3], min(_CHUNK, shape[-3]), *shape[-2:]] if len(shape) == 4 else list(shape)


def _cut(maps: Maps, axis: Axis, index: int) -> Maps:
    """Return a plane of the maps of a volume: its heads at full resolution."""
    k = AXES[axis] + 1
    return Maps({name: head.take(index, k) for name, head in maps.heads.items() if head.shape[1:] == maps.shape})


def _read_header(folder: Path) -> dict[str, Any] | None:
    """Return the header of a folder of kept maps; None where there are none yet."""
    path = folder / HEADER
    if (folder / "maps.json").exists():
        raise InputError(f"The maps in {folder} were kept by version 0.1, in another form. Give another folder.")
    if not path.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} holds other things than kept maps. Give a new or an empty folder.")
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        z, y, x = found["shape"]
        good = found["format"] == FORMAT and found["version"] == VERSION
        # No stack is larger; the table of its planes is read as a whole.
        good = good and all(type(n) is int and 0 < n <= _MOST for n in (z, y, x))
        good = good and set(found["axes"]) <= {*AXES, VOLUME}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{path} is damaged ({error}). Delete the folder and segment again.") from error
    if not good:
        raise CorruptFileError(f"{path} is not a header of kept maps of this version. Choose another folder.")
    return dict(found)


def differences(old: Any, new: Any, name: str = "") -> str:
    """Name what two descriptions of runs differ in, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [differences(old.get(k), new.get(k), f"{name}.{k}" if name else k) for k in sorted({*old, *new})]
        return ", ".join(filter(None, parts))
    texts = [text if len(text := str(value)) < 40 else f"{text[:20]}..." for value in (old, new)]
    return "" if old == new else f"{name} (was {texts[0]}, is {texts[1]})"
