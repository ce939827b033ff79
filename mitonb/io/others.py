"""Readers of arrays in memory and of npy, npz, HDF5 and MRC files: one function for each gives a Source."""

import contextlib
import functools
import importlib
import json
import math
import mmap
import re
import struct
import threading
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mitonb.errors import CorruptFileError, InputError, UnsafeFileError, UnsupportedFormatError
from mitonb.io.arrays import Array, Lazy, Lower, Saving, Source, blocks_of, native, raw_voxels
from mitonb.io.axes import describe, plain
from mitonb.io.images import natural
from mitonb.io.limits import LARGEST_JSON, check_block, check_held
from mitonb.memory import memory_budget, require

IMOD_STAMP = 1146047817
MOST_DATASETS = 10_000
LARGEST_DEFLATED = 1032  # bytes that one byte of gzip can become
NEAR_ENDS = 2**24
LONGEST_TEXT = 2**24
HEAP = re.compile(rb"GCOL\x01\0\0\0(.{8})", re.DOTALL)
BIG_DATA = re.compile(r"(t\d+/s\d+)/\d+/cells")
"""Where BigDataViewer keeps voxels: moment, view, level."""
BUILT_IN_FILTERS = {1, 2, 3, 4, 5, 6, 32000}


def read_array(source: Any) -> Source:
    """Wrap an array: numpy, masked, dask, or anything with a shape, a dtype and slicing.

    Of xarray, h5py, zarr and tensorstore the names of axes, the coordinates and the attributes count.
    """
    if hasattr(source, "data_vars"):
        held = ", ".join(map(str, source.data_vars))[:80] or "nothing"
        raise InputError(f"This xarray.Dataset holds {held}. Pass one of them, dataset['name'].")
    if isinstance(source, np.ndarray):
        return Source(source)
    data, shape = source, getattr(source, "shape", None)
    try:
        kind = np.dtype(source.dtype).kind if isinstance(shape, tuple) and hasattr(source, "__getitem__") else ""
    except (AttributeError, TypeError):  # a dtype of another library, such as torch.uint8
        kind = ""
    if not kind and (shape is not None or isinstance(source, list | tuple) or hasattr(source, "__array__")):
        data = np.asarray(source)
        kind = data.dtype.kind
    if kind not in tuple("buifc"):
        raise InputError(f"open() takes a path or an array of numbers, got {type(source).__name__}.")
    attributes = getattr(source, "attrs", None)
    attributes = dict(attributes) if isinstance(attributes, Mapping) else {}
    domain, metadata = getattr(source, "domain", None), getattr(source, "metadata", None)
    named = (getattr(source, "dims", None), getattr(metadata, "dimension_names", None), getattr(domain, "labels", None))
    names = next((n for n in named if isinstance(n, tuple) and len(n) == len(data.shape) and any(n)), ())
    coords = getattr(source, "coords", {})
    points = [coords[name] if name in coords else None for name in names]
    return describe(data, attributes, "array", names=names, points=points)


# --- NumPy's files


def read_npy(path: Path) -> Source:
    """Open a .npy file lazily.

    Raises
    ------
    UnsafeFileError
        If it holds Python objects, which could run code.
    """
    with open(path, "rb") as file:
        shape, fortran, dtype = _npy_header(file, path.name)
        start = file.tell()
    fortran = fortran and len(shape) > 1
    check_held(path.name, math.prod(shape) * dtype.itemsize, path.stat().st_size - start)
    notes = ("Stored in Fortran order: planes along x are read fastest.",) if fortran else ()
    return Source(raw_voxels(path, dtype, shape, start, fortran=fortran), kind="npy", notes=notes)


def read_npz(path: Path, series: str | None = None) -> Source:
    """Read one array of a .npz file into memory; a record and voxel size that mitonb saved are taken along.

    Raises
    ------
    InputError
        If it holds several arrays and `series` does not name one.
    """
    what = path.name
    with zipfile.ZipFile(path) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist() if m.filename.endswith(".npy")}
        names = [n for n in members if n not in ("voxel_size", "record", "axes")]
        if not names:
            raise InputError(f"{what} is a zip file without a NumPy array, zarr or N5. Unpack it first.")
        data = _unpacked(archive, members[_chosen(names, series, what)], what)
        beside = {name: members[name] for name in ("voxel_size", "record") if name in members}
        small = {n: _unpacked(archive, m, n) for n, m in beside.items() if m.file_size <= LARGEST_JSON}
    spacing, record = small.get("voxel_size"), small.get("record")
    sizes = {}
    if spacing is not None and spacing.shape == (3,) and spacing.dtype.kind in "uif":
        sizes = dict(zip("zyx", map(float, spacing), strict=True))
    kept = json.loads(record.tobytes()) if record is not None and record.dtype == np.uint8 else None
    return Source(data, kind="npz", spacing=sizes, record=kept)


