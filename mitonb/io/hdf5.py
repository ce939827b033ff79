"""HDF5 volumes, where h5py is installed: one dataset of one file, never anything outside of it."""

from __future__ import annotations

import contextlib
import importlib
import math
import re
import struct
import threading
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.errors import InputError, UnsafeFileError, UnsupportedFormatError
from mitonb.io.axes import Source, name_axes
from mitonb.io.bounds import check_chunk, check_declared, check_stored, guarded, size_text
from mitonb.io.conventions import axes_of, plain, spacing_along, spacing_of
from mitonb.io.lazy import Array, blocks_of, native
from mitonb.memory import memory_budget

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_hdf5"]

MOST_DATASETS = 10_000
MOST_COORDINATES = 2**22
LARGEST_DEFLATED = 1032  # bytes that one byte of gzip can become
NEAR_ENDS = 2**24
LONGEST_TEXT = 2**24
DAMAGED = "The texts in its attributes are damaged: axes and voxel size are not read from them."
BUILT_IN_FILTERS = {1, 2, 3, 4, 5, 6, 32000}


def read_hdf5(path: Path, series: str | None = None) -> Source:
    """Open one dataset of an HDF5 file lazily.

    Raises
    ------
    UnsupportedFormatError
        If h5py is not installed, or the dataset needs a plug-in.
    UnsafeFileError
        If its voxels lie in other files.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        raise UnsupportedFormatError(f"{path.name} is HDF5, which needs h5py: pip install h5py.") from None
    what = path.name
    with guarded(what), h5py.File(path, "r") as file:
        dataset = file[_chosen(file, series, what, h5py)]
        _check(dataset, path, what)
        chunk = math.prod(dataset.chunks or (1,)) * dataset.dtype.itemsize
        data = _Dataset(dataset, path, h5py)
        attributes, damaged = _attributes(dataset) if _whole_texts(path) else ({}, (DAMAGED,))
        names, scales = _dimensions(dataset, attributes)
        letters, notes = _axes(names, attributes)
        spacing, more = _spacing(scales, attributes, letters or "zyx"[-len(data.shape) :])
    return Source(data, letters, spacing, (*damaged, *notes, *more), "HDF5", chunk)


def _chosen(file: Any, series: object, what: str, h5py: Any) -> str:
    """Return the dataset to read: the one that is named, or the only one with two or more axes."""
    if series is not None:
        if not isinstance(series, str) or not _plain(file, series, h5py):
            raise InputError(
                f"{what} has no dataset {series!r} of its own; it holds {', '.join(_listed(file, h5py)[:8])}."
            )
        return series
    names = _listed(file, h5py)
    if len(names) != 1:
        held = f"{len(names)} images ({', '.join(names[:8])})" if names else "no image"
        raise InputError(f"{what} holds {held}. Choose one with series='name'.")
    return names[0]


def _plain(file: Any, name: str, h5py: Any) -> bool:
    """Return whether a name leads to a dataset through this file's own groups only, by no link out of it."""
    group: Any = file
    for part in name.strip("/").split("/"):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            return False
        group = group[part]
    return isinstance(group, h5py.Dataset)


def _listed(file: Any, h5py: Any) -> list[str]:
    """Return the names of the datasets with two or more axes; links are not followed."""
    names: list[str] = []

    def visit(name: str, node: Any) -> bool | None:
        if isinstance(node, h5py.Dataset) and len(node.shape or ()) >= 2 and node.dtype.kind in "buifc":
            names.append(name)
        return True if len(names) >= MOST_DATASETS else None

    file.visititems(visit)
    return sorted(names)


def _check(dataset: Any, path: Path, what: str) -> None:
    """Refuse voxels in other files, unknown filters, and sizes that the file cannot hold."""
    if dataset.external or dataset.is_virtual:
        raise UnsafeFileError(f"{what} keeps its voxels in other files. Export the volume into one file.")
    plist = dataset.id.get_create_plist()
    filters = {plist.get_filter(k)[0] for k in range(plist.get_nfilters())}
    unpacking = [plist.get_filter(k)[0] for k in range(plist.get_nfilters()) if plist.get_filter(k)[0] not in (2, 3)]
    if len(unpacking) > 1:
        raise UnsafeFileError(f"{what} is compressed {len(unpacking)} times over. Save it with gzip once.")
    if filters - BUILT_IN_FILTERS:
        raise UnsupportedFormatError(f"{what} is compressed by a plug-in (filter {max(filters)}). Save it with gzip.")
    declared, stored = dataset.size * dataset.dtype.itemsize, path.stat().st_size
    held = dataset.id.get_storage_size()
    if held > stored:
        raise InputError(
            f"{what} is truncated: it declares {size_text(held)}, but has {size_text(stored)}. Copy it again."
        )
    if held:
        check_declared(declared, held, what=what, compressed=True)
    if dataset.chunks:
        check_chunk(math.prod(dataset.chunks) * dataset.dtype.itemsize, stored, what=what)


