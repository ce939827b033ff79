"""One plane through the net: normalised, cut into tiles, blended, and kept as maps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from mitonb.errors import InputError, ModelError
from mitonb.infer.engines import Runner, Said
from mitonb.infer.engines.parts import renders
from mitonb.infer.probability import in_bytes, in_halves, probability
from mitonb.infer.tiling import Canvas, Cut, cuts, enlarged, padded, settled, shrunk
from mitonb.maps import Maps
from mitonb.post.decoding import decode
from mitonb.post.tables import overlaps
from mitonb.stack import Plane, Stack

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from mitonb.recipe import Recipe

__all__ = ["ModelLike", "Predictor", "device_name", "label_iou"]

Picture = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Tile = tuple[Cut, Cut]


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


def label_iou(a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32]) -> float:
    """Return how much of what either of two label planes covers is the same object in both, 0..1.

    Objects are paired one to one so that as many pixels as possible agree. Two empty planes agree fully.
    """
    from scipy.optimize import linear_sum_assignment

    table = overlaps(a, b)
    union = int(((a > 0) | (b > 0)).sum())
    if not union:
        return 1.0
    shared = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    shared[table[:, 0], table[:, 1]] = table[:, 2]
    return float(shared[linear_sum_assignment(shared, maximize=True)].sum() / union)


class Predictor:
    """A model with the part of a recipe that its net needs.

    Parameters
    ----------
    model : Model
        Its `spec` says what the net needs: `step`, `multiple`, `intensity`.
    recipe : Recipe
        `downsampling`, `tile`, `halo`, `batch`, `flips`, `device`, `engine` and `precision` are read; to check a fast
        engine, also what decoding reads.
    """

    def __init__(self, model: ModelLike, recipe: Recipe) -> None:
        if hasattr(model.net, "boundary_head"):
            raise ModelError(
                f"{model.spec.name} draws contours, from which objects grow by a watershed: run its net and hand "
                "the two maps to mn.decode_contours. Or choose a model with centers."
            )
        self.model = model
        self.recipe = recipe
        self.device = device_name(recipe.device)
        # The published rules pad as the makers of a net do, and look at the padding, too.
        self._published = recipe.rules == "published"
        spec = model.spec
        self._multiple = spec.makers_multiple if self._published else int(spec.multiple)
        # A net with PointRend brings the semantic map of a shrunk plane back to full size by itself.
        self._super = recipe.downsampling if renders(model.net) else 1
        self._runner = Runner(
            model.net,
            model.spec.sha256,
            self.device,
            recipe.engine,
            recipe.precision,
            doublings=self._super.bit_length() - 1,
            samples=self._samples,
            agreement=self._agreement,
        )

    @property
    def step(self) -> int:
        """Plane pixels per pixel of the center and offset maps that come out."""
        return int(self.model.spec.output_stride) * self.recipe.downsampling

    @property
    def lead(self) -> float:
        """Plane pixels from the first one to where the first pixel of those maps stands."""
        return float(self.model.spec.pixel_offset) * self.recipe.downsampling

    def padding(self, sides: Sequence[int]) -> int:
        """Return the multiple that planes with some of these sides are padded to for the published rules, 0 for none.

        Only then it changes what the net says: what is no multiple is padded otherwise by the default.
        """
        s = self.recipe.downsampling
        return self._multiple if self._published and any(-(-n // s) % self._multiple for n in sides) else 0

    def beyond(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return how many rows and columns of the center map of a plane of (h, w) pixels lie in its padding."""
        multiple = self._multiple if self._published else 1
        h, w = (math.ceil(math.ceil(n / self.recipe.downsampling) / multiple) * multiple for n in shape)
        rows, columns = (math.ceil(n / self.model.spec.output_stride) for n in (h, w))
        return rows - math.ceil(shape[0] / self.step), columns - math.ceil(shape[1] / self.step)

    @property
    def engine_record(self) -> dict[str, Any]:
        """What ran the net: name, precision, mode and timings; complete once a plane has been run."""
        return self._runner.record

    @property
    def notes(self) -> tuple[str, ...]:
        """What the choice of the engine has to say to the user."""
        return tuple(self._runner.notes)

    def tiles(self, shape: tuple[int, int], where: Mask | None = None) -> list[Tile]:
        """Return the tiles (rows, columns) of a plane of (h, w) pixels, in reading order.

        With a mask (h, w), only the tiles that see some of it: the grid is that of the whole plane, so that what is
        said inside does not depend on the mask. Without a grid (tile 0), one tile around the mask and its halo.
        """
        multiple, s = self._multiple, self.recipe.downsampling
        sides = [math.ceil(math.ceil(n / s) / multiple) * multiple for n in shape]
        if where is not None and self.recipe.tile == 0:
            halo = self.recipe.halo
            row, column = (_around(np.asarray(where.any(1 - i)), n, s, halo, multiple) for i, n in enumerate(sides))
            return [(row, column)]
        rows, columns = (cuts(n, self.recipe.tile, self.recipe.halo, self.model.spec.multiple) for n in sides)
        return [
            (r, c)
            for r in rows
            for c in columns
            if where is None or where[r.start * s : r.stop * s, c.start * s : c.stop * s].any()
        ]

    def steps(self, plane: Plane, where: Mask | None = None) -> Generator[int, None, Maps]:
        """Run the net on one plane; yield the number of tiles done after each batch, return the maps in kept form.

        Parameters
        ----------
        plane : Plane
            The picture.
        where : (h, w) bool array, optional
            Run only the tiles that see some of these pixels; maps are 0 where no tile was run.

        Raises
        ------
        InputError
            If the plane holds no number at all.
        """
        maps = yield from self.steps_of([plane], where)
        return maps[0]

    def steps_of(self, planes: Sequence[Plane], where: Mask | None = None) -> Generator[int, None, list[Maps]]:
        """Run the net on planes of one size, their tiles together in batches; the form of `steps` for several."""
        shape, s = planes[0].shape, self.recipe.downsampling
        todo = [(k, tile) for k in range(len(planes)) for tile in self.tiles(shape, where)]
        pictures: dict[int, Picture] = {}
        canvases: dict[int, Canvas] = {}
        done = 0
        for n in range(0, len(todo), self.recipe.batch):
            batch = todo[n : n + self.recipe.batch]
            for k, _ in batch:
                if k not in pictures:
                    pictures[k] = padded(shrunk(self._normalised(planes[k]), s), self._multiple, grey=self._published)
                    h, w = pictures[k].shape
                    canvases[k] = Canvas((h, w), self.model.spec.output_stride)
            cut = [pictures[k][r.start : r.stop, c.start : c.stop] for k, (r, c) in batch]
            semantic, field = self._run(np.stack(cut) if len(cut) > 1 else cut[0][None])
            for i, (k, tile) in enumerate(batch):
                canvases[k].add(*tile, semantic[i], field[i])
            done += len(batch)
            yield done
        return [self._maps(canvases[k], shape) for k in range(len(planes))]

    def _maps(self, canvas: Canvas, shape: tuple[int, int]) -> Maps:
        """Return the maps of a plane at its own size, in kept form."""
        s, g = self.recipe.downsampling, self.model.spec.output_stride
        semantic, field = canvas.maps()
        h, w = (-(-n // s) for n in shape)
        if not self._published:
            field = field[:, : -(-h // g), : -(-w // g)]
        if self._super > 1:
            semantic = settled(semantic[:, : h * s, : w * s], s, shape)
        else:
            semantic = enlarged(semantic[:, :h, :w], s, shape)
        if s > 1:
            field = np.concatenate([field[:1], field[1:] * np.float32(s)])
        halves = in_halves(field)
        return Maps(
            {"semantic": in_bytes(semantic), "center": halves[0], "offsets": halves[1:]},
            g * s,
            self.lead,
            self.beyond(shape),
        )

    def maps(self, plane: Plane) -> Maps:
        """Run the net on one plane, all in one go."""
        steps = self.steps(plane)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def _normalised(self, plane: Plane) -> Picture:
        """Return the image in the net's units; what is not a number becomes mean grey."""
        if self.recipe.invert:
            plane = plane.inverted()
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

    def _run(self, pictures: Picture) -> tuple[Picture, Picture]:
        """Return probabilities (n, classes, h, w), and center and offsets (n, 3, h', w'), of (n, h, w) pictures."""
        mirrors = ((), (0,), (1,), (0, 1)) if self.recipe.flips else ((),)
        parts = [self._once(pictures, mirror) for mirror in mirrors]
        if len(parts) == 1:
            return parts[0]
        n = np.float32(len(parts))
        semantic, field = (np.add.reduce([p[k] for p in parts]) / n for k in (0, 1))
        return semantic, field

    def _once(self, pictures: Picture, mirror: tuple[int, ...]) -> tuple[Picture, Picture]:
        # Map pixel i stands at i * step + lead. A mirrored picture is moved so far that places fall on places.
        by = round(self.model.spec.output_stride - 1 - 2 * self.model.spec.pixel_offset)
        for axis in mirror:
            pictures = _shifted(np.flip(pictures, axis + 1), by, axis + 1)
        said = self._runner.run(np.ascontiguousarray(pictures))
        if not np.isfinite(said.field).all():  # else there would be no objects, and no word why
            exact = "" if self.recipe.precision == "fp32" else f" in {self.recipe.precision}: take fp32"
            raise ModelError(f"{self.model.spec.name} gave numbers that are not finite{exact}. Nothing was segmented.")
        semantic, field = probability(said.semantic), said.field
        for axis in mirror:
            semantic = np.flip(_shifted(semantic, -by * self._super, axis + 2), axis + 2)
            field = np.flip(field, axis + 2).copy()
            field[:, 1 + axis] *= -1
        return semantic, field

    def _agreement(self, said: Said, other: Said) -> tuple[float, bool]:
        """Return the label IoU of two answers for one picture, and whether there was any label."""
        s, ids = self._super, []
        for answer in (said, other):
            semantic, field = probability(answer.semantic[:1])[0], answer.field[0]
            step, lead = self.model.spec.output_stride * s, self.model.spec.pixel_offset * s
            heads = {"semantic": semantic, "center": field[0], "offsets": field[1:] * np.float32(s)}
            ids.append(decode(Maps(heads, step, lead).kept(), self.recipe))
        return label_iou(*ids), bool(ids[1].any())

    def _samples(self) -> list[Picture]:
        """Return drawn EM, normalised, that shows the net what it may meet: the same on any machine."""
        from mitonb.phantoms import phantom

        stacks = [phantom((3, 256, 256), seed)[0] for seed in (1, 2, 3)]
        return [self._normalised(stack.plane(1)) for stack in stacks]


def _shifted(values: Picture, by: int, axis: int) -> Picture:
    """Move values towards the start of an axis by some places (negative: towards the end), repeating the edge."""
    n = values.shape[axis]
    return values.take(np.clip(np.arange(n) + by, 0, n - 1), axis)


def _around(inside: Mask, length: int, factor: int, halo: int, multiple: int) -> Cut:
    """Return the pixels of one side that hold all that is inside, with a halo, on the grid of the net."""
    there = np.flatnonzero(inside)
    first = max(0, int(there[0]) // factor - halo) // multiple * multiple
    last = -(-(int(there[-1]) // factor + 1 + halo) // multiple) * multiple
    return Cut(first, min(length, last))