def members_of(path: Path) -> list[tuple[str, tuple[int, ...], Any]]:
    """Return name, shape and dtype of the images in an HDF5 or .npz file; none of any other file."""
    with open(path, "rb") as file:
        magic = file.read(8)
    if magic == b"\x89HDF\r\n\x1a\n":
        h5py = extra("h5py", path)
        with h5py.File(path, "r") as file:
            return [(name, file[name].shape, native(file[name].dtype)) for name in _datasets(file, h5py)]
    found = []
    if magic[:4] == b"PK\3\4":
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    with archive.open(member) as stream:
                        shape, _, dtype = _npy_header(stream, path.name)
                    found.append((member.filename.removesuffix(".npy"), shape, dtype))
    return found


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> Array:
    """Read one member, never more than its header declares."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # they unpack in one go, however large
        raise UnsupportedFormatError(f"{what} is packed with LZMA or the like. Save it with numpy.savez_compressed.")
    with archive.open(member) as stream:
        shape, _, dtype = _npy_header(stream, what)
    declared = math.prod(shape) * dtype.itemsize
    check_held(what, declared, member.file_size)
    check_block(what, declared, member.compress_size)
    with archive.open(member) as stream:
        data: Array = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # reaches the end, where zipfile checks the checksum
    return data


def _npy_header(stream: Any, what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a .npy stream: shape, whether it is in Fortran order, dtype; nothing is unpickled."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise CorruptFileError(f"{what} has version {version} of .npy, which is not known. Save it with numpy.save.")
    shape, fortran, dtype = getattr(np.lib.format, f"read_array_header_{version[0]}_0")(stream)
    if dtype.hasobject:
        raise UnsafeFileError(f"{what} holds Python objects, which could run code. Save plain numbers instead.")
    return shape, fortran, dtype


def _chosen(names: list[str], series: str | None, what: str) -> str:
    """Return the array to read: the one that is named, or the only one."""
    listed = ", ".join(sorted(names)[:8])
    if series is not None and series.strip("/") not in names:
        raise InputError(f"{what} has no array {series!r} of its own; it holds {listed or 'no image'}.")
    if series is None and len(names) != 1:
        held = f"{len(names)} arrays ({listed})" if names else "no image"
        raise InputError(f"{what} holds {held}. Choose one with series='name'.")
    return series or names[0]


# --- MRC


def read_mrc(path: Path) -> Source:
    """Open an MRC file lazily; voxel size from Angstrom.

    Raises
    ------
    UnsupportedFormatError
        If mrcfile is not installed.
    """
    mrcfile, utils = extra("mrcfile", path), extra("mrcfile.utils", path)
    what, stored = path.name, path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(1024)
    order: Literal["little", "big"] = "big" if head[212:213] == b"\x11" else "little"
    # mrcfile makes room for all of an extended header, whatever the file holds.
    check_held(what, int.from_bytes(head[92:96], order, signed=True), stored - 1024)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with mrcfile.open(path, mode="r", header_only=True) as volume:
            size, header = volume.voxel_size, volume.header
        dtype, shape = utils.data_dtype_from_header(header), utils.data_shape_from_header(header)
        spacing = {axis: float(size[axis]) / 10 for axis in "zyx" if np.isfinite(size[axis]) and size[axis] > 0}
    if 0 in shape:
        raise CorruptFileError(f"{what} holds no voxels.")
    start = 1024 + int(header.nsymbt)
    check_held(what, math.prod(shape) * dtype.itemsize, stored - start)
    axes, notes = _mrc_axes(header, len(shape))
    if dtype == np.int8 and _is_unsigned(header, order):
        dtype = np.dtype(np.uint8)
        notes += ("Bytes are unsigned, as the header says in IMOD's way.",)
    starts = [int(header[name]) for name in ("nxstart", "nystart", "nzstart")]
    if any(starts):
        notes += (f"The header starts at column, row, section {starts}: positions here count from the first voxel.",)
    notes += tuple(dict.fromkeys(f"The reader says: {' '.join(str(w.message).split())[:200]}." for w in caught))
    # Tools that do not know the pixel size write 1 Angstrom, which no EM volume of a cell has.
    if spacing and all(abs(v - 0.1) < 1e-9 for v in spacing.values()):
        spacing, notes = {}, (*notes, "The header gives 1 Angstrom, the default: taken as unknown.")
    return Source(raw_voxels(path, dtype, shape, start), axes, spacing, notes[:5], "MRC")


def _mrc_axes(header: Any, rank: int) -> tuple[str | None, tuple[str, ...]]:
    """Return the axis letters: the header says which of x, y and z columns, rows and sections run along."""
    order = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    usual = {2: "yx", 3: "zyx", 4: "?zyx"}.get(rank)
    if sorted(order) != [1, 2, 3]:
        note = f"The order of axes in the header ({order}) is none: columns are taken as x, rows as y."
        return usual, (note,) if any(order) else ()
    if order[-rank:] == [3, 2, 1][-rank:]:
        return usual, ()
    letters = "".join(" xyz"[k] for k in order)
    if rank == 2:  # one section: its rows and columns have names of their own
        flat = letters[1:]
        return (flat, ()) if set(flat) == {"x", "y"} else ("yx", (f"The plane is cut along {flat}.",))
    return "?" * (rank - 3) + letters, (f"Sections, rows and columns are {', '.join(letters)}, as the header says.",)


def _is_unsigned(header: Any, order: Literal["little", "big"]) -> bool:
    """Return whether bytes are unsigned: by IMOD's flag, else where the greatest value says so."""
    extra = header["extra2"].tobytes()  # bytes 112 to 195
    if int.from_bytes(extra[40:44], order) == IMOD_STAMP:
        return not int.from_bytes(extra[44:48], order) & 1
    return float(header["dmin"]) >= 0 and 127 < float(header["dmax"]) < 256


