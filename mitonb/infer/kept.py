"""Kept maps: what the net said about the planes of a stack, so that thresholds can move without running it again."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.files import disk_reason
from mitonb.infer.map_files import AxisFile, read_header, write_header
from mitonb.infer.region import Region
from mitonb.io.limits import size_text
from mitonb.stack import AXES, Axis, checked_axis, checked_plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mitonb.maps import Maps

__all__ = ["IN_MEMORY", "KeptMaps", "median_planes", "plane_shape"]


IN_MEMORY = 256 << 20  # bytes of one axis


def plane_shape(shape: tuple[int, int, int], axis: Axis) -> tuple[int, int]:
    """Return (h, w) of the planes of a (z, y, x) volume along an axis."""
    h, w = (n for i, n in enumerate(shape) if i != AXES[axis])
    return h, w


def median_planes(planes: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return the median of planes, pixel by pixel; of two middle values their mean, rounded up.

    Parameters
    ----------
    planes : sequence of uint8 arrays
        At least one plane, all of one shape; they are not changed.
    """
    rows = list(planes)
    if len(rows) == 1:
        return rows[0].copy()
    # Forgetful selection: of more than half of the values, the lowest and the highest can be neither middle value.
    middle = 1 if len(rows) % 2 else 2
    size = (len(rows) + middle) // 2 + 1
    window, rest = rows[:size], rows[size:]
    while len(window) > middle:
        window = _ends_out(window)
        if rest:
            window.append(rest.pop())
    if middle == 1:
        return window[0]
    low, high = (w.astype(np.uint16) for w in window)
    return ((low + high + 1) >> 1).astype(np.uint8)


def _ends_out(values: list[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.uint8]]:
    """Remove, pixel by pixel, the lowest and the highest of at least three arrays."""
    inner, high = [], values[0]
    for value in values[1:]:
        inner.append(np.minimum(high, value))
        high = np.maximum(high, value)
    low, rest = inner[0], []
    for value in inner[1:]:
        rest.append(np.maximum(low, value))
        low = np.minimum(low, value)
    return rest


