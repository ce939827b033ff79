"""What a user has to learn from: images with their labels, in memory, in files and in folders, and what is held out."""

import dataclasses
import json
import math
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.auditing import audit
from mitonb.box import Box
from mitonb.errors import AxesError, InputError
from mitonb.infer.scale import Scale
from mitonb.io.images import natural
from mitonb.io.opening import open as open_stack
from mitonb.io.opening import open_labels
from mitonb.job import Progress
from mitonb.labels import Labels, require_ids, steps_of
from mitonb.learn.data import Source
from mitonb.learn.public import datasets, folder_of, size_in
from mitonb.models.spec import ModelSpec
from mitonb.recipe import Recipe
from mitonb.stack import Axis, Stack, VoxelSize

Array = npt.NDArray[Any]
KINDS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy")
LAYOUTS = (
    "images/ and masks/ with files of the same names, in it or in folders below it (CEM-MitoLab), or im/ with "
    "planes beside mito*/ with planes or mito*.h5, or im*.json beside mito*.json (MitoEM)"
)
_MOST_HELD = 100
_FLAT = 0.03  # fewer neighbouring pixels differ in no image of a microscope
_THIN = (
    "leak: what is held out still shows what is learned from, although a gap lies between; its score will be too good. "
    "Label more planes, or hold out another volume."
)
_AUDITED = 300, 60
"""How many tiles of what is learned from and of what is held out are compared."""


@dataclass(frozen=True)
class Pair:
    """An image and what is in it, to learn from.

    Attributes
    ----------
    image : path, array, Stack or list of paths
        What `mitonb.open` takes, an (h, w) array, or a JSON file that lists planes as that of MitoEM does.
    labels : path, array, Labels or list of paths
        Ids of objects from 1 on, or a mask of one value, whose connected pieces are the objects. Colours are ids as in
        MitoEM: red * 65536 + green * 256 + blue.
    unknown : int or bool array, optional
        An id of `labels`, or a mask, of voxels of which nothing is known: neither mitochondrion nor background.
    known : sequence of Box
        The parts that were reviewed; all around them is unknown. Of larger volumes only these are read.
    voxel_size : float or (z, y, x), optional
        In nm; replaces what the file says.
    name : str, optional
        Shown in progress and in the model card; the file name by default.

    Examples
    --------
    >>> import mitonb as mn
    >>> stack, labels = mn.phantom((8, 96, 96), seed=1)
    >>> reviewed = mn.Pair(stack, labels, known=[mn.Box((0, 0, 0), (4, 96, 96))])
    """

    image: Any
    labels: Any
    unknown: Any = None
    known: Sequence[Box] = ()
    voxel_size: float | VoxelSize | None = None
    name: str | None = None


@dataclass(frozen=True)
class Material:
    """What there is to learn from.

    Attributes
    ----------
    sources : tuple of Source
        To learn from, and to score on.
    notes : tuple of str
        What was left out, and what `mitonb.audit` says.
    """

    sources: tuple[Source, ...]
    notes: tuple[str, ...]


def gathering(data: Any, hold: Any = 0.2, spec: ModelSpec | None = None) -> Generator[Progress, None, Material]:
    """Read all that there is to learn from, hold a part of it out, and audit that.

    Parameters
    ----------
    data : Pair, (image, labels), folder, Source, or a list of such
        What to learn from. A folder may also be the name of a public data set (`mitonb.datasets`) that was pulled.
    hold : float, or as `data`
        Part of each volume (a block at one end, with a gap beside it), or of the images, that is never learned from and
        scored on; 0 is none. Or what to score on.
    spec : ModelSpec, optional
        Card of the model that goes on learning: pairs are brought to the pixel sizes that it knows, as in a run.

    Raises
    ------
    InputError
        If there is nothing, a pair does not fit, or a folder has none of the known layouts.
    """
    own = not isinstance(hold, int | float)
    if not own and not 0 <= hold <= 0.9:
        raise InputError(f"hold is a part from 0 to 0.9, or what to score on; got {hold}.")
    pairs, notes = find_pairs(data)
    sources = yield from _reading(pairs, notes, spec)
    if own:
        others, more = find_pairs(hold)
        sources += map(_held, (yield from _reading(others, more, spec)))
        notes += more
    elif hold:
        sources = hold_out(sources, hold)
    yield Progress("audit", 0, 1)
    train, val = (_tiles(sources, most, held=k == 1) for k, most in enumerate(_AUDITED))
    found = audit(train, val or None) if train else None
    for finding in found.findings if found else ():
        if finding.kind == "leak" and not own:  # the block and its gap are thinner than what is in them
            notes.append(_THIN)
        elif finding.kind != "grey values":
            notes.append(f"{finding.kind}: {finding.text}")
    return Material(tuple(sources), tuple(notes))