def unpacked(file: Any, dtype: np.dtype[Any], shape: tuple[int, ...], skip: int, what: str, advice: str) -> Array:
    """Unpack the voxels of a file into memory, never more than it declares."""
    size = math.prod(shape) * dtype.itemsize
    require(size, f"Unpacking {what}", advice)
    file.seek(skip)
    found = np.frombuffer(file.read(size), dtype)
    check_held(what, size, found.nbytes)
    file.read(1)  # reaches the end, where gzip looks at its checksum
    return found.reshape(shape)


def extra(package: str, path: Path, called: str = "") -> Any:
    """Return a package that not everybody has installed; `called` is its name where that is another one."""
    choice = "tables" if package in ("openpyxl", "pyarrow") else "formats"
    try:
        return importlib.import_module(package)
    except ImportError:
        raise UnsupportedFormatError(
            f"{path.name} needs {called or package}: pip install 'mitonb[{choice}]'."
        ) from None


# --- HDF5: one dataset of one file, never anything outside of it


def read_hdf5(path: Path, series: str | None = None) -> Source:
    """Open one dataset of an HDF5 file lazily.

    Raises
    ------
    UnsupportedFormatError
        If h5py is not installed, or the dataset needs a plug-in.
    UnsafeFileError
        If its voxels lie in other files.
    """
    h5py = extra("h5py", path)
    with h5py.File(path, "r") as file:
        names = _datasets(file, h5py)
        if series is None and (levels := [name for name in names if BIG_DATA.fullmatch(name)]):
            return _read_big_data(file, sorted(levels, key=natural), names, path, h5py)
        dataset = file[_chosen(names, series, path.name)]
        _check_hdf5(dataset, path)
        attributes, notes = _attributes(dataset, path)
        # Files of the N5 programs count x first, also in HDF5.
        x_first = any(name in attributes for name in ("painteraData", "downsamplingFactors", "n5"))
        names, points = _dimensions(dataset, attributes, path)
        data = _hdf5_voxels(dataset, path, h5py)
        return describe(data, attributes, "HDF5", names=names, points=points, x_first=x_first, notes=notes)


