"""Read OME-Zarr (0.4: zarr 2, 0.5: zarr 3), plain zarr and N5, in folders and zip files, with tensorstore."""

from __future__ import annotations

import math
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tensorstore

from mitonb.errors import CorruptFileError, InputError, UnsafeFileError, UnsupportedFormatError
from mitonb.io.axes import Source, name_axes
from mitonb.io.bounds import check_chunk, check_stored, guarded, inside, is_zarr, read_json
from mitonb.io.conventions import axes_of, is_size, spacing_of
from mitonb.io.lazy import CACHE_BYTES, Array, blocks_of, native
from mitonb.io.units import nanometres
from mitonb.io.watched import Stamp, changed, stamp_of
from mitonb.memory import require

__all__ = ["is_n5", "labels_inside", "read_zarr", "store_in_zip"]

Folder = Path | zipfile.Path
METADATA = (".zattrs", ".zgroup", ".zarray", "zarr.json", "attributes.json")


def read_zarr(
    path: Folder, series: int | str | None = None, *, strict: bool = False, root: Folder | None = None
) -> Source:
    """Open one resolution level of an OME-Zarr or N5 image, or a plain array.

    Parameters
    ----------
    path : Path
        Folder of a group or an array; also inside a zip file.
    series : int, str or None
        Resolution level (0, the finest, by default), or the path of a group or an array inside.
    strict : bool
        Whether a missing block is an error; images read it as the fill value unless mitonb wrote them, because
        other programs leave out blocks that hold nothing else.
    root : Path or None
        The folder that the user named, which nothing may lead out of; `path` by default.
    """
    what, root = path.name, root or path
    if isinstance(series, str):
        return read_zarr(_inner(path, series, what), strict=strict, root=root)
    if is_n5(path) or is_n5(root):
        return _read_n5(path, series, root)
    attributes, version = _attributes(path, root, what)
    if version is None:  # an array
        return _array(path, root, {}, strict=strict)
    image = _multiscale(attributes, path, root)
    level = _level(image, series, what)
    own = attributes.get("mitonb")
    record = own.get("record") if isinstance(own, Mapping) else None
    complete = isinstance(own, Mapping) and bool(own.get("complete"))
    found = _array(_inner(path, str(level["path"]), what), root, image, strict=strict or complete)
    spacing, notes = _spacing(image, level, found.axes or "")
    return Source(
        found.data, found.axes, {**found.spacing, **spacing}, (*found.notes, *notes), f"OME-Zarr {version}",
        found.chunk_bytes, record if isinstance(record, Mapping) else None,
    )  # fmt: skip


def is_n5(folder: Folder) -> bool:
    """Return whether a folder is a group or an array of N5."""
    return (folder / "attributes.json").is_file() or folder.name.lower().endswith(".n5")


