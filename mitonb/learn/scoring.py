"""How good a model is on a data set, plane and volume; and what a training changed, object by object."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.accuracy import Scores, score, score_planes
from mitonb.infer.scale import Scale
from mitonb.infer.segment import predicting, segmenting
from mitonb.job import Progress, drain
from mitonb.learn.data import Source
from mitonb.learn.pairs import find_pairs, read_each
from mitonb.models.spec import ModelSpec
from mitonb.models.zoo import Model, load_model
from mitonb.phantoms import phantom
from mitonb.post.decoding import decode
from mitonb.recipe import Recipe
from mitonb.stack import Plane, Stack

FIGURES = {"iou": "IoU", "f1_50": "F1@50", "f1_75": "F1@75", "pq": "PQ", "ap": "AP"}
"""What is said of each image: foreground IoU; F1 of objects at IoU 0.5 and 0.75; panoptic quality at 0.5; COCO's AP."""
_MOST_ROWS = 40
_SCALES = {"data": "(data)", "model": "(model)", "both": "(data and model)"}


@dataclass(frozen=True, repr=False)
class Benchmark:
    """How good a model is on a data set.

    Attributes
    ----------
    model : str
        Its name.
    rows : tuple of dict
        One for each image and scale: `image`; `scale` is "data" (the net saw the pixels of the data), "model" (they
        were brought to a size that it knows), or "both" (that is the same, or the pixel size is unknown); `pixels`,
        in nm, that the net saw; `planes`, the means of `FIGURES` over the planes that have objects; and `volume`, those
        of the objects in 3-D, or None for single images. All are counted in the pixels of the data.
    notes : tuple of str
        What one has to know to judge the figures.
    """

    model: str
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()

    @property
    def means(self) -> tuple[dict[str, Any], ...]:
        """The means over all images, as `rows`; images without objects are in none, and counts are of all of them."""
        found = []
        for scale in dict.fromkeys(row["scale"] for row in self.rows):
            rows = [row for row in self.rows if row["scale"] == scale]
            parts = {part: _mean([row[part] for row in rows if row[part]], "count") for part in ("planes", "volume")}
            found.append({"image": f"mean of {len(rows)}", "scale": scale, "pixels": "", **parts})
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, ready for JSON."""
        return {"model": self.model, "rows": self.rows, "means": self.means, "notes": self.notes}

    def __repr__(self) -> str:
        few = self.rows if len(self.rows) <= _MOST_ROWS else ()
        lines = [*_lines(few), *(_lines(self.means) if len(self.rows) != len(self.means) else ())]
        width = max([5, *(len(line[0]) for line in lines)])
        top = ("image", "pixels", "counted", *FIGURES.values())
        table = [f"{a:<{width}}  {b:<34}{c:<13}" + "".join(f"{v:>7}" for v in rest) for a, b, c, *rest in (top, *lines)]
        return "\n".join([*table, *self.notes])


def benchmark(
    data: Any, model: str | Path | Model = "mito-mini", *, recipe: Recipe | None = None, show: bool = True
) -> Benchmark:
    """Score a model on images with labels: every image is segmented as `segment` does it, and compared with its labels.

    Each is scored twice: once the net sees the pixels as they are, and once at a pixel size that it knows, where both
    are known and differ. Labels are compared in the pixels of the data in both cases.

    Parameters
    ----------
    data : folder, name of a data set, Pair, (image, labels), or a list of such
        As for `train`. Images and labels of one shape.
    model : str, path or Model
        As for `segment`.
    recipe : Recipe, optional
        Everything else of the run; its pixel_size and downsampling are not read.
    show : bool
        Show progress.

    Returns
    -------
    Benchmark

    Raises
    ------
    InputError
        If there is nothing to score on, an image does not fit its labels, or a data set was not pulled.
    ModelError
        If there is no such model.

    Examples
    --------
    ``mn.benchmark("vnc", "mito-mini").means``
    """
    return drain(benchmarking(data, model, recipe=recipe), show=show)


def benchmarking(
    data: Any, model: str | Path | Model = "mito-mini", *, recipe: Recipe | None = None
) -> Generator[Progress, None, Benchmark]:
    """Score a model on images with labels; the generator form of `benchmark`."""
    pairs, notes = find_pairs(data)
    known = model if isinstance(model, Model) else load_model(model)
    spec, rows, empty, drawn = known.spec, list[dict[str, Any]](), Counter[str](), Counter[str]()
    if spec.data:
        names = ", ".join(text.partition(":")[0] for text in spec.data)
        notes.append(f"{spec.name} was trained on {names}. Scores on what a model was trained on flatter it.")
    notes += [f"{spec.name} finds {', '.join(spec.classes)}; all are compared."] if len(spec.classes) > 1 else []
    if spec.pixel_sizes is None:
        notes.append(f"The card of {spec.name} tells no pixel sizes, so it was scored at those of the data alone.")
    for k, source in enumerate(read_each(pairs, notes)):
        yield Progress(f"image {k + 1} of {len(pairs)}", 0, 1)
        stack = Stack(source.image, source.voxel_size, name=source.name)
        for scale, own, pixels in _runs(stack, Recipe.of(recipe), spec):
            labels = yield from segmenting(stack, own, model=known)
            said = (f"{_SCALES[scale]} {note}" for note in labels.record["notes"])
            notes += [note for note in said if note not in notes]
            planes = [
                score_planes(labels.data[z : z + 1], source.labels[z : z + 1], ignore=source.ignore)
                for z in range(len(source.image))
            ]
            told = [plane for plane in planes if plane.counts[1]]
            empty[scale] += len(planes) - len(told)
            drawn[scale] += sum(plane.counts[0] > 0 for plane in planes if not plane.counts[1])
            volume = score(labels.data, source.labels, ignore=source.ignore) if len(planes) > 1 else None
            whole = _figures(volume) if volume is not None and volume.counts[1] else None
            row = {"image": source.name, "scale": scale, "pixels": pixels, "planes": _mean([_figures(p) for p in told])}
            rows.append({**row, "volume": whole})
    notes += [
        f"{_SCALES[scale]} {count} planes without objects are in no mean of planes; on {drawn[scale]} of them "
        "something was drawn."
        for scale, count in empty.items()
        if count
    ]
    return Benchmark(spec.name, tuple(rows), tuple(notes))


def _runs(stack: Stack, recipe: Recipe, spec: ModelSpec) -> Iterator[tuple[str, Recipe, str]]:
    """Yield the scales at which an image is scored: their name, the recipe, and the pixels that the net sees then."""
    own, fitted = (recipe.replace(pixel_size=wish, downsampling=1) for wish in ("as is", "auto"))
    factors, size = Scale.of(stack.voxel_size, fitted, spec).factors, stack.voxel_size

    def seen(y: float, x: float) -> str:
        return "size unknown" if size is None else f"{size[1] * y:.3g} x {size[2] * x:.3g} nm"

    same = factors == (1.0, 1.0, 1.0)
    yield "both" if same else "data", own, seen(1, 1)
    if not same:
        yield "model", fitted, seen(*factors[1:])


def _figures(scores: Scores) -> dict[str, float]:
    at = scores.at(0.5)
    figures = (scores.iou, at.f1, scores.at(0.75).f1, at.pq, scores.ap())
    return {"count": scores.counts[1], **dict(zip(FIGURES, figures, strict=True))}


def _mean(found: Sequence[dict[str, float]], counted: str = "") -> dict[str, float] | None:
    """Return the means of figures, with how many there are, or the sum of what they counted; None of nothing."""
    count = sum(f.get(counted, 1) for f in found)
    return {"count": count, **{k: float(np.mean([f[k] for f in found])) for k in FIGURES}} if found else None


def _lines(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a table: planes, then the volume, of each row."""
    for row in rows:
        pixels = f"{row['pixels']} {_SCALES[row['scale']]}".strip()
        for part, unit in (("planes", "planes"), ("volume", "objects")):
            if row[part]:
                figures = (f"{row[part][k]:.3f}" for k in FIGURES)
                yield (row["image"], pixels, f"{row[part]['count']} {unit}", *figures)