def _read_big_data(file: Any, names: list[str], own: list[str], path: Path, h5py: Any) -> Source:
    """Open what BigDataViewer writes: one moment of one view, its levels beside it, their factors in a table."""
    views = sorted({BIG_DATA.sub(r"\1", name) for name in names}, key=natural)
    if len(views) > 1:
        listed = ", ".join(views[:8])
        raise InputError(f"{path.name} holds {len(views)} views ({listed}). Choose one: series='{views[0]}/0/cells'.")
    table = f"{views[0].rpartition('/')[2]}/resolutions"
    if table not in own or file[table].shape != (len(names), 3):  # a link may lead to another file
        raise CorruptFileError(f"{path.name} has {len(names)} levels, and no table of them. Export it again.")
    _check_hdf5(file[table], path)
    factors = np.asarray(_hdf5_voxels(file[table], path, h5py)[:, :], float)[:, ::-1]

    def level(name: str) -> Source:
        with h5py.File(path, "r") as again:
            dataset = again[name]
            _check_hdf5(dataset, path)
            signed = _hdf5_voxels(dataset, path, h5py)
        # It keeps 16 bits without a sign in integers that have one.
        plain = Lazy(signed.shape, np.uint16, lambda key: signed[key].view(np.uint16), path.name, signed.blocks)
        return Source(plain if signed.dtype == np.int16 else signed, "zyx", kind="HDF5 of BigDataViewer")

    lower = []
    for name, factor in list(zip(names, factors, strict=True))[1:]:
        steps = factor / factors[0]
        lower.append(Lower(tuple(steps.tolist()), tuple(((steps - 1) / 2).tolist()), functools.partial(level, name)))
    note = "The voxel size of BigDataViewer's files stands in their XML, which is not read."
    return replace(level(names[0]), notes=(note,), levels=tuple(lower))


def write_hdf5(path: Path, saving: Saving) -> None:
    """Write a volume as one dataset, "labels" or "image", in compressed blocks with checksums.

    Labels bear a second name, "main", by which the programs of the MitoEM challenge look for them.
    """
    data, (z, y, x) = saving.data, saving.shape
    with extra("h5py", path).File(path, "w") as file:
        dataset = file.create_dataset(
            "labels" if saving.labels else "image", saving.shape, native(data.dtype), compression="gzip", shuffle=True,
            fletcher32=True, chunks=(min(z, 16), min(y, 256), min(x, 256)),
        )  # fmt: skip
        dataset.attrs["DIMENSION_LABELS"] = np.array([b"z", b"y", b"x"])
        if saving.voxel_size is not None:
            dataset.attrs["element_size_um"] = [size / 1000 for size in saving.voxel_size]
        if saving.labels:
            file["main"] = dataset
        for top in range(0, z, 16):
            dataset[top : top + 16] = data[top : top + 16]


def _datasets(file: Any, h5py: Any) -> list[str]:
    """Return the names of all datasets that may be an image; links are not followed."""
    names: list[str] = []

    def visit(name: str, node: Any) -> bool | None:
        if isinstance(node, h5py.Dataset) and len(node.shape or ()) >= 2 and node.dtype.kind in "buifc":
            names.append(name)
        return True if len(names) >= MOST_DATASETS else None

    file.visititems(visit)
    return names


def _check_hdf5(dataset: Any, path: Path) -> None:
    """Refuse voxels in other files, unknown filters, and sizes that the file cannot hold."""
    what = path.name
    if dataset.external or dataset.is_virtual:
        raise UnsafeFileError(f"{what} keeps its voxels in other files. Export the volume into one file.")
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(k)[0] for k in range(plist.get_nfilters())]
    packed = [number for number in filters if number not in (2, 3)]
    if len(packed) > 1:
        raise UnsafeFileError(f"{what} is compressed {len(packed)} times over. Save it with gzip once.")
    if set(filters) - BUILT_IN_FILTERS:
        raise UnsupportedFormatError(f"{what} is compressed by a plug-in (filter {max(filters)}). Save it with gzip.")
    stored, block = path.stat().st_size, math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    check_held(what, dataset.id.get_storage_size(), stored)
    check_block(what, block, min(stored, block))


def _hdf5_voxels(dataset: Any, path: Path, h5py: Any) -> Lazy:
    """Return the voxels of a dataset.

    The file is open during a read only: HDF5 locks it, and would give what it remembers of an open one to whoever opens
    it again after another program has written it.
    """
    name, lock = dataset.name, threading.RLock()

    def cut(key: tuple[slice, ...]) -> Array:
        with lock, h5py.File(path, "r") as file:
            _check_blocks(file[name], key, path.name)
            return np.asarray(file[name][key])

    return Lazy(dataset.shape, dataset.dtype, cut, path.name, dataset.chunks)


