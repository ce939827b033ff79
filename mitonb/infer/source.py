"""Where maps come from: the pictures of a stack through the net, each where it is missing."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError, wanting_torch
from mitonb.infer.kept import VOLUME, KeptMaps, plane_shape
from mitonb.infer.memory_estimate import READ_ALL, SLAB
from mitonb.infer.run import Result, stuff_notes, stuff_of
from mitonb.infer.scale import INVERTED, Scale, inverted_note, shape_notes
from mitonb.io.record import plane_digest, run_record, whole_fingerprint
from mitonb.memory import give_back
from mitonb.stack import AXES, Axis, Plane, Stack

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from mitonb.box import Region
    from mitonb.infer.predict import Predictor
    from mitonb.job import Progress
    from mitonb.maps import Maps
    from mitonb.models.zoo import Model
    from mitonb.recipe import Recipe

ModelWish: TypeAlias = "str | os.PathLike[str] | Model | None"

NET_FIELDS = ("pixel_size", "downsampling", "invert", "tile", "halo", "flips", "device", "engine", "precision")
"""Fields of a recipe that change what the net says."""


def mask_of(region: Region | None) -> npt.NDArray[np.bool_] | None:
    """Return the voxels of a stack that are inside."""
    if region is None or region.mask is not None:
        return None if region is None else region.mask
    inside = np.zeros(region.shape, np.bool_)
    inside[region.box.slices] = True
    return inside


def predictor_of(model: ModelWish, recipe: Recipe, voxel_size: Any = None) -> Predictor:
    with wanting_torch():
        from mitonb.infer.predict import Predictor  # torch loads here, not with the package
        from mitonb.models.zoo import load_model

    if model is None or isinstance(model, str | os.PathLike):
        model = load_model(os.fspath(model or recipe.model))
    if not hasattr(model, "net"):
        raise InputError(f"A model is a name, a path, or what mn.load_model returns, got {type(model).__name__}.")
    return Predictor(model, recipe, voxel_size)


def near(stack: Stack, recipe: Recipe) -> Stack:
    """Return the same stack, read into memory where planes cross its file and it is not too large for that."""
    size = int(np.prod(stack.shape, dtype=np.int64)) * stack.dtype.itemsize
    if isinstance(stack.data, np.ndarray) or recipe.planes == ("xy",) or size > READ_ALL:
        return stack
    return _with_data(stack, stack.read())


def _with_data(stack: Stack, data: npt.NDArray[Any]) -> Stack:
    """Return a stack of other voxels, or fewer of the same, with the contrast of the whole."""
    read = replace(stack, data=data)
    read.__dict__["contrast"] = stack.contrast  # a cached property
    return read


class Source:
    """Fills kept maps from a stack, plane by plane, or by a 3-D net at once.

    Parameters
    ----------
    stack : Stack
        The image.
    predictor : Predictor
        The net.
    kept : KeptMaps or None
        What to fill; without, they are in memory for as long as the run needs them.
    region : Region or None
        The part of the stack to look at.
    """

    def __init__(self, stack: Stack, predictor: Predictor, kept: KeptMaps | None, region: Region | None) -> None:
        self.stack = stack
        self.predictor = predictor
        self.kept = kept if kept is not None else KeptMaps(stack.shape, "memory")
        self.kept.claim(stack.shape, key_of(stack, predictor), region)
        self._region = region
        self._slab: tuple[Axis, range, Stack] | None = None
        self._nothing: dict[Axis, Maps] = {}
        self._empty: list[str] = []
        self._seen = 0
        self._again: list[str] = []
        self._sections: dict[int, bytes] = {}
        said = (self.kept.about.get("record") or {}).get("notes", ())
        self._doubt = next((text for text in said if text.startswith(INVERTED)), "")
        self._looked_at = _middle(stack, predictor.recipe.planes[0], region)
        self._engine: dict[str, Any] = {}
        self._said: list[str] = []

    def compare(self) -> Generator[None, None, None]:
        """Forget the kept maps of planes whose pixels are others now.

        Raises
        ------
        InputError
            If most planes are others, and the maps are in a folder that the user named: they may have cost hours.
        """
        kept, changed, known = self.kept, [], 0
        for axis, index in self._pictures():
            if not kept.has(axis, index) or not self._touches(axis, index):
                continue
            known += 1
            if kept.digest(axis, index) != self._digest(axis, index, self._picture(axis, index)):
                changed.append((axis, index))
            yield
        # A repaired section changes all planes that cross it: sections say more.
        sections, of = sum(axis == "xy" for axis, _ in changed), len(self._sections)
        others, known = (sections, of) if of and self.predictor.dimension == 2 else (len(changed), known)
        if kept.on_disk and 2 * others > known:
            raise InputError(
                f"The maps in {kept.folder} are of another image, or of this one before most of it was changed: "
                f"{others} of {known} planes are others in {self.stack.name}. Give another folder, or delete this one."
            )
        for axis, index in changed:
            kept.drop(axis, index)
        if changed and kept.on_disk:
            some = ", ".join(f"{axis} {index}" for axis, index in changed[:5])
            some += " and others" if len(changed) > 5 else ""
            self._again.append(f"{len(changed)} planes have changed since their maps were kept, and ran again: {some}.")

    def fill(self, axis: Any, index: int) -> Generator[Progress, None, None]:
        """Put the maps of a plane, or with `VOLUME` of the whole stack, where they are missing."""
        if not self._touches(axis, index):
            if not self.kept.has(axis, index):
                self.kept.put(axis, index, self._blank(axis))
            return
        self._seen += 1
        if self.kept.has(axis, index):
            return
        picture = self._picture(axis, index)
        digest = self._digest(axis, index, picture)
        if isinstance(picture, Plane) and not np.isfinite(picture.image).any():
            # A missing section must not end a run of hours: it has no objects, and the record says so.
            self._empty.append(f"{axis} {index}")
            self.kept.put(axis, index, self._blank(axis), digest)
            return
        # The same tiles in all planes: the median looks along them.
        where = None if self._region is None else mask_of(self._region) if axis == VOLUME else self._region.shadow(axis)
        maps = yield from self.predictor.steps(picture, where)
        self.kept.put(axis, index, maps, digest)
        if (axis, index) == self._looked_at[:2] and isinstance(picture, Plane):
            self._doubt = inverted_note(picture, maps, self.predictor.recipe, self.predictor.maps, self._looked_at[2])

    def require_some(self) -> None:
        """Refuse a stack in which no plane holds a number."""
        if self._empty and len(self._empty) == self._seen:
            raise InputError(
                f"All of {self.stack.name} is NaN or infinite: no picture to segment. Check how the file was written."
            )

    def report(self, axis: Any, span: range) -> Result:
        """Return what was found out about some planes, for `recall` in another process."""
        runner, names = self.predictor.runner, {f"{axis} {index}": None for index in span}
        sections = range(self.stack.shape[0]) if axis == VOLUME else span if axis == "xy" else ()
        told = {
            "empty": [name for name in names if name in self._empty],
            "seen": sum(self._touches(axis, index) for index in span),
            "sections": {z: self._sections[z].hex() for z in sections if z in self._sections},
            "notes": [self._again, [self._doubt] if self._looked_at[0] == axis and self._looked_at[1] in span else []],
            "engine": [runner.ran, {**runner.record, "device": self.predictor.device}, runner.notes],
        }
        return {"told": np.array(json.dumps(told))}

    def recall(self, reports: Iterable[str]) -> None:
        """Take up what was found out about all planes, wherever that was."""
        told = [json.loads(text) for text in reports]
        self._empty = [name for part in told for name in part["empty"]]
        self._seen = sum(part["seen"] for part in told)
        self._sections = {int(z): bytes.fromhex(d) for part in told for z, d in part["sections"].items()}
        again, doubts = ([list(dict.fromkeys(itertools.chain(*lists)))
                          for lists in zip(*(part["notes"] for part in told), strict=True)])  # fmt: skip
        self._again, self._doubt = again, "".join(doubts)
        ran = [part["engine"] for part in told if part["engine"][0]] or [told[0]["engine"]]
        self._engine = ran[0][1]
        self._said = list(dict.fromkeys(note for _, _, notes in ran for note in notes))
        if others := {f"{e['name']} {e['precision']} on {e['device']}" for _, e, _ in ran[1:] if e != ran[0][1]}:
            self._said.append(f"Workers ran the network in different ways: some by {', '.join(sorted(others))}.")

    def record(self, image: str | None = None) -> dict[str, Any]:
        """Return the record of a run whose planes are done, and keep it beside the maps.

        The fingerprint of the image need not be known where the run has seen all of it.
        """
        stack, predictor, region = self.stack, self.predictor, self._region
        spec, recipe, runner = predictor.model.spec, predictor.recipe, predictor.runner
        record = run_record(stack, recipe, spec, image=self._fingerprint() or image)
        # What "auto" became.
        record["engine"].update(self._engine or {**runner.record, "device": predictor.device})
        said = (*predictor.scale.notes(recipe, spec, recipe.planes), *stuff_notes(spec), *self._notes())
        record["notes"] = [*shape_notes(stack, recipe, predictor.scale), *said, *(self._said or runner.notes)]
        if region is not None:
            ends = {"start": list(region.box.start), "stop": list(region.box.stop)}
            record["region"] = {**ends, "mask": region.mask is not None}
        about = {"voxel_size": stack.voxel_size, "name": stack.name, "classes": tuple(spec.classes)}
        whole = whole_scale(stack, predictor)
        try:
            scale = [whole.factors, whole.by_size]
            self.kept.tell(record=record, scale=scale, stuff=stuff_of(spec), **about)
        except InputError as error:  # a full disk must not cost the labels
            record["notes"].append(str(error))
        return record

    def forget(self) -> None:
        """Let go of what was read of a file, and of what ran the net; the planes are done."""
        self.predictor.runner.release()
        self._slab = None
        self._nothing = {}
        give_back()

    def _fingerprint(self) -> str | None:
        """Return what identifies the image, if all of it was read."""
        if len(self._sections) < self.stack.shape[0]:
            return None
        return whole_fingerprint(self.stack, (self._sections[z] for z in range(self.stack.shape[0])))

    def _notes(self) -> tuple[str, ...]:
        """Return what the run has to tell about its planes."""
        empty: tuple[str, ...] = ()
        if self._empty:
            some = ", ".join(self._empty[:5]) + (" and others" if len(self._empty) > 5 else "")
            one = len(self._empty) == 1
            what = "1 plane holds" if one else f"{len(self._empty)} planes hold"
            empty = (f"{what} no number at all (NaN) and {'was' if one else 'were'} left empty: {some}.",)
        return (*self._again, *empty, *filter(None, [self._doubt]))

    def _pictures(self) -> list[tuple[Any, int]]:
        """Return all that goes through the net: planes of all directions, or the whole."""
        if self.predictor.dimension == 3:
            return [(VOLUME, 0)]
        return [(axis, index) for axis in self.predictor.recipe.planes for index in range(self.stack.count(axis))]

    def _touches(self, axis: Any, index: int) -> bool:
        return self._region is None or axis == VOLUME or self._region.touches(axis, index)

    def _picture(self, axis: Any, index: int) -> Plane | Stack:
        """Return a plane; those that cross a file come out of slabs, so that it is not read again for each."""
        if axis == VOLUME:
            return self.stack
        if axis == "xy" or isinstance(self.stack.data, np.ndarray):
            return self.stack.plane(index, axis)
        if self._slab is None or self._slab[0] != axis or index not in self._slab[1]:
            h, w = plane_shape(self.stack.shape, axis)
            block = (getattr(self.stack.data, "blocks", None) or (1, 1, 1))[AXES[axis]]
            thick = max(SLAB // (h * w * self.stack.dtype.itemsize) // block, 1) * block
            start = index // thick * thick
            planes = range(start, min(start + thick, self.stack.count(axis)))
            cut = [slice(None)] * 3
            cut[AXES[axis]] = slice(start, planes.stop)
            self._slab = None  # the old one goes before the new one comes
            self._slab = axis, planes, _with_data(self.stack, np.asarray(self.stack.data[tuple(cut)]))
        _, planes, slab = self._slab
        return replace(slab.plane(index - planes.start, axis), index=index)

    def _blank(self, axis: Axis) -> Maps:
        """Return the maps of a plane that the net need not see."""
        if axis not in self._nothing:
            shape = plane_shape(self.stack.shape, axis)
            self._nothing[axis] = self.predictor.empty(shape, self.predictor.scale.along(axis))
        return self._nothing[axis]

    def _digest(self, axis: Any, index: int, picture: Plane | Stack) -> bytes:
        """Return what identifies the pixels of a picture; sections are remembered for the record."""
        if isinstance(picture, Plane):
            digest = plane_digest(picture.image)
            if axis == "xy":
                self._sections[index] = digest
            return digest
        for z in range(self.stack.shape[0]):
            self._sections[z] = plane_digest(np.asarray(self.stack.data[z]))
        return hashlib.sha256(b"".join(self._sections.values())).digest()


def _middle(stack: Stack, axis: Axis, region: Region | None) -> tuple[Axis, int, tuple[int, int]]:
    """Return the middle plane of what a run looks at along an axis, and the middle (y, x) of it there."""
    ends = zip(region.box.start, region.box.stop, strict=True) if region is not None else ((0, n) for n in stack.shape)
    places = [(start + stop) // 2 for start, stop in ends]
    index = places.pop(AXES[axis])
    return axis, index, (places[0], places[1])


def whole_scale(stack: Stack, predictor: Predictor) -> Scale:
    """Return the scale of a run of all directions."""
    return Scale.of(stack.voxel_size, predictor.recipe.replace(planes=tuple(AXES)), predictor.model.spec)


def key_of(stack: Stack, predictor: Predictor) -> dict[str, Any]:
    """Return what maps depend on besides the pixels of their planes."""
    spec, recipe = predictor.model.spec, predictor.recipe
    return {
        "model": spec.name, "sha256": spec.sha256, **{name: getattr(recipe, name) for name in NET_FIELDS},
        # Of all directions, whichever are named: those of one more run beside the maps that are there.
        "pixel_size": (whole_scale(stack, predictor).factors, predictor.doublings),
        "intensity": stack.intensity, "contrast": stack.contrast,
        "padding": predictor.padding(stack.shape),
    }  # fmt: skip
