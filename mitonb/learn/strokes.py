"""Teach by strokes: a model learns from a few pixels of which somebody says what they are, and forgets little.

The way was chosen on held-back sets (benchmarks/strokes.py). Pixels of both kinds count the same, however few; drawn
volumes and what the model is sure of beside the strokes keep it from forgetting; and it goes half of the way from
the old weights to the new ones.
"""

import copy
import dataclasses
import math
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import nn

from mitonb.errors import InputError, ModelError
from mitonb.infer.scale import Scale
from mitonb.infer.tiles import resample
from mitonb.job import Progress
from mitonb.learn.child import fitting_apart
from mitonb.learn.data import IGNORED, Source
from mitonb.learn.loop import Settings, as_it_is, startable, watch
from mitonb.learn.runs import fast_precision, phantoms_to_replay
from mitonb.learn.scoring import FORGOTTEN, reference_patches
from mitonb.models.spec import ModelSpec
from mitonb.models.weights import write_weights
from mitonb.models.zoo import import_model, read_net
from mitonb.recipe import Recipe
from mitonb.stack import Axis, Stack

Ids = npt.NDArray[np.int64]

_STEPS = 40
_SIDE = 384  # pixels, as the net sees them, of what is looked at around a stroke
_SURE = 0.9
_NEAR = 12  # pixels around a stroke where nobody asks the old model
_SHARES = (0.3, 0.45, 0.25)  # of the patches: around strokes, of phantoms, and with what the old model is sure of
GENTLY: dict[str, Any] = {
    "batch": 4, "rate": 1e-4, "average": 0.9, "augment": 0.7, "keep_statistics": True, "balance": True, "looks": 1,
}  # fmt: skip
"""Settings of the training."""


@dataclass(frozen=True)
class Taught:
    """What strokes taught a model.

    Attributes
    ----------
    model : str
        Name of the new model.
    start : str
        Name of the one that it began from.
    strokes : int
        What it learned from.
    right : tuple of float
        Part of the pixels that are called right before and after, 0..1, in the mean over the strokes.
    reference : tuple of float
        IoU on drawn volumes that nothing trains on, before and after.
    edit : int
        Number of the edit of the session that took the model; 0 for none.
    """

    model: str
    start: str
    strokes: int
    right: tuple[float, float]
    reference: tuple[float, float]
    edit: int = 0

    def __str__(self) -> str:
        said = "{:.0%} of the strokes is right, {:.0%} before; IoU on phantoms {:.2f}, {:.2f} before"
        forgot = ": it forgot some of what it knew" if self.reference[0] - self.reference[1] > FORGOTTEN else ""
        return said.format(*self.right[::-1], *self.reference[::-1]) + forgot