def _check_blocks(dataset: Any, key: tuple[slice, ...], what: str) -> None:
    """Refuse blocks that would unpack to more than their voxels: HDF5 makes room for whatever comes out."""
    sides = dataset.chunks
    if not sides:
        return
    decoded, room = math.prod(sides) * dataset.dtype.itemsize, memory_budget().bytes
    for index in blocks_of(key, sides, what):
        corner = tuple(i * n for i, n in zip(index, sides, strict=True))
        stored = dataset.id.get_chunk_info_by_coord(corner).size
        check_block(what, decoded, stored)
        if dataset.compression == "gzip" and stored * LARGEST_DEFLATED > room:
            unpacked = zlib.decompressobj()
            unpacked.decompress(dataset.id.read_direct_chunk(corner)[1], decoded)
            check_block(what, 0, len(unpacked.unconsumed_tail) * LARGEST_DEFLATED)


def _attributes(dataset: Any, path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the attributes of a dataset, and of the groups that it lies in those that it has not itself."""
    if not _has_whole_texts(path):
        return {}, ("The texts in its attributes are damaged: axes and voxel size are not read from them.",)
    found: dict[str, Any] = {}
    damaged: list[str] = []
    nodes = [dataset, dataset.parent]
    while nodes[-1].name != "/" and len(nodes) < 16:
        nodes.append(nodes[-1].parent)
    for node in nodes:
        for name in list(node.attrs)[:1000]:
            if name in found or (node is not dataset and name in ("offset", "axes")):
                continue
            try:
                found[name] = node.attrs[name] if node.attrs.get_id(name).get_storage_size() < 2**20 else None
            except Exception:  # whatever a damaged attribute raises: its voxels may be whole
                damaged.append(name)
    return found, (f"Attributes that cannot be read: {', '.join(damaged)[:80]}.",) if damaged else ()


def _has_whole_texts(path: Path) -> bool:
    """Return whether the heaps that texts of attributes lie in can be walked: HDF5 never ends on one that cannot.

    They are written with the first attributes or the last, near the start or the end of a file.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        ends = ((0, NEAR_ENDS), (max(NEAR_ENDS, len(data) - NEAR_ENDS), len(data)))
        for start, declared in [(h.start(), h[1]) for end in ends for h in HEAP.finditer(data, *end)]:
            at, stop = start + 16, min(start + int.from_bytes(declared, "little"), len(data))
            while at + 16 <= stop:
                index, length = struct.unpack_from("<H6xQ", data, at)
                taken = 16 + (length + 7) // 8 * 8 if index else length
                if not 0 < taken <= stop - at:
                    return False
                at += taken
            # The library makes room for as many letters as are declared before it looks for them.
            address = re.compile(re.escape(struct.pack("<Q", start)))
            for text in [t.start() for end in ends for t in address.finditer(data, *end)]:
                if int.from_bytes(data[max(0, text - 4) : text], "little") > LONGEST_TEXT:
                    return False
    return True


def _dimensions(dataset: Any, attributes: dict[str, Any], path: Path) -> tuple[list[str], list[Any]]:
    """Return the name of each axis and the dataset of its coordinates, where there are some.

    Both are read out of the attributes: the library's own functions for them crash on damaged ones.
    """
    labels = plain(attributes.get("DIMENSION_LABELS"))
    names = [str(name) for name in labels] if isinstance(labels, list) else []
    names += [""] * (dataset.ndim - len(names))
    scales: list[Any] = [None] * dataset.ndim
    for axis, references in enumerate(np.atleast_1d(attributes.get("DIMENSION_LIST", ()))[: dataset.ndim]):
        with contextlib.suppress(Exception):  # a reference to nowhere, or out of the file, names nothing
            scale = dataset.file[references[0]]
            called = str(plain(scale.attrs.get("NAME", b"")))
            # netCDF writes a sentence there.
            names[axis] = names[axis] or (called if 0 < len(called) < 32 else scale.name.rpartition("/")[2])
            if scale.shape == dataset.shape[axis : axis + 1]:
                _check_hdf5(scale, path)
                _check_blocks(scale, (slice(0, scale.shape[0], 1),), path.name)
                scales[axis] = scale
    return names, scales
