"""Open images and labels: a file is known by how it starts, read by the module that knows it, and becomes a Stack."""

import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mitonb.errors import CorruptFileError, InputError, UnsupportedFormatError, guarded
from mitonb.io import openorganelle
from mitonb.io.arrays import Lazy, Lower, Source, stamp_of
from mitonb.io.axes import Channel, arrange, spacing_to_voxel_size
from mitonb.io.blocks import Folder
from mitonb.io.images import KINDS, natural, read_folder, read_picture, read_planes
from mitonb.io.limits import checked_path, door
from mitonb.io.neuroglancer import is_link, layer_of, read_link
from mitonb.io.nifti import read_nifti
from mitonb.io.nrrd import read_nrrd
from mitonb.io.others import read_array, read_hdf5, read_mrc, read_npy, read_npz
from mitonb.io.precomputed import is_precomputed, read_precomputed
from mitonb.io.record import read_record, recorded_voxel_size
from mitonb.io.remote import is_address, remote_folder
from mitonb.io.tiff import read_tiff
from mitonb.io.zarr import is_store, read_store, store_in_zip
from mitonb.labels import Labels, renumbered, with_original_ids
from mitonb.memory import require
from mitonb.stack import Inverted, Level, Stack, VoxelSize, given_voxel_size


class Format(NamedTuple):
    """How files of a kind start, from which byte on, how their names end, what reads them, and names their images."""

    starts: tuple[bytes, ...]
    endings: tuple[str, ...]
    read: Callable[..., Source]
    series: type | None = None
    at: int = 0


FORMATS = (
    Format((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), (".tif", ".tiff"), read_tiff, int),
    Format((b"\x93NUMPY",), (".npy",), read_npy),
    Format((b"PK\3\4",), (".npz",), read_npz, str),
    Format((b"\x89PNG", b"\xff\xd8\xff"), (".png", ".jpg", ".jpeg"), read_picture),
    Format((b"\x89HDF\r\n\x1a\n",), (".h5", ".hdf5"), read_hdf5, str),
    Format((b"MAP ",), (".mrc",), read_mrc, at=208),
    Format((b"n+1\0",), (".nii",), read_nifti, at=344),
    Format((b"n+2\0",), (".nii",), read_nifti, at=4),
    Format((b"NRRD000",), (".nrrd", ".nhdr"), read_nrrd),
    Format((b"\x1f\x8b",), (".gz",), read_nifti),
)
TURNED = {
    (True, True): "The file says that 0 is white: grey values are turned round, so that the image looks as it does in "
    "other viewers. mn.open(..., invert=False) keeps them as they are stored.",
    (True, False): "The file says that 0 is white, and values are kept as they are stored (invert=False).",
    (False, True): "Grey values are turned round (invert=True): what is dark in the file is bright here.",
}
"""What is said, by whether the file says that 0 is white and whether values are turned round."""
MICROSCOPES = {
    ".czi": "ZEN", ".lif": "LAS X", ".nd2": "NIS-Elements", ".dm3": "DigitalMicrograph", ".dm4": "DigitalMicrograph",
    ".oir": "FluoView", ".vsi": "cellSens",
}  # fmt: skip
KNOWN = "TIFF, PNG, JPEG, .npy, .npz, OME-Zarr, N5, precomputed, MRC, NIfTI, NRRD or HDF5"


