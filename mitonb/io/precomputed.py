"""Neuroglancer's precomputed volumes: resolution levels, and the surfaces of labels as legacy meshes.

https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed says what the files hold.
"""

from __future__ import annotations

import itertools
import json
import os
import struct
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorstore

from mitonb.errors import UnsupportedFormatError
from mitonb.io.arrays import CACHE_BYTES, Lazy, Saving, native
from mitonb.io.zarr import fill, level_factors
from mitonb.memory import memory_budget

CHUNK = (16, 128, 128)
"""As deep as the rows of blocks that a volume is written by."""
DTYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32")


def write_precomputed(path: Path, saving: Saving) -> None:
    """Write a volume with its lower resolutions; of labels that fit into memory, the surfaces too.

    Bool becomes uint8. Where the voxel size is unknown, a voxel is 1 nm.

    Raises
    ------
    UnsupportedFormatError
        If Neuroglancer has no such dtype (float16, float64, int64).
    """
    dtype = np.dtype(np.uint8) if saving.data.dtype == bool else native(saving.data.dtype)
    if dtype.name not in DTYPES:
        raise UnsupportedFormatError(f"Neuroglancer has no {dtype}. Save as .ome.zarr or .npy, or convert first.")
    level, factors = _level(path, saving, (1, 1, 1), dtype), level_factors(saving)
    for _ in fill(level, saving.data):
        pass
    how: Literal["stride", "mean"] = "stride" if saving.labels else "mean"
    for above, below in itertools.pairwise(factors):
        half: Any = tensorstore.downsample(level, [b // a for a, b in zip(above, below, strict=True)], how)
        level = _level(path, saving, below, dtype, half.shape)
        for _ in fill(level, half):
            pass
    # Names with a colon, as meshes have them, are no names of files on Windows.
    if saving.labels and os.name != "nt" and 2 * level_bytes(saving) < memory_budget().bytes:
        _write_meshes(path, saving)


def level_bytes(saving: Saving) -> int:
    """Return the bytes of all voxels of a volume."""
    z, y, x = saving.shape
    return z * y * x * native(saving.data.dtype).itemsize


def read_precomputed(path: Path) -> Lazy:
    """Return the (z, y, x) array of the finest level of a volume that was just written."""
    kvstore, cache = {"driver": "file", "path": f"{path.resolve()}/"}, {"total_bytes_limit": CACHE_BYTES}
    spec = {"driver": "neuroglancer_precomputed", "kvstore": kvstore, "context": {"cache_pool": cache}}
    store = _volume(tensorstore.open(spec, open=True, read=True).result())
    return Lazy(store.shape, store.dtype.numpy_dtype, lambda key: store[key].read().result(), path.name)


def _level(path: Path, saving: Saving, factor: Any, dtype: np.dtype[Any], shape: Any = None) -> Any:
    """Create one resolution level; (z, y, x), as we count."""
    size = np.array(saving.voxel_size or (1.0, 1.0, 1.0)) * factor
    scale: dict[str, Any] = {"encoding": "raw"}
    if saving.labels and dtype.name in ("uint32", "uint64"):
        scale = {"encoding": "compressed_segmentation", "compressed_segmentation_block_size": [8, 8, 8]}
    sides = shape or saving.shape
    scale |= {"size": list(sides[::-1]), "resolution": size[::-1].tolist(), "chunk_size": list(CHUNK[::-1])}
    kind = "segmentation" if saving.labels else "image"
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{path.resolve()}/"},
        "multiscale_metadata": {"type": kind, "data_type": dtype.name, "num_channels": 1}, "scale_metadata": scale,
        "store_data_equal_to_fill_value": True, "context": {"file_io_sync": False},
    }  # fmt: skip
    return _volume(tensorstore.open(spec, open=True, create=True).result())


def _volume(store: Any) -> Any:
    return store[tensorstore.d["channel"][0]].T


def _write_meshes(path: Path, saving: Saving) -> None:
    """Write a file of vertices (x, y, z in nm) and triangles for each object, one that names it, and the place."""
    from mitonb.mesh import surfaces  # takes a second to load

    ids = np.asarray(saving.data[:, :, :])
    size, folder = np.array(saving.voxel_size or (1.0, 1.0, 1.0)), path / "mesh"
    folder.mkdir()
    (folder / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}', "utf-8")
    for mesh in surfaces(ids, budget=max(250_000, 1000 * len(np.unique(ids))), voxel_size=tuple(size.tolist())):
        # Neuroglancer counts from the corner of the first voxel, our meshes from its centre.
        points = (mesh.vertices + size / 2)[:, ::-1].astype("<f4")
        packed = struct.pack("<I", len(points)) + points.tobytes() + mesh.triangles.astype("<u4").tobytes()
        (folder / str(mesh.id)).write_bytes(packed)
        (folder / f"{mesh.id}:0").write_text(json.dumps({"fragments": [str(mesh.id)]}), "utf-8")
    info = json.loads((path / "info").read_text("utf-8"))
    (path / "info").write_text(json.dumps({**info, "mesh": "mesh"}), "utf-8")
