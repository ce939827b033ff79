"""What a training changed: the same unseen patches through the model before and after it, object by object."""

import dataclasses
import functools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.accuracy import score
from mitonb.infer.segment import predicting
from mitonb.job import Progress
from mitonb.learn.data import Source
from mitonb.models.zoo import Model, load_model
from mitonb.phantoms import phantom
from mitonb.post.decoding import decode
from mitonb.recipe import Recipe
from mitonb.stack import Plane, Stack

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
class Patch:
    """A part of an image that was not learned from, with its truth.

    Attributes
    ----------
    name : str
        Of the image.
    image, truth : (z, y, x) array
        Pixels and ids.
    contrast : tuple of float
        Grey values that stand for black and white.
    hidden : (z, y, x) bool array
        Where nothing is known.
    """

    name: str
    image: Array
    truth: Array
    contrast: tuple[float, float]
    hidden: npt.NDArray[np.bool_]


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


def held_patches(sources: Sequence[Source], dimension: int) -> list[Patch]:
    """Return up to eight of the planes that are held out, evenly chosen; for nets of blocks (3), the held blocks."""
    places = []
    for source in sources:
        held = sorted(source.held)
        places += (
            [(source, z, z + 1) for z in held] if dimension == 2 else [(source, held[0], held[-1] + 1)][: len(held)]
        )
    few = np.unique(np.linspace(0, len(places) - 1, min(_MOST, len(places))).astype(int)) if places else ()
    return [_cut(*places[int(k)]) for k in few]


def _cut(source: Source, first: int, stop: int) -> Patch:
    """Return some planes of a source, of large ones the part around the middle of its objects."""
    stop = min(stop, first + _DEPTH)
    truth = source.labels[first:stop]
    inside = np.argwhere((truth != 0) & (truth != source.ignore))
    middle = inside.mean(0)[1:] if len(inside) else np.divide(truth.shape[1:], 2)
    low = [int(np.clip(m - _SIDE / 2, 0, max(0, n - _SIDE))) for m, n in zip(middle, truth.shape[1:], strict=True)]
    key = (slice(first, stop), *(slice(a, a + _SIDE) for a in low))
    truth = source.labels[key]
    hidden = np.zeros(truth.shape, np.bool_) if source.ignore is None else truth == source.ignore
    return Patch(source.name, source.image[key], np.where(hidden, 0, truth), source.contrast, hidden)


@functools.cache
def reference_patches() -> list[Patch]:
    """Return two planes of each phantom of `REFERENCE`."""
    found = []
    for seed in REFERENCE:
        stack, truth = phantom((2, 256, 256), seed=seed)
        for z in range(2):
            ids = truth.data[z : z + 1]
            found.append(
                Patch(f"phantom {seed}", stack.data[z : z + 1], ids, stack.contrast, np.zeros(ids.shape, bool))
            )
    return found


def load_to_judge(name: str | Path) -> Model:
    """Load a model that runs as it is: an engine for a few patches takes seconds in which nothing can be cancelled."""
    model = load_model(name)
    return dataclasses.replace(model, spec=dataclasses.replace(model.spec, sha256=""))


def judging(model: Model, patches: Sequence[Patch], stage: str = "score") -> Generator[Progress, None, Judged]:
    """Find objects on patches and compare them with the truth, at the scale at which they are.

    Parameters
    ----------
    model : Model
        Planes are judged one by one, or by nets of blocks at once.
    patches : sequence of Patch
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


def places_of(patch: Patch) -> dict[int, tuple[int, int, int, int]]:
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
