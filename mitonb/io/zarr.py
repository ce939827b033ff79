"""OME-Zarr both ways (0.4: zarr 2, 0.5: zarr 3), plain zarr and N5, in folders and zip files, with tensorstore."""

import contextlib
import functools
import itertools
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorstore

from mitonb.errors import CorruptFileError, InputError, UnsafeFileError, UnsupportedFormatError, guarded
from mitonb.files import atomic_write, explain_write
from mitonb.io.arrays import Lower, Saving, Source, native
from mitonb.io.axes import Notes, arrange, axes_of, describe, is_size, lengths_of, places_of
from mitonb.io.blocks import Blocks, Folder, leads_out
from mitonb.io.images import natural
from mitonb.io.limits import inside, read_json
from mitonb.io.record import record_json
from mitonb.io.remote import Remote
from mitonb.stack import VoxelSize

METADATA = (".zattrs", ".zgroup", ".zarray", "zarr.json", "attributes.json")
BLOCK = (16, 256, 256)
SMALLEST = 128
MOST_FOLDERS = 1000
MOST_LEVELS = 8


# --- Reading


def read_store(path: Folder, series: int | str | None = None, *, strict: bool = False) -> Source:
    """Open one resolution level of an OME-Zarr or N5 image, or a plain array.

    Parameters
    ----------
    path : Path
        Folder of a group or an array; also inside a zip file.
    series : int, str or None
        Resolution level (0, the finest, by default), or the path of a group or an array inside.
    strict : bool
        Whether a missing block is an error, and labels inside of an image are what is opened; images read a missing
        block as the fill value unless mitonb wrote them, because other programs leave out blocks of nothing else.
    """
    node = _Node(path, path)
    if strict and series is None:
        series = _labels_inside(node)
    if isinstance(series, str):
        node = node.inner(series)
        if isinstance(path, Remote) and not is_store(node.folder):
            raise InputError(f"{path.name} has no {series!r} inside, or it is not public.")
        series = None
    if _is_n5(node.folder) or _is_n5(path):
        return _read_n5(node, series)
    if node.kind() == "array":
        return _read_array(node, None, strict=strict)
    attributes = node.attributes()
    image, own = _image(attributes), attributes.get("mitonb") or {}
    if image is None:
        if "plate" in attributes:
            raise UnsupportedFormatError(f"{path.name} is a plate of wells. Open one image of it: series='A/1/0'.")
        raise InputError(f"{path.name} is a zarr group without an image.{node.choices()}")
    level = _level(image["datasets"], series, path.name)
    strict = strict or bool(own.get("complete"))
    found = _read_array(node.inner(level["path"]), image, strict=strict)
    spacing, notes = _ome_spacing(image, level, found.axes or "")
    origin, levels = _ome_levels(node, image, series or 0, found.axes or "", strict=strict)
    return replace(
        found, spacing=spacing, notes=(*found.notes, *notes), kind=f"OME-Zarr {node.kind()}", record=own.get("record"),
        origin=origin, levels=levels,
    )  # fmt: skip


def _image(attributes: Mapping[str, Any]) -> Any:
    """Return the image that a group describes: the first of its multiscales."""
    return (attributes.get("multiscales") or [None])[0]


def is_zarr(folder: Folder) -> bool:
    """Return whether a folder is a zarr group or array."""
    return any((folder / name).is_file() for name in METADATA[:4])


def is_store(folder: Folder) -> bool:
    """Return whether a folder is a group or an array of zarr or N5."""
    return is_zarr(folder) or _is_n5(folder)


def _is_n5(folder: Folder) -> bool:
    return (folder / METADATA[4]).is_file() or folder.name.lower().endswith(".n5")


