"""`mitonb segment`: a volume in, labels out; every field of the recipe is an option."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import mitonb as mn
from mitonb.cli.shared import (
    add_reading,
    add_trust,
    check_outputs,
    command,
    make_folder,
    note,
    open_image,
    read_json,
)
from mitonb.io.outputs import rescued
from mitonb.io.writing import VOLUMES
from mitonb.recipe import FORMER_NAMES, PRESETS, Recipe

__all__ = ["add_segment"]


def add_segment(commands: Any) -> None:
    parser = command(
        commands, "segment", _segment, "Segment a volume and save the labels.",
        "mitonb segment cell.tif labels.ome.tif",
        "mitonb segment cell.ome.zarr labels.ome.zarr --planes xy xz yz --table objects.csv",
        "mitonb segment huge.ome.zarr labels.ome.zarr --maps huge-maps    (larger than memory: slab by slab)",
        "mitonb segment planes/ labels.tif --voxel-size 50 5 5 --center-threshold 0.2",
    )  # fmt: skip
    parser.usage = "mitonb segment [options] IN OUT"
    parser.add_argument("image", metavar="IN", help="TIFF, OME-Zarr, .npy, .npz, or a folder of planes")
    parser.add_argument("labels", metavar="OUT", help="ends in .tif, .ome.tif, .ome.zarr, .npy or .npz")
    parser.add_argument("--table", metavar="CSV", help="also write a table of all objects, measured")
    parser.add_argument("--maps", metavar="FOLDER",
                        help="keep the network's maps there, so that the next run can use them again")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace OUT and CSV if they are there")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    add_trust(parser)
    add_reading(parser)
    group = parser.add_argument_group("recipe", "every parameter of the run; the others keep their defaults")
    group.add_argument("--preset", choices=sorted(PRESETS), default="default", help="start from a named recipe")
    group.add_argument("--recipe", metavar="FILE", help="start from a recipe, or the record of a run, in JSON")
    _add_fields(group)


def _segment(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    out = Path(options.labels).expanduser()
    check_outputs(
        [(options.labels, VOLUMES), (options.table, (".csv",)), (options.maps, ())],
        [options.image, *filter(None, (options.recipe, recipe.model))],
        overwrite=options.overwrite,
        folders=(options.maps,),
    )
    stack = open_image(options)
    note(options, repr(stack), *stack.notes)
    model = mn.load_model(recipe.model, trust_code=options.trust_code) if options.trust_code else None
    kept = _kept(options)
    settings: dict[str, Any] = {"model": model, "kept": kept, "show": not options.quiet}
    if _streams(options, stack, recipe, model):
        stored = mn.segment(stack, recipe, out=out, overwrite=options.overwrite, **settings)
        labels: Any = mn.open(stored)  # in its file
        count, record = stored.count, stored.record
    else:
        labels = mn.segment(stack, recipe, **settings)
        rescued(lambda path: mn.save(labels, path, overwrite=options.overwrite), out)
        count, record = len(labels.ids()), labels.record
    note(options, *(record or {}).get("notes", ()))
    note(options, f"{count} objects in {out}")
    if options.table:
        table = mn.measure(labels, stack=stack)
        rescued(lambda path: mn.save(table, path, overwrite=options.overwrite), Path(options.table).expanduser())
        note(options, f"table in {options.table}")


def _kept(options: argparse.Namespace) -> Any:
    """Return the folder of maps that was asked for."""
    if not options.maps:
        return None
    from mitonb.infer.kept import KeptMaps

    make_folder(options.maps)
    return KeptMaps(folder=options.maps)


def _streams(options: argparse.Namespace, stack: Any, recipe: Recipe, model: Any) -> bool:
    """Return whether to write slab by slab: OUT is a store, and the labels would not fit into memory."""
    from mitonb.infer.needs import estimate
    from mitonb.memory import memory_budget

    if not options.labels.lower().endswith(".zarr"):
        return False
    if estimate(stack, recipe, model=model) <= memory_budget().bytes:
        return False
    note(options, "the labels would not fit into memory: they go to OUT slab by slab")
    return True


def _recipe(options: argparse.Namespace) -> Recipe:
    """Return the preset or the file's recipe with what the command line changes."""
    base = PRESETS[options.preset]
    if options.recipe:
        values = read_json(options.recipe, "A recipe is made by Recipe().to_json().")
        # A run record holds its recipe under that name.
        inner = values.get("recipe", values) if isinstance(values, dict) else values
        base = Recipe.from_json(json.dumps(inner))
    names = [field.name for field in dataclasses.fields(Recipe)]
    return base.replace(**{name: getattr(options, name) for name in names if getattr(options, name) is not None})


def _add_fields(group: Any) -> None:
    """Draw one option from each field of the recipe."""
    hints = get_type_hints(Recipe)
    for field in dataclasses.fields(Recipe):
        facts, hint = field.metadata, hints[field.name]
        names = [field.name, *(old for old, name in FORMER_NAMES.items() if name == field.name)]
        flags = ["--" + name.replace("_", "-") for name in names]
        default = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        unit = f" {facts['unit']}" if facts["unit"] else ""
        limits = f"{facts['low']:g} to {facts['high']:g}{unit}; " if facts["low"] is not None else ""
        text = f"{facts['help']} ({limits}default: {default})".replace("%", "%%")
        if hint is bool:
            group.add_argument(*flags, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif get_origin(hint) is Literal:
            group.add_argument(*flags, choices=get_args(hint), help=text)
        elif get_origin(hint) is tuple:
            group.add_argument(*flags, nargs="+", choices=("xy", "xz", "yz"), metavar="AXIS", help=text)
        else:
            group.add_argument(*flags, type=hint, metavar=hint.__name__.upper(), help=text)
