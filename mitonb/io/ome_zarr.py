"""Read OME-Zarr, versions 0.4 (zarr 2) and 0.5 (zarr 3), through tensorstore."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tensorstore

from mitonb.errors import AxesError, CorruptFileError, InputError, UnsafeFileError, UnsupportedFormatError
from mitonb.io.axes import Source
from mitonb.io.bounds import check_chunk, guarded, is_zarr, size_text
from mitonb.io.lazy import CACHE_BYTES, Array, native
from mitonb.io.units import nanometres

__all__ = ["labels_inside", "read_zarr"]

LARGEST_METADATA = 2**24


def read_zarr(path: Path, series: int | str | None = None, *, strict: bool = False) -> Source:
    """Open one resolution level of an OME-Zarr image, or a plain zarr array.

    Parameters
    ----------
    path : Path
        Folder of a group or an array.
    series : int, str or None
        Resolution level (0, the finest, by default), or the path of a group or an array inside.
    strict : bool
        Whether a missing block is an error; images read it as the fill value unless mitonb wrote them, because
        other programs leave out blocks that hold nothing else.
    """
    what = path.name
    if isinstance(series, str):
        inner = _inner(path, series, what)
        return read_zarr(inner, strict=strict)
    attributes, version = _attributes(path, what)
    if version is None:  # an array
        return _array(path, {}, what, strict=strict)
    image = _multiscale(attributes, what, path)
    level = _level(image, series, what)
    own = attributes.get("mitonb")
    record = own.get("record") if isinstance(own, Mapping) else None
    complete = isinstance(own, Mapping) and bool(own.get("complete"))
    found = _array(_inner(path, str(level["path"]), what), image, what, strict=strict or complete)
    spacing, notes = _spacing(image, level, found.axes or "")
    return Source(
        found.data, found.axes, spacing, (*found.notes, *notes), f"OME-Zarr {version}", found.chunk_bytes,
        record if isinstance(record, Mapping) else None,
    )  # fmt: skip


def labels_inside(path: Path) -> list[str]:
    """Return the paths of the label images inside an OME-Zarr image."""
    listed: Any = None
    folder = path / "labels"
    if folder.is_dir() and is_zarr(folder):
        attributes, _ = _attributes(folder, path.name)
        listed = attributes.get("labels")
    return [f"labels/{name}" for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _inner(root: Path, name: str, what: str) -> Path:
    """Return a folder inside the group, and refuse names that lead out of it."""
    parts = PurePosixPath(name)
    inner = root.joinpath(*parts.parts)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or not inner.resolve().is_relative_to(root.resolve()):
        raise UnsafeFileError(f"{what} refers to {name!r}, which lies outside of it.")
    if not inner.is_dir():
        near = sorted(e.name for e in os.scandir(root) if e.is_dir())[:8]
        raise InputError(f"{what} has no {name!r} inside; it holds {', '.join(near) or 'nothing'}.")
    return inner


def _json(path: Path, what: str) -> dict[str, Any]:
    """Read a metadata file."""
    if path.stat().st_size > LARGEST_METADATA:
        raise UnsafeFileError(
            f"{what}: {path.name} has {size_text(path.stat().st_size)}; metadata is never that large."
        )
    with guarded(f"{what}, {path.name}"):
        found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, dict):
        raise CorruptFileError(f"{what}: {path.name} is not a JSON object.")
    return found


def _attributes(path: Path, what: str) -> tuple[dict[str, Any], str | None]:
    """Return the attributes of a group and its OME-Zarr version; the version of a bare array is None."""
    if (path / "zarr.json").is_file():
        found = _json(path / "zarr.json", what)
        if found.get("node_type") == "array":
            return {}, None
        attributes = found.get("attributes")
        attributes = attributes if isinstance(attributes, dict) else {}
        ome = attributes.get("ome")
        return attributes | (ome if isinstance(ome, dict) else {}), "0.5"
    if (path / ".zarray").is_file():
        return {}, None
    return (_json(path / ".zattrs", what) if (path / ".zattrs").is_file() else {}), "0.4"


def _multiscale(attributes: Mapping[str, Any], what: str, path: Path) -> Mapping[str, Any]:
    """Return the first multiscale image of a group."""
    images = attributes.get("multiscales")
    if (
        isinstance(images, list)
        and images
        and isinstance(images[0], dict)
        and isinstance(images[0].get("datasets"), list)
    ):
        if images[0]["datasets"]:
            image: Mapping[str, Any] = images[0]
            return image
    inside = [e.name for e in os.scandir(path) if e.is_dir() and is_zarr(Path(e.path))]
    if "plate" in attributes:
        raise UnsupportedFormatError(f"{what} is a plate of wells. Open one image of it, such as series='A/1/0'.")
    listed = ", ".join(f"series={name!r}" for name in sorted(inside)[:8])
    raise InputError(f"{what} is a zarr group without an image." + (f" Inside are: {listed}." if listed else ""))


def _level(image: Mapping[str, Any], series: int | None, what: str) -> Mapping[str, Any]:
    """Return the resolution level that was chosen."""
    levels = [d for d in image["datasets"] if isinstance(d, dict) and isinstance(d.get("path"), str)]
    if not levels:
        raise CorruptFileError(f"{what} lists no resolution level.")
    chosen = 0 if series is None else series
    if not 0 <= chosen < len(levels):
        raise InputError(f"{what} has resolution levels 0 (finest) to {len(levels) - 1}, got series={series!r}.")
    level: Mapping[str, Any] = levels[chosen]
    return level


def _array(path: Path, image: Mapping[str, Any], what: str, *, strict: bool) -> Source:
    """Open one zarr array lazily."""
    third = (path / "zarr.json").is_file()
    if not third and not (path / ".zarray").is_file():
        raise CorruptFileError(f"{what} lacks the array {path.name!r} that it lists.")
    metadata = _json(path / ("zarr.json" if third else ".zarray"), what)
    spec = {
        "driver": "zarr3" if third else "zarr",
        "kvstore": {"driver": "file", "path": f"{path.resolve()}/"},
        "context": {"cache_pool": {"total_bytes_limit": CACHE_BYTES}},
        "fill_missing_data_reads": not strict,
        "recheck_cached_data": "open",
    }
    with guarded(what):
        store = tensorstore.open(spec, open=True, read=True).result()
        dtype = np.dtype(store.dtype.numpy_dtype)
        chunk = math.prod([int(n or 1) for n in store.chunk_layout.read_chunk.shape or ()]) * dtype.itemsize
    check_chunk(chunk, _largest_file(path) if chunk > 2**28 else chunk, what=what)
    return Source(_Blocks(store, dtype, what), _axes(image, metadata, store.rank), kind="zarr", chunk_bytes=chunk)


def _largest_file(folder: Path) -> int:
    """Return the size of the largest of the first thousand block files."""
    sizes = []
    for root, _, files in os.walk(folder):
        sizes += [os.path.getsize(os.path.join(root, name)) for name in files]
        if len(sizes) > 1000:
            break
    return max(sizes, default=0)


class _Blocks:
    """A zarr array as numpy reads it."""

    def __init__(self, store: Any, dtype: np.dtype[Any], what: str) -> None:
        self._store, self._what = store, what
        self.shape: tuple[int, ...] = tuple(int(n) for n in store.shape)
        self.dtype = native(dtype)
        self.blocks = tuple(int(n or 1) for n in store.chunk_layout.read_chunk.shape or (1,) * len(self.shape))

    def __getitem__(self, key: Any, /) -> Array:
        try:
            return np.asarray(self._store[key].read().result())
        except ValueError as error:
            text = str(error)
            if "is missing" in text:
                raise CorruptFileError(
                    f"{self._what} lacks a block ({text[text.find('chunk') :][:80]}). Restore the file from a copy. "
                    "If the program that wrote it leaves empty blocks out, open labels with empty_blocks=True."
                ) from error
            raise CorruptFileError(f"{self._what}: a block is damaged ({' '.join(text.split())[:160]}).") from error


def _axes(image: Mapping[str, Any], metadata: Mapping[str, Any], rank: int) -> str | None:
    """Return the axis letters of an image, from OME axes or zarr 3 dimension names."""
    listed = image.get("axes") or metadata.get("dimension_names")
    if not isinstance(listed, list) or len(listed) != rank:
        return None
    names = [str(a.get("name", "?") if isinstance(a, dict) else a).lower() for a in listed]
    if not {"y", "x"} <= set(names):
        return None
    letters = "".join(n if n in ("t", "c", "z", "y", "x") else "?" for n in names)
    if len(set(letters.replace("?", ""))) != len(letters.replace("?", "")):
        raise AxesError(f"The axes {names} of this file name one axis twice. Name them with axes=.")
    return letters


def _spacing(
    image: Mapping[str, Any], level: Mapping[str, Any], letters: str
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the voxel size in nm by axis letter, where scale and unit are both stated."""
    units = {str(a.get("name")).lower(): a.get("unit") for a in image.get("axes", []) if isinstance(a, dict)}
    factors = np.ones(len(letters))
    for part in (level, image):
        for transform in part.get("coordinateTransformations", None) or []:
            scale = transform.get("scale") if isinstance(transform, dict) else None
            if isinstance(scale, list) and len(scale) == len(letters):
                factors = factors * np.array(scale, float)
    sizes = {c: nanometres(float(f), units.get(c)) for c, f in zip(letters, factors, strict=True) if c in "zyx"}
    known = {c: size for c, size in sizes.items() if size is not None}
    if not known and (factors != 1).any():
        return {}, ("The file gives a scale but no unit: the voxel size stays unknown.",)
    return known, ()
