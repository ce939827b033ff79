"""HDF5 volumes, where h5py is installed: one dataset of one file, never anything outside of it."""

from __future__ import annotations

import importlib
import math
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.errors import InputError, UnsafeFileError, UnsupportedFormatError
from mitonb.io.axes import Source
from mitonb.io.bounds import check_chunk, check_declared, guarded, size_text
from mitonb.io.lazy import Array, native

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_hdf5"]

MOST_DATASETS = 10_000
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
    with guarded(what):
        file = h5py.File(path, "r")
        try:
            name = _chosen(file, series, what, h5py)
            dataset = file[name]
            _check(dataset, path, what)
        except BaseException:
            file.close()
            raise
    chunk = math.prod(dataset.chunks or (1,)) * dataset.dtype.itemsize
    return Source(_Dataset(dataset, what), _axes(dataset), _spacing(dataset), kind="HDF5", chunk_bytes=chunk)


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
    """An HDF5 dataset as numpy reads it; the file stays open as long as this is used."""

    def __init__(self, dataset: Any, what: str) -> None:
        self._dataset, self._what = dataset, what
        self._lock = threading.RLock()
        self.shape: tuple[int, ...] = tuple(int(n) for n in dataset.shape)
        self.dtype = native(dataset.dtype)
        weakref.finalize(self, dataset.file.close)

    def __getitem__(self, key: Any, /) -> Array:
        with self._lock, guarded(self._what):
            return np.asarray(self._dataset[key]).astype(self.dtype, copy=False)


def _axes(dataset: Any) -> str | None:
    """Return the axis letters that dimension labels state."""
    labels = [str(d.label).lower() for d in dataset.dims]
    known = len(set(labels)) == len(labels) and all(n in ("t", "c", "z", "y", "x") for n in labels)
    return "".join(labels) if known and {"y", "x"} <= set(labels) else None


def _spacing(dataset: Any) -> dict[str, float]:
    """Return the voxel size that the attribute element_size_um states, (z, y, x)."""
    value = dataset.attrs.get("element_size_um")
    if not isinstance(value, np.ndarray) or value.size < 3 or value.dtype.kind not in "iuf":
        return {}
    return {axis: float(v) * 1000 for axis, v in zip("zyx", value.ravel()[-3:], strict=True) if v > 0}
