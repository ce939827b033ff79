"""The straight line: planes or blocks through the net, profiles from maps, objects from profiles, labels."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mitonb.box import Region, RegionLike, in_plane
from mitonb.errors import InputError
from mitonb.infer.jobs import folder_of, target_of, working
from mitonb.infer.kept import VOLUME, KeptMaps
from mitonb.infer.memory_estimate import estimate, require_for, stages
from mitonb.infer.run import Run, assemble, stuff_of
from mitonb.infer.scale import Scale
from mitonb.infer.source import NET_FIELDS, ModelWish, Source, mask_of, near, predictor_of
from mitonb.io.saving import store_path
from mitonb.job import Progress, drain
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Plane, Stack

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitonb.maps import Maps

Picture: TypeAlias = "Plane | Stack | npt.NDArray[Any]"


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
        where = in_plane(roi, picture) if isinstance(picture, Plane) else mask_of(Region.of(roi, picture.shape))
    yield Progress("load model", 0, 1)
    predictor = predictor_of(model, recipe, _voxel_size(picture))
    if (predictor.dimension == 3) != isinstance(picture, Stack):
        wants = "blocks: give it a stack" if predictor.dimension == 3 else "planes: take one with stack.plane(index)"
        raise InputError(f"{predictor.model.spec.name} looks at {wants}. Got an image of shape {picture.shape}.")
    maps = yield from predictor.steps(picture, where)
    return maps if where is None else maps.replace(semantic=maps.semantic * where)


def segment(
    stack: Stack | npt.NDArray[Any], recipe: Recipe | None = None, *, model: ModelWish = None,
    roi: RegionLike | None = None, kept: KeptMaps | None = None, out: str | os.PathLike[str] | None = None,
    overwrite: bool = False, job: str | os.PathLike[str] | None = None, workers: int | None = None, client: Any = None,
    show: bool = True,
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
        ids nor labels are ever in memory as a whole. They are the same labels. What is done lies in a folder beside it,
        and the same call goes on from there, should this one be stopped or killed; at the end the folder goes.
    overwrite : bool
        Replace what is at `out`.
    job : path, optional
        That folder; `out` with ".job" at the end by default.
    workers : int, optional
        Let so many processes on this machine do the work (with `out`); with several GPUs, each takes one.
    client : dask.distributed.Client, optional
        Let the workers of a cluster do the work (with `out`); they must see image, folder and `out` under these paths.
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
        If the stack holds no number at all, the region lies outside, `out` cannot be written, or the folder of the job
        is of another image, model or recipe.
    JobError
        If workers cannot go on.

    Examples
    --------
    ``labels = mn.segment(stack, mn.Recipe(planes=("xy", "xz", "yz")))``
    ``mn.segment(stack, out="labels.ome.zarr")``
    """
    steps = segmenting(
        stack, recipe, model=model, roi=roi, kept=kept, out=out, overwrite=overwrite, job=job, workers=workers,
        client=client,
    )  # fmt: skip
    return drain(steps, show=show)


def segmenting(
    stack: Stack | npt.NDArray[Any], recipe: Recipe | None = None, *, model: ModelWish = None,
    roi: RegionLike | None = None, kept: KeptMaps | None = None, out: str | os.PathLike[str] | None = None,
    overwrite: bool = False, job: str | os.PathLike[str] | None = None, workers: int | None = None, client: Any = None,
) -> Generator[Progress, None, Any]:  # fmt: skip
    """Segment a stack; the generator form of `segment`.

    Yields after every batch of tiles. The total counts the planes of all directions and the stages that follow.
    Closed early, it leaves the kept maps and, with `out`, the folder of the job, from which the same call goes on.
    """
    recipe = Recipe.of(recipe)
    stack = stack if isinstance(stack, Stack) else Stack(stack)
    region = Region.of(roi, stack.shape)
    if out is None and (job is not None or workers is not None or client is not None):
        raise InputError("job, workers and client are for runs that write the labels to a store: give out= as well.")
    target = None if out is None else target_of(out, overwrite=overwrite, source=stack.source)
    if kept is None and recipe.verdicts is not None and target is None:
        kept = KeptMaps(stack.shape)  # verdicts look at what the net said of whole objects
    keep = kept is not None and not kept.on_disk
    what = f"Segmenting {stack.name} ({' x '.join(map(str, stack.shape))} voxels, {len(recipe.planes)} directions)"
    needed = estimate(stack, recipe, model=model, keep=keep, stored=out is not None)
    require_for(what, needed * (workers or 1), stored=out is not None)
    yield Progress("load model", 0, 1)
    predictor = predictor_of(model, recipe, stack.voxel_size)
    if target is not None:
        crew = {"workers": workers, "client": client}
        return (yield from working(
            stack, predictor, target, model=model, region=region, kept=kept, overwrite=overwrite,
            folder=folder_of(target, job), **crew,
        ))  # fmt: skip
    own, stuff = predictor.scale.in_pixels(recipe), stuff_of(predictor.model.spec)
    with contextlib.closing(Run(stack.shape, own, blocks=predictor.dimension == 3, stuff=stuff)) as run:
        source = Source(near(stack, recipe), predictor, kept, region)
        for _ in source.compare():
            yield run.progress("compare with the kept maps")
        yield from run.planes(source.kept, source.fill, rolling=kept is None)
        source.require_some()
        record, kept = source.record(), source.kept
        del source  # with what it has read of a file; the planes are done
        return (yield from assemble(run, kept, record, None, stack))


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
    stuff, blocks = tuple(kept.about.get("stuff") or ()), kept.has(VOLUME, 0)
    with contextlib.closing(Run(kept.shape, own, folder=folder, blocks=blocks, stuff=stuff)) as run:
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