def find_pairs(data: Any) -> tuple[list[Pair | Source], list[str]]:
    """Return the pairs that data names, and what was left out."""
    if isinstance(data, Pair | Source):
        return [data], []
    if isinstance(data, str | os.PathLike):
        return _in_folder(Path(data))
    if isinstance(data, tuple) and len(data) == 2 and not any(isinstance(d, Pair | Source | tuple) for d in data):
        return [Pair(*data)], []
    if not isinstance(data, Sequence) or not data:
        raise InputError(f"There is nothing to learn from: give a mn.Pair, a folder, or a list; got {data!r:.60}.")
    found = [find_pairs(one) for one in data]
    return [pair for pairs, _ in found for pair in pairs], [note for _, notes in found for note in notes]


def read_pair(pair: Pair, spec: ModelSpec | None = None) -> Source:
    """Read an image and its labels; return them as a source at the scale of a model.

    Raises
    ------
    InputError
        If they are not of one shape, nothing of them is known, or the image is all one grey.
    """
    stack = _open(pair.image, pair.voxel_size)
    name = pair.name or (stack.name if stack.source or isinstance(pair.image, Stack) else "volume")
    box = Box((0, 0, 0), stack.shape)
    for part in pair.known:
        if not part.size or any(a < 0 or b > n for a, b, n in zip(part.start, part.stop, stack.shape, strict=True)):
            raise InputError(f"{name}: known parts are boxes inside of {stack.shape}, got {part}.")
    if pair.known:
        corners = np.array([(part.start, part.stop) for part in pair.known])
        low, high = corners[:, 0].min(0).tolist(), corners[:, 1].max(0).tolist()
        box = Box(tuple(low), tuple(high))
    ids = _read_ids(pair.labels)
    if ids.shape != stack.shape:
        raise InputError(
            f"{name}: the image is {_sizes(stack.shape)} voxels and its labels are {_sizes(ids.shape)} (z, y, x); they "
            "must be of one shape. Are they of the same place, at the same resolution?"
        )
    image = np.ascontiguousarray(stack.data[box.slices])
    flat = steps_of(image) < _FLAT
    require_ids(ids, name, " The image looks like labels: are the two swapped?" if flat else " Is it the right file?")
    ids = ids[box.slices]
    unknown = np.zeros(ids.shape, bool)
    if pair.known:
        unknown[...] = True
        for part in pair.known:
            inner = (slice(a - o, b - o) for a, b, o in zip(part.start, part.stop, box.start, strict=True))
            unknown[tuple(inner)] = False
    if isinstance(pair.unknown, int | np.integer):
        unknown |= ids == pair.unknown
    elif pair.unknown is not None:
        mask = np.asarray(pair.unknown)
        mask = mask[None] if mask.ndim == 2 else mask
        if mask.shape != stack.shape:
            raise InputError(f"{name}: unknown is an id or a mask of {_sizes(stack.shape)}, got {_sizes(mask.shape)}.")
        unknown |= mask[box.slices] != 0
    if unknown.all():
        raise InputError(f"{name}: of none of its voxels anything is known.")
    ids, ignore = _objects(ids, unknown)
    size = stack.voxel_size
    cubes = size is not None and max(size) < 1.25 * min(size) and min(ids.shape) >= 64
    if image.min() == image.max():
        raise InputError(f"{name}: the image is all one grey, {image.flat[0]}. Is it the right file?")
    factors = (1.0, 1.0, 1.0) if spec is None else Scale.of(size, Recipe(), spec).factors
    if factors != (1.0, 1.0, 1.0):
        zoom = [1 / f for f in factors]
        image, ids = (ndimage.zoom(v, zoom, order=order, mode="reflect") for v, order in ((image, 1), (ids, 0)))
    weight = math.sqrt(image.size) / 256
    axes: tuple[Axis, ...] = ("xy", "xz", "yz") if cubes else ("xy",)
    return Source(name, image, ids, stack.contrast, axes, (), weight, 1.0, ignore, size)


def hold_out(sources: Sequence[Source], share: float) -> list[Source]:
    """Hold a part out: of volumes a block at one end, with a gap; of four images or more of a name the last ones.

    Of one image a strip at its end is held out, of volumes below 8 planes, too: neighbouring planes look alike.
    """
    parts: list[Source] = []
    single: dict[str, list[Source]] = {}
    for source in sources:
        single.setdefault(source.name, []).append(source)
    for group in single.values():
        if len(group) < 4:
            parts += [part for source in group for part in _split(source, share)]
            continue
        last = max(1, round(share * len(group)))
        seen = np.unique(np.linspace(len(group) - last, len(group) - 1, min(last, _MOST_HELD)).astype(int))
        parts += group[:-last] + [_held(group[k]) for k in seen]
    return parts


