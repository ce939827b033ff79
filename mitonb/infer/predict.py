"""Planes or blocks through the net: normalised, brought to its pixel size, cut into tiles, blended, kept as maps."""

import itertools
import math
from collections.abc import Generator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit

from mitonb.errors import InputError, ModelError
from mitonb.infer.engines import Runner, renders
from mitonb.infer.scale import Scale
from mitonb.infer.tiles import Canvas, Cut, cuts, padded, resample
from mitonb.job import Progress, drain
from mitonb.maps import COARSE, FLOATS, Maps
from mitonb.models.zoo import Model
from mitonb.recipe import Recipe
from mitonb.stack import Plane, Stack

Picture = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Tile = tuple[Cut, ...]

_BLOCK, _BLOCK_HALO = 96, 16
"""Voxels on a side of what a 3-D net sees at once, and of the margin: a plane of 512 x 512 has as many pixels as one
of 64 voxels."""
_SHORT, _RIM = 192, 64
"""Sides of planes that are shorter grow by a rim at both ends, by reflection: in a strip of 64 rows a 2-D net overlooks
what it finds in the whole plane (`python -m benchmarks.strips`: IoU 0.74 without and 0.76 with it)."""


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


def probabilities(logits: Mapping[str, Picture]) -> dict[str, Picture]:
    """Return heads as maps hold them: probabilities 0..1 of logits, distances -1..1; center and offsets as they are.

    Of several semantic channels the first is background, which is left out.
    """
    return {name: head if name in COARSE else _squashed(name, head) for name, head in logits.items()}


def _squashed(name: str, logits: Picture) -> Picture:
    if name == "distance":
        return np.tanh(logits)
    if name == "semantic" and logits.shape[1] > 1:
        return torch.from_numpy(logits).softmax(1)[:, 1:].numpy()
    # Not in torch: for a plane, waking its threads takes longer than the work.
    return expit(logits)


