"""Neuroglancer's precomputed volumes both ways: resolution levels; written, also the surfaces of labels as meshes.

https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed says what the files hold.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorstore

from mitonb.errors import CorruptFileError, InputError, UnsafeFileError, UnsupportedFormatError
from mitonb.io.arrays import Lower, Saving, Source, native
from mitonb.io.blocks import Blocks, Folder, leads_out
from mitonb.io.limits import inside, read_json
from mitonb.io.zarr import fill, level_factors
from mitonb.memory import memory_budget

CHUNK = (16, 128, 128)
"""As deep as the rows of blocks that a volume is written by."""
ENCODINGS = ("raw", "jpeg", "png", "compressed_segmentation")
MOST_SHARDS = 10**6
DTYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32")


# --- Reading


def is_precomputed(folder: Folder) -> bool:
    """Return whether a folder is a volume for Neuroglancer."""
    info = folder / "info"
    return info.is_file() and "scales" in _read_info(folder, folder)


def _read_info(folder: Folder, root: Folder) -> dict[str, Any]:
    return read_json(folder / "info", root.name) if inside(folder / "info", root, root.name) else {}


def read_precomputed(folder: Folder, series: int | str | None = None, *, strict: bool = False) -> Source:
    """Open one resolution level of a volume for Neuroglancer.

    Parameters
    ----------
    folder : Folder
        That holds the file `info`.
    series : int, optional
        Resolution level; 0, the finest, by default.
    strict : bool
        Whether a missing block is an error; else it is zeros, as in Neuroglancer.
    """
    what, info = folder.name, _read_info(folder, folder)
    scales = info["scales"]
    if not isinstance(scales, list) or not scales:
        raise CorruptFileError(f"{what} lists no resolution level.")
    if isinstance(series, str) or not 0 <= (series or 0) < len(scales):
        raise InputError(f"{what} has resolution levels 0 (finest) to {len(scales) - 1}, got series={series!r}.")
    level = int(series or 0)
    found = _read_scale(folder, level, scales[level], scales[0], strict=strict)
    lower = []
    for k, scale in enumerate(scales[level + 1 :], level + 1):
        # The slowest axis first, as in what is loaded, after the channels, which stay as they are.
        factors = [a / b for a, b in zip(scale["resolution"][::-1], scales[level]["resolution"][::-1], strict=True)]
        starts = (_origin(one, scales[0]) for one in (scale, scales[level]))
        offset = [(p - q) / size for p, q, size in zip(*starts, scales[level]["resolution"], strict=True)][::-1]
        load = functools.partial(_read_scale, folder, k, scale, scales[0], strict=strict)
        lower.append(Lower((1.0, *factors), (0.0, *offset), load))
    return replace(found, levels=tuple(lower))


def _origin(scale: Any, finest: Any) -> list[float]:
    """Return where the middle of the first voxel lies: x, y, z in nm from the middle of voxel 0 of the finest level.

    Voxels count from a corner there: the middle of a larger one lies further from it.
    """
    parts = zip(scale["resolution"], finest["resolution"], scale.get("voxel_offset") or (0, 0, 0), strict=True)
    return [float(size) * int(start) + (float(size) - float(first)) / 2 for size, first, start in parts]


def _read_scale(folder: Folder, level: int, scale: Any, finest: Any, *, strict: bool) -> Source:
    what = folder.name
    if leads_out(str(scale["key"])) or str(scale["key"]).startswith("."):
        raise UnsafeFileError(f"{what} refers to {scale['key']!r}, which lies outside of it.")
    if scale["encoding"] not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise UnsupportedFormatError(
            f"{what} is encoded as {scale['encoding']!r:.40}; mitonb reads {known}. Convert it."
        )
    blocks = _ScaleBlocks(folder, level, scale, strict=strict)
    spacing = {axis: float(size) for axis, size in zip("xyz", scale["resolution"], strict=True)}
    origin = dict(zip("xyz", _origin(scale, finest), strict=True))
    corner = ", ".join(map(str, blocks.corner[::-1]))
    note = f"The file begins at voxel {corner} (z, y, x): positions here count from the first voxel here."
    notes = (note,) if any(blocks.corner) else ()
    return Source(blocks.lazy(), "czyx", spacing, notes, "Neuroglancer precomputed", origin=origin)


class _ScaleBlocks(Blocks):
    """One resolution level: (channel, z, y, x)."""

    def __init__(self, folder: Folder, level: int, scale: dict[str, Any], *, strict: bool) -> None:
        self.corner = [int(n) for n in scale.get("voxel_offset") or (0, 0, 0)]
        self._size, self._chunk = [int(n) for n in scale["size"]], [int(n) for n in scale["chunk_sizes"][0]]
        self._key, self._sharded = str(scale["key"]), bool(scale.get("sharding"))
        spec = {"driver": "neuroglancer_precomputed", "scale_index": level}
        super().__init__(spec, folder, folder, ("info",), strict=strict)
        self.sides = (self.sides[0], *self._chunk[::-1])
        self.bytes = math.prod(self.sides) * self.dtype.itemsize
        if isinstance(folder, Path):
            self._look_around(folder / self._key)

    def axes_in_order(self, store: Any) -> Any:
        return store[tensorstore.d[:].translate_to[0]].T

    def file_of(self, index: tuple[int, ...]) -> str | None:
        if self._sharded:
            return None
        parts = []
        for at, side, size, corner in zip(index[:0:-1], self._chunk, self._size, self.corner, strict=True):
            parts.append(f"{corner + at * side}-{corner + min((at + 1) * side, size)}")
        return f"{self._key}/{'_'.join(parts)}"

    def _look_around(self, folder: Path) -> None:
        """Refuse what tensorstore would read as zeros or follow: blocks that are packed once more, links of shards."""
        if not folder.is_dir():
            return
        with os.scandir(folder) as entries:
            for entry in itertools.islice(entries, MOST_SHARDS):
                if entry.name.endswith((".gz", ".br")):
                    raise UnsupportedFormatError(
                        f"{self.what} keeps its blocks as {entry.name}, as cloud-volume writes them on a disk. Unpack "
                        "them (gunzip -r FOLDER, brotli -d), or open the volume from the server that has it."
                    )
                if not self._sharded:
                    break
                inside(folder / entry.name, folder, self.what)


# --- Writing


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
    if saving.labels and os.name != "nt" and 2 * math.prod(saving.shape) * dtype.itemsize < memory_budget().bytes:
        _write_meshes(path, saving)


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
