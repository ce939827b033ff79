"""Write OME-Zarr 0.4 (zarr 2) and 0.5 (zarr 3): a pyramid of levels, every block on disk."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore

from mitonb.errors import InputError
from mitonb.io.lazy import Array, native

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mitonb.io.writing import Saving

__all__ = ["create", "finishing", "reopened", "write"]

BLOCK = (16, 256, 256)
SMALLEST = 128
MOST_LEVELS = 8


def write(path: Path, saving: Saving, version: str) -> None:
    """Write a volume with its lower resolutions.

    Images are averaged 2 x 2 (2 x 2 x 2 where planes are not much thicker than pixels); labels take every
    second voxel, so that no id is invented. Every block is stored, also those of zeros, so that a lost one shows.

    Raises
    ------
    InputError
        If the version is not 0.4 or 0.5.
    """
    if version not in ("0.4", "0.5"):
        raise InputError(f"OME-Zarr is written as version '0.4' or '0.5', got {version!r}.")
    path.mkdir()
    store = create(path / "0", saving.shape, native(saving.data.dtype), version)
    for _ in _fill(store, saving.data):
        pass
    for _ in finishing(path, store, saving, saving.record, version):
        pass


def finishing(
    path: Path, level: Any, saving: Saving, record: Mapping[str, Any] | None, version: str = "0.4"
) -> Iterator[int]:
    """Write all but the finest level of a volume, which is there; yield after each row of blocks."""
    factors = _factors(saving)
    for k, (above, below) in enumerate(itertools.pairwise(factors), 1):
        step = tuple(b // a for a, b in zip(above, below, strict=True))
        half = _Halved(level, step, labels=saving.labels)
        level = create(path / str(k), half.shape, half.dtype, version)
        yield from _fill(level, half)
    _write_metadata(path, saving, factors, version, record)


def _factors(saving: Saving) -> list[tuple[int, int, int]]:
    """Return how much each level is reduced along z, y and x; at least two levels where there is room."""
    z, y, x = saving.voxel_size or (1.0, 1.0, 1.0)
    factors, now = [(1, 1, 1)], np.array(saving.shape)
    spacing = np.array([z, y, x])
    while len(factors) < MOST_LEVELS and now[1:].max() > (1 if len(factors) == 1 else SMALLEST):
        step = np.where((now > 1) & (spacing < 2 * spacing[1:].min()), 2, 1)
        if (step == 1).all():
            break
        now, spacing = -(-now // step), spacing * step
        a, b, c = (int(f * s) for f, s in zip(factors[-1], step, strict=True))
        factors.append((a, b, c))
    return factors


def create(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], version: str) -> Any:
    """Create one array."""
    block = [min(n, b) for n, b in zip(shape, BLOCK, strict=True)]
    blosc = {"cname": "zstd", "clevel": 5}
    spec: dict[str, Any] = {
        "kvstore": {"driver": "file", "path": f"{path.resolve()}/"},
        "store_data_equal_to_fill_value": True,
        # The whole folder is synced once before it is renamed; a sync for every block is four times slower.
        "context": {"file_io_sync": False},
    }
    if version == "0.4":
        compressor = {"id": "blosc", "shuffle": 1, **blosc}
        spec |= {
            "driver": "zarr",
            "metadata": {
                "shape": list(shape), "chunks": block, "dtype": dtype.newbyteorder("<").str, "compressor": compressor,
                "dimension_separator": "/", "fill_value": False if dtype.kind == "b" else 0,
            },
        }  # fmt: skip
    else:
        shuffle = {"shuffle": "shuffle", "typesize": dtype.itemsize}
        codecs: list[dict[str, Any]] = [
            {"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"},
            {"name": "blosc", "configuration": {**blosc, **shuffle, "blocksize": 0}},
        ]
        spec |= {
            "driver": "zarr3",
            "metadata": {
                "shape": list(shape), "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": block}},
                "chunk_key_encoding": {"name": "default"}, "data_type": dtype.name, "codecs": codecs,
                "dimension_names": ["z", "y", "x"], "fill_value": False if dtype.kind == "b" else 0,
            },
        }  # fmt: skip
    return tensorstore.open(spec, create=True).result()


def reopened(path: Path) -> Any:
    """Open the finest level of what was written, to compare it: every block is read from the disk, and none is kept."""
    return tensorstore.open({"driver": "zarr", "kvstore": {"driver": "file", "path": f"{(path / '0').resolve()}/"},
                             "fill_missing_data_reads": False}, open=True, read=True).result()  # fmt: skip


def _fill(store: Any, level: Any) -> Iterator[int]:
    """Copy a level into its array, a row of blocks at a time; yield the planes that are done."""
    for start in range(0, store.shape[0], BLOCK[0]):
        stop = min(start + BLOCK[0], store.shape[0])
        store[start:stop].write(np.ascontiguousarray(level[start:stop])).result()
        yield stop


class _Halved:
    """A level at reduced resolution, computed from the one above as it is written."""

    def __init__(self, above: Any, step: tuple[int, ...], *, labels: bool) -> None:
        self._above, self._step, self._labels = above, step, labels
        self.dtype = np.dtype(above.dtype.numpy_dtype)
        self.shape = tuple(-(-int(n) // s) for n, s in zip(above.shape, step, strict=True))

    def __getitem__(self, key: slice) -> Array:
        a, b = key.start * self._step[0], min(key.stop * self._step[0], self._above.shape[0])
        data = np.asarray(self._above[a:b].read().result())
        if self._labels or self.dtype.kind == "b":
            return data[tuple(slice(None, None, s) for s in self._step)]
        for axis, step in enumerate(self._step):
            if step > 1:
                data = _pairs(data, axis)
        return data


def _pairs(data: Array, axis: int) -> Array:
    """Average neighbours along an axis; an odd one out stays as it is."""
    first = data[_along(axis, slice(0, None, 2))].astype(np.float64)
    second = data[_along(axis, slice(1, None, 2))]
    even = _along(axis, slice(0, second.shape[axis]))
    first[even] = (first[even] + second) / 2
    return (np.rint(first) if data.dtype.kind in "ui" else first).astype(data.dtype)


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    """Return an index expression that cuts one axis."""
    return tuple(part if i == axis else slice(None) for i in range(3))


def _write_metadata(
    path: Path, saving: Saving, factors: list[tuple[int, int, int]], version: str, record: Mapping[str, Any] | None
) -> None:
    """Write the attributes of the group: OME's multiscale image, and what mitonb adds."""
    size = saving.voxel_size or (1.0, 1.0, 1.0)
    unit = {"unit": "nanometer"} if saving.voxel_size is not None else {}
    datasets = [
        {"path": str(k), "coordinateTransformations": _transforms(size, f, saving.labels)}
        for k, f in enumerate(factors)
    ]
    image: dict[str, Any] = {
        "name": saving.name,
        "axes": [{"name": axis, "type": "space", **unit} for axis in "zyx"],
        "datasets": datasets,
        "type": "nearest" if saving.labels else "mean",
    }
    own: dict[str, Any] = {"complete": True}
    if record is not None:
        own["record"] = dict(record)
    labelled = {"image-label": {"version": version} if version == "0.4" else {}} if saving.labels else {}
    if version == "0.4":
        _dump(path / ".zgroup", {"zarr_format": 2})
        _dump(path / ".zattrs", {"multiscales": [{"version": "0.4", **image}], **labelled, "mitonb": own})
        return
    ome = {"version": "0.5", "multiscales": [image], **labelled}
    _dump(path / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome, "mitonb": own}})


def _transforms(size: tuple[float, float, float], factors: tuple[int, int, int], labels: bool) -> list[dict[str, Any]]:
    """Return scale and, where voxels were averaged, the shift of their centres."""
    scale = [s * f for s, f in zip(size, factors, strict=True)]
    shift = [0.0 if labels else s * (f - 1) / 2 for s, f in zip(size, factors, strict=True)]
    found: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(shift):
        found.append({"type": "translation", "translation": shift})
    return found


def _dump(path: Path, value: dict[str, Any]) -> None:
    """Write a metadata file."""
    try:
        path.write_text(json.dumps(value, indent=1, allow_nan=False), "utf-8")
    except (TypeError, ValueError) as error:
        raise InputError(f"The run record cannot be written as JSON: {error}.") from error