@door
def open(
    source: Any, *, voxel_size: float | VoxelSize | None = None, channel: Channel | None = None,
    time: int | None = None, axes: str | None = None, series: int | str | None = None, name: str | None = None,
    invert: bool | None = None,
) -> Stack:  # fmt: skip
    """Open an image volume as a lazy Stack; planes are read when they are asked for.

    Parameters
    ----------
    source : path, array or Stack
        A TIFF (multi-page, tiled, ImageJ, OME), .npy, .npz, MRC, NIfTI, NRRD or HDF5 file, an OME-Zarr or N5 (also
        zipped), a volume for Neuroglancer (precomputed), the address of such a store (https://, s3://, gs://),
        openorganelle:NAME, a link of Neuroglancer (its first image, at the place that it shows), one PNG
        or JPG, a folder or list of PNG, TIFF or JPG planes in natural order, or any array with shape, dtype and
        slicing; axes that are named by its `dims` (xarray) are followed.
    voxel_size : float or (z, y, x), optional
        Voxel size in nm; replaces what the file says.
    channel : int or "mean", optional
        Channel of a file with channels or colour; "mean" averages red, green and blue.
    time : int, optional
        Moment of a time series.
    axes : str, optional
        Names each axis of the source, such as "tczyx"; replaces what the file says.
    series : int or str, optional
        Which image of a file with several: number (TIFF), resolution level or path (OME-Zarr, N5, precomputed), name
        (npz, HDF5).
    name : str, optional
        Shown to the user; the file name by default.
    invert : bool, optional
        Whether grey values are turned round, so that what is dark becomes bright. By default they are where the file
        says that 0 is white, so that the image looks as in other viewers; False keeps them as they are stored.

    Returns
    -------
    Stack
        (z, y, x); `voxel_size` is None where neither file nor caller says, and `notes` says what was decided.

    Raises
    ------
    InputError
        Or one of its kinds: AxesError, CorruptFileError, UnsupportedFormatError, UnsafeFileError, TooLargeError,
        UnreachableError.
    """
    found, title, where = find_source(source, series)
    if isinstance(source, Stack) and voxel_size is None:
        voxel_size = source.voxel_size
    data, notes, letters = arrange(found, channel=channel, time=time, axes=axes, what=title)
    size, remark = voxel_size_of(voxel_size, found, letters, data.shape[0], where)
    if size is None and remark is None and where is not None:
        remark = "The voxel size is unknown: the file does not say. Give it with voxel_size=(z, y, x) in nm."
    if invert not in (None, False, True):
        raise InputError(f"invert is True, False or None, got {invert!r}.")
    white = found.black is not None
    turn = white if invert is None else invert
    said = [*found.notes, *notes, TURNED.get((white, turn)), remark, _whence(found)]
    # Of what is turned round the black and white point is taken once.
    data = Inverted(data, found.black) if turn else data
    choice = {"channel": channel, "time": time, "axes": axes, "what": title}
    coarser, origin = [_level(one, letters, choice) for one in found.levels], found.place
    opened: dict[str, Any] | None = {
        "channel": channel, "time": time, "axes": axes, "series": series, "invert": invert,
    }  # fmt: skip
    if isinstance(source, Stack):
        coarser, origin, opened = [*source.coarser], source.origin, None
    stack = Stack(
        data, size, name=name or title, source=where, notes=tuple(filter(None, said)), origin=origin,
        coarser=tuple(one.inverted(found.black) if turn else one for one in coarser), opened=opened,
    )  # fmt: skip
    return replace(stack, focus=_voxel_at(stack, read_link(source).position)) if is_link(source) else stack


def _level(one: Lower, letters: str, choice: dict[str, Any]) -> Level:
    """Return a lower resolution with its axes in the order z, y, x."""
    at = [letters.find(axis) for axis in "zyx"]
    factors, offset = (
        [values[i] if i >= 0 else rest for i in at] for values, rest in ((one.factors, 1.0), (one.offset, 0.0))
    )

    def load() -> Any:
        with guarded(choice["what"]):
            return arrange(one.load(), **choice)[0]

    return Level((factors[0], factors[1], factors[2]), (offset[0], offset[1], offset[2]), load)


def _voxel_at(stack: Stack, place: tuple[float, float, float] | None) -> tuple[int, int, int] | None:
    """Return the voxel of a stack at a place in nm, or the nearest to it."""
    if place is None or stack.voxel_size is None:
        return None
    at = np.floor((np.array(place) - stack.origin) / stack.voxel_size + 1e-6)
    z, y, x = np.clip(at, 0, np.array(stack.shape) - 1).astype(int).tolist()
    return z, y, x


def _whence(found: Source) -> str | None:
    """Return where a box was fetched from, in a sentence."""
    facts = (found.record or {}).get("fetched")
    if not isinstance(facts, dict):
        return None
    rights = [str(facts[key]) for key in ("licence", "doi") if key in facts]
    about = f" ({', doi '.join(rights)})" if rights else ""
    level = f", level {facts['level']}" if "level" in facts else ""
    return f"Fetched on {facts.get('date')} from {facts.get('source')}{level}{about}."


