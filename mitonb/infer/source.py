"""The source of maps: planes of a stack through the net, into kept maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.infer.doubts import INVERTED, inverted_note
from mitonb.infer.kept import KeptMaps, plane_shape
from mitonb.infer.reading import Planes
from mitonb.io.record import plane_digest, sampled_fingerprint, whole_fingerprint
from mitonb.maps import Maps
from mitonb.stack import AXES, Axis, Stack

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitonb.infer.plane import Predictor
    from mitonb.infer.region import Region
    from mitonb.recipe import Recipe

__all__ = ["NET_FIELDS", "Source", "shape_notes"]

NET_FIELDS = ("downsampling", "invert", "tile", "halo", "flips", "device", "engine", "precision")
"""Fields of a recipe that change what the net says."""


_LEAST_SIDE = 16
"""Pixels on the short side of what the net sees, below which objects are hardly found."""


class Source:
    """Fills kept maps from a stack, plane by plane."""

    def __init__(self, stack: Stack, predictor: Predictor, kept: KeptMaps | None, region: Region | None = None) -> None:
        self.stack = stack
        self.predictor = predictor
        self.kept = kept if kept is not None else KeptMaps(stack.shape, "memory")
        self.kept.claim(stack.shape, _key(stack, predictor, self.kept.key), region)
        self._planes = Planes(stack)
        self._region = region
        self._empty: list[str] = []
        self._seen = 0
        self._again: list[str] = []
        self._sections: dict[int, bytes] = {}
        said = (self.kept.about.get("record") or {}).get("notes", ())
        self._doubt = next((text for text in said if text.startswith(INVERTED)), "")
        self._looked_at = _middle(stack, predictor.recipe.planes[0], region)

    def compare(self) -> Generator[None, None, None]:
        """Forget the kept maps of planes whose pixels are others now, or not known.

        Raises
        ------
        InputError
            If most planes are others, and the maps are in a folder that the user named: they may have cost hours.
        """
        kept, known = self.kept, 0
        gone: list[tuple[Axis, int, bool]] = []
        for axis in self.predictor.recipe.planes:
            for index in range(self.stack.count(axis)):
                if not kept.has(axis, index) or (self._region is not None and not self._region.touches(axis, index)):
                    continue
                digest = kept.digest(axis, index)
                known += bool(digest)
                if not digest or digest != self._digest(axis, index, self._planes.plane(index, axis).image):
                    gone.append((axis, index, bool(digest)))
                yield
        changed = [(axis, index) for axis, index, there in gone if there]
        others = len(changed)
        # A repaired section changes all planes that cross it: sections say more.
        sections, of = sum(axis == "xy" for axis, _ in changed), len(self._sections)
        if kept.on_disk and (2 * sections > of if of else 2 * others > known):
            raise InputError(
                f"The maps in {kept.folder} are of another image, or of this one before most of it was changed: "
                f"{sections if of else others} of {of or known} planes are others in {self.stack.name}. Give another "
                "folder, or delete this one."
            )
        for axis, index, _ in gone:
            kept.drop(axis, index)
        if others and kept.on_disk:
            some = ", ".join(f"{axis} {index}" for axis, index in changed[:5]) + (" and others" if others > 5 else "")
            self._again.append(
                f"{others} of {known} planes have changed since their maps were kept, and were run again: {some}."
            )
        if len(gone) > others:
            self._again.append(
                f"The maps in {kept.folder} were kept by an earlier version, which did not remember of which pixels "
                f"they are: {len(gone) - others} planes were run again."
            )

    def _digest(self, axis: Axis, index: int, image: npt.NDArray[Any]) -> bytes:
        """Return what identifies the pixels of a plane; sections are remembered for the record."""
        digest = plane_digest(image)
        if axis == "xy":
            self._sections[index] = digest
        return digest

    @property
    def fingerprint(self) -> str | None:
        """What identifies the image, if all of it was read."""
        if len(self._sections) < self.stack.shape[0]:
            return None
        return whole_fingerprint(self.stack, (self._sections[z] for z in range(self.stack.shape[0])))

    def fill(self, axis: Axis, index: int) -> Generator[None, None, None]:
        region = self._region
        if region is not None and not region.touches(axis, index):
            if not self.kept.has(axis, index):
                h, w = plane_shape(self.stack.shape, axis)
                self.kept.put(axis, index, _empty_maps((h, w), self.predictor))
            return
        self._seen += 1
        if self.kept.has(axis, index):
            return
        plane = self._planes.plane(index, axis)
        digest = self._digest(axis, index, plane.image)
        if plane.image.dtype.kind == "f" and not np.isfinite(plane.image).any():
            # A missing section must not end a run of hours: it has no objects, and the record says so.
            self._empty.append(f"{axis} {index}")
            self.kept.put(axis, index, _empty_maps(plane.shape, self.predictor), digest)
            return
        # The same tiles in all planes: the median looks along them.
        steps = self.predictor.steps(plane, None if region is None else region.shadow(axis))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                maps = end.value
                break
            yield
        self.kept.put(axis, index, maps, digest)
        if (axis, index) == self._looked_at[:2]:
            self._doubt = inverted_note(plane, maps, self.predictor.recipe, self.predictor.maps, self._looked_at[2])

    def require_some(self) -> None:
        """Refuse a stack in which no plane holds a number."""
        if self._empty and len(self._empty) == self._seen:
            voxels = int(np.prod(self.stack.shape, dtype=np.int64))
            raise InputError(
                f"All {voxels} voxels of {self.stack.name} are NaN or infinite: there is no picture to segment. Check "
                "how the file was written."
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the run has to tell about its planes."""
        return (*self._again, *self._emptiness(), *filter(None, [self._doubt]))

    def _emptiness(self) -> tuple[str, ...]:
        if not self._empty:
            return ()
        some = ", ".join(self._empty[:5]) + (" and others" if len(self._empty) > 5 else "")
        one = len(self._empty) == 1
        what = "1 plane holds" if one else f"{len(self._empty)} planes hold"
        return (f"{what} no number at all (NaN) and {'was' if one else 'were'} left empty: {some}.",)


