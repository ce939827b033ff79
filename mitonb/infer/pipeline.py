"""The straight line: planes through the net, profiles from maps, objects from profiles, labels from directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.infer.run import PlaneIds, Run
from mitonb.infer.source import NET_FIELDS, Source, estimate, near, shape_notes
from mitonb.job import Progress, drain
from mitonb.labels import Labels
from mitonb.memory import require
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis, Plane, Stack

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitonb.infer.kept import KeptMaps
    from mitonb.infer.plane import ModelLike, Predictor
    from mitonb.maps import Maps

__all__ = ["PlaneIds", "estimate", "predict", "predicting", "redecoding", "segment", "segmenting"]


def predict(
    plane: Plane | npt.NDArray[Any], *, model: str | ModelLike | None = None, recipe: Recipe | None = None
) -> Maps:
    """Run the net on one plane.

    Parameters
    ----------
    plane : Plane or (h, w) array
        A plane of a stack knows the contrast of the whole stack; a bare array is stretched by itself.
    model : str or Model, optional
        Name, path or loaded model; by default `recipe.model`.
    recipe : Recipe, optional
        Its net fields are read: downsampling, tile, halo, batch, flips, device, precision.

    Returns
    -------
    maps : Maps
        Kept form: uint8 semantic map at the plane's resolution, float16 center and offsets at that of the net's head.

    Raises
    ------
    InputError
        If this is no plane, or holds no number at all.

    Examples
    --------
    ``maps = mn.predict(stack.plane(40))``
    """
    return drain(predicting(plane, model=model, recipe=recipe), show=False)


def predicting(
    plane: Plane | npt.NDArray[Any], *, model: str | ModelLike | None = None, recipe: Recipe | None = None
) -> Generator[Progress, None, Maps]:
    """Run the net on one plane; the generator form of `predict`, one step for each batch of tiles."""
    recipe = recipe or Recipe()
    plane = _as_plane(plane)
    yield Progress("load model", 0, 1)
    predictor = _predictor(model, recipe)
    total = len(predictor.tiles(plane.shape))
    steps = predictor.steps(plane)
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            maps: Maps = end.value
            return maps
        yield Progress("predict", done, total)


def segment(
    stack: Stack | npt.NDArray[Any],
    recipe: Recipe | None = None,
    *,
    model: str | ModelLike | None = None,
    kept: KeptMaps | None = None,
    show: bool = True,
) -> Labels:
    """Segment a stack: every plane through the net, profiles to objects, directions to one set of labels.

    Parameters
    ----------
    stack : Stack or (z, y, x) array
        The image.
    recipe : Recipe, optional
        Every parameter of the run.
    model : str or Model, optional
        Name, path or loaded model; by default `recipe.model`.
    kept : KeptMaps, optional
        Gets what the net said, for decoding again later. Planes that it holds already, of the same image and net, are
        not run again.
    show : bool
        Show a progress bar.

    Returns
    -------
    labels : Labels
        With the run record. `record["notes"]` has sentences for the user.

    Raises
    ------
    TooLargeError
        If the run would not fit into memory; nothing has been done then.
    InputError
        If the stack holds no number at all.

    Examples
    --------
    ``labels = mn.segment(stack, mn.Recipe(planes=("xy", "xz", "yz")))``
    """
    return drain(segmenting(stack, recipe, model=model, kept=kept), show=show)


def segmenting(
    stack: Stack | npt.NDArray[Any],
    recipe: Recipe | None = None,
    *,
    model: str | ModelLike | None = None,
    kept: KeptMaps | None = None,
) -> Generator[Progress, None, Labels]:
    """Segment a stack; the generator form of `segment`.

    Yields after every batch of tiles. The total counts the planes of all directions and the stages that follow;
    `preview` is the `PlaneIds` of a plane that is done, or None.
    """
    recipe = recipe or Recipe()
    stack = stack if isinstance(stack, Stack) else Stack(stack)
    _refuse(stack, recipe, keep=kept is not None)
    run = Run(stack.shape, recipe)
    yield run.progress("load model")
    predictor = _predictor(model, recipe)
    source = Source(near(stack, recipe), predictor, kept)
    yield from run.planes(source.kept, source.fill, rolling=kept is None)
    source.require_some()
    ids = yield from run.objects()
    record = _record(stack, recipe, predictor, (*shape_notes(stack, recipe), *source.notes))
    source.kept.about.update(voxel_size=stack.voxel_size, name=stack.name, record=record)
    return Labels(ids, stack.voxel_size, f"{stack.name} labels", record)


def redecoding(kept: KeptMaps, recipe: Recipe | None = None) -> Generator[Progress, None, Labels]:
    """Segment again from kept maps: the net is not run, the labels are those that a new run would give.

    Parameters
    ----------
    kept : KeptMaps
        Filled by `segmenting`.
    recipe : Recipe, optional
        Fields of the net are not looked at, except `planes`: which directions to use, of those that are kept.

    Raises
    ------
    InputError
        If the net has not run on all planes of a direction.
    """
    recipe = recipe or Recipe()
    for axis in recipe.planes:
        there, wanted = kept.count(axis), kept.shape[AXES[axis]]
        if there < wanted:
            raise InputError(
                f"The net has run on {there} of {wanted} {axis} planes. Run it on the others first (segment with these "
                "kept maps), or leave this direction out."
            )

    def nothing(axis: Axis, index: int) -> Generator[None, None, None]:
        return
        yield

    run = Run(kept.shape, recipe)
    yield from run.planes(kept, nothing, rolling=False)
    ids = yield from run.objects()
    about = kept.about
    record = dict(about.get("record") or {})
    if record:
        record["recipe"] = _json(recipe.replace(**_net_fields(record, recipe)))
    return Labels(ids, about.get("voxel_size"), f"{about.get('name', 'stack')} labels", record or None)


def _as_plane(plane: Plane | npt.NDArray[Any]) -> Plane:
    if isinstance(plane, Plane):
        return plane
    image = plane if isinstance(plane, Stack) else np.asarray(plane)  # a stack is not read to say what is wrong
    if len(image.shape) != 2:
        raise InputError(f"A plane has 2 axes (h, w), got shape {image.shape}. Take one with stack.plane(index).")
    return Stack(image[None]).plane(0)


def _predictor(model: str | ModelLike | None, recipe: Recipe) -> Predictor:
    from mitonb.infer.plane import Predictor  # torch loads here, not with the package
    from mitonb.models.zoo import load_model

    if model is None or isinstance(model, str):
        model = load_model(model or recipe.model)
    return Predictor(model, recipe)


def _refuse(stack: Stack, recipe: Recipe, *, keep: bool) -> None:
    shape = " x ".join(map(str, stack.shape))
    require(
        estimate(stack, recipe, keep=keep),
        f"Segmenting {stack.name} ({shape} voxels, {len(recipe.planes)} directions)",
        "Cut out a part of the stack, take one direction (planes xy), or a smaller tile.",
    )


def _record(stack: Stack, recipe: Recipe, predictor: Predictor, notes: tuple[str, ...]) -> dict[str, Any]:
    from mitonb.io.record import run_record

    record = run_record(stack, recipe, predictor.model.spec)
    record["engine"]["device"] = predictor.device  # what "auto" became
    record["notes"] = list(notes)
    return record


def _net_fields(record: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Return the fields of the recorded run that decoding again cannot change."""
    names = ("model", "batch", *NET_FIELDS)
    return {name: record["recipe"][name] for name in names if name in record.get("recipe", {})}


def _json(recipe: Recipe) -> dict[str, Any]:
    import json

    values: dict[str, Any] = json.loads(recipe.to_json())
    return values
