"""Public data sets: where they are, how large, under which licence, and the download of those that come as files."""

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs

from mitonb.citing import REFERENCES
from mitonb.errors import AxesError, CorruptFileError, DownloadError, InputError
from mitonb.files import atomic_write, explain_write
from mitonb.io.opening import open as open_stack
from mitonb.job import Progress, drain
from mitonb.models.download import RESERVE, fetching, sha256_of
from mitonb.models.folder import PUBLISHED
from mitonb.stack import VoxelSize

NOTE = "dataset.json"
"""What lies in the folder of a data set: its voxel size, and the hashes of the files that came."""
_MOST = 64 << 30
"""Bytes of the largest file that is fetched."""


@dataclass(frozen=True)
class DataFile:
    """A file of a data set.

    Attributes
    ----------
    address, path : str
        Where it is, and where it goes in the folder of its set; a .zip is unpacked there, into a folder of its name.
    size : int
        Bytes; 0 if its makers do not say.
    sha256 : str
        Published hash; empty if there is none. Then that of the file which came first counts.
    """

    address: str
    path: str
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True, repr=False)
class Dataset:
    """A public data set.

    Attributes
    ----------
    name, title : str
        For commands, and one line for people.
    page : str
        Where its makers tell of it.
    size : str
        In words.
    licence : str
        Of images and labels.
    papers : tuple of str
        What to cite: keys of references.json.
    voxel_size : tuple of float or None
        (z, y, x) in nm; None where images differ.
    files : tuple of DataFile
        What is fetched; empty where it has to be fetched by hand.
    by_hand : str
        Then how.
    notes : str
        What to know about it.
    """

    name: str
    title: str
    page: str
    size: str
    licence: str
    papers: tuple[str, ...]
    voxel_size: VoxelSize | None = None
    files: tuple[DataFile, ...] = ()
    by_hand: str = ""
    notes: str = ""

    @property
    def folder(self) -> Path:
        """Where it is on this machine, or would be: in MITONB_DATA_DIR, or the usual place of this system."""
        named = os.environ.get("MITONB_DATA_DIR")
        base = Path(named).expanduser() if named else platformdirs.user_data_path("mitonb", appauthor=False) / "data"
        return base / self.name

    @property
    def is_here(self) -> bool:
        """Whether all of its files are on this machine, or the folder of one that is fetched by hand."""
        return all((self.folder / f.path.removesuffix(".zip")).exists() for f in self.files) and self.folder.is_dir()

    def __repr__(self) -> str:
        size = "differs" if self.voxel_size is None else "{:g} x {:g} x {:g} nm (z, y, x)".format(*self.voxel_size)
        addresses = [file.address for file in self.files]
        more = [f"and {len(addresses) - 4} more"] if len(addresses) > 4 else []
        facts = {
            "title": self.title, "page": self.page, "size": self.size, "voxel size": size, "licence": self.licence,
            "cite": "; ".join(str(REFERENCES[key]) for key in self.papers), "notes": self.notes,
            "files": ("\n" + " " * 15).join([*addresses[:4], *more]),
            "by hand": self.by_hand and f"{self.by_hand}, into {self.folder}.", "here": self.is_here and self.folder,
        }  # fmt: skip
        return "\n".join([self.name, *(f"  {label:<12} {value}" for label, value in facts.items() if value)])


def datasets() -> dict[str, Dataset]:
    """Return the public data sets that mitonb knows, by name.

    Examples
    --------
    >>> import mitonb as mn
    >>> mn.datasets()["vnc"].licence
    'CC BY-NC-SA 3.0'
    """
    found = {}
    for told in json.loads(Path(__file__).with_name("public.json").read_text("utf-8")):
        files = [
            DataFile(**{**file, "address": file["address"].format(k), "path": file["path"].format(k)})
            for file in told.pop("files", ())
            for k in range(file.pop("count", 1))
        ]
        size = tuple(told.pop("voxel_size", ())) or None
        found[told["name"]] = Dataset(**{**told, "papers": tuple(told["papers"])}, voxel_size=size, files=tuple(files))
    return found


def pull(name: str, *, show: bool = True) -> Path:
    """Fetch a public data set, check its files, and return its folder, which `train` and `benchmark` take.

    What is there already is checked and not fetched again; a download that broke off is gone on with.

    Parameters
    ----------
    name : str
        One of `datasets()`.
    show : bool
        Whether to show progress.

    Raises
    ------
    DownloadError
        If the set has to be fetched by hand (the error says how), or as for weights: no network, no space.
    ChecksumError
        If a file is not the one that was published, or that came first.
    InputError
        If there is no such set, or a file is damaged.
    """
    return drain(pulling(name), show=show)


