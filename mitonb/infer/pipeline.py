"""The straight line: planes through the net, profiles from maps, objects from profiles, labels from directions."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError, wanting_torch
from mitonb.infer.doubts import pixel_notes
from mitonb.infer.finishing import finished, stuff_notes, stuff_of
from mitonb.infer.needs import estimate, require_for_segmenting
from mitonb.infer.reading import near
from mitonb.infer.region import Region, RegionLike, in_plane
from mitonb.infer.run import PlaneIds, Run
from mitonb.infer.source import Source, shape_notes
from mitonb.io.saving import store_path
from mitonb.job import Progress, drain
from mitonb.recipe import Recipe
from mitonb.stack import Plane, Stack

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitonb.infer.kept import KeptMaps
    from mitonb.infer.plane import ModelLike, Predictor
    from mitonb.labels import Labels, StoredLabels
    from mitonb.maps import Maps

ModelWish: TypeAlias = "str | os.PathLike[str] | ModelLike | None"

__all__ = ["PlaneIds", "estimate", "predict", "predicting", "segment", "segmenting"]


def predict(
    plane: Plane | npt.NDArray[Any],
    *,
    model: ModelWish = None,
    recipe: Recipe | None = None,
    roi: RegionLike | None = None,
) -> Maps:
    """Run the net on one plane.

    Parameters
    ----------
    plane : Plane or (h, w) array
        A plane of a stack knows the contrast of the whole stack; a bare array is stretched by itself.
    model : str or Model, optional
        Name, path or loaded model; by default `recipe.model`.
    recipe : Recipe, optional
        Its net fields are read: downsampling, tile, halo, batch, flips, device, engine, precision.
    roi : Box or bool array, optional
        Run the net only there: a box of the stack that the plane was cut from, or an (h, w) mask of the plane. Outside,
        the semantic map is 0; what is around the region is seen as context, so that it has no hard edge.

    Returns
    -------
    maps : Maps
        Kept form: uint8 semantic map at the plane's resolution, float16 center and offsets at that of the net's head.

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
    plane: Plane | npt.NDArray[Any],
    *,
    model: ModelWish = None,
    recipe: Recipe | None = None,
    roi: RegionLike | None = None,
) -> Generator[Progress, None, Maps]:
    """Run the net on one plane; the generator form of `predict`, one step for each batch of tiles."""
    recipe = Recipe.of(recipe)
    plane = _as_plane(plane)
    where = None if roi is None else in_plane(roi, plane)
    yield Progress("load model", 0, 1)
    predictor = _predictor(model, recipe)
    total = len(predictor.tiles(plane.shape, where))
    steps = predictor.steps(plane, where)
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            maps: Maps = end.value
            return maps if where is None else maps.replace(semantic=maps.semantic * where)
        yield Progress("predict", done, total)