@door
def open_labels(
    source: Any, *, voxel_size: float | VoxelSize | None = None, axes: str | None = None,
    series: int | str | None = None, name: str | None = None, channel: Channel | None = None, time: int | None = None,
    empty_blocks: bool = False, renumber: bool | None = None,
) -> Labels:  # fmt: skip
    """Open instance labels, with the voxel size and the run record that were saved with them.

    Parameters
    ----------
    source : path or array
        Anything that `open` takes; ids are whole numbers from 0 on. Of an OME-Zarr image with one label image inside,
        that one is opened; of a link of Neuroglancer its first labels. Of pictures with a colour table the place in the
        table is the id.
    voxel_size : float or (z, y, x), optional
        Voxel size in nm; replaces what the file says. Beside an image that has another one, that of the image counts.
    axes, series, name, channel, time
        As for `open`.
    empty_blocks : bool
        Whether a missing block of an OME-Zarr is background, as for programs that leave empty blocks out;
        otherwise it is an error, because a lost file would silently erase labels.
    renumber : bool, optional
        Whether the objects are numbered 1, 2, ... in the order of their ids. By default that is done only where an id
        is above 2**32 - 1, as supervoxels have them. The ids of the file are kept (`Labels.original_ids`), also in
        projects, and `mn.save` writes them back; False keeps ids as they are, or refuses.

    Returns
    -------
    Labels
        The ids, in memory.

    Raises
    ------
    InputError
        As `open`, and if the voxels are no ids. TooLargeError, if they would not fit into memory.
    """
    choice = {"axes": axes, "channel": channel, "time": time}
    data, found, title, where, letters = _voxels(source, series, choice, empty_blocks=empty_blocks)
    size, _ = voxel_size_of(voxel_size, found, letters, data.shape[0], where)
    record = found.record or (read_record(Path(where)) if where and not is_address(where) else None)
    record = {k: v for k, v in record.items() if k != "original_ids"} if record and "recipe" in record else None
    ids, originals = (data, None) if renumber is False else renumbered(data, always=bool(renumber))
    return Labels(ids, size, name or title, with_original_ids(record, originals))


@door
def open_ids(source: Any) -> tuple[npt.NDArray[Any], VoxelSize | None]:
    """Open ids as `mitonb score` takes them: what `open_labels` opens, but also negative marks and ids above 32 bits.

    Parameters
    ----------
    source
        As for `open_labels`.

    Returns
    -------
    ids : (z, y, x) array of int or uint
        In the type of the file.
    voxel_size : (z, y, x) of float, or None
        In nm, where the file says it.

    Raises
    ------
    InputError
        As `open`, and if the voxels are no whole numbers. TooLargeError, if they would not fit into memory.
    """
    data, found, _, where, letters = _voxels(source, None, {}, empty_blocks=False)
    size, _ = voxel_size_of(None, found, letters, data.shape[0], where)
    return data if data.dtype.kind in "iu" else Labels(data).data, size


def _voxels(
    source: Any, series: int | str | None, choice: dict[str, Any], *, empty_blocks: bool
) -> tuple[npt.NDArray[Any], Source, str, str | None, str]:  # fmt: skip
    """Return ids as they are in a file, what the file holds, its title and address, and the names of its axes."""
    source = layer_of(source, "labels") if is_link(source) else source
    found, title, where = find_source(source, series, strict=not empty_blocks)
    found = found if found.ids is None else replace(found, data=found.ids, axes=(found.axes or "").rstrip("s"))
    data, _, letters = arrange(found, what=title, ids=True, **choice)
    # The ids as they are in the file and, where those are no uint32, once more as such.
    bytes_of_one = data.dtype.itemsize + 4 * (data.dtype != np.uint32)
    require(bytes_of_one * math.prod(data.shape), f"Opening the labels {title}", "Cut out a part of them first.")
    return np.asarray(data[:, :, :]), found, title, where, letters


def read_back(path: Path) -> Any:
    """Return the (z, y, x) data of a file that was just written."""
    found = _read_path(path, None)
    return arrange(found, axes=None if found.axes else "zyx", what=path.name)[0]