# ---------------------------------------------- before and after a training, on patches that were not learned from


Array = npt.NDArray[Any]

REFERENCE = range(9100, 9104)
"""Seeds of the phantoms that tell whether a model forgets; nothing trains on them."""
FORGOTTEN = 0.02
"""Loss of IoU on these from which on a model has forgotten something."""
RIGHT, FALSE, MISSED = 1, 2, 3
"""What a pixel is, in `Judged.kinds`: of an object that was found, of one that is none, of one that was not found."""
_MOST = 8
_SIDE, _DEPTH = 512, 64


@dataclass(frozen=True)
class Judged:
    """What a model finds on patches.

    Attributes
    ----------
    iou : float
        Foreground IoU of all of them.
    objects : int
        Objects in the truth.
    found : frozenset of (int, int)
        Patch and id of those that were found, by an IoU of 0.5.
    false : int
        Objects that are none, or fit none of the truth.
    kinds : tuple of (z, y, x) uint8 array
        For each patch `RIGHT`, `FALSE`, `MISSED` or 0.
    """

    iou: float
    objects: int
    found: frozenset[tuple[int, int]]
    false: int
    kinds: tuple[npt.NDArray[np.uint8], ...]

    @property
    def what(self) -> str:
        """What is counted: of planes profiles, of which an object has several."""
        return "profiles" if all(len(kind) == 1 for kind in self.kinds) else "objects"


def held_patches(sources: Sequence[Source], dimension: int) -> list[Source]:
    """Return up to eight of the planes that are held out, evenly chosen; for nets of blocks (3), the held blocks."""
    places = []
    for source in sources:
        held = sorted(source.held)
        places += (
            [(source, z, z + 1) for z in held] if dimension == 2 else [(source, held[0], held[-1] + 1)][: len(held)]
        )
    few = np.unique(np.linspace(0, len(places) - 1, min(_MOST, len(places))).astype(int)) if places else ()
    return [_cut(*places[int(k)]) for k in few]