class Predictor:
    """A model with the part of a recipe that its net needs.

    Parameters
    ----------
    model : Model
        Its card says what the net needs: `dimension`, `output_stride`, `multiple`, `intensity`, `pixel_sizes`.
    recipe : Recipe
        `pixel_size`, `downsampling`, `tile`, `halo`, `batch`, `flips`, `device`, `engine` and `precision` are read.
    voxel_size : tuple of float, optional
        (z, y, x) of the stack in nm.
    """

    def __init__(self, model: Model, recipe: Recipe, voxel_size: tuple[float, float, float] | None = None) -> None:
        self.model = model
        self.recipe = recipe
        self.scale = Scale.of(voxel_size, recipe, model.spec)
        self.dimension = int(model.spec.dimension)
        self.device = device_name(recipe.device)
        # The published rules pad as the makers of a net do, and look at the padding, too.
        self._published = recipe.rules == "published"
        self._multiple = model.spec.makers_multiple if self._published else int(model.spec.multiple)
        self._stride = int(model.spec.output_stride)
        # A net with PointRend brings the semantic map of a shrunk plane back by itself, by doubling it.
        shrunk = min(f for axis in recipe.planes for f in self.scale.along(axis))
        self.doublings = int(math.log2(max(1, shrunk))) if renders(model.net) else 0
        self.runner = Runner(model, self.device, recipe.engine, recipe.precision, self.doublings)

    def padding(self, sides: Sequence[int]) -> int:
        """Return the multiple that planes with some of these sides are padded to for the published rules, 0 for none.

        Only then it changes what the net says: what is no multiple is padded otherwise by the default.
        """
        s = self.recipe.downsampling
        return self._multiple if self._published and any(-(-n // s) % self._multiple for n in sides) else 0

    def factors(self, plane: Plane | Stack) -> tuple[float, ...]:
        """Return the pixels of a plane, or the voxels of a stack, per pixel of what the net sees, axis by axis."""
        return self.scale.factors if isinstance(plane, Stack) else self.scale.along(plane.axis)

    def tiles(self, shape: Sequence[int], factors: Sequence[float], where: Mask | None = None) -> list[Tile]:
        """Return the tiles of a picture of ([d,] h, w) pixels, in reading order.

        With a mask of that shape, only the tiles that see some of it: the grid is that of the whole picture, so that
        what is said inside does not depend on the mask. Without a grid (tile 0), one tile around the mask and its halo.
        """
        _, sides = self._sides(shape, factors)
        tile, halo = self.recipe.tile, self.recipe.halo
        if len(sides) == 3:
            tile, halo = min(tile or _BLOCK, _BLOCK), min(halo, _BLOCK_HALO)
        if where is not None and tile == 0:
            return [tuple(self._around(where, k, n, f) for k, (n, f) in enumerate(zip(sides, factors, strict=True)))]
        grid = itertools.product(*(cuts(n, tile, halo, self.model.spec.multiple) for n in sides))
        return [tile for tile in grid if where is None or where[_seen(tile, factors)].any()]

    def pixels(self, shape: Sequence[int], factors: Sequence[float]) -> int:
        """Return how many pixels the net sees of a picture, those that tiles share as often as it sees them."""
        rim = self._rim(self._sides(shape, factors)[1])
        tiles = self.tiles(shape, factors)
        return sum(math.prod(len(cut) + 2 * r for cut, r in zip(tile, rim, strict=True)) for tile in tiles)

    def _around(self, where: Mask, axis: int, length: int, factor: float) -> Cut:
        """Return the pixels of one side that hold all that is inside a mask, with a halo, on the grid of the net."""
        there = np.flatnonzero(where.any(axis=tuple(i for i in range(where.ndim) if i != axis)))
        first = max(0, int(there[0] / factor) - self.recipe.halo) // self._multiple * self._multiple
        last = -(-(int(there[-1] / factor) + 1 + self.recipe.halo) // self._multiple) * self._multiple
        return Cut(first, min(length, last))

    def steps(self, plane: Plane | Stack, where: Mask | None = None) -> Generator[Progress, None, Maps]:
        """Run the net on a plane, or a 3-D net on a stack, tile by tile; return the maps as they are kept.

        Parameters
        ----------
        plane : Plane or Stack
            The picture.
        where : bool array of its shape, optional
            Run only the tiles that see some of these pixels; maps are 0 where no tile was run.

        Raises
        ------
        InputError
            If the picture holds no number at all.
        """
        factors = self.factors(plane)
        shape = plane.shape
        picture = self._normalised(plane)
        for axis, f in enumerate(factors):
            picture = resample(picture, axis, math.ceil(shape[axis] / f), f)
        small = picture.shape
        picture = padded(picture, self._multiple, grey=self._published)
        sides, rim = picture.shape, self._rim(picture.shape)
        canvas, tiles = Canvas(sides), self.tiles(shape, factors, where)
        picture = np.pad(picture, [(n, n) for n in rim], mode="reflect")
        for n in range(0, len(tiles), self.recipe.batch):
            batch = tiles[n : n + self.recipe.batch]
            places = [tuple(slice(c.start, c.stop + 2 * r) for c, r in zip(t, rim, strict=True)) for t in batch]
            said = self._run(np.stack([picture[place] for place in places]))
            for i, tile in enumerate(batch):
                canvas.add(tile, {name: _inner(head[i], tile, rim) for name, head in said.items()})
            yield Progress("predict", n + len(batch), len(tiles))
        return self._maps(canvas.maps(), sides, shape, small, factors).kept()

    def maps(self, plane: Plane | Stack) -> Maps:
        """Run the net on one plane, or a 3-D net on a stack, all in one go."""
        return drain(self.steps(plane), show=False)

    def empty(self, shape: tuple[int, ...], factors: Sequence[float]) -> Maps:
        """Return the maps of a picture that the net need not see: nothing anywhere."""
        small, sides = self._sides(shape, factors)
        channels = {"semantic": len(self.model.spec.classes), "offsets": len(shape), "affinities": len(shape)}
        heads = {}
        for name in self.model.spec.heads:
            there = [n // self._stride if name in COARSE else n for n in sides]
            heads[name] = np.zeros((channels.get(name, 1), *there), np.float32)
        return self._maps(heads, sides, shape, small, factors).kept()

    def _sides(self, shape: Sequence[int], factors: Sequence[float]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the size of a picture as the net sees it, and padded."""
        small = tuple(math.ceil(n / f) for n, f in zip(shape, factors, strict=True))
        return small, tuple(math.ceil(n / self._multiple) * self._multiple for n in small)

    def _maps(
        self, heads: dict[str, Picture], sides: tuple[int, ...], shape: tuple[int, ...], small: tuple[int, ...],
        factors: Sequence[float],
    ) -> Maps:  # fmt: skip
        """Return the maps of a picture at its own size, of heads of its padded and resampled form.

        Center and offsets stay where the net puts them if that is a whole number of pixels; else they are moved to the
        nearest such grid.
        """
        g, done = self._stride, {}
        even = len(set(factors)) == 1 and factors[0] == int(factors[0])
        stride = g * int(factors[0]) if even else max(1, int(g * min(factors)))
        coarse = [-(-n // stride) for n in shape]
        beyond = (0, 0)
        for name, head in heads.items():
            if name not in COARSE:
                up = head.shape[-1] // sides[-1]
                head = head[(slice(None), *(slice(m * up) for m in small))]
                for axis, (n, f) in enumerate(zip(shape, factors, strict=True), 1):
                    head = resample(head, axis, n, up / f, (up - 1) / 2)
                done[name] = head
                continue
            if even:
                ends = head.shape[1:] if self._published else coarse
                beyond = (ends[-2] - coarse[-2], ends[-1] - coarse[-1])
                head = head[(slice(None), *(slice(n) for n in ends))]
            else:
                for axis, (n, f) in enumerate(zip(coarse, factors, strict=True), 1):
                    start, step = -self.model.spec.pixel_offset / g, stride / (f * g)
                    head = (
                        _moved(head, axis, n, step, start, g)
                        if name == "offsets"
                        else resample(head, axis, n, step, start)
                    )
            if name == "offsets":
                head = head * np.array(factors, np.float32).reshape(-1, *(1,) * len(shape))
            done[name] = head[0] if name == "center" else head
        offset = self.model.spec.pixel_offset * factors[0] if even else 0.0
        return Maps(done, stride, offset, beyond)

    def _normalised(self, plane: Plane | Stack) -> Picture:
        """Return the image in the net's units; what is not a number becomes mean grey."""
        if self.recipe.invert:
            plane = plane.inverted()
        image = plane.read() if isinstance(plane, Stack) else plane.image
        if image.dtype.kind == "f":
            finite = np.isfinite(image)
            if not finite.any():
                name = plane.name if isinstance(plane, Stack) else f"{plane.axis} plane {plane.index}"
                raise InputError(
                    f"All {image.size} pixels of {name} are NaN or infinite: there is no picture to look at. Choose "
                    "another plane, or check how the file was written."
                )
            if not finite.all():
                image = np.where(finite, image, np.nan)
        if self.model.spec.intensity == "contrast":
            low, high = plane.contrast or Stack(image[None]).contrast
        else:
            low, high = plane.intensity
        return np.ascontiguousarray(self.model.normalise(image, low, high), dtype=np.float32)

    def _run(self, pictures: Picture) -> dict[str, Picture]:
        """Return the heads (n, channels, [d,] h, w) of (n, [d,] h, w) pictures."""
        mirrors = ((), (-2,), (-1,), (-2, -1)) if self.recipe.flips else ((),)
        parts = [self._once(pictures, mirror) for mirror in mirrors]
        return {name: np.add.reduce([p[name] for p in parts]) / np.float32(len(parts)) for name in parts[0]}

    def _rim(self, sides: Sequence[int]) -> tuple[int, ...]:
        """Return by how much each side of a picture grows at both ends before the net sees it."""
        grows = self.dimension == 2 and not self._published
        rim = -(-_RIM // self._multiple) * self._multiple
        return tuple(rim if grows and n < _SHORT else 0 for n in sides)

    def _once(self, pictures: Picture, mirror: tuple[int, ...]) -> dict[str, Picture]:
        # Center pixel i stands at i * stride + offset. A mirrored picture is moved so far that places fall on places.
        by = round(self._stride - 1 - 2 * self.model.spec.pixel_offset)
        for axis in mirror:
            pictures = _shifted(np.flip(pictures, axis), by, axis)
        said = self.runner.run(np.ascontiguousarray(pictures[:, None]))
        for name, head in said.items():  # else there would be no objects, and no word why
            if name in FLOATS and not np.isfinite(head).all():
                exact = "" if self.recipe.precision == "fp32" else f" in {self.recipe.precision}: take fp32"
                raise ModelError(f"{self.model.spec.name} gave numbers that are not finite{exact}. Nothing was made.")
        heads = probabilities(said)
        for axis, name in itertools.product(mirror, heads):
            back = heads[name]
            if name not in COARSE:
                back = _shifted(back, -by * back.shape[-1] // pictures.shape[-1], axis)
            back = np.flip(back, axis).copy()
            if name == "offsets":
                back[:, axis] *= -1
            heads[name] = back
        return heads


def _moved(offsets: Picture, axis: int, count: int, step: float, start: float, stride: int) -> Picture:
    """Return offsets at other places of an axis, as `resample`: the nearest one, which leads on to the same center.

    A mean of two could lead to a place between two objects that touch.
    """
    place = start + step * np.arange(count)
    near = np.clip(np.rint(place), 0, offsets.shape[axis] - 1).astype(np.int64)
    moved: Picture = offsets.take(near, axis)
    moved[axis - 1] += np.expand_dims((near - place) * stride, [k for k in range(moved.ndim - 1) if k != axis - 1])
    return moved


def _inner(head: Picture, tile: Tile, rim: Sequence[int]) -> Picture:
    """Return a head (channels, ...) of a tile that had grown by a rim, without it."""
    place = []
    for length, cut, n in zip(head.shape[1:], tile, rim, strict=True):
        each = length / (len(cut) + 2 * n)
        place.append(slice(round(n * each), round((n + len(cut)) * each)))
    return head[(slice(None), *place)]


def _seen(tile: Tile, factors: Sequence[float]) -> tuple[slice, ...]:
    """Return the pixels of a picture that a tile of its resampled form sees."""
    return tuple(slice(int(c.start * f), math.ceil(c.stop * f)) for c, f in zip(tile, factors, strict=True))


def _shifted(values: Picture, by: int, axis: int) -> Picture:
    """Move values towards the start of an axis by some places (negative: towards the end), repeating the edge."""
    n = values.shape[axis]
    return values.take(np.clip(np.arange(n) + by, 0, n - 1), axis)