def find_source(source: Any, series: int | str | None, *, strict: bool = False) -> tuple[Source, str, str | None]:
    """Return what the source holds, its title, and its address."""
    if isinstance(source, Stack):
        return replace(read_array(source.data), axes="zyx"), source.name, source.source
    if is_link(source):
        source = layer_of(source, "images")
    if openorganelle.is_dataset(source):
        source = openorganelle.address_of(source, _is_there)
    if is_address(source):
        folder = remote_folder(source)
        if folder.name.lower().endswith((".zip", *(ending for row in FORMATS for ending in row.endings))):
            raise InputError(f"{folder.name} is a single file, and of the network only stores are read. Download it.")
        return _read_folder(folder, series, strict=strict), folder.name, folder.address
    if isinstance(source, str | os.PathLike):
        path = checked_path(source)
        return _read_path(path, series, strict=strict), path.name or str(path.resolve()), str(path.resolve())
    if isinstance(source, list | tuple) and all(isinstance(p, str | os.PathLike) for p in source):
        if not source:
            raise InputError("An empty list names no planes. Give one file for each, or a folder.")
        paths = [checked_path(p) for p in source]
        return read_planes(paths, "the list"), paths[0].name, None
    return read_array(source), "array", None


def _is_there(address: str) -> bool:
    """Return whether a store is at an address."""
    return is_store(remote_folder(address) if is_address(address) else Path(address))


def voxel_size_of(
    given: Any, found: Source, letters: str, planes: int, where: str | None
) -> tuple[VoxelSize | None, str | None]:  # fmt: skip
    """Return the voxel size that caller or file gives, or that lies beside it, and what is to be said.

    Spacing follows its axis through axes=: time that is really z keeps none.
    """
    if given is not None:
        return given_voxel_size(given), None
    stated = found.axes or letters
    pairs = zip(stated, letters, strict=True)
    moved = {new: found.spacing[old] for old, new in pairs if old in found.spacing and new in "zyx"}
    spacing = {axis: size for axis, size in found.spacing.items() if axis not in stated} | moved
    size, remark = spacing_to_voxel_size(spacing, planes)
    beside = recorded_voxel_size(Path(where)) if size is None and where and not is_address(where) else None
    return (size, remark) if beside is None else (beside, None)


def _read_path(path: Path, series: int | str | None, *, strict: bool = False) -> Source:
    """Read a path by what is inside, not by its name."""
    if path.is_dir() and (is_store(path) or is_precomputed(path)):
        return _read_folder(path, series, strict=strict)
    if path.is_dir():
        if series is not None:
            raise InputError(f"{path.name} is a folder of planes, which has no series; leave series= out.")
        inside = read_folder(path)
        return inside if isinstance(inside, Source) else _read_path(inside, None)
    stamp = stamp_of(path)
    found = _read_file(path, series, strict=strict)
    for lazy in (found.data, found.ids):
        if isinstance(lazy, Lazy):
            lazy.files = [(path, stamp)]
    return found


def _read_folder(folder: Folder, series: int | str | None, *, strict: bool) -> Source:
    """Read a store of blocks, on disk or on the network."""
    if is_store(folder):
        return read_store(folder, series, strict=strict)
    if is_precomputed(folder):
        return read_precomputed(folder, series, strict=strict)
    raise InputError(
        f"There is no OME-Zarr, zarr, N5 or precomputed volume at {folder}, or it is not public. Give the address of "
        "the image or of its group, as Neuroglancer shows it; a single file has to be downloaded first."
    )


def _read_file(path: Path, series: int | str | None, *, strict: bool) -> Source:
    """Read a file with the reader that knows how it starts."""
    try:
        with path.open("rb") as file:
            magic = file.read(512)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}.") from error
    store: zipfile.Path | None = store_in_zip(path) if magic[:4] == b"PK\3\4" else None
    if store is not None:
        return read_store(store, series, strict=strict)
    known = next((row for row in FORMATS if magic[row.at :].startswith(row.starts)), None)
    if known is None:
        raise _unknown(path, magic)
    if series is None:
        found = known.read(path)
    elif known.series is None:
        raise InputError(f"{path.name} holds one image; leave series= out.")
    elif not isinstance(series, known.series) or isinstance(series, bool):
        named = "a number, such as series=0" if known.series is int else "a name, such as series='image'"
        raise InputError(f"{path.name} names its images by {named}; got {series!r}.")
    else:
        found = known.read(path, series)
    ending = path.suffix.lower()
    if ending not in known.endings and any(ending in row.endings for row in FORMATS):
        found = replace(found, notes=(*found.notes, f"The name ends in {path.suffix}, but the file is {found.kind}."))
    return found