def teaching(
    stack: Stack, known: Mapping[tuple[Axis, int], Ids], name: str, *, start: str = "mito-mini",
    recipe: Recipe | None = None, steps: int = _STEPS,
) -> Generator[Progress, None, Taught]:  # fmt: skip
    """Let a model learn from some pixels of planes, in a process of its own, and put it into the model folder.

    Parameters
    ----------
    stack : Stack
        The image.
    known : mapping of (h, w) int arrays by (axis, index)
        Of each plane k where stroke k says that this is mitochondrion, -k where it says that this is none, else 0.
    name : str
        Of the new model.
    start : str
        Name of the model to begin from: one that looks at planes.
    recipe : Recipe, optional
        How planes are brought to the model: pixel size, downsampling, invert.
    steps : int
        How long; 40 take one to three minutes on a CPU.

    Raises
    ------
    InputError
        If there are not both kinds of strokes, or the model does not learn from them.
    ModelError
        If the model cannot be trained, or looks at blocks.
    """
    said = np.unique(np.concatenate([[0], *(np.unique(ids) for ids in known.values())]))
    if not said.min() < 0 < said.max():
        none = "what is none, but looks like one (Shift-T)"
        wanted = none if said.max() > 0 else "mitochondria (T); the model may find them already"
        raise InputError(f"A model learns from strokes of both kinds. Draw a few on {wanted}.")
    yield Progress("load the model", 0, 1)
    net, old = startable(start)
    if old.dimension != 2:
        raise ModelError(f"{start} looks at blocks, and strokes lie on planes. Choose a model of planes.")
    squares = [square for key, ids in known.items() for square in _squares(stack, key, ids, recipe or Recipe(), old)]
    if len({int(kind) for square in squares for kind in np.unique(square.labels)} - {IGNORED}) < 2:
        raise InputError("To the model all strokes of one kind are hidden by others. Draw longer ones, farther apart.")
    phantoms = yield from phantoms_to_replay(4, 1000, "phantoms")
    anchors = []
    for k, square in enumerate(squares):
        yield Progress("look at the strokes", k, len(squares))
        anchors.append(_anchored(net, old, square))
    groups = squares, phantoms, [square for square in anchors if (square.labels != square.ignore).any()]
    sources = [dataclasses.replace(s, weight=w / len(g)) for g, w in zip(groups, _SHARES, strict=True) for s in g]
    own = {"title": f"{start}, taught by strokes", "notes": f"Taught by {len(said) - 1} strokes on {stack.name}."}
    kept = {name: getattr(old, name) for name in ("licence", "papers", "data", "pixel_sizes")}
    settings = Settings(steps=steps, precision=fast_precision(), **GENTLY)
    with tempfile.TemporaryDirectory(prefix="mitonb-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / f"{name}.safetensors"
        yield from fitting_apart(sources, out=path, settings=settings, start=start, card={**kept, **own})
        learned, spec = read_net(path)
        yield Progress("compare", 0, 1)
        taught = _half_way(net, learned)
        before, right = (_right(one, old, squares) for one in (net, taught))
        if not right > before:  # nor where it is no number
            raise InputError(
                f"The model stays as it is: {before:.0%} of the strokes is right, and {right:.0%} would be. A few "
                "pixels do not teach it this; let it learn from reviewed patches (Train)."
            )
        reference = _drawn(net, old), _drawn(taught, old)
        write_weights(taught, spec, path)
        import_model(path, name)
    return Taught(name, start, len(said) - 1, (before, right), reference)


def _squares(stack: Stack, key: tuple[Axis, int], signed: Ids, recipe: Recipe, spec: ModelSpec) -> list[Source]:
    """Return what is around each stroke of a plane, as the net sees it; what no stroke covers is unknown."""
    axis, index = key
    plane = stack.plane(index, axis)
    plane = plane.inverted() if recipe.invert else plane
    image = plane.image.astype(np.float32)
    # What is shrunk keeps every stroke, however thin; what is enlarged has no gaps.
    at, near, said = list(np.nonzero(signed)), signed, signed[signed != 0]
    for side, factor in enumerate(Scale.of(stack.voxel_size, recipe, spec).along(axis)):
        n = image.shape[side]
        count = math.ceil(n / factor)
        image = resample(image, side, count, factor)
        near = near.take(np.minimum((np.arange(count) * factor + 0.5).astype(int), n - 1), side)
        at[side] = np.minimum((at[side] / factor + 0.5).astype(int), count - 1)
    signed = np.zeros_like(near)
    signed[tuple(at)] = said
    signed = np.where(near == 0, signed, near)
    labels = np.where(signed == 0, IGNORED, np.maximum(signed, 0))
    found = []
    for number in np.setdiff1d(np.abs(signed), [0]):
        pixels = np.argwhere(np.abs(signed) == number)
        middle = pixels[np.abs(pixels - pixels.mean(0)).sum(1).argmin()]  # a ring has no pixel in its own middle
        low = [int(np.clip(m - _SIDE / 2, 0, max(0, n - _SIDE))) for m, n in zip(middle, image.shape, strict=True)]
        cut = np.s_[None, low[0] : low[0] + _SIDE, low[1] : low[1] + _SIDE]
        found.append(Source("strokes", image[cut], labels[cut], plane.contrast or stack.contrast, ignore=IGNORED))
    return found


def _anchored(net: nn.Module, spec: ModelSpec, square: Source) -> Source:
    """Return a square with what the model is sure of: not in objects that a stroke touches, nor near to one."""
    chance = _chances(net, spec, square)
    known = square.labels[0] != IGNORED
    objects = ndimage.label(chance >= 0.5)[0]
    touched = np.isin(objects, np.setdiff1d(objects[known], [0]))
    sure = np.where(chance > _SURE, 1, np.where(chance < 1 - _SURE, 0, IGNORED))
    sure[touched & (sure == 1) | ndimage.binary_dilation(known, iterations=_NEAR)] = IGNORED
    return dataclasses.replace(square, name="before", labels=sure[None])


def _right(net: nn.Module, spec: ModelSpec, squares: Sequence[Source]) -> float:
    """Return which part of the strokes' pixels a net calls right, in the mean over the squares around them."""
    parts = []
    for square in squares:
        labels, found = square.labels[0], _chances(net, spec, square) >= 0.5
        parts.append((found == (labels > 0))[labels != IGNORED].mean())
    return float(np.mean(parts))


def _drawn(net: nn.Module, spec: ModelSpec) -> float:
    """Return the IoU of a net on drawn volumes that nothing trains on."""
    drawn = [dataclasses.replace(patch, name="drawn", held=(0,)) for patch in reference_patches()]
    return watch(net, spec, drawn)["iou drawn"]


def _chances(net: nn.Module, spec: ModelSpec, square: Source) -> npt.NDArray[np.float32]:
    """Return the probability of each pixel of a square."""
    stack = Stack(square.image, intensity=square.contrast)
    said = as_it_is(net.eval(), spec).maps(stack.plane(0)).semantic[0]
    return np.asarray(said / np.float32(255))


def _half_way(one: nn.Module, other: nn.Module) -> nn.Module:
    """Return a net whose weights lie in the middle between those of two others."""
    mixed, old, new = copy.deepcopy(one), one.state_dict(), other.state_dict()
    mixed.load_state_dict({k: torch.lerp(t, new[k], 0.5) if t.is_floating_point() else t for k, t in old.items()})
    return mixed
