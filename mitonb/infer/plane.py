"""One plane through the net: normalised, cut into tiles, blended, and kept as maps."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from mitonb.errors import InputError
from mitonb.infer.tiling import Cut, cuts, enlarged, padded, shrunk, weights
from mitonb.maps import Maps
from mitonb.stack import Plane, Stack

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mitonb.recipe import Recipe

__all__ = ["ModelLike", "Predictor", "device_name"]


class ModelLike(Protocol):
    """What inference needs of a model; `mitonb.models.zoo.Model` is one."""

    @property
    def spec(self) -> Any: ...

    @property
    def net(self) -> torch.nn.Module: ...

    def normalise(self, image: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]: ...


def device_name(wish: str) -> str:
    """Return the device to use; "auto" takes a GPU where there is one.

    Raises
    ------
    InputError
        If the device that was asked for is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wish == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(wish, False):
        usable = ", ".join(name for name, has in there.items() if has)
        raise InputError(f"Torch can use no {wish} device here, but {usable}. Set the device to auto.")
    return wish


class Predictor:
    """A model with the part of a recipe that its net needs.

    Parameters
    ----------
    model : Model
        Its `spec` says what the net needs: `step`, `multiple`, `intensity`.
    recipe : Recipe
        `downsampling`, `tile`, `halo`, `batch`, `flips`, `device` and `precision` are read.
    """

    def __init__(self, model: ModelLike, recipe: Recipe) -> None:
        self.model = model
        self.recipe = recipe
        self.device = device_name(recipe.device)
        self._net = model.net.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def step(self) -> int:
        """Plane pixels per pixel of the center and offset maps that come out."""
        return int(self.model.spec.step) * self.recipe.downsampling

    @property
    def lead(self) -> float:
        """Plane pixels from the first one to where the first pixel of those maps stands."""
        return float(self.model.spec.lead) * self.recipe.downsampling

    def tiles(self, shape: tuple[int, int]) -> list[tuple[Cut, Cut]]:
        """Return the tiles (rows, columns) of a plane of (h, w) pixels, in reading order."""
        multiple, s = self.model.spec.multiple, self.recipe.downsampling
        sides = [math.ceil(math.ceil(n / s) / multiple) * multiple for n in shape]
        rows, columns = (cuts(n, self.recipe.tile, self.recipe.halo, multiple) for n in sides)
        return list(itertools.product(rows, columns))

    def steps(self, plane: Plane) -> Generator[int, None, Maps]:
        """Run the net on one plane; yield the number of tiles done after each batch, return the maps in kept form.

        Raises
        ------
        InputError
            If the plane holds no number at all.
        """
        s, g = self.recipe.downsampling, self.model.spec.step
        small = shrunk(self._normalised(plane), s)
        whole = padded(small, self.model.spec.multiple)
        h, w = small.shape
        todo = self.tiles(plane.shape)
        if len(todo) == 1:
            heads = self._run(whole[None])
            yield 1
            semantic, field = heads[0][0], heads[1][0]
        else:
            semantic, field = yield from self._blended(whole, todo)
        mh, mw = -(-h // g), -(-w // g)
        field = field[:, :mh, :mw]
        semantic = enlarged(semantic[:, :h, :w], s, plane.shape)
        return Maps(semantic, field[0], field[1:] * np.float32(s), g * s, self.lead).kept()

    def _normalised(self, plane: Plane) -> npt.NDArray[np.float32]:
        """Return the image in the net's units; what is not a number becomes mean grey."""
        image = plane.image
        if image.dtype.kind == "f":
            finite = np.isfinite(image)
            if not finite.any():
                raise InputError(
                    f"All {image.size} pixels of {plane.axis} plane {plane.index} are NaN or infinite: there is no "
                    "picture to look at. Choose another plane, or check how the file was written."
                )
            if not finite.all():
                image = np.where(finite, image, np.nan)
        if self.model.spec.intensity == "contrast":
            low, high = plane.contrast or Stack(image[None]).contrast
        else:
            low, high = plane.intensity
        return np.ascontiguousarray(self.model.normalise(image, low, high), dtype=np.float32)

    def _blended(
        self, whole: npt.NDArray[np.float32], todo: list[tuple[Cut, Cut]]
    ) -> Generator[int, None, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Run all tiles and return their weighted mean: semantic (classes, h, w), center and offsets (3, h', w')."""
        h, w = whole.shape
        g = self.model.spec.step
        sums: list[npt.NDArray[np.float32]] = []
        total = [np.zeros((h, w), np.float32), np.zeros((h // g, w // g), np.float32)]
        done = 0
        for batch in _batches(todo, self.recipe.batch):
            heads = self._run(np.stack([whole[r.start : r.stop, c.start : c.stop] for r, c in batch]))
            if not sums:
                sums = [np.zeros((heads[0].shape[1], h, w), np.float32), np.zeros((3, h // g, w // g), np.float32)]
            for k, (r, c) in enumerate(batch):
                for head, sum_, all_, step in zip(heads, sums, total, (1, g), strict=True):
                    weight = weights(r, step)[:, None] * weights(c, step)
                    place = np.s_[r.start // step : r.stop // step, c.start // step : c.stop // step]
                    sum_[(slice(None), *place)] += head[k] * weight
                    all_[place] += weight
            done += len(batch)
            yield done
        return sums[0] / total[0], sums[1] / total[1]

    def _run(self, images: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return probabilities (n, classes, h, w), and center and offsets (n, 3, h', w'), of (n, h, w) pictures."""
        mirrors = ((), (0,), (1,), (0, 1)) if self.recipe.flips else ((),)
        parts = [self._once(images, mirror) for mirror in mirrors]
        semantic, field = parts[0]
        for more, other in parts[1:]:
            semantic = semantic + more
            field = field + other
        n = np.float32(len(parts))
        return semantic / n, field / n

    def _once(
        self, images: npt.NDArray[np.float32], mirror: tuple[int, ...]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        g = self.model.spec.step
        # Map pixel i stands at i * g. A mirrored picture is moved by g - 1, so that places of maps fall on places.
        for axis in mirror:
            images = _shifted(np.flip(images, axis + 1), g - 1, axis + 1)
        x = torch.from_numpy(np.ascontiguousarray(images))[:, None].to(self.device)
        with torch.inference_mode(), self._precision():
            heads = self._net(x.contiguous(memory_format=torch.channels_last))
            logits = heads.semantic.float()
            semantic = (logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, 1:]).cpu().numpy()
            field = torch.cat([heads.center, heads.offsets], 1).float().cpu().numpy()
        for axis in mirror:
            semantic = np.flip(_shifted(semantic, 1 - g, axis + 2), axis + 2)
            field = np.flip(field, axis + 2).copy()
            field[:, 1 + axis] *= -1
        return semantic, field

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        if self.recipe.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=kinds[self.recipe.precision])


def _shifted(values: npt.NDArray[np.float32], by: int, axis: int) -> npt.NDArray[np.float32]:
    """Move values towards the start of an axis by some places (negative: towards the end), repeating the edge."""
    n = values.shape[axis]
    return values.take(np.clip(np.arange(n) + by, 0, n - 1), axis)


def _batches(todo: list[tuple[Cut, Cut]], size: int) -> Iterator[list[tuple[Cut, Cut]]]:
    for k in range(0, len(todo), size):
        yield todo[k : k + size]
