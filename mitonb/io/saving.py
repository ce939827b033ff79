"""Save labels, images and tables: written beside the target, read back, renamed; outputs are checked before work."""

import contextlib
import io
import os
import tempfile
import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from mitonb.errors import CorruptFileError, InputError, MitonbError, UnsupportedFormatError
from mitonb.files import atomic_write, explain_write, remove
from mitonb.io.arrays import Array, Lazy, Saving, native
from mitonb.io.limits import read_json
from mitonb.io.nifti import write_nifti
from mitonb.io.opening import read_back
from mitonb.io.others import extra, write_hdf5
from mitonb.io.precomputed import write_precomputed
from mitonb.io.record import VOXEL_SIZE, record_json, record_path
from mitonb.io.tiff import plane_names, write_planes, write_tiff
from mitonb.io.zarr import is_zarr, write_zarr
from mitonb.job import Progress, drain
from mitonb.labels import Labels, settled
from mitonb.memory import require, require_room
from mitonb.stack import Stack, in_order

T = TypeVar("T")
VOLUMES = (
    ".ome.tif", ".ome.tiff", ".ome.zarr", ".tif", ".tiff", ".zarr", ".npy", ".npz", ".nii.gz", ".nii", ".h5", ".hdf5",
    ".planes", ".precomputed",
)  # fmt: skip
NEEDS = {
    ".nii": "nibabel", ".nii.gz": "nibabel", ".h5": "h5py", ".hdf5": "h5py", ".xlsx": "openpyxl", ".parquet": "pyarrow",
}  # fmt: skip
"""The package that a format is written with, of the extra "formats" or, for tables, "tables"."""
TABLES = (".csv", ".xlsx", ".parquet")
ENDINGS = (*VOLUMES, *TABLES)


def save(
    what: Any, path: str | os.PathLike[str], *, overwrite: bool = False, version: Literal["0.4", "0.5"] = "0.4"
) -> Path:
    """Save labels, an image or a table; the ending of the path chooses the format.

    Parameters
    ----------
    what : Labels, Stack, array or DataFrame
        Arrays are (z, y, x) or (y, x); a DataFrame goes to .csv, .xlsx or .parquet.
    path : path
        Ends in .tif, .ome.tif, .ome.zarr, .npy, .npz, .nii, .nii.gz or .h5; a folder of TIFF planes in .planes, one for
        Neuroglancer in .precomputed; tables in .csv, .xlsx or .parquet.
    overwrite : bool
        Replace what is there.
    version : {"0.4", "0.5"}
        Version of OME-Zarr: 0.4 (zarr 2) is read by nearly everything, 0.5 (zarr 3) by newer programs.

    Returns
    -------
    Path
        Where it was saved.

    Raises
    ------
    InputError
        If the folder is missing or read-only, the disk is full, or something is there and `overwrite` is not set.
    UnsupportedFormatError
        If the ending is unknown, or cannot hold what is to be saved, or needs a package that is not installed.
    TooLargeError
        If what is written at once of a volume on disk would not fit into memory.

    Notes
    -----
    Labels in .tif are uint16 where all ids fit, else uint32. Fiji opens the first as they are; it shows 32-bit
    files as floats, in which ids are exact up to 2**24, so uint32 files are plain TIFF without ImageJ's header.
    The run record of labels goes into the OME-Zarr attributes or the .npz, else to `<name>.record.json`. Where labels
    fit into memory, .precomputed holds their surfaces, too.
    """
    target = target_path(path, overwrite=overwrite)
    ending = _ending(target)
    if ending is None:
        known = ", ".join(TABLES if hasattr(what, "to_csv") else ENDINGS)
        raise UnsupportedFormatError(f"{target.name!r} has an ending that mitonb does not know. Use {known}.")
    if hasattr(what, "to_csv"):
        return _save_table(what, target, ending)
    if ending in TABLES:
        raise UnsupportedFormatError(
            f"{ending} holds tables; save mn.measure(labels), or choose .tif, .npy or .ome.zarr."
        )
    saving = _volume(what)
    _require_room(saving, ending)
    record_json(saving.record or {})  # what cannot be written should fail before anything is
    if ending == ".precomputed" and saving.data.dtype == np.int64 and saving.labels:  # ids of a file, above 0
        saving = replace(saving, data=Lazy(saving.shape, np.uint64, saving.data.__getitem__))
    with explain_write(target), atomic_write(target, lambda path: _compare(read_back(path), saving)) as temporary:
        if ending.endswith("zarr"):
            write_zarr(temporary, saving, version)
        elif "tif" in ending:
            write_tiff(temporary, saving, ome=ending.startswith(".ome"))
        elif ending.startswith(".nii"):
            write_nifti(temporary, saving, packed=ending.endswith(".gz"))
        else:
            _WRITERS[ending](temporary, saving)
    if ending not in (".npz", ".zarr", ".ome.zarr"):
        _save_record(saving, target)
    return target


