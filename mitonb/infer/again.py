"""Again: other labels from the maps that a run has kept, without the net."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, overload

from mitonb.errors import InputError
from mitonb.infer.finishing import finished
from mitonb.infer.needs import require_for_decoding
from mitonb.infer.run import Run
from mitonb.infer.source import NET_FIELDS
from mitonb.io.saving import store_path
from mitonb.job import Progress, drain
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    import os
    from collections.abc import Generator

    from mitonb.infer.kept import KeptMaps
    from mitonb.labels import Labels, StoredLabels

__all__ = ["redecode", "redecoding"]


@overload
def redecode(
    kept: KeptMaps, recipe: Recipe | None = None, *, out: None = None, overwrite: bool = False, show: bool = True
) -> Labels: ...
@overload
def redecode(
    kept: KeptMaps, recipe: Recipe | None = None, *, out: str | os.PathLike[str], overwrite: bool = False,
    show: bool = True,
) -> StoredLabels: ...  # fmt: skip
def redecode(
    kept: KeptMaps,
    recipe: Recipe | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    show: bool = True,
) -> Labels | StoredLabels:
    """Segment again from kept maps: the net is not run, the labels are those that a new run would give.

    See `redecoding`, which is its generator form.

    Examples
    --------
    ``mn.segment(stack, recipe, kept=mn.KeptMaps(folder="cell-maps"))``, and on another day
    ``mn.redecode(mn.KeptMaps(folder="cell-maps"), recipe.replace(center_threshold=0.2))``
    """
    return drain(_redecoding(kept, recipe, out, overwrite), show=show)


@overload
def redecoding(
    kept: KeptMaps, recipe: Recipe | None = None, *, out: None = None, overwrite: bool = False
) -> Generator[Progress, None, Labels]: ...
@overload
def redecoding(
    kept: KeptMaps, recipe: Recipe | None = None, *, out: str | os.PathLike[str], overwrite: bool = False
) -> Generator[Progress, None, StoredLabels]: ...
def redecoding(
    kept: KeptMaps, recipe: Recipe | None = None, *, out: str | os.PathLike[str] | None = None, overwrite: bool = False
) -> Generator[Progress, None, Any]:
    """Segment again from kept maps: the net is not run, the labels are those that a new run would give.

    Parameters
    ----------
    kept : KeptMaps
        Filled by `segmenting`, in this process or, where they are in a folder, in another one.
    recipe : Recipe, optional
        Fields of the net are not looked at, except `planes`: which directions to use, of those that are kept.
    out : path, optional
        An OME-Zarr to write the labels to, as for `segment`; the generator then returns `StoredLabels`.
    overwrite : bool
        Replace what is at `out`.

    Raises
    ------
    InputError
        If the net has not run on all planes of a direction.
    TooLargeError
        If the labels would not fit into memory.
    """
    return _redecoding(kept, recipe, out, overwrite)


def _redecoding(
    kept: KeptMaps, recipe: Recipe | None, out: str | os.PathLike[str] | None, overwrite: bool
) -> Generator[Progress, None, Labels | StoredLabels]:
    recipe = Recipe.of(recipe)
    record = dict(kept.about.get("record") or {})
    # The published rules look at the downsampling: it is that of the maps, whatever the recipe says.
    recipe = recipe.replace(**_net_fields(record))
    for axis in recipe.planes:
        there, wanted = kept.count(axis), kept.shape[AXES[axis]]
        if there < wanted:
            raise InputError(
                f"The network has run on {there} of {wanted} {axis} planes. Run it on the others first (segment with "
                "these kept maps), or leave this direction out."
            )
    target = None if out is None else store_path(out, overwrite=overwrite)
    require_for_decoding(kept.shape, recipe, stored=target is not None)

    def nothing(axis: Axis, index: int) -> Generator[None, None, None]:
        return
        yield

    with contextlib.closing(Run(kept.shape, recipe, folder=target and target.parent)) as run:
        run.stuff = tuple(kept.about.get("stuff") or ())
        yield from run.planes(kept, nothing, rolling=False)
        if record:
            notes = [*record.get("notes", ()), *_padding_notes(kept, recipe, record)]
            record |= {"recipe": json.loads(recipe.to_json()), "notes": notes}
        return (yield from finished(run, kept, record, target))


def _padding_notes(kept: KeptMaps, recipe: Recipe, record: dict[str, Any]) -> tuple[str, ...]:
    """Say that the net saw other padding than by these rules, where there may have been some."""
    before = record.get("recipe", {}).get("rules", recipe.rules)
    if before == recipe.rules or not any(n % 128 for n in kept.shape):
        return ()
    return (
        f"The network saw planes padded by the {before} rules; objects near the bottom and right borders may differ "
        f"from those of a new run by the {recipe.rules} rules.",
    )


def _net_fields(record: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the recorded run that decoding again cannot change."""
    names = ("model", "batch", *NET_FIELDS)
    return {name: record["recipe"][name] for name in names if name in record.get("recipe", {})}