def _cut(source: Source, first: int, stop: int) -> Source:
    """Return some planes of a source, of large ones the part around the middle of its objects."""
    stop = min(stop, first + _DEPTH)
    truth = source.truth[first:stop]
    inside = np.argwhere(truth)
    middle = inside.mean(0)[1:] if len(inside) else np.divide(truth.shape[1:], 2)
    low = [int(np.clip(m - _SIDE / 2, 0, max(0, n - _SIDE))) for m, n in zip(middle, truth.shape[1:], strict=True)]
    key = (slice(first, stop), *(slice(a, a + _SIDE) for a in low))
    return dataclasses.replace(source, image=source.image[key], labels=source.labels[key], held=())


@functools.cache
def reference_patches() -> list[Source]:
    """Return two planes of each phantom of `REFERENCE`."""
    drawn = [(f"phantom {seed}", *phantom((2, 256, 256), seed=seed)) for seed in REFERENCE]
    return [
        Source(name, stack.read()[z : z + 1], truth.data[z : z + 1], stack.contrast)
        for name, stack, truth in drawn
        for z in range(2)
    ]


def load_to_judge(name: str | Path) -> Model:
    """Load a model that runs as it is: an engine for a few patches takes seconds in which nothing can be cancelled."""
    model = load_model(name)
    return dataclasses.replace(model, spec=dataclasses.replace(model.spec, sha256=""))


def judging(model: Model, patches: Sequence[Source], stage: str = "score") -> Generator[Progress, None, Judged]:
    """Find objects on patches and compare them with the truth, at the scale at which they are.

    Parameters
    ----------
    model : Model
        Planes are judged one by one, or by nets of blocks at once.
    patches : sequence of Source
        From `held_patches` or `reference_patches`.
    stage : str
        Shown as progress.
    """
    recipe, both, either, objects, false = Recipe(pixel_size="as is"), 0, 0, 0, 0
    found, kinds = set(), []
    for k, patch in enumerate(patches):
        yield Progress(stage, k, len(patches))
        stack = Stack(patch.image, intensity=patch.contrast)
        plane = Plane(patch.image[0], intensity=patch.contrast, contrast=patch.contrast)
        maps = yield from predicting(stack if model.spec.dimension == 3 else plane, model=model, recipe=recipe)
        seen = ~patch.hidden
        inside = (maps.semantic[0].reshape(patch.truth.shape) >= 128) & seen
        both, either = both + int((inside & (patch.truth > 0)).sum()), either + int((inside | (patch.truth > 0)).sum())
        # In a patch, what an object has in two places are two.
        ids, truth = (_pieces(v) for v in (decode(maps, recipe).reshape(patch.truth.shape), patch.truth))
        scores = score(ids, truth, ignore=patch.hidden, smallest=recipe.min_area)
        matches, at = scores.matches(), scores.at(0.5)
        objects, false = objects + at.found + at.missed, false + at.false
        found |= {(k, match.truth) for match in matches}
        kind = np.where(truth > 0, MISSED, 0)
        kind[np.isin(truth, [match.truth for match in matches]) & (truth > 0)] = 0
        kind[ids > 0] = FALSE
        kind[np.isin(ids, [match.id for match in matches]) & (ids > 0)] = RIGHT
        kinds.append((kind * seen).astype(np.uint8))
    return Judged(both / either if either else 1.0, objects, frozenset(found), false, tuple(kinds))


def places_of(patch: Source) -> dict[int, tuple[int, int, int, int]]:
    """Return size and middle (z, y, x) of each object of a patch that counts, by the ids of `Judged.found`."""
    truth = _pieces(patch.truth)
    sizes = np.bincount(truth.ravel())
    middles = ndimage.center_of_mass(truth > 0, truth, range(1, len(sizes)))
    places = {id: (int(sizes[id]), *(round(float(v)) for v in middle)) for id, middle in enumerate(middles, 1)}
    return {id: place for id, place in places.items() if place[0] >= Recipe().min_area}  # type: ignore[misc]


def _pieces(ids: Array) -> Array:
    return np.asarray(cc3d.connected_components(np.ascontiguousarray(ids), connectivity=26))


def won_and_lost(before: Judged | None, after: Judged) -> str:
    """Say in words what a training won and lost on the same patches."""
    what = after.what
    if not after.objects:
        return f"IoU {after.iou:.3f} on what was held out, in which there are no {what}."
    if before is None:
        return (
            f"Held out: IoU {after.iou:.3f}. Of {after.objects} {what} {len(after.found)} are found; "
            f"{after.false} others are drawn."
        )
    won, lost = len(after.found - before.found), len(before.found - after.found)
    return (
        f"Held out: IoU {before.iou:.3f} before, {after.iou:.3f} now. Of {after.objects} {what} {len(before.found)} "
        f"were found before and {len(after.found)} are now: {won} won, {lost} lost. Others "
        f"drawn: {before.false} before, {after.false} now."
    )