def _volume(what: Any) -> Saving:
    """Bring what is to be saved into one form."""
    if isinstance(what, Labels):
        # The ids of the file that they came from go into the voxels.
        data, table = settled(what.data), what.original_ids
        record = {k: v for k, v in (what.record or {}).items() if k != "original_ids"} or None
        original: Any = data if table is None else Lazy(data.shape, table.dtype, lambda key: table[data[key]])
        return Saving(original, what.voxel_size, what.name, True, record)
    if isinstance(what, Stack):
        return Saving(what.data, what.voxel_size, what.name, False)
    what = in_order(what)
    array = what if hasattr(what, "shape") and hasattr(what, "dtype") else np.asarray(what)
    array = settled(array) if isinstance(array, np.ndarray) else array
    volume = Stack(array[None] if len(array.shape) == 2 else array, intensity=(0.0, 1.0)).data  # raises what is wrong
    dtype = native(volume.dtype)
    return Saving(volume, None, "array", dtype.kind in "ui" and dtype.itemsize >= 4)


def _require_room(saving: Saving, ending: str) -> None:
    """Refuse what would not fit while it is written, of what is not in memory yet."""
    if isinstance(saving.data, np.ndarray):
        return
    z, y, x = saving.shape
    if ending == ".npz":
        what, size = f"Saving {z} x {y} x {x} voxels in one piece", z * y * x * native(saving.data.dtype).itemsize
        require(size, what, "Save as .ome.zarr, .npy or .tif, which are written plane by plane.")
    planes = (
        min(z, 32) if ending in (".ome.zarr", ".zarr", ".h5", ".hdf5", ".precomputed") else 1
    )  # two rows of blocks become one of the next level
    require_room((planes, y, x), saving.data.dtype)


def _compare(found: Any, saving: Saving) -> None:
    """Compare what is read back, plane by plane, with what was to be saved."""
    kinds = native(saving.data.dtype).kind + native(found.dtype).kind
    if tuple(found.shape) != saving.shape or (kinds[0] != kinds[1] and kinds != "bu"):
        held = f"{tuple(found.shape)} {found.dtype} instead of {saving.shape} {saving.data.dtype}"
        raise CorruptFileError(f"Saving failed: the file holds {held}.")
    for z in range(saving.shape[0]):
        want, got = saving.plane(z), np.asarray(found[z])
        if not np.array_equal(want, got, equal_nan=want.dtype.kind == "f"):
            raise CorruptFileError(f"Saving failed: plane {z} was read back changed. Check the disk.")


def _write_npy(path: Path, saving: Saving) -> None:
    """Write a .npy plane by plane."""
    dtype = native(saving.data.dtype)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": saving.shape}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for z in range(saving.shape[0]):
            file.write(saving.plane(z).astype(dtype, copy=False).tobytes())