@overload
def segment(
    stack: Stack | npt.NDArray[Any], recipe: Recipe | None = None, *, model: ModelWish = None,
    roi: RegionLike | None = None, kept: KeptMaps | None = None, out: None = None, overwrite: bool = False,
    show: bool = True,
) -> Labels: ...  # fmt: skip
@overload
def segment(
    stack: Stack | npt.NDArray[Any], recipe: Recipe | None = None, *, model: ModelWish = None,
    roi: RegionLike | None = None, kept: KeptMaps | None = None, out: str | os.PathLike[str],
    overwrite: bool = False, show: bool = True,
) -> StoredLabels: ...  # fmt: skip
def segment(
    stack: Stack | npt.NDArray[Any],
    recipe: Recipe | None = None,
    *,
    model: ModelWish = None,
    roi: RegionLike | None = None,
    kept: KeptMaps | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    show: bool = True,
) -> Labels | StoredLabels:
    """Segment a stack: every plane through the net, profiles to objects, directions to one set of labels.

    Parameters
    ----------
    stack : Stack or (z, y, x) array
        The image.
    recipe : Recipe, optional
        Every parameter of the run.
    model : str or Model, optional
        Name, path or loaded model; by default `recipe.model`.
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
    return drain(_segmenting(stack, recipe, model, roi, kept, out, overwrite), show=show)


@overload
def segmenting(
    stack: Stack | npt.NDArray[Any], recipe: Recipe | None = None, *, model: ModelWish = None,
    roi: RegionLike | None = None, kept: KeptMaps | None = None, out: None = None, overwrite: bool = False,
) -> Generator[Progress, None, Labels]: ...  # fmt: skip
@overload
def segmenting(
    stack: Stack | npt.NDArray[Any], recipe: Recipe | None = None, *, model: ModelWish = None,
    roi: RegionLike | None = None, kept: KeptMaps | None = None, out: str | os.PathLike[str], overwrite: bool = False,
) -> Generator[Progress, None, StoredLabels]: ...  # fmt: skip
def segmenting(
    stack: Stack | npt.NDArray[Any],
    recipe: Recipe | None = None,
    *,
    model: ModelWish = None,
    roi: RegionLike | None = None,
    kept: KeptMaps | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Generator[Progress, None, Any]:
    """Segment a stack; the generator form of `segment`.

    Yields after every batch of tiles. The total counts the planes of all directions and the stages that follow;
    `preview` is the `PlaneIds` of a plane that is done, or None. Closed early, it leaves nothing but the kept maps.
    """
    return _segmenting(stack, recipe, model, roi, kept, out, overwrite)


def _segmenting(
    stack: Stack | npt.NDArray[Any],
    recipe: Recipe | None,
    model: ModelWish,
    roi: RegionLike | None,
    kept: KeptMaps | None,
    out: str | os.PathLike[str] | None,
    overwrite: bool,
) -> Generator[Progress, None, Labels | StoredLabels]:
    recipe = Recipe.of(recipe)
    stack = stack if isinstance(stack, Stack) else Stack(stack)
    region = Region.of(roi, stack.shape)
    target = None if out is None else store_path(out, overwrite=overwrite, source=stack.source)
    keep = kept is not None and not kept.on_disk
    require_for_segmenting(stack, recipe, model=model, keep=keep, stored=out is not None)
    with contextlib.closing(Run(stack.shape, recipe, folder=target and target.parent)) as run:
        yield run.progress("load model")
        predictor = _predictor(model, recipe)
        run.stuff = stuff_of(predictor.model.spec)
        source = Source(near(stack, recipe, stored=target is not None), predictor, kept, region)
        for _ in source.compare():
            yield run.progress("compare with the kept maps")
        yield from run.planes(source.kept, source.fill, rolling=kept is None)
        source.require_some()
        spec = predictor.model.spec
        pixels = pixel_notes(stack.voxel_size, recipe, spec, recipe.planes)
        notes = (*shape_notes(stack, recipe), *pixels, *stuff_notes(spec), *source.notes)
        record = _record(stack, recipe, predictor, notes, source.fingerprint)
        if region is not None:
            ends = {"start": list(region.box.start), "stop": list(region.box.stop)}
            record["region"] = {**ends, "mask": region.mask is not None}
        classes = tuple(predictor.model.spec.classes)
        about = {"voxel_size": stack.voxel_size, "name": stack.name, "classes": classes, "stuff": run.stuff}
        try:
            source.kept.tell(record=record, **about)
        except InputError as error:  # a full disk must not cost the labels
            record["notes"].append(str(error))
        kept = source.kept
        del source  # with what it has read of a file; the planes are done
        return (yield from finished(run, kept, record, target))


def _as_plane(plane: Plane | npt.NDArray[Any]) -> Plane:
    if isinstance(plane, Plane):
        return plane
    image = plane if isinstance(plane, Stack) else np.asarray(plane)  # a stack is not read to say what is wrong
    if len(image.shape) != 2:
        raise InputError(f"A plane has 2 axes (h, w), got shape {image.shape}. Take one with stack.plane(index).")
    return Stack(image[None]).plane(0)


def _predictor(model: ModelWish, recipe: Recipe) -> Predictor:
    with wanting_torch():
        from mitonb.infer.plane import Predictor  # torch loads here, not with the package
        from mitonb.models.zoo import load_model

    if model is None or isinstance(model, str | os.PathLike):
        model = load_model(os.fspath(model or recipe.model))
    if not hasattr(model, "net"):
        raise InputError(f"A model is a name, a path, or what mn.load_model returns, got {type(model).__name__}.")
    return Predictor(model, recipe)


def _record(
    stack: Stack, recipe: Recipe, predictor: Predictor, notes: tuple[str, ...], image: str | None
) -> dict[str, Any]:
    from mitonb.io.record import run_record

    record = run_record(stack, recipe, predictor.model.spec, image=image)
    record["engine"].update(predictor.engine_record, device=predictor.device)  # what "fast" and "auto" became
    record["notes"] = [*notes, *predictor.notes]
    return record
