"""The straight line: planes or blocks through the net, profiles from maps, objects from profiles, labels."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mitonb.box import Region, RegionLike, in_plane
from mitonb.errors import InputError, wanting_torch
from mitonb.infer.kept import VOLUME, KeptMaps, plane_shape
from mitonb.infer.memory_estimate import READ_ALL, SLAB, estimate, require_for, stages
from mitonb.infer.run import Run, assemble, stuff_notes, stuff_of
from mitonb.infer.scale import INVERTED, Scale, inverted_note, shape_notes
from mitonb.io.record import plane_digest, run_record, whole_fingerprint
from mitonb.io.saving import store_path
from mitonb.job import Progress, drain
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis, Plane, Stack

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitonb.infer.predict import Predictor
    from mitonb.labels import Labels, StoredLabels
    from mitonb.maps import Maps
    from mitonb.models.zoo import Model

ModelWish: TypeAlias = "str | os.PathLike[str] | Model | None"
Picture: TypeAlias = "Plane | Stack | npt.NDArray[Any]"
Steps: TypeAlias = "Generator[Progress, None, Labels | StoredLabels]"

NET_FIELDS = ("pixel_size", "downsampling", "invert", "tile", "halo", "flips", "device", "engine", "precision")
"""Fields of a recipe that change what the net says."""


def predict(
    plane: Picture, *, model: ModelWish = None, recipe: Recipe | None = None, roi: RegionLike | None = None
) -> Maps:
    """Run the net on one plane, or a 3-D net on a stack.

    Parameters
    ----------
    plane : Plane, (h, w) array, or Stack and (z, y, x) array for 3-D nets
        A plane of a stack knows the contrast of the whole stack; a bare array is stretched by itself.
    model : str or Model, optional
        Name, path or loaded model; by default `recipe.model`.
    recipe : Recipe, optional
        Its net fields are read: pixel_size, downsampling, tile, halo, batch, flips, device, engine, precision.
    roi : Box or bool array, optional
        Run the net only there: a box of the stack that the plane was cut from, or an (h, w) mask of the plane. Outside,
        the semantic map is 0; what is around the region is seen as context, so that it has no hard edge.

    Returns
    -------
    maps : Maps
        Kept form: uint8 probabilities at the plane's resolution, float16 center and offsets at that of the net's head.

    Raises
    ------
    InputError
        If this is no plane, holds no number at all, or the region lies elsewhere.

    Examples
    --------
    ``maps = mn.predict(stack.plane(40))``
    """
    return drain(predicting(plane, model=model, recipe=recipe, roi=roi), show=False)


def predicting(
    plane: Picture, *, model: ModelWish = None, recipe: Recipe | None = None, roi: RegionLike | None = None
) -> Generator[Progress, None, Maps]:
    """Run the net on one plane; the generator form of `predict`, one step for each batch of tiles."""
    picture = _as_picture(plane)
    recipe = Recipe.of(recipe)
    if isinstance(picture, Plane):
        recipe = recipe.replace(planes=(picture.axis,))
    where = None
    if roi is not None:
        where = in_plane(roi, picture) if isinstance(picture, Plane) else _mask(Region.of(roi, picture.shape))
    yield Progress("load model", 0, 1)
    predictor = _predictor(model, recipe, _voxel_size(picture))
    if (predictor.dimension == 3) != isinstance(picture, Stack):
        wants = "blocks: give it a stack" if predictor.dimension == 3 else "planes: take one with stack.plane(index)"
        raise InputError(f"{predictor.model.spec.name} looks at {wants}. Got an image of shape {picture.shape}.")
    maps = yield from predictor.steps(picture, where)
    return maps if where is None else maps.replace(semantic=maps.semantic * where)


def segment(
    stack: Stack | npt.NDArray[Any], recipe: Recipe | None = None, *, model: ModelWish = None,
    roi: RegionLike | None = None, kept: KeptMaps | None = None, out: str | os.PathLike[str] | None = None,
    overwrite: bool = False, show: bool = True,
) -> Any:  # fmt: skip
    """Segment a stack: every plane or block through the net, profiles to objects, directions to one set of labels.

    Parameters
    ----------
    stack : Stack or (z, y, x) array
        The image.
    recipe : Recipe, optional
        Every parameter of the run.
    model : str or Model, optional
        Name, path or loaded model; by default `recipe.model`. Its card says whether it looks at planes or blocks, and
        its heads how objects are told apart.
    roi : Box or bool array, optional
        Segment only there: a box of the stack, a (z, y, x) mask, or a (y, x) mask for all sections. The net runs where
        its tiles see the region; outside are no labels. Objects end at its border, but what lies around it is seen as
        context, so that profiles inside are those of a run of the whole stack.
    kept : KeptMaps, optional
        Gets what the net said, for decoding again later. Planes that it holds already, of the same image and net, are
        not run again.
    out : path, optional
        An OME-Zarr (.ome.zarr) to write the labels to, for volumes that do not fit into memory: neither the image nor
        ids nor labels are ever in memory as a whole. They are the same labels.
    overwrite : bool
        Replace what is at `out`.
    show : bool
        Show a progress bar.

    Returns
    -------
    labels : Labels, or StoredLabels with `out`
        With the run record. `record["notes"]` has sentences for the user. Of a model with several classes the ids of
        the first class come first, and so on; `record["classes"]` says which are whose.

    Raises
    ------
    TooLargeError
        If the run would not fit into memory; nothing has been done then.
    InputError
        If the stack holds no number at all, the region lies outside, or `out` cannot be written.

    Examples
    --------
    ``labels = mn.segment(stack, mn.Recipe(planes=("xy", "xz", "yz")))``
    ``mn.segment(stack, out="labels.ome.zarr")``
    """
    steps = segmenting(stack, recipe, model=model, roi=roi, kept=kept, out=out, overwrite=overwrite)
    return drain(steps, show=show)


def segmenting(
    stack: Stack | npt.NDArray[Any], recipe: Recipe | None = None, *, model: ModelWish = None,
    roi: RegionLike | None = None, kept: KeptMaps | None = None, out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Generator[Progress, None, Any]:  # fmt: skip
    """Segment a stack; the generator form of `segment`.

    Yields after every batch of tiles. The total counts the planes of all directions and the stages that follow.
    Closed early, it leaves nothing but the kept maps.
    """
    recipe = Recipe.of(recipe)
    stack = stack if isinstance(stack, Stack) else Stack(stack)
    region = Region.of(roi, stack.shape)
    target = None if out is None else store_path(out, overwrite=overwrite, source=stack.source)
    if kept is None and recipe.verdicts is not None:
        kept = KeptMaps(stack.shape)  # verdicts look at what the net said of whole objects
    keep = kept is not None and not kept.on_disk
    what = f"Segmenting {stack.name} ({' x '.join(map(str, stack.shape))} voxels, {len(recipe.planes)} directions)"
    needed = estimate(stack, recipe, model=model, keep=keep, stored=out is not None)
    require_for(what, needed, stored=out is not None)
    yield Progress("load model", 0, 1)
    predictor = _predictor(model, recipe, stack.voxel_size)
    spec, scale = predictor.model.spec, predictor.scale
    source = _Source(_near(stack, recipe, stored=target is not None), predictor, kept, region)
    own, folder = scale.in_pixels(recipe), target and target.parent
    with contextlib.closing(Run(stack.shape, own, folder=folder, blocks=predictor.dimension == 3)) as run:
        run.stuff = stuff_of(spec)
        for _ in source.compare():
            yield run.progress("compare with the kept maps")
        yield from run.planes(source.kept, source.fill, rolling=kept is None)
        source.require_some()
        said = (*scale.notes(recipe, spec, recipe.planes), *stuff_notes(spec), *source.notes, *predictor.runner.notes)
        record = run_record(stack, recipe, spec, image=source.fingerprint)
        record["engine"].update(predictor.runner.record, device=predictor.device)  # what "auto" became
        record["notes"] = [*shape_notes(stack, recipe, scale), *said]
        if region is not None:
            ends = {"start": list(region.box.start), "stop": list(region.box.stop)}
            record["region"] = {**ends, "mask": region.mask is not None}
        about = {"voxel_size": stack.voxel_size, "name": stack.name, "classes": tuple(spec.classes), "stuff": run.stuff}
        try:
            whole = _whole_scale(stack, predictor)
            source.kept.tell(record=record, scale=[whole.factors, whole.by_size], **about)
        except InputError as error:  # a full disk must not cost the labels
            record["notes"].append(str(error))
        kept = source.kept
        del source  # with what it has read of a file; the planes are done
        return (yield from assemble(run, kept, record, target, stack))


def redecode(
    kept: KeptMaps, recipe: Recipe | None = None, *, stack: Stack | None = None,
    out: str | os.PathLike[str] | None = None, overwrite: bool = False, show: bool = True,
) -> Any:  # fmt: skip
    """Segment again from kept maps: the net is not run, the labels are those that a new run would give.

    See `redecoding`, which is its generator form.

    Examples
    --------
    ``mn.segment(stack, recipe, kept=mn.KeptMaps(folder="cell-maps"))``, and on another day
    ``mn.redecode(mn.KeptMaps(folder="cell-maps"), recipe.replace(center_threshold=0.2))``
    """
    return drain(redecoding(kept, recipe, stack=stack, out=out, overwrite=overwrite), show=show)


def redecoding(
    kept: KeptMaps, recipe: Recipe | None = None, *, stack: Stack | None = None,
    out: str | os.PathLike[str] | None = None, overwrite: bool = False,
) -> Generator[Progress, None, Any]:  # fmt: skip
    """Segment again from kept maps: the net is not run, the labels are those that a new run would give.

    Parameters
    ----------
    kept : KeptMaps
        Filled by `segmenting`, in this process or, where they are in a folder, in another one.
    recipe : Recipe, optional
        Fields of the net are not looked at, except `planes`: which directions to use, of those that are kept.
    stack : Stack, optional
        The image; only a recipe with verdicts looks at it.
    out : path, optional
        An OME-Zarr to write the labels to, as for `segment`; the generator then returns `StoredLabels`.
    overwrite : bool
        Replace what is at `out`.

    Raises
    ------
    InputError
        If the net has not run on all planes of a direction, or verdicts miss their image.
    TooLargeError
        If the labels would not fit into memory.
    """
    recipe = Recipe.of(recipe)
    if recipe.verdicts is not None and (stack is None or stack.shape != kept.shape):
        raise InputError(
            f"The verdicts of this recipe look at the image of {kept.shape} voxels, got "
            f"{'none' if stack is None else f'one of {stack.shape}'}. Give redecode its stack, or leave them out: "
            "recipe.replace(verdicts=None)."
        )
    record = dict(kept.about.get("record") or {})
    # The published rules look at the downsampling: it is that of the maps, whatever the recipe says.
    net = {name: record.get("recipe", {}).get(name) for name in ("model", "batch", *NET_FIELDS)}
    recipe = recipe.replace(**{name: value for name, value in net.items() if value is not None})
    for axis in () if kept.has(VOLUME, 0) else recipe.planes:
        there, wanted = kept.count(axis), kept.shape[AXES[axis]]
        if there < wanted:
            raise InputError(
                f"The network has run on {there} of {wanted} {axis} planes. Run it on the others first (segment with "
                "these kept maps), or leave this direction out."
            )
    target = None if out is None else store_path(out, overwrite=overwrite)
    needed = max(stages(kept.shape, recipe, stored=target is not None))
    require_for("Decoding kept maps", needed, stored=target is not None)
    scale = scale_of(kept) if kept.has(VOLUME, 0) else scale_of(kept).seen_along(recipe.planes)
    own, folder = scale.in_pixels(recipe), target and target.parent
    with contextlib.closing(Run(kept.shape, own, folder=folder, blocks=kept.has(VOLUME, 0))) as run:
        run.stuff = tuple(kept.about.get("stuff") or ())
        yield from run.planes(kept, lambda axis, index: (), rolling=False)
        if record:
            notes = [*record.get("notes", ()), *_padding_notes(kept, recipe, record)]
            record |= {"recipe": json.loads(recipe.to_json()), "notes": notes}
        return (yield from assemble(run, kept, record, target, stack))


def scale_of(kept: KeptMaps) -> Scale:
    """Return the scale of the run that filled some maps, along all sides of its stack."""
    size = kept.about.get("voxel_size")
    factors, by_size = kept.about.get("scale") or ((1.0, 1.0, 1.0), False)
    return Scale(tuple(factors), None if size is None else tuple(size), by_size)


def _padding_notes(kept: KeptMaps, recipe: Recipe, record: dict[str, Any]) -> tuple[str, ...]:
    """Say that the net saw other padding than by these rules, where there may have been some."""
    before = record.get("recipe", {}).get("rules", recipe.rules)
    if before == recipe.rules or not any(n % 128 for n in kept.shape):
        return ()
    return (
        f"The network saw planes padded by the {before} rules; objects near the bottom and right borders may differ "
        f"from those of a new run by the {recipe.rules} rules.",
    )


def _as_picture(plane: Picture) -> Plane | Stack:
    if isinstance(plane, Plane | Stack):
        return plane
    image = np.asarray(plane)
    if image.ndim == 3:
        return Stack(image)
    if image.ndim != 2:
        raise InputError(f"A plane has 2 axes (h, w), got shape {image.shape}. Take one with stack.plane(index).")
    return Stack(image[None]).plane(0)


def _voxel_size(picture: Plane | Stack) -> Any:
    """Return a (z, y, x) voxel size whose sides along a plane are those of its pixels."""
    if isinstance(picture, Stack) or picture.pixel_size is None:
        return getattr(picture, "voxel_size", None)
    sides = list(picture.pixel_size)
    sides.insert(AXES[picture.axis], min(sides))
    return tuple(sides)


def _mask(region: Region | None) -> npt.NDArray[np.bool_] | None:
    """Return the voxels of a stack that are inside."""
    if region is None or region.mask is not None:
        return None if region is None else region.mask
    inside = np.zeros(region.shape, np.bool_)
    inside[region.box.slices] = True
    return inside


def _predictor(model: ModelWish, recipe: Recipe, voxel_size: Any) -> Predictor:
    with wanting_torch():
        from mitonb.infer.predict import Predictor  # torch loads here, not with the package
        from mitonb.models.zoo import load_model

    if model is None or isinstance(model, str | os.PathLike):
        model = load_model(os.fspath(model or recipe.model))
    if not hasattr(model, "net"):
        raise InputError(f"A model is a name, a path, or what mn.load_model returns, got {type(model).__name__}.")
    return Predictor(model, recipe, voxel_size)


def _near(stack: Stack, recipe: Recipe, *, stored: bool) -> Stack:
    """Return the same stack, read into memory where planes cross its file and it is not too large for that."""
    size = int(np.prod(stack.shape, dtype=np.int64)) * stack.dtype.itemsize
    if isinstance(stack.data, np.ndarray) or stored or recipe.planes == ("xy",) or size > READ_ALL:
        return stack
    return _with_data(stack, stack.read())


def _with_data(stack: Stack, data: npt.NDArray[Any]) -> Stack:
    """Return a stack of other voxels, or fewer of the same, with the contrast of the whole."""
    read = replace(stack, data=data)
    read.__dict__["contrast"] = stack.contrast  # a cached property
    return read


class _Source:
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
        self.kept.claim(stack.shape, _key(stack, predictor), region)
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
        where = None if self._region is None else _mask(self._region) if axis == VOLUME else self._region.shadow(axis)
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

    @property
    def fingerprint(self) -> str | None:
        """What identifies the image, if all of it was read."""
        if len(self._sections) < self.stack.shape[0]:
            return None
        return whole_fingerprint(self.stack, (self._sections[z] for z in range(self.stack.shape[0])))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the run has to tell about its planes."""
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


def _whole_scale(stack: Stack, predictor: Predictor) -> Scale:
    """Return the scale of a run of all directions."""
    return Scale.of(stack.voxel_size, predictor.recipe.replace(planes=tuple(AXES)), predictor.model.spec)


def _key(stack: Stack, predictor: Predictor) -> dict[str, Any]:
    """Return what maps depend on besides the pixels of their planes."""
    spec, recipe = predictor.model.spec, predictor.recipe
    return {
        "model": spec.name, "sha256": spec.sha256, **{name: getattr(recipe, name) for name in NET_FIELDS},
        # Of all directions, whichever are named: those of one more run beside the maps that are there.
        "pixel_size": (_whole_scale(stack, predictor).factors, predictor.doublings),
        "intensity": stack.intensity, "contrast": stack.contrast,
        "padding": predictor.padding(stack.shape),
    }  # fmt: skip