def _held(source: Source) -> Source:
    return dataclasses.replace(source, held=tuple(range(len(source.image))))


def _split(source: Source, share: float) -> list[Source]:
    """Cut a block off the end of a volume, or a strip off the longer side of a few planes, and a gap beside it."""
    shape = source.image.shape
    axis = 0 if shape[0] >= 8 else 1 + int(shape[2] > shape[1])
    length = shape[axis]
    wide = max(1, round(share * length))
    gap = max(1, length // 12) if axis == 0 else max(8, length // 24)
    if source.held or length - wide - gap < 1:
        return [source]
    ends = slice(length - wide, None), slice(0, wide)

    def cut(part: slice) -> Source:
        key = (*(slice(None),) * axis, part)
        return dataclasses.replace(source, image=source.image[key], labels=source.labels[key])

    held = [cut(end) for end in ends]
    first = int(not held[0].truth.any() and held[1].truth.any())  # a score of nothing says nothing
    rest = slice(wide + gap, None) if first else slice(0, length - wide - gap)
    return [cut(rest), _held(held[first])]


def _tiles(sources: Iterable[Source], most: int, *, held: bool) -> list[Array]:
    """Return squares of up to 256 pixels, evenly chosen from what is learned from or held out."""
    places = []
    for source in sources:
        first, stop = source.used
        planes = source.held if held else range(first, stop)
        h, w = (max(1, n // 256) for n in source.image.shape[1:])
        places += [(source, z, y, x) for z in planes for y in range(h) for x in range(w)]
    tiles = []
    for k in np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).astype(int)) if places else ():
        source, z, y, x = places[int(k)]
        tiles.append(source.image[z, 256 * y : 256 * (y + 1), 256 * x : 256 * (x + 1)])
    return [tile for tile in tiles if min(tile.shape) >= 16]


# -------------------------------------------------------------------------------------------------------------- reading


def _reading(
    pairs: Sequence[Pair | Source], notes: list[str], spec: ModelSpec | None
) -> Generator[Progress, None, list[Source]]:
    """Read all pairs."""
    sources = list[Source]()
    for source in read_each(pairs, notes, spec):
        yield Progress("read", len(sources), len(pairs))
        sources.append(source)
    return sources


def read_each(pairs: Sequence[Pair | Source], notes: list[str], spec: ModelSpec | None = None) -> Iterator[Source]:
    """Read pairs one after the other; of several, those that are all one grey are left out, and `notes` say it.

    Raises
    ------
    InputError
        As `read_pair`, and if nothing is left.
    """
    flat = []
    for pair in pairs:
        if isinstance(pair, Source):
            yield pair
            continue
        try:
            source = read_pair(pair, spec)
        except InputError as error:
            if len(pairs) == 1 or "all one grey" not in str(error):
                raise
            flat.append(Path(str(pair.image)).name)
            continue
        if steps_of(source.image) < _FLAT:
            notes.append(f"{source.name}: its image looks drawn, hardly any neighbouring pixels differ. Is it a mask?")
        yield source
    if flat:
        notes.append(f"left out, for the image is all one grey: {_some(flat)}")
    if len(flat) == len(pairs):
        raise InputError("There is nothing to learn from. Give at least one labelled stack.")


def _open(image: Any, voxel_size: Any = None) -> Stack:
    source = image[None] if isinstance(image, np.ndarray) and image.ndim == 2 else _listed(image)
    try:
        return open_stack(source, voxel_size=voxel_size)
    except AxesError:
        return open_stack(source, voxel_size=voxel_size, channel="mean")


def _read_ids(labels: Any) -> Array:
    """Read ids; colours are packed ids, or of three equal ones a mask."""
    labels = labels.data if isinstance(labels, Labels) else labels
    source = labels[None] if isinstance(labels, np.ndarray) and labels.ndim == 2 else _listed(labels)
    try:
        return np.asarray(open_labels(source).data)
    except AxesError as error:
        try:
            red, green, blue = (open_stack(source, channel=k).read().astype(np.uint32) for k in range(3))
        except InputError:
            raise error from None
    if (red == green).all() and (green == blue).all():
        return red
    return red << 16 | green << 8 | blue


def _listed(source: Any) -> Any:
    """Return the planes that a JSON file lists, as those of MitoEM do, or what was given."""
    if not isinstance(source, str | os.PathLike) or Path(source).suffix.lower() != ".json":
        return source
    try:
        planes = json.loads(Path(source).read_text(encoding="utf-8"))["image"]
        return [Path(source).parent / str(plane) for plane in planes]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{source} should be a JSON file with a list of planes under 'image': {error!r}.") from error


def _objects(ids: Array, unknown: npt.NDArray[np.bool_]) -> tuple[Array, int | None]:
    """Return ids, of masks those of their connected pieces, and the id that marks the unknown."""
    ids = np.where(unknown, 0, ids)
    values = np.unique(ids)
    if len(values) <= 2 and values[-1] > 0:
        ids = cc3d.connected_components(ids > 0, connectivity=26)
        values = np.arange(int(ids.max()) + 1)
    top = int(values[-1])
    ids = ids.astype(np.uint16 if top < 2**16 - 1 else np.uint32)
    if not unknown.any():
        return ids, None
    ids[unknown] = top + 1
    return ids, top + 1


# -------------------------------------------------------------------------------------------------------------- folders


def _in_folder(folder: Path) -> tuple[list[Pair | Source], list[str]]:
    """Return the pairs of a folder, or of a public data set that was pulled, by its layout."""
    if not folder.is_dir():
        if str(folder) not in datasets():
            raise InputError(f"{folder} is no folder, and no public data set (mitonb data list). Of files give Pairs.")
        folder = folder_of(str(folder))
    parts = sorted(p.parent for p in folder.rglob("images") if p.is_dir() and (p.parent / "masks").is_dir())
    found = [_by_name(part) for part in parts]
    pairs = [pair for some, _ in found for pair in some]
    notes = [note for _, some in found for note in some]
    if not parts:
        pairs = _mitoem(folder)
    if not pairs:
        raise InputError(f"{folder} has nothing to learn from. It needs {LAYOUTS}. {' '.join(notes)}".strip())
    size = size_in(folder)
    return [dataclasses.replace(pair, voxel_size=size) for pair in pairs], notes


def _by_name(folder: Path) -> tuple[list[Pair], list[str]]:
    """Pair the files of images/ and masks/ by their names; return what has no partner in words."""
    images, masks = ({}, {})  # type: dict[str, Path], dict[str, Path]
    strays = []
    for part, files in (("images", images), ("masks", masks)):
        for path in sorted((folder / part).iterdir(), key=lambda p: natural(p.name)):
            if path.suffix.lower() not in KINDS or path.name.startswith("."):
                strays.append(f"{part}/{path.name}")
            elif path.stem in files:
                raise InputError(f"{folder} has {files[path.stem].name} and {path.name}: which of them? Remove one.")
            else:
                files[path.stem] = path
    notes = [f"{folder.name}: no images, so left out: {_some(strays)}"] if strays else []
    for one, other, missing in ((images, masks, "a mask"), (masks, images, "an image")):
        if alone := [path.name for stem, path in one.items() if stem not in other]:
            notes.append(f"{folder.name}: without {missing} of the same name, so left out: {_some(alone)}")
    return [Pair(path, masks[stem], name=folder.name) for stem, path in images.items() if stem in masks], notes


def _mitoem(folder: Path) -> list[Pair]:
    """Pair the planes of im/ with those of each mito*/ or mito*.h5, or im*.json with mito*.json."""
    lists = [(p, p.with_name("mito" + p.name[2:])) for p in sorted(folder.glob("im*.json"))]
    pairs = [Pair(a, b, name=f"{folder.name} {a.stem[2:].strip('_-')}".strip()) for a, b in lists if b.exists()]
    planes = _planes(folder / "im")
    for truth in sorted(folder.glob("mito*")) if planes and not pairs else ():
        name = f"{folder.name} {truth.stem}"
        if truth.is_dir() and (labels := _planes(truth)):
            both = [number for number in labels if number in planes]
            pairs += [Pair([planes[n] for n in both], [labels[n] for n in both], name=name)] if both else []
        elif truth.suffix in (".h5", ".hdf5"):
            pairs.append(Pair(list(planes.values()), truth, name=name))
    return pairs


def _planes(folder: Path) -> dict[int, Path]:
    """Return the planes of a folder by the numbers in their names."""
    files = sorted(folder.iterdir(), key=lambda p: natural(p.name)) if folder.is_dir() else []
    found = [(path, "".join(c for c in path.stem if c.isdigit())) for path in files if path.suffix.lower() in KINDS]
    return {int(number): path for path, number in found if number}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