def store_in_zip(path: Path) -> zipfile.Path | None:
    """Return the zarr or N5 in a zip file, at its root or in its only folder (and so on); None where there is none.

    Raises
    ------
    UnsafeFileError
        If a name leads out of the file, or a member is a link.
    """
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 2**17))
        tail = file.read()
    end = max(tail.rfind(b"PK\5\6"), 0)
    require(100 * int.from_bytes(tail[end + 12 : end + 16], "little"), f"Looking into {path.name}", "Unpack it.")
    archive = zipfile.ZipFile(path)
    members = archive.infolist()
    if not any(PurePosixPath(m.filename).name in METADATA for m in members):
        archive.close()
        return None
    for member in members:
        parts = PurePosixPath(member.filename)
        if parts.is_absolute() or ".." in parts.parts or "\\" in member.filename:
            raise UnsafeFileError(f"{path.name} has a member {member.filename[:80]!r}, which lies outside of it.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UnsafeFileError(f"{path.name} has a link inside: {member.filename[:80]!r}. Zip the files themselves.")
        if member.flag_bits & 1:
            raise UnsupportedFormatError(f"{path.name} is encrypted. Unpack it first.")
        if member.compress_type == zipfile.ZIP_LZMA:
            raise UnsupportedFormatError(f"{path.name} is packed with LZMA. Unpack it first.")
    root = zipfile.Path(archive)
    for _ in range(8):
        folders = [e for e in root.iterdir() if e.is_dir() and e.name != "__MACOSX"]
        if len(folders) != 1 or any((root / name).is_file() for name in METADATA):
            break
        root = folders[0]
    return root


def labels_inside(path: Folder) -> list[str]:
    """Return the paths of the label images inside an OME-Zarr image."""
    if not (path / "labels").is_dir() or not is_zarr(path / "labels"):
        return []
    attributes, _ = _attributes(_inner(path, "labels", path.name), path, path.name)
    listed = attributes.get("labels")
    return [f"labels/{name}" for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _inner(root: Folder, name: str, what: str) -> Folder:
    """Return a folder inside the group, and refuse names that lead out of it."""
    parts = PurePosixPath(name)
    inner = root.joinpath(*parts.parts) if parts.parts else root
    outside = parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name
    if isinstance(root, Path) and isinstance(inner, Path) and not outside:
        outside = not inner.resolve().is_relative_to(root.resolve())
    if outside:
        raise UnsafeFileError(f"{what} refers to {name!r}, which lies outside of it.")
    if not inner.is_dir():
        near = sorted(e.name for e in root.iterdir() if e.is_dir())[:8]
        raise InputError(f"{what} has no {name!r} inside; it holds {', '.join(near) or 'nothing'}.")
    return inner


def _metadata(path: Folder, name: str, root: Folder, what: str) -> dict[str, Any]:
    """Read a metadata file, if it is there."""
    return read_json(path / name, what) if inside(path / name, root, what) else {}


def _attributes(path: Folder, root: Folder, what: str) -> tuple[dict[str, Any], str | None]:
    """Return the attributes of a group and its OME-Zarr version; the version of a bare array is None."""
    if inside(path / "zarr.json", root, what):
        found = read_json(path / "zarr.json", what)
        attributes = found.get("attributes")
        attributes = attributes if isinstance(attributes, dict) else {}
        ome = attributes.get("ome")
        return attributes | (ome if isinstance(ome, dict) else {}), None if found.get("node_type") == "array" else "0.5"
    attributes = _metadata(path, ".zattrs", root, what)
    return attributes, None if inside(path / ".zarray", root, what) else "0.4"


def _multiscale(attributes: Mapping[str, Any], path: Folder, root: Folder) -> Mapping[str, Any]:
    """Return the first multiscale image of a group."""
    what = root.name
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
    within = [e.name for e in path.iterdir() if e.is_dir() and is_zarr(e)]
    if "plate" in attributes:
        raise UnsupportedFormatError(f"{what} is a plate of wells. Open one image of it, such as series='A/1/0'.")
    raise InputError(f"{what} is a zarr group without an image.{_choices(sorted(within), path, root)}")


def _choices(names: list[str], path: Folder, root: Folder) -> str:
    """Return a sentence about what series= can be, as seen from the folder that the user named."""
    start = str(path)[len(str(root)) :].replace("\\", "/").strip("/")
    listed = ", ".join(f"series={f'{start}/{name}'.lstrip('/')!r}" for name in names[:8])
    return f" Inside are: {listed}." if listed else ""


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


def _array(path: Folder, root: Folder, image: Mapping[str, Any], *, strict: bool) -> Source:
    """Open one zarr array lazily."""
    what = root.name
    metadata = _metadata(path, "zarr.json", root, what)
    driver = "zarr3" if metadata else "zarr"
    metadata = metadata or _metadata(path, ".zarray", root, what)
    if not metadata:
        raise CorruptFileError(f"{what} lacks the array {path.name!r} that it lists.")
    store = _opened(driver, path, strict=strict)
    blocks = _Blocks(store, path, root, _Stored.of(metadata, driver))
    listed = image.get("axes") or metadata.get("dimension_names")
    attributes = _inherited(path, root, lambda folder: _attributes(folder, root, what)[0])
    if isinstance(listed, list) and len(listed) == store.rank:
        letters, notes = name_axes([a.get("name", "?") if isinstance(a, dict) else a for a in listed])
    elif image.get("axes") is not None:
        raise CorruptFileError(f"{what} names {image['axes']!r:.80} as axes, but its array has {store.rank} of them.")
    elif image and store.rank == 5:  # versions 0.1 and 0.2 name no axes, and have these
        letters, notes = "tczyx", ()
    else:
        letters, notes = axes_of(attributes, store.rank)
    spacing, more = spacing_of(attributes, letters or "zyx"[-store.rank :]) if not image else ({}, ())
    return Source(blocks, letters, spacing, (*notes, *more), "zarr", blocks.chunk_bytes)


def _inherited(path: Folder, root: Folder, read: Any) -> dict[str, Any]:
    """Return the attributes of an array, and of the groups that it lies in those that it has not itself."""
    found: dict[str, Any] = dict(read(path))
    folder: Any = path
    for _ in range(16):
        if str(folder) == str(root):
            break
        folder = folder.parent
        found = {k: v for k, v in read(folder).items() if k not in ("offset", "axes")} | found
    return found


def _read_n5(path: Folder, level: int | None, root: Folder) -> Source:
    """Open an N5 array, or a resolution level of a group that counts them s0, s1, ...

    N5 names the fastest axis first: x, y, z. Attributes follow that order.
    """
    what = root.name
    own = _metadata(path, "attributes.json", root, what)
    if "dimensions" not in own:
        levels = sorted((e for e in path.iterdir() if e.name[:1] == "s" and e.name[1:].isdecimal()), key=_number)
        if not levels:
            within = sorted(e.name for e in path.iterdir() if e.is_dir())
            raise InputError(f"{what} is a group of N5 without an image.{_choices(within, path, root)}")
        if not 0 <= (level or 0) < len(levels):
            raise InputError(f"{what} has resolution levels 0 (finest) to {len(levels) - 1}, got series={level!r}.")
        return _read_n5(_inner(path, levels[level or 0].name, what), None, root)
    if own.get("isLabelMultiset") or "dataType" not in own:
        raise UnsupportedFormatError(
            f"{what} holds label multisets of Paintera, several ids for each voxel. Convert it to plain uint64 labels "
            "(paintera-convert to-scalar)."
        )
    store = _opened("n5", path, strict=False)
    blocks = _Blocks(store, path, root, _Stored.of(own, "n5"))
    attributes = _inherited(path, root, lambda folder: _metadata(folder, "attributes.json", root, what))
    attributes, told = _of_level(attributes, own, path.name)
    letters, notes = axes_of(attributes, store.rank)
    if letters and letters[-1] == "x":
        letters = letters[::-1]  # written as numpy counts
    letters = letters or ("xyz?" if store.rank > 3 else "xyz"[: store.rank]).ljust(store.rank, "?")
    spacing, more = spacing_of(attributes, letters[::-1], x_first=True)
    return Source(blocks, letters, spacing, (*told, *notes, *more), "N5", blocks.chunk_bytes)


def _of_level(attributes: dict[str, Any], own: Mapping[str, Any], name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return attributes with what the group lists for this level (s0, s1, ...), and what is to be said."""
    if any(is_size(key) for key in own):
        return attributes, ()
    images = attributes.get("multiscales")
    image = images[0] if isinstance(images, list) and images else None
    levels = image.get("datasets") if isinstance(image, dict) else None
    for level in levels if isinstance(levels, list) else ():  # CellMap
        if isinstance(level, dict) and level.get("path") == name and "transform" in level:
            return attributes | {"transform": level["transform"]}, ()
    number = int(name[1:]) if name[:1] == "s" and name[1:].isdecimal() else 0
    if number == 0 or "downsamplingFactors" in own:
        return attributes, ()
    for key in ("downsamplingFactors", "scales"):
        factors = attributes.get(key)
        if isinstance(factors, list) and number < len(factors) and isinstance(factors[number], list):
            return attributes | {"downsamplingFactors": factors[number]}, ()
    kept = {key: value for key, value in attributes.items() if not is_size(key)}
    note = "The file does not say by how much this level is smaller than the finest: the voxel size stays unknown."
    return kept, (note,) if len(kept) < len(attributes) else ()


def _number(level: Folder) -> int:
    return int(level.name[1:])


def _opened(driver: str, path: Folder, *, strict: bool) -> Any:
    """Open an array with tensorstore."""
    store: dict[str, Any] = {"driver": "file", "path": f"{path.resolve()}/" if isinstance(path, Path) else ""}
    if isinstance(path, zipfile.Path):
        file = {"driver": "file", "path": str(Path(str(path.root.filename)).resolve())}
        store = {"driver": "zip", "base": file, "path": path.at}
    spec = {
        "driver": driver,
        "kvstore": store,
        "context": {"cache_pool": {"total_bytes_limit": CACHE_BYTES}},
        "fill_missing_data_reads": not strict,
        "recheck_cached_data": "open",
    }
    return tensorstore.open(spec, open=True, read=True).result()


@dataclass(frozen=True)
class _Stored:
    """How an array is cut into files.

    Sides of what is in one file, its name (start, separator), the bytes before blosc if that is its codec, and, where a
    file is a shard of smaller blocks in blosc, their number and the place of their index.
    """

    sides: tuple[int, ...]
    start: str
    between: str
    blosc_at: int | None
    inner: int = 0
    index_at: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, metadata: Mapping[str, Any], driver: str) -> _Stored:
        """Read what the metadata of an array say."""
        if driver == "n5":
            sides, packed = metadata["blockSize"], metadata.get("compression") or {}
            return cls(tuple(map(int, sides)), "", "/", 4 + 4 * len(sides) if packed.get("type") == "blosc" else None)
        if driver == "zarr":
            packed = metadata.get("compressor") or {}
            between = metadata.get("dimension_separator") or "."
            return cls(tuple(map(int, metadata["chunks"])), "", between, 0 if packed.get("id") == "blosc" else None)
        coding = metadata.get("chunk_key_encoding") or {}
        default = coding.get("name") != "v2"
        between = (coding.get("configuration") or {}).get("separator") or ("/" if default else ".")
        sides = tuple(map(int, metadata["chunk_grid"]["configuration"]["chunk_shape"]))
        names = sides, f"c{between}" if default else "", between
        codecs = {codec.get("name"): codec.get("configuration") for codec in metadata.get("codecs") or ()}
        sharding = codecs.get("sharding_indexed")
        if sharding is None:
            return cls(*names, 0 if "blosc" in codecs else None)
        if not any(codec.get("name") == "blosc" for codec in sharding["codecs"]):
            return cls(*names, None)
        inner = math.prod(n // int(k) for n, k in zip(sides, sharding["chunk_shape"], strict=True))
        length = 16 * inner + 4 * any(codec.get("name") == "crc32c" for codec in sharding.get("index_codecs") or ())
        at = (0, os.SEEK_SET) if sharding.get("index_location") == "start" else (-length, os.SEEK_END)
        return cls(*names, None, inner, at)


class _Blocks:
    """An array of tensorstore as numpy reads it, after a look at the files that a read needs."""

    def __init__(self, store: Any, path: Folder, root: Folder, stored: _Stored) -> None:
        self._store, self._path, self._root, self._what = store, path, root, root.name
        self._stored = stored
        self.shape: tuple[int, ...] = tuple(int(n) for n in store.shape)
        self.dtype = native(np.dtype(store.dtype.numpy_dtype))
        self.blocks = tuple(int(n or 1) for n in store.chunk_layout.read_chunk.shape or (1,) * len(self.shape))
        self._stored_bytes = math.prod(stored.sides) * self.dtype.itemsize
        self.chunk_bytes = math.prod(self.blocks) * self.dtype.itemsize
        self._folders: set[str] = set()
        self._seen: dict[str, Stamp | None] = {}
        self._watch()
        check_chunk(
            self.chunk_bytes, self._largest() if self.chunk_bytes > 2**28 else self.chunk_bytes, what=self._what
        )

    def __getitem__(self, key: Any, /) -> Array:
        with guarded(self._what):
            self._watch()
            for index in blocks_of(key, self.shape, self._stored.sides, self._what):
                self._check(self._stored.start + self._stored.between.join(map(str, index)))
            try:
                return np.asarray(self._store[key].read().result())
            except ValueError as error:
                text = str(error)
                if "is missing" in text:
                    missing = text[text.find("chunk") :][:80]
                    raise CorruptFileError(
                        f"{self._what} lacks a block ({missing}). Restore the file from a copy. If the program that "
                        "wrote it leaves empty blocks out, open labels with empty_blocks=True."
                    ) from error
                raise CorruptFileError(f"{self._what}: a block is damaged ({' '.join(text.split())[:160]}).") from error

    def _watch(self) -> None:
        """Refuse to go on if the metadata of the array were written again."""
        if isinstance(self._path, Path):
            for name in METADATA[2:]:
                self._unchanged(name, stamp_of(self._path / name))

    def _unchanged(self, name: str, stamp: Stamp | None) -> None:
        """Refuse a file that is another one than when it was first looked at."""
        if self._seen.setdefault(name, stamp) != stamp:
            raise changed(self._what)

    def _check(self, name: str) -> None:
        """Refuse the file of a block that is a link out of the store, no file, or holds far more than the block."""
        path = self._path / name
        if isinstance(path, zipfile.Path):
            member = path.root.NameToInfo.get(path.at)
            size = member.file_size if member else None
        else:
            found = self._stat(path)
            self._unchanged(name, stamp_of(found))
            size = None if found is None else found.st_size
        if size is None:
            return
        check_stored(size, self._stored_bytes, what=self._what)
        at = self._stored.blosc_at
        if at is not None and size >= at + 8:  # its decoder makes room for what the block says of itself
            with path.open("rb") as file:
                told = int.from_bytes(file.read(at + 8)[-4:], "little")
            check_stored(told, self._stored_bytes, what=self._what)
        if self._stored.inner and size >= 16 * self._stored.inner:
            self._check_shard(path)

    def _check_shard(self, path: Folder) -> None:
        """Refuse a shard if what one of its blocks says of itself is far more than the block."""
        count, decoded = self._stored.inner, self._stored_bytes // self._stored.inner
        with path.open("rb") as file:
            file.seek(*self._stored.index_at)
            for at, length in np.frombuffer(file.read(16 * count), "<u8").reshape(-1, 2).tolist():
                if length < 2**63:
                    check_stored(length, decoded, what=self._what)
                    file.seek(at)
                    check_stored(int.from_bytes(file.read(8)[4:], "little"), decoded, what=self._what)

    def _stat(self, path: Path) -> os.stat_result | None:
        """Look at a file, which lies in the store without a link out of it; None if there is none."""
        folder = str(path.parent)
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if folder not in self._folders or not stat.S_ISREG(found.st_mode):
            inside(path, self._root, self._what)
            self._folders.add(folder)
            found = path.stat()
        return found

    def _largest(self) -> int:
        """Return the size of the largest of the first thousand files of blocks."""
        if isinstance(self._path, zipfile.Path):
            return max((m.file_size for m in self._path.root.infolist()), default=0)
        sizes: list[int] = []
        for folder, _, files in os.walk(self._path):
            sizes += [os.lstat(os.path.join(folder, name)).st_size for name in files]
            if len(sizes) > 1000:
                break
        return max(sizes, default=0)


def _spacing(
    image: Mapping[str, Any], level: Mapping[str, Any], letters: str
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the voxel size in nm by axis letter, where scale and unit are both stated."""
    units = [a.get("unit") if isinstance(a, dict) else None for a in image.get("axes") or ()]
    factors = np.ones(len(letters))
    stated = False
    for part in (level, image):
        transforms = part.get("coordinateTransformations")
        for transform in transforms if isinstance(transforms, list) else ():
            scale = transform.get("scale") if isinstance(transform, dict) else None
            if scale is None:
                continue
            numbers = scale if isinstance(scale, list) else []
            if len(numbers) != len(letters) or not all(isinstance(v, int | float) for v in numbers):
                return {}, (
                    f"The scale of this file is no list of {len(letters)} numbers: the voxel size stays unknown.",
                )
            factors, stated = factors * np.array(numbers, float), True
    if not stated:
        return {}, ("The file gives no scale that can be read: the voxel size stays unknown.",)
    sizes = {
        c: nanometres(float(f), u if isinstance(u, str) else None)
        for c, f, u in zip(letters, factors, units or [None] * len(letters), strict=True)
        if c in "zyx"
    }
    known = {c: size for c, size in sizes.items() if size is not None}
    if not known and (factors != 1).any():
        return {}, ("The file gives a scale but no unit that is known: the voxel size stays unknown.",)
    return known, ()