def _write_npz(path: Path, saving: Saving) -> None:
    """Write a compressed .npz: the array, and the voxel size and record where they are known."""
    arrays: dict[str, Array] = {"labels" if saving.labels else "image": np.asarray(saving.data[:, :, :])}
    if saving.voxel_size is not None:
        arrays["voxel_size"] = np.array(saving.voxel_size, np.float64)
    if saving.record is not None:
        arrays["record"] = np.frombuffer(record_json(saving.record).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


_WRITERS: dict[str, Callable[[Path, Saving], None]] = {
    ".npy": _write_npy, ".npz": _write_npz, ".h5": write_hdf5, ".hdf5": write_hdf5, ".planes": write_planes,
    ".precomputed": write_precomputed,
}  # fmt: skip


def _ending(target: Path) -> str | None:
    """Return the ending that chooses the format, or None."""
    return next((ending for ending in ENDINGS if target.name.lower().endswith(ending)), None)


def _save_record(saving: Saving, target: Path) -> None:
    """Put the run record beside a file, and take away that of a file it replaced."""
    beside, kept = record_path(target), dict(saving.record or {})
    if saving.voxel_size is not None and target.suffix == ".npy":
        kept[VOXEL_SIZE] = list(saving.voxel_size)
    if kept:
        _put_text(beside, record_json(kept))
    else:
        beside.unlink(missing_ok=True)


def _save_table(table: Any, target: Path, ending: str) -> Path:
    """Save a DataFrame; cells that a spreadsheet would run as formulas are made text."""
    if ending not in TABLES:
        raise UnsupportedFormatError(f"A table goes to {', '.join(TABLES)}, got {target.name!r}.")
    if ending == ".parquet":
        return _put_table(target, table.set_axis([str(name) for name in table.columns], axis=1), "parquet")
    safe = table.copy()
    for column in safe.columns:
        if safe[column].dtype.kind not in "biufcmM":
            safe[column] = safe[column].map(_inert)
    safe.columns = [_inert(column) for column in safe.columns]
    if ending == ".xlsx":
        return _put_table(target, safe, "excel")
    _put_text(target, safe.to_csv(index=table.index.name is not None, lineterminator="\n"))
    return target


def _put_table(target: Path, table: Any, kind: str) -> Path:
    """Write a table with pandas, and read it back."""
    import pandas as pd

    def check(path: Path) -> None:
        if getattr(pd, f"read_{kind}")(io.BytesIO(path.read_bytes())).shape[0] != len(table):
            raise CorruptFileError("Saving failed: the table was read back with other rows. Check the disk.")

    kept = table.copy()
    kept.attrs = {}  # what a table says of its labels may be no JSON
    written = io.BytesIO()
    getattr(kept, f"to_{kind}")(written, index=table.index.name is not None)
    with explain_write(target), atomic_write(target, check) as temporary:
        temporary.write_bytes(written.getvalue())
    return target


def _inert(cell: Any) -> Any:
    """Prefix a text that a spreadsheet would take for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _put_text(target: Path, text: str) -> None:
    def check(path: Path) -> None:
        if path.read_bytes() != text.encode():
            raise CorruptFileError("Saving failed: the text was read back changed. Check the disk.")

    with explain_write(target), atomic_write(target, check) as temporary:
        temporary.write_bytes(text.encode())


# --- Outputs: checked before the work that they are of, and kept somewhere when they cannot be saved after it


def check_output(
    path: str | os.PathLike[str], endings: Sequence[str] = (), *, overwrite: bool = False,
    apart_from: Sequence[str | os.PathLike[str]] = (),
) -> Path:  # fmt: skip
    """Refuse an output that could not be saved at the end; nothing is written but an empty file, for a moment.

    Parameters
    ----------
    path : path
        Where it shall go.
    endings : sequence of str
        What its name may end in, such as ".csv"; anything if there are none.
    overwrite : bool
        Whether it may replace what is there.
    apart_from : sequence of path
        Inputs and other outputs of the same work: none of them may be the same file, or lie inside one another.

    Raises
    ------
    UnsupportedFormatError
        If the ending is another one.
    InputError
        If its folder is missing or cannot be written to, something is there, or it would replace an input.
    """
    target = target_path(path, overwrite=overwrite)
    if endings and not target.name.lower().endswith(tuple(endings)):
        raise UnsupportedFormatError(f"{target.name!r} must end in {', '.join(endings)}. Choose another name.")
    for other in apart_from:
        require_apart(target, other)
    trial = target.with_name(f".mitonb-{uuid.uuid4().hex[:12]}.tmp")
    with explain_write(target), contextlib.ExitStack() as after:
        after.callback(trial.unlink, missing_ok=True)
        trial.touch()
    return target


def store_path(path: str | os.PathLike[str], *, overwrite: bool = False, source: str | None = None) -> Path:
    """Return the path of a store for labels, after the checks that need no writing.

    Raises
    ------
    InputError
        If the path does not end in .ome.zarr, is the image itself, is there already, or cannot be written.
    """
    return check_output(path, (".zarr",), overwrite=overwrite, apart_from=() if source is None else (source,))


def target_path(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the path to save to, after the checks that need no writing.

    Raises
    ------
    InputError
        If its folder is missing or read-only, or if something is there and `overwrite` is not set, or if it is a
        folder of anything else than one zarr.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        text = ""
    if not text.strip() or "\0" in text:
        raise InputError(f"A path names a file, got {path!r}.")
    target = Path(text).expanduser()
    with explain_write(target):
        if not target.parent.is_dir():
            raise InputError(f"The folder {target.parent} does not exist. Create it first, or save elsewhere.")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise InputError(f"The folder {target.parent} is read-only. Save elsewhere.")
        if not target.name:
            raise InputError(f"{text!r} is a folder. Name the file in it that is to be saved.")
        with contextlib.suppress(RuntimeError):  # what Python before 3.13 makes of links that lead to each other
            target = target.resolve() if target.is_symlink() else target
        if target.is_symlink():
            raise InputError(f"{target} is a link that leads to itself. Take it away, or choose another name.")
        with contextlib.suppress(FileNotFoundError):
            os.lstat(target)  # says if the name is too long
            if not overwrite:
                again = "Pass overwrite=True to replace it, or choose another name."
                raise InputError(f"{target.name} already exists. {again}")
    if package := NEEDS.get(_ending(target) or ""):
        extra(package, target)
    if target.is_dir() and any(target.iterdir()) and not (is_zarr(target) or _is_ours(target)):
        raise InputError(f"{target.name} is a folder with other things in it. Choose another name.")
    return target


def _is_ours(folder: Path) -> bool:
    """Return whether a folder holds nothing but what `save` puts into one of this ending."""
    names = {entry.name for entry in folder.iterdir()}
    if _ending(folder) == ".planes":
        return names == {*plane_names(len(names))}
    with contextlib.suppress(OSError, MitonbError, LookupError, TypeError):  # an info of anything else
        info = read_json(folder / "info", folder.name) if _ending(folder) == ".precomputed" else {}
        held = {"info", info.get("mesh"), *(scale["key"] for scale in info["scales"])}
        return info["@type"] == "neuroglancer_multiscale_volume" and names <= held
    return False


def require_apart(target: Path, other: str | os.PathLike[str]) -> None:
    """Refuse a target that is an input or another output, or lies inside of one, or the other way round.

    Raises
    ------
    InputError
        Naming both.
    """
    own, others = target.resolve(), Path(other).expanduser().resolve()
    same = own == others
    with contextlib.suppress(OSError):
        same = same or own.samefile(others)  # two names of one file
    if same or own in others.parents or (others in own.parents and not others.is_file()):
        where = "is also" if same else "lies in the same place as"
        raise InputError(f"{target} {where} {other}, which would be damaged. Choose another name or folder.")


def rescuing(write: Callable[[Path], Generator[Progress, None, T]], target: Path) -> Generator[Progress, None, T]:
    """Write to a target; where that fails, write to another folder, and raise an error that names it.

    Parameters
    ----------
    write : callable
        A generator function that writes to a path; it may be called more than once.
    target : path
        Where the result should be.

    Raises
    ------
    InputError
        If it had to be kept elsewhere.
    """
    try:
        with explain_write(target):
            return (yield from write(target))
    except MitonbError as error:
        first = error
    # Beside temporary files, in the user's own folder, in the present one.
    for find_folder in (tempfile.gettempdir, Path.home, Path.cwd):
        # RuntimeError: a user without a home.
        with contextlib.suppress(OSError, RuntimeError, MitonbError), contextlib.ExitStack() as failed:
            spare = Path(tempfile.mkdtemp(prefix="mitonb-rescued-", dir=find_folder())) / target.name
            failed.callback(remove, spare.parent)
            yield from write(spare)
            failed.pop_all()
            first = InputError(f"{first} What was computed is kept in {spare}. Move it from there.")
            break
    raise first


def rescued(write: Callable[[Path], T], target: Path) -> T:
    """Do what `rescuing` does with a plain function that writes."""

    def steps(path: Path) -> Generator[Progress, None, T]:
        return write(path)
        yield

    return drain(rescuing(steps, target), show=False)