def _unknown(path: Path, magic: bytes) -> InputError:
    """Say what a file seems to be instead of an image."""
    text = magic.lstrip().lower()
    if not magic:
        return CorruptFileError(f"{path.name} is an empty file. Copy or download it again.")
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return CorruptFileError(f"{path.name} is a web page, not an image: perhaps a log-in page. Download it again.")
    if not magic.strip(b"\0"):
        return CorruptFileError(f"{path.name} starts with zeros only: the copy did not finish. Copy it again.")
    if program := MICROSCOPES.get(path.suffix.lower()):
        raise UnsupportedFormatError(
            f"{path.name} is a file of {program}, which mitonb does not read. Export it as OME-TIFF, there or in Fiji, "
            "or pass what another reader gives, such as mn.open(bioio.BioImage(path).xarray_data)."
        )
    if path.suffix.lower() == ".mitonb":
        raise UnsupportedFormatError(
            f"{path.name} is a project, with labels and their history. Work in it with mn.Session.open(path); for a "
            f"file of its labels: mitonb export {path.name} labels.ome.zarr"
        )
    kind = "text" if all(b in b"\t\n\r\f" or 32 <= b < 127 for b in magic) else "of a kind that is not known"
    if any(path.suffix.lower() in row.endings for row in FORMATS):
        return CorruptFileError(f"{path.name} is damaged, or {kind}: it does not start like {path.suffix}.")
    return UnsupportedFormatError(f"{path.name} is {kind}. mitonb opens {KNOWN}; convert it, for example with Fiji.")


def images_in(folder: Path) -> list[Path]:
    """Return what in a folder is an image by its name: files, stores, folders of planes; in natural order.

    Raises
    ------
    InputError
        If there is none, or the folder is one image itself.
    """
    if is_store(folder) or is_precomputed(folder):
        raise InputError(f"{folder.name} is one image, whose labels go to a file. Let OUT end in .ome.zarr or .tif.")
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        if path.is_dir():
            planes = any(Path(entry.name).suffix.lower() in KINDS for entry in os.scandir(path))
            is_image = planes or is_store(path) or is_precomputed(path)
        else:
            is_image = without_ending(path) != path.name
        if is_image and not path.name.startswith("."):
            found.append(path)
    if not found:
        raise InputError(f"{folder.name} holds no image that mitonb opens. It opens {KNOWN}.")
    return found


def without_ending(path: Path) -> str:
    """Return the name of a file without what says its format."""
    endings = {".ome.tif", ".ome.tiff", ".nii.gz", ".zip", ".ome.zarr", ".zarr", ".n5", ".precomputed"}
    endings |= {ending for row in FORMATS for ending in row.endings}
    fit = [len(ending) for ending in endings if path.name.lower().endswith(ending)]
    return path.name[: -max(fit)] if fit else path.name


# --- Real EM that comes with mitonb: small, and free to be passed on with attribution

FOLDER = Path(__file__).parents[1] / "samples"
SAMPLES = {
    "medulla": (
        "medulla.tif", (10.0, 10.0, 10.0),
        "Fly medulla, FIB-SEM (FlyEM project, Janelia Research Campus; part of a volume, Creative Commons Attribution)",
    ),
    "islet": (
        "islet.png", (5.0, 5.0, 5.0),
        "Mouse pancreatic islet, SEM (Arrojo e Drigo Lab, Vanderbilt University; Acree et al. 2026, "
        "doi 10.64898/2026.08.06.743293; CC BY 4.0)",
    ),
}  # fmt: skip
"""File, voxel size (z, y, x) in nm, and what has to be said wherever it is shown."""


def sample(name: str = "islet") -> Stack:
    """Open real EM that comes with mitonb; nothing is downloaded. Its `notes` say whose it is.

    Parameters
    ----------
    name : {"islet", "medulla"}
        One section of a mouse's pancreatic islet, 1024 x 1024 pixels of 5 nm, with insulin granules beside large
        mitochondria; or a fly's medulla, 64 x 224 x 224 voxels of 10 nm.

    Returns
    -------
    Stack
        (z, y, x), uint8, of known voxel size.

    Raises
    ------
    InputError
        If there is no such sample.
    """
    if name not in SAMPLES:
        raise InputError(f"There is no sample {name!r}; there are {' and '.join(SAMPLES)}.")
    file, size, whose = SAMPLES[name]
    return replace(open(FOLDER / file, voxel_size=size, name=name), notes=(whose,))