class _Dataset:
    """An HDF5 dataset as numpy reads it.

    The file is open during a read only: HDF5 locks it, and would give what it remembers of an open one to whoever opens
    it again after another program has written it.
    """

    def __init__(self, dataset: Any, path: Path, h5py: Any) -> None:
        self._path, self._name, self._what, self._h5py = path, dataset.name, path.name, h5py
        self._lock = threading.RLock()
        self.shape: tuple[int, ...] = tuple(int(n) for n in dataset.shape)
        self.dtype = native(dataset.dtype)

    def __getitem__(self, key: Any, /) -> Array:
        with self._lock, guarded(self._what), self._h5py.File(self._path, "r") as file:
            dataset = file[self._name]
            self._check_blocks(dataset, key)
            return np.asarray(dataset[key]).astype(self.dtype, copy=False)

    def _check_blocks(self, dataset: Any, key: Any) -> None:
        """Refuse blocks that would unpack to more than their voxels: HDF5 makes room for whatever comes out."""
        sides = dataset.chunks
        if not sides:
            return
        decoded = math.prod(sides) * dataset.dtype.itemsize
        room = memory_budget().bytes
        for index in blocks_of(key, self.shape, sides, self._what):
            corner = tuple(i * n for i, n in zip(index, sides, strict=True))
            stored = dataset.id.get_chunk_info_by_coord(corner).size
            check_stored(stored, decoded, what=self._what)
            if dataset.compression == "gzip" and stored * LARGEST_DEFLATED > room:
                unpacked = zlib.decompressobj()
                unpacked.decompress(dataset.id.read_direct_chunk(corner)[1], decoded)
                check_stored(len(unpacked.unconsumed_tail) * LARGEST_DEFLATED, 2**16, what=self._what)


def _attributes(dataset: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the attributes of a dataset, and of the groups that it lies in those that it has not itself."""
    found: dict[str, Any] = {}
    damaged: list[str] = []
    for node in (dataset, *_groups(dataset)):
        for name in list(node.attrs)[:1000]:
            if name in found or (node is not dataset and name in ("offset", "axes")):
                continue
            try:
                found[name] = node.attrs[name] if node.attrs.get_id(name).get_storage_size() < 2**20 else None
            except Exception:  # whatever a damaged attribute raises: its voxels may be whole
                damaged.append(name)
    notes = (f"Attributes that cannot be read: {', '.join(damaged)[:80]}.",) if damaged else ()
    return found, notes


def _whole_texts(path: Path) -> bool:
    """Return whether the heaps that texts of attributes lie in can be walked: HDF5 never ends on one that cannot.

    They are written with the first attributes or the last, near the start or the end of a file.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(NEAR_ENDS)
        file.seek(max(len(start), size - NEAR_ENDS))
        skipped = file.tell() - len(start)
        data = start + file.read(NEAR_ENDS)
    for heap in re.finditer(rb"GCOL\x01\0\0\0(.{8})", data, re.DOTALL):
        at, end = heap.end(), heap.start() + int.from_bytes(heap[1], "little")
        while at + 16 <= min(end, len(data)):
            index, length = struct.unpack_from("<H6xQ", data, at)
            taken = 16 + (length + 7) // 8 * 8 if index else length
            if not 0 < taken <= end - at:
                return False
            at += taken
        place = heap.start() + (skipped if heap.start() >= len(start) else 0)
        for text in re.finditer(re.escape(struct.pack("<Q", place)), data):
            # The library makes room for as many letters as are declared before it looks for them.
            if int.from_bytes(data[max(0, text.start() - 4) : text.start()], "little") > LONGEST_TEXT:
                return False
    return True


def _groups(dataset: Any) -> list[Any]:
    """Return the groups that a dataset lies in, the nearest first."""
    groups = [dataset.parent]
    while groups[-1].name != "/" and len(groups) < 16:
        groups.append(groups[-1].parent)
    return groups


def _dimensions(dataset: Any, attributes: dict[str, Any]) -> tuple[list[str], list[Any]]:
    """Return the name of each axis and the dataset of its coordinates, where there are some.

    Both are read out of the attributes: the library's own functions for them crash on damaged ones.
    """
    names = plain(attributes.get("DIMENSION_LABELS"))
    names = [str(name) for name in names] if isinstance(names, list) else []
    names += [""] * (dataset.ndim - len(names))
    scales: list[Any] = [None] * dataset.ndim
    for axis, references in enumerate(np.atleast_1d(attributes.get("DIMENSION_LIST", ()))[: dataset.ndim]):
        with contextlib.suppress(Exception):  # a reference to nowhere names nothing
            scale = dataset.file[references[0]]
            called = str(plain(scale.attrs.get("NAME", b"")))
            # netCDF writes a sentence there.
            names[axis] = names[axis] or (called if 0 < len(called) < 32 else scale.name.rpartition("/")[2])
            scales[axis] = scale if scale.shape == dataset.shape[axis : axis + 1] else None
    return names, scales


def _axes(names: list[str], attributes: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Return the axis letters that names of dimensions or attributes state."""
    letters, notes = name_axes(names)
    return (letters, notes) if letters else axes_of(attributes, len(names))


def _spacing(scales: list[Any], attributes: dict[str, Any], letters: str) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the voxel size that attributes or coordinates of dimensions state."""
    # Files of the N5 programs count x first, also in HDF5.
    x_first = any(name in attributes for name in ("painteraData", "downsamplingFactors", "n5"))
    spacing, notes = spacing_of(attributes, letters, x_first=x_first)
    found = {
        letter: (scale[:], scale.attrs.get("units", scale.attrs.get("unit")))
        for letter, scale in zip(letters, scales, strict=False)
        if letter not in spacing and scale is not None and scale.size < MOST_COORDINATES
    }
    along, more = spacing_along(found)
    return {**along, **spacing}, (*notes, *more)