def _middle(stack: Stack, axis: Axis, region: Region | None) -> tuple[Axis, int, tuple[int, int]]:
    """Return the middle plane of what a run looks at along an axis, and the middle (y, x) of it there."""
    ends = zip(region.box.start, region.box.stop, strict=True) if region is not None else ((0, n) for n in stack.shape)
    places = [(start + stop) // 2 for start, stop in ends]
    index = places.pop(AXES[axis])
    return axis, index, (places[0], places[1])


def _empty_maps(shape: tuple[int, int], predictor: Predictor) -> Maps:
    step, beyond = predictor.step, predictor.beyond(shape)
    h, w = (-(-n // step) + m for n, m in zip(shape, beyond, strict=True))
    semantic = np.zeros((len(predictor.model.spec.classes), *shape), np.uint8)
    return Maps(
        {"semantic": semantic, "center": np.zeros((h, w), np.float16), "offsets": np.zeros((2, h, w), np.float16)},
        step,
        predictor.lead,
        beyond,
    )


def _key(stack: Stack, predictor: Predictor, known: Any) -> dict[str, Any]:
    """Return what maps depend on besides the pixels of their planes."""
    spec, recipe, padding = predictor.model.spec, predictor.recipe, predictor.padding(stack.shape)
    return {
        "model": spec.name, "sha256": spec.sha256, **{f: getattr(recipe, f) for f in NET_FIELDS if f != "invert"},
        "intensity": stack.intensity, "contrast": stack.contrast,
        # What is not so by default is named only then, so that maps of before stay of use.
        **({"padding": padding} if padding else {}), **({"invert": True} if recipe.invert else {}),
        # Earlier versions remembered 16 planes; those must be the same for maps to be replaced.
        **({"image": sampled_fingerprint(stack)} if isinstance(known, dict) and "image" in known else {}),
    }  # fmt: skip


def shape_notes(stack: Stack, recipe: Recipe) -> tuple[str, ...]:
    """Say what the user should know about this choice of directions."""
    notes = []
    for axis in recipe.planes:
        h, w = plane_shape(stack.shape, axis)
        seen = -(-min(h, w) // recipe.downsampling)
        if seen < _LEAST_SIDE:
            advice = "" if recipe.planes == ("xy",) else " For a thin stack, xy planes alone may do better."
            notes.append(
                f"The network sees {axis} planes of {h} x {w} pixels, {seen} on the short side; it needs a few dozen "
                f"to recognise an object.{advice}"
            )
    thin = min(stack.shape)
    if recipe.rules == "published" and stack.shape[0] > 1 and thin < recipe.min_span:
        notes.append(
            f"The stack is only {thin} voxels thin, and by the published rules objects whose shortest side is below "
            f"min_span={recipe.min_span} are dropped: none can be left. Take min_span={thin} or less."
        )
    if recipe.planes == ("xy",) or stack.voxel_size is None:
        return tuple(notes)
    for axis in recipe.planes:
        row, column = (v for i, v in enumerate(stack.voxel_size) if i != AXES[axis])
        ratio = max(row, column) / min(row, column)
        if ratio > 2:
            notes.append(
                f"Pixels of the {axis} planes are {row:g} x {column:g} nm, {ratio:.1f} times longer than wide; the net "
                "knows square ones. Directions help on nearly isotropic stacks; here xy alone may do better."
            )
    return tuple(notes)