class KeptMaps:
    """Maps of the planes of one stack, in memory or in files.

    The semantic maps are kept as the net made them (uint8), not after the median over planes, so that the median can
    change too; center and offsets are float16 at the resolution of the net's head.

    Parameters
    ----------
    shape : tuple of int, optional
        (z, y, x) of the stack in voxels; a run that fills the maps sets it.
    folder : path, optional
        Keep the maps in files there, where they stay: another process that names the folder goes on with them.
        "memory" keeps them in memory; "auto" keeps up to 256 MB of an axis in memory, and more in a temporary folder
        that goes when this object goes.

    Attributes
    ----------
    about : dict
        What a run says about its image, for the labels that are decoded from the maps: voxel_size, name, record,
        classes.

    Raises
    ------
    InputError
        If the folder holds something else.
    CorruptFileError
        If its header is damaged.

    Examples
    --------
    ``mn.segment(stack, recipe, kept=KeptMaps(folder="cell-maps"))``, and on another day
    ``mn.redecode(KeptMaps(folder="cell-maps"), recipe.replace(center_threshold=0.2))``
    """

    def __init__(self, shape: tuple[int, int, int] | None = None, folder: str | Path = "auto") -> None:
        self.about: dict[str, Any] = {}
        self._shape = shape
        self._region: Region | None = None
        self._key: Any = None
        self._planes: dict[tuple[Axis, int], Maps] = {}
        self._digests: dict[tuple[Axis, int], bytes] = {}
        self._files: dict[Axis, AxisFile] = {}
        self._recent: OrderedDict[tuple[Axis, int], npt.NDArray[Any]] = OrderedDict()
        self._in_memory = folder == "memory"
        self._folder = None if folder in ("auto", "memory") else Path(folder).expanduser()
        self._stays = self._folder is not None
        if self._folder is not None:
            self._reopen(self._folder)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the stack in voxels.

        Raises
        ------
        InputError
            If no run has filled the maps.
        """
        if self._shape is None:
            raise InputError("These maps are empty: segment a stack with them first.")
        return self._shape

    @property
    def on_disk(self) -> bool:
        """Whether all maps are in files, in a folder that the user named."""
        return self._stays

    @property
    def folder(self) -> Path | None:
        """Where the files are, if there are any."""
        return self._folder

    @property
    def key(self) -> Any:
        """What the maps depend on besides pixels, as it was claimed."""
        return self._key

    @property
    def region(self) -> Region | None:
        """The part of the stack that the maps are about; None is all of it."""
        return self._region

    def put(self, axis: Axis, index: int, maps: Maps, digest: bytes = b"") -> None:
        """Keep the maps of one plane, in their kept form.

        Parameters
        ----------
        digest : bytes
            What identifies the pixels of the plane (`mitonb.io.record.plane_digest`, 32 bytes), where they are known.

        Raises
        ------
        InputError
            If there is no such plane, the maps have another size, or the disk is full or refuses.
        """
        self._check(axis, index)
        if maps.shape != plane_shape(self.shape, axis):
            raise InputError(
                f"The {axis} planes of this stack are {plane_shape(self.shape, axis)} pixels, got maps of {maps.shape}."
            )
        kept = maps.kept()
        self._recent.pop((axis, index), None)
        whole = kept.nbytes * self.shape[AXES[axis]]
        if axis not in self._files and self._in_files(whole):
            with self._saying():
                folder = self._made()
                self._require_room(folder, whole)
                self._files[axis] = AxisFile(folder, axis, self.shape[AXES[axis]], AxisFile.form_of(kept))
                self._write_header()
        if axis in self._files:
            with self._saying():
                self._files[axis].put(index, kept, digest)
        else:
            self._planes[axis, index] = kept
            self._digests[axis, index] = digest

    def get(self, axis: Axis, index: int) -> Maps:
        """Return the maps of one plane as the net made them.

        Raises
        ------
        InputError
            If the net has not run on this plane.
        CorruptFileError
            If a file was changed or cut off.
        """
        self._check(axis, index)
        self._require(axis, index)
        return self._files[axis].get(index) if axis in self._files else self._planes[axis, index]

    def has(self, axis: Axis, index: int) -> bool:
        """Return whether the maps of this plane are kept."""
        if axis in self._files:
            return self._files[axis].has(index)
        return (axis, index) in self._planes

    def digest(self, axis: Axis, index: int) -> bytes:
        """Return what identifies the pixels that the maps of a plane are of; empty where that is not known."""
        if axis in self._files:
            return self._files[axis].digest(index)
        return self._digests.get((axis, index), b"")

    def count(self, axis: Axis) -> int:
        """Return how many planes of an axis are kept."""
        return sum(self.has(axis, i) for i in range(self.shape[AXES[axis]]))

    def plane(self, axis: Axis, index: int, median: int = 1) -> Maps:
        """Return the maps of one plane, its semantic map after the median over neighbouring planes.

        Parameters
        ----------
        axis : {"xy", "xz", "yz"}
            Direction that the planes are cut along.
        index : int
            Position along that direction.
        median : int
            Planes (odd) in the window. It is cut off at the ends of the stack and leaves out planes that are not kept:
            only unfiltered planes ever enter.
        """
        maps = self.get(axis, index)
        reach = median // 2
        around = range(max(0, index - reach), min(self.shape[AXES[axis]], index + reach + 1))
        there = [i for i in around if self._counts(axis, i)]
        window = [maps.semantic if i == index else self._semantic(axis, i, median) for i in there]
        if len(window) < 2:
            return maps
        return maps.replace(semantic=median_planes(window))

    def drop(self, axis: Axis, index: int) -> None:
        """Forget the maps of one plane."""
        self._planes.pop((axis, index), None)
        self._recent.pop((axis, index), None)
        self._digests.pop((axis, index), None)
        if axis in self._files:
            with self._saying():
                self._files[axis].drop(index)

    def clear(self) -> None:
        """Forget all maps, and what a run has said about them; files go."""
        self._planes.clear()
        self._digests.clear()
        self._recent.clear()
        for file in self._files.values():
            file.close()
        self._files.clear()
        self.about = {}
        if self._folder is not None and self._folder.is_dir():
            for pattern in ("??.maps", "??.planes", "??.pixels", "*.json"):
                for path in self._folder.glob(pattern):
                    path.unlink(missing_ok=True)

    def claim(self, shape: tuple[int, int, int], key: Any, region: Region | None = None) -> None:
        """Say which image and net the maps are of; those of another one are forgotten. JSON can write the key.

        Planes that a region does not touch hold nothing, and count for no median.

        Raises
        ------
        InputError
            If they are in a folder that the user named, and of another image or net: they may have cost hours.
        """
        described = None if region is None else region.to_json()
        key = json.loads(json.dumps(key if described is None else {**key, "region": described}))
        if self._key == key and self._shape == shape:
            return
        if self._stays and self._files:
            raise InputError(
                f"The maps in {self._folder} are of another run ({_differences(self._key, key, self._shape, shape)} "
                "differ). Give another folder, or clear() these maps first."
            )
        self.clear()
        self._key, self._shape, self._region = key, shape, region
        if described is not None:
            self.about["region"] = described

    def tell(self, **about: Any) -> None:
        """Say what a run knows about its image; it is kept beside the maps.

        Raises
        ------
        InputError
            If the disk is full or refuses.
        """
        self.about.update(about)
        if self._files:
            with self._saying():
                for file in self._files.values():
                    file.sync()
                self._write_header()

    @property
    def nbytes(self) -> int:
        """Size of the maps in bytes, in memory or on disk."""
        # Copies: a job may put planes meanwhile.
        return sum(m.nbytes for m in list(self._planes.values())) + sum(f.nbytes for f in list(self._files.values()))

    def _counts(self, axis: Axis, index: int) -> bool:
        """Return whether a plane has a say in the median of its neighbours."""
        return self.has(axis, index) and (self._region is None or self._region.touches(axis, index))

    def _semantic(self, axis: Axis, index: int, most: int) -> npt.NDArray[Any]:
        """Return the semantic map of one plane; the last ones that were read from a file are remembered."""
        if axis not in self._files:
            return self._planes[axis, index].semantic
        found = self._recent.pop((axis, index), None)
        if found is None:
            found = self._files[axis].semantic(index)
        self._recent[axis, index] = found
        while len(self._recent) > most:
            self._recent.popitem(last=False)
        return found

    def _in_files(self, nbytes: int) -> bool:
        return self._stays or (not self._in_memory and nbytes > IN_MEMORY)

    def _made(self) -> Path:
        """Return the folder, which is there."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="mitonb-maps-"))
            weakref.finalize(self, shutil.rmtree, str(self._folder), ignore_errors=True)
        self._folder.mkdir(exist_ok=True)
        return self._folder

    @contextlib.contextmanager
    def _saying(self) -> Iterator[None]:
        """Turn what a disk says about the files into one clear error."""
        try:
            yield
        except OSError as error:
            folder = self._folder or Path(tempfile.gettempdir())
            raise InputError(
                f"Maps cannot be kept in {folder}: {disk_reason(error, folder)}. {self._advice}"
            ) from error

    def _require_room(self, folder: Path, needed: int) -> None:
        """Refuse a direction that the disk has no room for, after its first plane instead of the last that fits."""
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"The maps need {size_text(needed)} for each direction, and the disk of {folder} has {size_text(free)} "
                f"free. Free some space. {self._advice}"
            )

    @property
    def _advice(self) -> str:
        if self._stays:
            return "Maps of the planes that were kept so far are whole: run again to go on from them."
        return "Or let the variable TMPDIR name a folder with more room, or keep no maps."

    def _write_header(self) -> None:
        axes = {axis: file.form for axis, file in self._files.items()}
        write_header(self._made(), {"shape": self.shape, "key": self._key, "about": self.about, "axes": axes})

    def _reopen(self, folder: Path) -> None:
        found = read_header(folder)
        if found is None:
            if not folder.parent.is_dir():
                raise InputError(f"The folder {folder.parent} does not exist. Create it first.")
            return
        z, y, x = found["shape"]
        if self._shape is not None and self._shape != (z, y, x):
            raise InputError(f"The maps in {folder} are of a stack of {(z, y, x)} voxels, not of {self._shape}.")
        self._shape = (z, y, x)
        self._key, self.about = found.get("key"), dict(found.get("about") or {})
        if "region" in self.about:
            self._region = Region.from_json(self.about["region"])
        for axis, form in found["axes"].items():
            self._files[axis] = AxisFile(folder, axis, self._shape[AXES[axis]], form)

    def _require(self, axis: Axis, index: int) -> None:
        if not self.has(axis, index):
            raise InputError(f"The network has not run on {axis} plane {index} yet. Predict it, then decode.")

    def _check(self, axis: Axis, index: int) -> None:
        checked_plane(index, self.shape[AXES[checked_axis(axis)]], axis)


def _differences(old: Any, new: Any, old_shape: Any, new_shape: Any) -> str:
    """Name what two keys differ in."""
    names = [] if old_shape == new_shape else ["shape"]
    if isinstance(old, dict) and isinstance(new, dict):
        names += sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
    return ", ".join(names) or "image or net"