def store_in_zip(path: Path) -> zipfile.Path | None:
    """Return the zarr or N5 in a zip file, at its root or in its only folder (and so on); None where there is none.

    Raises
    ------
    UnsafeFileError
        If a name leads out of the file, or a member is a link.
    """
    what = path.name
    archive = zipfile.ZipFile(path)
    members = archive.infolist()
    if not any(PurePosixPath(m.filename).name in METADATA for m in members):
        archive.close()
        return None
    for member in members:
        if leads_out(member.filename):
            raise UnsafeFileError(f"{what} has a member {member.filename[:80]!r}, which lies outside of it.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UnsafeFileError(f"{what} has a link inside: {member.filename[:80]!r}. Zip the files themselves.")
        # Python unpacks members of other kinds in one go, however large they get.
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsupportedFormatError(f"{what} is encrypted, or packed with LZMA or the like. Unpack it first.")
    root = zipfile.Path(archive)
    for _ in range(8):
        folders = [e for e in root.iterdir() if e.is_dir() and e.name != "__MACOSX"]
        if len(folders) != 1 or is_store(root):
            break
        root = folders[0]
    return root


def members_of_store(root: Folder) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Yield path, shape and dtype of the images in a store on disk or in a zip file; links are not followed.

    Of arrays no folder is looked into: there are as many as there are rows of blocks. A group of resolutions is one
    image, of the shape of the finest.
    """
    yield from _images_in(_Node(root, root))


def _images_in(start: "_Node") -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Yield the images in a group and below, with their paths from the folder that the user named."""
    waiting, seen = [start], 0
    while waiting and (seen := seen + 1) <= MOST_FOLDERS:
        node = waiting.pop(0)
        try:
            newer, older, n5 = (node.read(name) for name in (METADATA[3], METADATA[2], METADATA[4]))
        except CorruptFileError:  # what is damaged is said where it is opened
            continue
        if told := _told(newer, older, n5):
            yield node.within(), *told
            continue
        if node.within() and (finest := _finest(node)):
            yield node.within(), *finest
            continue
        inside = sorted((e.name for e in node.folder.iterdir() if e.is_dir() and not _is_link(e)), key=natural)
        waiting = [node.inner(name) for name in inside[:MOST_FOLDERS]] + waiting


def _told(
    newer: Mapping[str, Any], older: Mapping[str, Any], n5: Mapping[str, Any]
) -> tuple[tuple[int, ...], str] | None:  # fmt: skip
    """Return shape and dtype of an array, by its metadata of zarr 3, zarr 2 or N5; None of a group."""
    found = newer if newer.get("node_type") == "array" else older
    shape = found.get("shape") or (n5.get("dimensions") or [])[::-1]
    return (tuple(shape), str(found.get("data_type") or found.get("dtype") or n5.get("dataType"))) if shape else None


def _finest(node: "_Node") -> tuple[tuple[int, ...], str] | None:
    """Return shape and dtype of the finest resolution in a group; None where there is none."""
    with contextlib.suppress(InputError), guarded(node.root.name):
        listed = [level["path"] for level in (_image(node.attributes()) or {}).get("datasets") or ()]
        for name in (listed or _numbered(node))[:1]:
            one = node.inner(name)
            return _told(*(one.read(METADATA[k]) for k in (3, 2, 4)))
    return None


def _is_link(path: Any) -> bool:
    return isinstance(path, Path) and path.is_symlink()


@dataclass(frozen=True)
class _Node:
    """A group or an array, and the folder that the user named, which nothing may lead out of."""

    folder: Folder
    root: Folder

    def read(self, name: str) -> dict[str, Any]:
        """Read a metadata file, if it is there."""
        path = self.folder / name
        return read_json(path, self.root.name) if inside(path, self.root, self.root.name) else {}

    def kind(self) -> str:
        """Return "array", or the version of OME-Zarr that a group has."""
        newer = self.read("zarr.json")
        return "array" if newer.get("node_type") == "array" or self.read(".zarray") else "0.5" if newer else "0.4"

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of a group or an array, in whatever file they are."""
        found = self.read("zarr.json").get("attributes") or self.read(".zattrs") or self.read("attributes.json")
        return {**found, **found.get("ome", {})}

    def inherited(self) -> dict[str, Any]:
        """Return the attributes of an array, and of the groups that it lies in those that it has not itself."""
        found, node = self.attributes(), self
        while str(node.folder) != str(self.root):
            node = _Node(node.folder.parent, self.root)  # type: ignore[arg-type]
            found = {k: v for k, v in node.attributes().items() if k not in ("offset", "axes")} | found
        return found

    def inner(self, name: str) -> "_Node":
        """Return a folder inside, and refuse names that lead out."""
        inner = self.folder.joinpath(*PurePosixPath(name).parts) if name.strip("/.") else self.folder
        linked = isinstance(inner, Path) and not inner.resolve().is_relative_to(Path(str(self.folder)).resolve())
        if linked or leads_out(name):
            raise UnsafeFileError(f"{self.root.name} refers to {name!r}, which lies outside of it.")
        if not inner.is_dir():
            raise InputError(f"{self.root.name} has no {name!r} inside.{self.choices()}")
        return _Node(inner, self.root)

    def within(self) -> str:
        """Return the path from the folder that the user named to this one; empty for that one itself."""
        return str(self.folder)[len(str(self.root)) :].replace("\\", "/").strip("/")

    def choices(self) -> str:
        """Return a sentence about what series= can be, as seen from the folder that the user named."""
        start = self.within()
        names = [name for name, *_ in itertools.islice(_images_in(self), 8) if name]
        if not names:
            names = [f"{start}/{e.name}".lstrip("/") for e in self.folder.iterdir() if e.is_dir()]
        listed = ", ".join(f"series={name!r}" for name in sorted(names)[:8])
        return f" Inside are: {listed}." if listed else ""


def _labels_inside(node: _Node) -> str | None:
    """Return the path of the only label image inside an OME-Zarr image."""
    if not (node.folder / "labels").is_dir() or not is_zarr(node.folder / "labels"):
        return None
    within = [f"labels/{name}" for name in node.inner("labels").attributes().get("labels") or ()]
    if len(within) > 1:
        held = ", ".join(within)
        raise InputError(f"{node.root.name} holds the labels {held}. Choose one with series='{within[0]}'.")
    return within[0] if within else None


def _level(levels: list[Any], series: int | None, what: str) -> Any:
    """Return the resolution level that was chosen."""
    if not levels:
        raise CorruptFileError(f"{what} lists no resolution level.")
    if not 0 <= (series or 0) < len(levels):
        raise InputError(f"{what} has resolution levels 0 (finest) to {len(levels) - 1}, got series={series!r}.")
    return levels[series or 0]


def _read_array(node: _Node, image: Mapping[str, Any] | None, *, strict: bool, name: str = "") -> Source:
    """Open one zarr array lazily, alone or of an image."""
    node = node.inner(name) if name else node
    newer, what = node.read("zarr.json"), node.root.name
    if not newer and not node.read(".zarray"):
        raise CorruptFileError(f"{what} lacks the array {node.folder.name!r} that it lists.")
    data = _ZarrBlocks("zarr3" if newer else "zarr", node, strict=strict).lazy()
    named, attributes = newer.get("dimension_names") or (), node.inherited()
    if image is None:
        return describe(data, attributes, "zarr", names=named)
    rank, listed = len(data.shape), image.get("axes")
    letters, notes = axes_of({"axes": listed or named}, rank)
    if rank == 5 and not listed and not named:  # versions 0.1 and 0.2 name no axes, and have these
        letters = "tczyx"
    if listed and not letters and not notes:
        raise CorruptFileError(f"{what} names {listed!r:.80} as axes, but its array has {rank} of them.")
    return Source(data, letters, {}, notes, "zarr")


def _ome_spacing(image: Mapping[str, Any], level: Mapping[str, Any], letters: str) -> tuple[dict[str, float], Notes]:
    """Return the voxel size in nm by axis letter, where scale and unit are both stated."""
    try:
        factors, _ = _ome_place(level, image, len(letters))
    except (TypeError, ValueError, AttributeError):
        return {}, (f"The file gives no scale of {len(letters)} numbers: the voxel size stays unknown.",)
    known = lengths_of(letters, factors, _ome_units(image, len(letters)))
    if not known and (factors != 1).any():
        return {}, ("The file gives a scale but no unit that is known: the voxel size stays unknown.",)
    return known, ()


def _ome_place(level: Mapping[str, Any], image: Mapping[str, Any], rank: int) -> tuple[Any, Any]:
    """Return the size of a voxel along each axis, and the place of the first, as level and image transform them.

    Raises
    ------
    TypeError, ValueError, AttributeError
        If they do not say so in as many numbers.
    """
    listed = [one for part in (level, image) for one in part.get("coordinateTransformations") or ()]
    scale, shift = np.ones(rank), np.zeros(rank)
    for one in listed:
        factor = np.array(one.get("scale") or [1.0] * rank, float)
        moved = np.array(one.get("translation") or [0.0] * rank, float)
        if factor.shape != (rank,) or moved.shape != (rank,):
            raise ValueError(f"{one} is not of {rank} axes")
        scale, shift = scale * factor, shift * factor + moved
    if not any(one.get("scale") for one in listed):
        raise ValueError("no scale")
    return scale, shift


def _ome_units(image: Mapping[str, Any], rank: int) -> list[Any]:
    listed = image.get("axes") or [None] * rank
    return [axis.get("unit") if isinstance(axis, dict) else None for axis in listed]


def _ome_levels(
    node: _Node, image: Mapping[str, Any], chosen: int, letters: str, *, strict: bool
) -> tuple[dict[str, float], tuple[Lower, ...]]:  # fmt: skip
    """Return where an image begins, in nm by axis letter, and its resolutions below the chosen one, unopened.

    Where no level says where it begins, its voxels are taken to cover those that they stand for, unless they were
    picked out of them.
    """
    levels = image["datasets"]
    try:
        places = [_ome_place(part, image, len(letters)) for part in levels]
    except (TypeError, ValueError, AttributeError):
        return {}, ()
    if not all((one > 0).all() for one, _ in places):
        return {}, ()
    told = any("translation" in one for part in levels for one in part.get("coordinateTransformations") or ())
    if not told and image.get("type") != "nearest":
        places = [(one, begins + (one - places[0][0]) / 2) for one, begins in places]
    scale, shift = places[chosen]
    lower = []
    for part, (one, begins) in list(zip(levels, places, strict=True))[chosen + 1 :]:
        factors, offset = one / scale, (begins - shift) / scale
        load = functools.partial(_read_array, node, image, strict=strict, name=part["path"])
        lower.append(Lower(tuple(factors.tolist()), tuple(offset.tolist()), load))
    return places_of(letters, shift.tolist(), _ome_units(image, len(letters))), tuple(lower)


def _read_n5(node: _Node, level: int | None) -> Source:
    """Open an N5 array, or a resolution level of a group that counts them s0, s1, ...

    N5 names the fastest axis first: x, y, z. Attributes follow that order; the array is given as z, y, x.
    """
    what, own = node.root.name, node.read("attributes.json")
    if "dimensions" not in own:
        levels = _numbered(node)
        if not levels:
            raise InputError(f"{what} is a group of N5 without an image.{node.choices()}")
        _level(levels, level, what)
        found, lower, notes = _read_n5(node.inner(levels[level or 0]), None), [], []
        for name in levels[(level or 0) + 1 :]:
            try:
                with guarded(what):
                    one = node.inner(name)
                    load = functools.partial(_read_n5, one, None)
                    lower.append(_lower(found, _told_of_n5(one, one.read("attributes.json")), load))
            except InputError as error:
                notes.append(f"The resolution {name} is left out: {error}")
        return replace(found, levels=tuple(lower), notes=(*found.notes, *notes))
    if own.get("isLabelMultiset") or "dataType" not in own:
        remedy = "Convert it to plain uint64 labels (paintera-convert to-scalar)"
        raise UnsupportedFormatError(f"{what} holds label multisets of Paintera, several ids a voxel. {remedy}.")
    data = _ZarrBlocks("n5", node, strict=False).lazy()
    return replace(_told_of_n5(node, own), data=data)


def _told_of_n5(node: _Node, own: Mapping[str, Any]) -> Source:
    """Return what is told of an N5 array, without its voxels.

    A lower resolution that does not say where it begins is taken to cover the voxels of the finest that it stands for.
    """
    attributes, notes = _of_level(node.inherited(), own, node.folder.name)
    unopened = np.broadcast_to(np.uint8(0), tuple(own["dimensions"])[::-1])
    found = describe(unopened, attributes, "N5", x_first=True, notes=notes)
    found = replace(found, origin=_n5_origin(attributes))
    if found.origin or not re.fullmatch(r"s0*[1-9]\d*", node.folder.name) or not node.within():
        return found
    with contextlib.suppress(InputError), guarded(node.root.name):  # the finest may be damaged or not there
        finest = _Node(node.folder.parent / "s0", node.root)  # type: ignore[operator]
        first = _told_of_n5(finest, finest.read("attributes.json"))
        letters, offset = first.axes or "zyx"[-len(first.shape) :], _lower(first, found).offset
        sizes = [first.spacing.get(letter, 0.0) for letter in letters]
        moved = zip(letters, sizes, offset, strict=True)
        return replace(found, origin={c: first.origin.get(c, 0.0) + n * size for c, size, n in moved if size})
    return found


def _numbered(node: _Node) -> list[str]:
    """Return the names of levels, s0, s1, ..., in their order; on the network, up to the first that is not there."""
    if isinstance(node.folder, Remote):
        asked = (f"s{k}" for k in range(MOST_LEVELS * 4))
        return list(itertools.takewhile(lambda name: (node.folder / name / METADATA[4]).is_file(), asked))
    names = [e.name for e in node.folder.iterdir() if e.name[:1] == "s" and e.name[1:].isdecimal()]
    return sorted(names, key=lambda name: int(name[1:]))


def _n5_origin(attributes: Mapping[str, Any]) -> dict[str, float]:
    """Return where an array of CellMap or OpenOrganelle begins, in nm by axis letter."""
    transform = attributes.get("transform")
    axes, places = (transform.get("axes"), transform.get("translate")) if isinstance(transform, dict) else (None, None)
    if not isinstance(axes, list) or not isinstance(places, list) or len(axes) != len(places):
        return {}
    units = transform.get("units")  # type: ignore[union-attr]
    return places_of("".join(map(str, axes)), places, units if isinstance(units, list) else [units] * len(axes))


def _lower(finest: Source, one: Source, load: Callable[[], Source] | None = None) -> Lower:
    """Return a resolution by its voxel size and place or, where these are not known, by its shape."""
    letters = finest.axes or "?" * len(finest.shape)
    factors, offset = [], []
    for letter, n, m in zip(letters, finest.shape, one.shape, strict=True):
        size = finest.spacing.get(letter, 0)
        factors.append(one.spacing[letter] / size if size and letter in one.spacing else float(max(1, round(n / m))))
        there = size and letter in finest.origin and letter in one.origin
        offset.append((one.origin[letter] - finest.origin[letter]) / size if there else (factors[-1] - 1) / 2)
    return Lower(tuple(factors), tuple(offset), load or (lambda: one))


def _of_level(attributes: dict[str, Any], own: Mapping[str, Any], name: str) -> tuple[dict[str, Any], Notes]:
    """Return attributes with what the group lists for this level (s0, s1, ...), and what is to be said."""
    number = int(name[1:]) if name[:1] == "s" and name[1:].isdecimal() else 0
    if any(is_size(key) for key in own):
        return attributes, ()
    for level in (_image(attributes) or {}).get("datasets") or ():  # CellMap
        if level.get("path") == name and "transform" in level:
            return attributes | {"transform": level["transform"]}, ()
    if number == 0 or "downsamplingFactors" in own:
        return attributes, ()
    for factors in (attributes.get("downsamplingFactors"), attributes.get("scales")):
        if isinstance(factors, list) and number < len(factors) and isinstance(factors[number], list):
            return attributes | {"downsamplingFactors": factors[number]}, ()
    kept = {key: value for key, value in attributes.items() if not is_size(key)}
    note = "The file does not say by how much this level is smaller than the finest: the voxel size stays unknown."
    return kept, (note,) if len(kept) < len(attributes) else ()


class _ZarrBlocks(Blocks):
    """An array of zarr or N5."""

    def __init__(self, driver: str, node: _Node, *, strict: bool) -> None:
        self._order = -1 if driver == "n5" else 1
        super().__init__({"driver": driver}, node.folder, node.root, METADATA[2:], strict=strict)
        metadata = self.store.spec().to_json()["metadata"]
        naming = metadata.get("chunk_key_encoding", {"name": driver})
        usual = "." if naming["name"] in ("zarr", "v2") else "/"
        stated = metadata.get("dimension_separator") or naming.get("configuration", {}).get("separator")
        self._between = stated or usual
        self._start = f"c{self._between}" if naming["name"] == "default" else ""
        codecs = metadata.get("codecs") or [metadata.get("compressor"), metadata.get("compression")]
        self.blosc, self.header = "'blosc'" in str(codecs), 4 + 4 * len(self.sides) if driver == "n5" else 0
        self.shard = next((c["configuration"] for c in codecs if c and c.get("name") == "sharding_indexed"), None)

    def axes_in_order(self, store: Any) -> Any:
        return store.T if self._order < 0 else store

    def file_of(self, index: tuple[int, ...]) -> str:
        return self._start + self._between.join(map(str, index[:: self._order]))


# --- Writing: a pyramid of levels, every block on disk, so that a lost one shows


def write_zarr(path: Path, saving: Saving, version: str) -> None:
    """Write a volume with its lower resolutions, as `writing_zarr`."""
    for _ in writing_zarr(path, saving, version):
        pass


def writing_zarr(path: Path, saving: Saving, version: str) -> Iterator[int]:
    """Write a volume with its lower resolutions; yield how many planes of a level are done, level by level.

    Images are averaged 2 x 2 (2 x 2 x 2 where planes are not much thicker than pixels); labels take every
    second voxel, so that no id is invented.

    Raises
    ------
    InputError
        If the version is not 0.4 or 0.5.
    """
    if version not in ("0.4", "0.5"):
        raise InputError(f"OME-Zarr is written as version '0.4' or '0.5', got {version!r}.")
    path.mkdir()
    store = _create(path / "0", saving.shape, native(saving.data.dtype), version)
    yield from fill(store, saving.data)
    yield from _finish(path, store, saving, saving.record, version)


def _create(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], version: str) -> Any:
    """Create one array."""
    old, blosc = version == "0.4", {"cname": "zstd", "clevel": 5}
    codec: dict[str, Any] = {"driver": "zarr", "compressor": {"id": "blosc", "shuffle": 1, **blosc}}
    if not old:
        codec = {"driver": "zarr3", "codecs": [{"name": "blosc", "configuration": {"shuffle": "shuffle", **blosc}}]}
    schema = {
        "dtype": dtype.name, "domain": {"shape": shape}, "codec": codec,
        "fill_value": False if dtype.kind == "b" else 0,
        "chunk_layout": {"chunk": {"shape": [min(n, b) for n, b in zip(shape, BLOCK, strict=True)]}},
    }  # fmt: skip
    spec = {
        "driver": codec["driver"], "kvstore": {"driver": "file", "path": f"{path.resolve()}/"}, "schema": schema,
        "metadata": {"dimension_separator": "/"} if old else {"dimension_names": ["z", "y", "x"]},
        "store_data_equal_to_fill_value": True,
        # The whole folder is synced once before it is renamed; a sync for every block is four times slower.
        "context": {"file_io_sync": False},
    }  # fmt: skip
    return tensorstore.open(spec, open=True, create=True).result()


def scratch_array(
    folder: Path | None, shape: Sequence[int], dtype: str, chunks: Sequence[int], compressor: Any = None, *,
    zeros: bool = False, whole: bool = False, sync: bool = False,
) -> Any:  # fmt: skip
    """Open an array that only this program reads, in a folder or in memory; create it, of zeros, where there is none.

    Nothing is cached.

    Parameters
    ----------
    folder : path or None
        Of its own; None is memory.
    shape, dtype, chunks, compressor
        As zarr 2 writes them.
    zeros : bool
        Whether blocks of zeros are written, too, so that one sees which were.
    whole : bool
        They are, and a block that is missing is an error and no zeros.
    sync : bool
        Each block waits for the disk, so that it is there after a power cut.
    """
    metadata = {"shape": shape, "dtype": dtype, "chunks": chunks, "compressor": compressor, "fill_value": 0}
    spec = {
        "driver": "zarr", "kvstore": {"driver": "file", "path": f"{folder}/"} if folder else "memory://",
        "metadata": metadata, "store_data_equal_to_fill_value": zeros or whole, "fill_missing_data_reads": not whole,
        "context": {"file_io_sync": sync, "cache_pool": {"total_bytes_limit": 0}},
    }  # fmt: skip
    return tensorstore.open(spec, open=True, create=True).result()


def fill(store: Any, data: Any) -> Iterator[int]:
    """Fill an array with another, a row of blocks at a time; yield the planes that are done."""
    for start in range(0, store.shape[0], BLOCK[0]):
        stop = min(start + BLOCK[0], store.shape[0])
        store[start:stop].write(np.ascontiguousarray(data[start:stop])).result()
        yield stop


def _finish(
    path: Path, level: Any, saving: Saving, record: Mapping[str, Any] | None, version: str,
    job: Mapping[str, Any] | None = None,
) -> Iterator[int]:  # fmt: skip
    """Write all but the finest level of a volume, which is there, and the metadata; yield after each row of blocks."""
    factors = level_factors(saving)
    # Of ids every second voxel, so that none is invented; of greys the mean of neighbours.
    how: Literal["stride", "mean"] = "stride" if saving.labels or level.dtype.numpy_dtype.kind == "b" else "mean"
    for k, (above, below) in enumerate(itertools.pairwise(factors), 1):
        half: Any = tensorstore.downsample(level, [b // a for a, b in zip(above, below, strict=True)], how)
        level = _create(path / str(k), half.shape, half.dtype.numpy_dtype, version)
        yield from fill(level, half)
    _write_metadata(path, saving, factors, version, record, job)


def level_factors(saving: Saving) -> list[tuple[int, ...]]:
    """Return how much each level is reduced along z, y and x; at least two levels where there is room."""
    factors: list[tuple[int, ...]] = [(1, 1, 1)]
    now, spacing = np.array(saving.shape), np.array(saving.voxel_size or (1.0, 1.0, 1.0))
    while len(factors) < MOST_LEVELS and now[1:].max() > (1 if len(factors) == 1 else SMALLEST):
        step = np.where((now > 1) & (spacing < 2 * spacing[1:].min()), 2, 1)
        if (step == 1).all():
            break
        now, spacing = -(-now // step), spacing * step
        factors.append(tuple((np.array(factors[-1]) * step).tolist()))
    return factors


def _write_metadata(
    path: Path, saving: Saving, factors: list[tuple[int, ...]], version: str, record: Mapping[str, Any] | None,
    job: Mapping[str, Any] | None,
) -> None:  # fmt: skip
    """Write the attributes of the group: OME's multiscale image, and what mitonb adds."""
    record_json(record or {})  # says what is wrong with it
    size = np.array(saving.voxel_size or (1.0, 1.0, 1.0))
    datasets: list[dict[str, Any]] = []
    for k, factor in enumerate(factors):
        transforms = [{"type": "scale", "scale": (size * factor).tolist()}]
        # Where voxels were averaged, their centres moved.
        shift = size * (np.array(factor) - 1) / 2 * (not saving.labels) + saving.origin
        if shift.any():
            transforms.append({"type": "translation", "translation": shift.tolist()})
        datasets.append({"path": str(k), "coordinateTransformations": transforms})
    unit = {"unit": "nanometer"} if saving.voxel_size is not None else {}
    image = {
        "name": saving.name, "axes": [{"name": axis, "type": "space", **unit} for axis in "zyx"], "datasets": datasets,
        "type": "nearest" if saving.labels else "mean",
    }  # fmt: skip
    kept = {"record": record, "job": job}
    own = {"complete": True, **{name: dict(value) for name, value in kept.items() if value is not None}}
    old = version == "0.4"
    labelled = {"image-label": {"version": version} if old else {}} if saving.labels else {}
    if old:
        image = {"version": version, **image}
        attributes: dict[str, Any] = {"multiscales": [image], **labelled, "mitonb": own}
        files: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": attributes}
    else:
        attributes = {"ome": {"version": version, "multiscales": [image], **labelled}, "mitonb": own}
        files = {"zarr.json": {"zarr_format": 3, "node_type": "group", "attributes": attributes}}
    for name, value in files.items():
        (path / name).write_text(json.dumps(value, indent=1, allow_nan=False), "utf-8")


def job_of(path: Path) -> Mapping[str, Any] | None:
    """Return what mitonb says of a store of labels that a job has made ("job", "record"); None for all other things."""
    own = None
    if os.path.isfile(path / ".zattrs"):  # also of a name that is too long
        with contextlib.suppress(InputError):
            own = read_json(path / ".zattrs", path.name).get("mitonb")
    job = own.get("job") if isinstance(own, dict) else None
    return own if isinstance(job, dict) and isinstance(job.get("count"), int) and "identity" in job else None


class LabelStore:
    """An OME-Zarr that takes labels slab by slab; it gets its name only when it is whole.

    Use `with LabelStore.at(...) as store`, write all slabs in the order of z, then drain `store.finish(...)`. If the
    block ends early, nothing is left.
    """

    def __init__(
        self, folder: Path, target: Path, shape: tuple[int, int, int], voxel_size: VoxelSize | None, name: str
    ) -> None:
        self.folder, self.target = folder, target
        folder.mkdir(exist_ok=True)
        self._store = _create(folder / "0", shape, np.dtype(np.uint32), "0.4")
        self._saving = Saving(self._store, voxel_size, name, True)
        self.sums: list[tuple[slice, int]] = []
        """Each slab that was written, with its checksum."""

    @classmethod
    @contextlib.contextmanager
    def at(
        cls, target: Path, shape: tuple[int, int, int], voxel_size: VoxelSize | None, name: str
    ) -> "Iterator[LabelStore]":  # fmt: skip
        """Open a store that becomes `target` at the end of the block, after it was read back.

        Parameters
        ----------
        target : path
            What it becomes.
        shape : tuple of int
            (z, y, x) in voxels.
        voxel_size : tuple of float or None
            (z, y, x) in nm.
        name : str
            Shown to the user.
        """
        with atomic_write(target, lambda path: store.check(path)) as folder:
            with explain_write(target):
                store = cls(folder, target, shape, voxel_size, name)
            yield store

    def write(self, top: int, slab: npt.NDArray[np.uint32]) -> int:
        """Write the planes from `top` on; return their checksum."""
        where, slab = slice(top, top + len(slab)), np.ascontiguousarray(slab)
        with explain_write(self.target):
            self._store[where].write(slab).result()
        self.sums.append((where, _checksum(slab, slice(0, len(slab)))))
        return self.sums[-1][1]

    def finish(self, record: Mapping[str, Any] | None, job: Mapping[str, Any] | None = None) -> Iterator[int]:
        """Write the lower resolutions and the metadata, with the job that made the labels; yield after each part."""
        with explain_write(self.target):
            yield from _finish(self.folder, self._store, self._saving, record, "0.4", job)

    def check(self, folder: Path) -> None:
        """Read the store back where it is now, as any reader would open it, and compare it with what was written."""
        found = arrange(read_store(folder, strict=True), what=self.target.name)[0]
        for where, want in self.sums:
            try:
                same = _checksum(found, where) == want
            except CorruptFileError:
                same = False
            if not same:
                planes = f"planes {where.start} to {where.stop - 1}"
                raise CorruptFileError(f"Saving failed: {planes} were read back changed. Check the disk.")


def _checksum(labels: Any, planes: slice) -> int:
    """Return the checksum of some planes, block by block of the store: each is unpacked once, and alone in memory."""
    deep, high, wide = BLOCK
    _, height, width = labels.shape
    total = 0
    for z in range(planes.start, planes.stop, deep):
        for y, x in itertools.product(range(0, height, high), range(0, width, wide)):
            block = labels[z : min(z + deep, planes.stop), y : min(y + high, height), x : min(x + wide, width)]
            total = zlib.crc32(np.ascontiguousarray(block).data, total)
    return total