def pulling(name: str) -> Generator[Progress, None, Path]:
    """Fetch a public data set, as a generator that yields its progress; see `pull`."""
    one = dataset_named(name)
    if not one.files:
        raise DownloadError(f"{name} is not pulled. {one.by_hand}, into {one.folder}.")
    pins = _told(one.folder).get("sha256", {})
    for number, file in enumerate(one.files):
        target, pin = one.folder / file.path, file.sha256 or pins.get(file.path, "")
        unpacked = target.with_suffix("") if target.suffix == ".zip" else None
        if unpacked and unpacked.is_dir():
            continue
        by_hand = f"put it at {target}, and pull again."
        for step in fetching(
            file.address, target, sha256=pin, check=partial(_check, file), most=_MOST, by_hand=by_hand
        ):
            yield Progress(f"file {number + 1} of {len(one.files)}", step.done, step.total)
        got = pin or sha256_of(target)
        if unpacked:
            yield from _unpacking(target, unpacked)
        if pins.get(file.path) == got:  # a folder that others share may be read-only
            continue
        pins = {**pins, file.path: got}
        note = {"name": name, "page": one.page, "licence": one.licence, "sha256": pins, "voxel_size": one.voxel_size}
        with explain_write(one.folder / NOTE), atomic_write(one.folder / NOTE) as temporary:
            temporary.write_text(json.dumps(note, indent=1) + "\n", "utf-8")
    return one.folder


def folder_of(name: str) -> Path:
    """Return the folder of a data set that is on this machine.

    Raises
    ------
    InputError
        If it is not, or there is no such set.
    """
    one = dataset_named(name)
    if not one.is_here:
        what = f"It has to be fetched by hand: mitonb data info {name}" if one.by_hand else f"mitonb data pull {name}"
        raise InputError(f"{name} is not on this machine, or not all of it. {what}")
    return one.folder


def size_in(folder: Path) -> VoxelSize | None:
    """Return the voxel size that is told of a folder: by its dataset.json, or as that of a public data set."""
    told = _told(folder).get("voxel_size")
    return told or next((one.voxel_size for one in datasets().values() if one.folder == folder), None)


def dataset_named(name: str) -> Dataset:
    """Return a public data set; InputError names the known ones."""
    known = datasets()
    if name not in known:
        model = f" {name} is a model: mitonb models pull {name}" if name in PUBLISHED else ""
        raise InputError(f"There is no public data set {name!r}. The known ones are {', '.join(known)}.{model}")
    return known[name]


def _told(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        told = json.loads((folder / NOTE).read_bytes())
        return told if isinstance(told, dict) else {}
    return {}


def _check(file: DataFile, path: Path) -> None:
    """Refuse a file that has another size than its makers say, or cannot be opened."""
    size = path.stat().st_size
    if file.size and size != file.size:
        raise CorruptFileError(
            f"{file.address} gave {size:,} bytes, but its makers say {file.size:,}. Is it another file now? "
            "Look at the page of the set: mitonb data info NAME"
        )
    if file.path.endswith(".zip"):
        if not zipfile.is_zipfile(path):
            raise CorruptFileError(f"{file.address} gave no zip file. Look at its page in a browser.")
        return
    with contextlib.suppress(AxesError):  # colours
        stack = open_stack(path)
        stack.plane(stack.shape[0] - 1)


def _unpacking(path: Path, target: Path) -> Generator[Progress, None, None]:
    """Unpack a zip into a folder, whole or not at all, and remove the zip."""
    with zipfile.ZipFile(path) as archive, explain_write(target), atomic_write(target) as temporary:
        inside = archive.infolist()
        size, free = sum(item.file_size for item in inside), shutil.disk_usage(path.parent).free
        if size + RESERVE > free:
            raise DownloadError(
                f"{path} holds {size >> 20} MB, and {free >> 20} MB are free. Make room, or let MITONB_DATA_DIR name "
                "another folder, and pull again."
            )
        temporary.mkdir()
        for k, item in enumerate(inside):
            if k % 100 == 0:
                yield Progress("unpack", k, len(inside))
            try:
                archive.extract(item, temporary)  # never out of this folder, whatever its name is
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
                raise CorruptFileError(f"{path} is damaged ({error}). Delete it and pull again.") from error
    path.unlink()
