"""The command line: the same verbs as in a notebook, without a screen; errors are one sentence, exit codes honest."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import itertools
import json
import os
import re
import subprocess
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import mitonb as mn
from mitonb.citing import REFERENCES
from mitonb.errors import InputError, MitonbError, ModelError, wanting_torch
from mitonb.io.saving import VOLUMES, check_output, require_apart, rescued
from mitonb.job import drain
from mitonb.memory import memory_budget
from mitonb.models.folder import PUBLISHED, installed, installed_as, model_folder, pinned
from mitonb.models.spec import specs
from mitonb.recipe import FORMER_NAMES, IN_NM, PRESETS, Recipe
from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["build_parser", "main", "pointed_at", "quickstart_path", "write_quickstart"]

Options = argparse.Namespace
Parser = argparse.ArgumentParser

EXIT_CODES = "exit codes: 0 done, 1 it could not be done (one sentence says why), 2 wrong usage, 130 stopped by Ctrl-C"
OPEN_LINE = re.compile(r"^stack = mn\.open\(.*\)$", re.MULTILINE)
"""The line of the quickstart that opens its data."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What comes after `mitonb`; those of this process by default.
    """
    options = build_parser().parse_args(arguments)
    try:
        with wanting_torch():
            code = options.run(options)
        sys.stdout.flush()
        return int(code or 0)
    except KeyboardInterrupt:
        return _complain("stopped; no file was half-written.", 130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        if isinstance(error, MitonbError):
            return _complain(str(error), 1)
        if isinstance(error, OSError) and error.filename is not None:
            return _complain(f"{error.filename}: {(error.strerror or 'cannot be used').lower()}.", 1)
        return _complain(f"unexpected {type(error).__name__}: {error} (mitonb --traceback ... shows where)", 1)


def build_parser() -> Parser:
    """Return the parser of all commands."""
    parser = _Parser(prog="mitonb", description=(mn.__doc__ or "").splitlines()[0], epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"mitonb {mn.__version__}")
    parser.add_argument("--traceback", action="store_true", help="on an error, show where it happened")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_add_segment, _add_train, _add_score, _add_models, _add_lab, _add_questions):
        add(commands)
    return parser


class _Parser(Parser):
    """A parser that guesses what a mistyped command, choice or option was meant to be."""

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            known = re.findall(r"[\w.-]+", wrong[2])
        elif wrong := re.search(r"unrecognized arguments: (?:.* )?(--[\w-]+)", message):
            known = sorted(self._options())
        near = difflib.get_close_matches(wrong[1], known, 1) if wrong else []
        super().error(f"{message}\nDid you mean {near[0]}?" if near else message)

    def _options(self) -> set[str]:
        """Return the options of this command and of those below it."""
        inner = (p for a in self._actions if isinstance(a.choices, dict) for p in a.choices.values())
        return set(self._option_string_actions).union(*(p._options() for p in inner if isinstance(p, _Parser)))


def _complain(sentence: str, code: int) -> int:
    print(f"mitonb: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def _note(options: Options, *lines: str) -> None:
    """Tell what happens, beside the results."""
    if not getattr(options, "quiet", False):
        print(*lines, sep="\n", file=sys.stderr)


def _command(commands: Any, name: str, run: Callable[[Options], int | None], text: str, *examples: str) -> Parser:
    parser: Parser = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n  ".join(["examples:", *examples]) + f"\n\n{EXIT_CODES}",
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser


# ------------------------------------------------------------------------------------------- what commands share


def _add_reading(parser: Parser) -> None:
    group = parser.add_argument_group("reading", "for files that do not say these things, or say them wrongly")
    _add_voxel_size(group)
    group.add_argument("--channel", help="number of the channel, or mean")
    group.add_argument("--time", type=int, help="number of the time point in a series")
    group.add_argument("--axes", help="the meaning of each axis, such as tczyx")
    group.add_argument("--series", help="which image of a file with several: number, level, name or path")


def _add_voxel_size(parser: Any) -> None:
    parser.add_argument("--voxel-size", nargs="+", type=float, metavar="NM", help="one size, or z y x, in nm")


def _add_trust(parser: Parser) -> None:
    parser.add_argument(
        "--trust-code", metavar="HASH",
        help="sha256:... of a model that only its own code can run, such as a quantised one: it can then do on this "
        "computer whatever you can (docs/models.md)",
    )  # fmt: skip


def _open(options: Options) -> Any:
    channel, series = (
        int(text) if text is not None and text.lstrip("-").isdigit() else text
        for text in (options.channel, options.series)
    )
    size = _voxel_size(options)
    return mn.open(options.image, voxel_size=size, channel=channel, time=options.time, axes=options.axes, series=series)


def _voxel_size(options: Options) -> Any:
    """Return one size or (z, y, x) in nm, or None."""
    size = options.voxel_size
    if size is not None and len(size) not in (1, 3):
        raise InputError(f"--voxel-size takes one number or three (z y x) in nm, got {len(size)}.")
    return size if size is None else size[0] if len(size) == 1 else tuple(size)


def _check_outputs(
    outputs: Sequence[tuple[str | None, Sequence[str]]], inputs: Sequence[str], *, overwrite: bool, maps: Any = None
) -> None:
    """Refuse outputs that could not be saved at the end, before hours of work.

    `outputs` are paths, None where none was asked for, with what their names may end in; of `inputs`, which must not be
    replaced, what is no file is left out, such as the name of a model; to the folder of `maps` something is added.
    """
    apart = [path for path in inputs if os.path.exists(os.path.expanduser(path))]
    for path, endings in (*outputs, (maps, ())):
        if path is None:
            continue
        for other in apart:
            require_apart(Path(path).expanduser(), other)
        if path != maps:
            if os.path.lexists(os.path.expanduser(path)) and not overwrite:
                raise InputError(f"{path} already exists. Choose another name, or add --overwrite.")
            check_output(path, endings, overwrite=overwrite)
        apart.append(path)


def _make_folder(path: str) -> None:
    """Make a folder for what stays beside the results; its own folder must be there."""
    try:
        Path(path).expanduser().mkdir(exist_ok=True)
        check_output(Path(path) / "x")
    except OSError as error:
        raise InputError(f"The folder {path} cannot be made: {error.strerror or error}. Choose another one.") from None


def _read_json(path: str, what: str) -> Any:
    """Read a JSON file; `what` says, in the error, what should be in it."""
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:  # no JSON, or no text at all
        raise InputError(f"{path} is not JSON: {error}. {what}") from None


# ------------------------------------------------------------------------------------------------------- segment


def _add_segment(commands: Any) -> None:
    parser = _command(
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
    _add_trust(parser)
    _add_reading(parser)
    group = parser.add_argument_group("recipe", "every parameter of the run; the others keep their defaults")
    group.add_argument("--preset", choices=sorted(PRESETS), default="default", help="start from a named recipe")
    group.add_argument("--recipe", metavar="FILE", help="start from a recipe, or the record of a run, in JSON")
    hints = get_type_hints(Recipe)
    for field in dataclasses.fields(Recipe):
        names = [field.name, *(old for old, name in FORMER_NAMES.items() if name == field.name)]
        flags = ["--" + name.replace("_", "-") for name in names]
        group.add_argument(*flags, **_option(field, hints[field.name]))


def _option(field: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    """Return what makes an option of a field of the recipe."""
    facts = field.metadata
    default = " ".join(field.default) if isinstance(field.default, tuple) else field.default
    unit = f" {facts['unit']}" if facts["unit"] else ""
    limits = f"{facts['low']:g} to {facts['high']:g}{unit}; " if facts["low"] is not None else ""
    text = f"{facts['help']} ({limits}default: {default})".replace("%", "%%")
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction, "default": None, "help": text}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint), "help": text}
    if get_origin(hint) is tuple:
        return {"nargs": "+", "choices": tuple(AXES), "metavar": "AXIS", "help": text}
    return {"type": _pixels_or_nm if field.name in IN_NM else hint, "metavar": hint.__name__.upper(), "help": text}


def _pixels_or_nm(text: str) -> int | str:
    """Read "12" as pixels, and leave "60 nm" for the recipe to check."""
    return int(text) if text.strip().isdigit() else text


def _segment(options: Options) -> None:
    recipe = _recipe(options)
    out = Path(options.labels).expanduser()
    outputs = [(options.labels, VOLUMES), (options.table, (".csv",))]
    inputs = [options.image, recipe.model, *([options.recipe] if options.recipe else [])]
    _check_outputs(outputs, inputs, overwrite=options.overwrite, maps=options.maps)
    stack = _open(options)
    _note(options, repr(stack), *stack.notes)
    model = mn.load_model(recipe.model, trust_code=options.trust_code) if options.trust_code else None
    kept = None
    if options.maps:
        _make_folder(options.maps)
        kept = mn.KeptMaps(folder=options.maps)
    settings: dict[str, Any] = {"model": model, "kept": kept, "show": not options.quiet}
    if _streams(options, stack, recipe, model):
        _note(options, "the labels would not fit into memory: they go to OUT slab by slab")
        stored = mn.segment(stack, recipe, out=out, overwrite=options.overwrite, **settings)
        labels: Any = mn.open(stored)  # in its file
        count, record = stored.count, stored.record
    else:
        labels = mn.segment(stack, recipe, **settings)
        rescued(lambda path: mn.save(labels, path, overwrite=options.overwrite), out)
        count, record = len(labels.ids()), labels.record
    _note(options, *(record or {}).get("notes", ()), f"{count} objects in {out}")
    if options.table:
        table = mn.measure(labels, stack=stack)
        rescued(lambda path: mn.save(table, path, overwrite=options.overwrite), Path(options.table).expanduser())
        _note(options, f"table in {options.table}")


def _streams(options: Options, stack: Any, recipe: Recipe, model: Any) -> bool:
    """Return whether to write slab by slab: OUT is a store, and the labels would not fit into memory."""
    is_store = options.labels.lower().endswith(".zarr")
    return is_store and mn.estimate(stack, recipe, model=model) > memory_budget().bytes


def _recipe(options: Options) -> Recipe:
    """Return the preset or the file's recipe with what the command line changes."""
    base = PRESETS[options.preset]
    if options.recipe:
        values = _read_json(options.recipe, "A recipe is made by Recipe().to_json().")
        # A run record holds its recipe under that name.
        base = Recipe.from_json(json.dumps(values.get("recipe", values) if isinstance(values, dict) else values))
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Recipe)}
    return base.replace(**{name: value for name, value in given.items() if value is not None})


# --------------------------------------------------------------------------------------------------------- train


def _add_train(commands: Any) -> None:
    parser = _command(
        commands, "train", _train, "Train a model on labelled volumes, on phantoms, or on both.",
        "mitonb train small.safetensors --phantoms 4 --steps 200",
        "mitonb train mine.safetensors --source mine=cell.tif:cell_labels.tif:held=20-29 --phantoms 8 --minutes 60",
    )  # fmt: skip
    parser.add_argument("out", metavar="OUT", help="weights to write; ends in .safetensors")
    parser.add_argument("--source", action="append", default=[], metavar="NAME=RAW:LABELS",
                        help="a labelled volume; may be repeated; after another colon planes=0-9,held=8;9,"
                        "axes=xy+xz+yz,weight=2,zoom=0.5,ignore=255 (held planes are watched, never learned from; "
                        "voxels with the id to ignore are unknown, not background)")  # fmt: skip
    parser.add_argument("--phantoms", type=int, default=0, metavar="N", help="also learn from N drawn volumes")
    parser.add_argument("--share", type=float, default=0.3, help="part of the patches from phantoms (default: 0.3)")
    parser.add_argument("--cache", metavar="FOLDER", help="keep the phantoms there for the next run")
    parser.add_argument("--start", metavar="WEIGHTS", help="start from these weights instead of random ones")
    parser.add_argument("--card", metavar="JSON",
                        help="fields of the model card: title, licence, papers, data, notes; for a new net also heads, "
                        "dimension (2 or 3) and config")  # fmt: skip
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="how long")
    length.add_argument("--steps", type=int, help="number of steps; the only way to get the same weights again")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, patches and augmentation (default: 0)")
    parser.add_argument("--batch", type=int, default=8, help="patches per step (default: 8)")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate (default: 0.002)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32",
                        help="bf16 is about twice as fast on recent processors (default: fp32)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _train(options: Options) -> None:
    from mitonb.train.data import draw_phantoms, read_source, require_share, shared
    from mitonb.train.loop import Settings, card_fields, startable, training

    # All arguments first: phantoms take minutes, and a run takes hours.
    given = ("minutes", "steps", "seed", "batch", "rate", "precision")
    settings = Settings(**{name: getattr(options, name) for name in given})
    card = _read_json(options.card, "A model card is a JSON object.") if options.card else None
    card_fields(card)
    inputs = [file for text in options.source for file in text.partition("=")[2].replace("+", ":").split(":")]
    inputs += [file for file in (options.card, options.start) if file]
    _check_outputs([(options.out, (".safetensors",))], inputs, overwrite=options.overwrite)
    if options.start:
        startable(options.start)
    if options.phantoms < 0:
        raise InputError(f"--phantoms is a number of volumes, got {options.phantoms}.")
    if options.cache:
        _make_folder(options.cache)
    require_share(options.share)
    sources = [read_source(text) for text in options.source]
    phantoms = drain(draw_phantoms(options.phantoms, cache=options.cache), show=not options.quiet)
    sources = shared(sources, phantoms, options.share)
    steps = training(sources, out=options.out, settings=settings, start=options.start, card=card)
    out = drain(steps, show=not options.quiet)
    _note(options, f"weights in {out}; use them with --model {out}")


# --------------------------------------------------------------------------------------------------------- score


def _add_score(commands: Any) -> None:
    parser = _command(
        commands, "score", _score, "Compare labels with the truth.",
        "mitonb score labels.tif truth.tif",
        "mitonb score labels.ome.zarr truth.tif --iou 0.5 0.75 0.9 --mistakes",
        "mitonb score labels.tif truth.tif --planes xy --ignore 255 --smallest 50 --json",
    )  # fmt: skip
    parser.add_argument("labels", metavar="LABELS")
    parser.add_argument("truth", metavar="TRUTH")
    parser.add_argument("--iou", nargs="+", type=float, default=[0.5, 0.75],
                        help="IoU from which two objects match (default: 0.5 0.75)")  # fmt: skip
    parser.add_argument("--planes", choices=tuple(AXES), help="compare profiles plane by plane instead of volumes")
    parser.add_argument("--ignore", type=int, metavar="ID",
                        help="leave out the voxels of TRUTH with this id; it may be negative, as -1")  # fmt: skip
    parser.add_argument("--smallest", type=int, default=0, metavar="VOXELS",
                        help="objects below this size count neither as found nor as wrong (default: 0)")  # fmt: skip
    parser.add_argument("--ranking", metavar="MAP",
                        help="a semantic map; AP ranks labels by their mean in it (default: by size)")  # fmt: skip
    parser.add_argument("--mistakes", action="store_true", help="list what went wrong, with the ids")
    parser.add_argument("--json", action="store_true", help="print numbers for programs")


def _score(options: Options) -> None:
    from mitonb.accuracy import score_planes, size_notes
    from mitonb.io.opening import open_ids, probe

    labels, truth = open_ids(options.labels), open_ids(options.truth)
    settings: dict[str, Any] = {"ious": options.iou, "ignore": options.ignore, "smallest": options.smallest}
    if options.planes and options.ranking:
        raise InputError("Profiles of planes are ranked by their size only. Leave out --ranking or --planes.")
    if options.planes:
        scores = score_planes(labels, truth, axis=options.planes, **settings)
    else:
        ranking = mn.open(options.ranking).read() if options.ranking else None
        scores = mn.score(labels, truth, ranking=ranking, **settings)
    notes = size_notes(*(probe(path).voxel_size for path in (options.labels, options.truth)))
    scores = dataclasses.replace(scores, notes=notes)
    print(json.dumps(scores.as_dict(), indent=1) if options.json else scores)
    for mistake in scores.mistakes() if options.mistakes and not options.json else ():
        ids, truths = (", ".join(map(str, objects)) or "none" for objects in (mistake.ids, mistake.truths))
        print(f"{mistake.kind:>8}: labels {ids}; truth {truths}")


# -------------------------------------------------------------------------------------------------------- models


def _add_models(commands: Any) -> None:
    parser = _command(
        commands, "models", _list_models, "List, pull, import and export models.",
        "mitonb models list",
        "mitonb models pull MitoNet_v1",
        "mitonb models import mine.empanada --name mine",
    )  # fmt: skip
    inner = parser.add_subparsers(title="what to do (default: list)", metavar="ACTION")
    _command(inner, "list", _list_models, "List the models that are here, and those to download.", "mitonb models list")
    info = _command(inner, "info", _show_model, "Say what is known about a model.", "mitonb models info MitoNet_v1")
    info.add_argument("model", metavar="NAME", help="a model's name")
    pull = _command(
        inner, "pull", _pull, "Fetch a published model and pin its hash.",
        "mitonb models pull MitoNet_v1_mini",
        "mitonb models pull my_model.yaml        # a description that names its weights by address",
    )  # fmt: skip
    pull.add_argument("model", metavar="NAME", help="a published model, or a description (.yaml)")
    pull.add_argument("--address", metavar="URL", help="fetch it from there instead, such as a mirror; https only")
    pull.add_argument("--sha256", default="", metavar="HASH", help="the hash that it must have")
    _add_trust(pull)
    pull.add_argument("--quiet", action="store_true", help="no progress")
    bring = _command(
        inner, "import", _import, "Register a file of your own under a name.",
        "mitonb models import finetuned.pth.tar --name my-cells",
        "mitonb models import MitoNet_v1.pth --name MitoNet_v1     # fetched on another machine",
    )  # fmt: skip
    bring.add_argument("file", metavar="FILE", help=".safetensors, .pth, .pth.tar, .empanada or .yaml")
    bring.add_argument("--name", help="its name from now on (default: that of the file)")
    _add_trust(bring)
    export = _command(
        inner, "export", _export, "Write a model into a file to hand on.",
        "mitonb models export MitoNet_v1 mitonet.safetensors",
    )  # fmt: skip
    export.add_argument("model", metavar="NAME", help="a model on this machine")
    export.add_argument("out", metavar="OUT", help="ends in .safetensors or .empanada")
    export.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")


def _list_models(_: Options) -> None:
    here = installed()
    rows = [(name, "bundled", card.title) for name, card in specs().items()]
    rows += [(name, "here", one.spec.title or one.source) for name, one in here.items()]
    there = {name: one for name, one in PUBLISHED.items() if name not in here}
    rows += [(name, "encoder" if not one.card.heads else "to pull", one.card.title) for name, one in there.items()]
    width = max(len(row[0]) for row in rows)
    for name, where, title in rows:
        print(f"{name:<{width}}  {where:<8} {title}".rstrip())


def _show_model(options: Options) -> None:
    name = options.model
    one, published = installed_as(name), PUBLISHED.get(name)
    if one is None and published is None:
        known = ", ".join(dict.fromkeys((*specs(), *installed(), *PUBLISHED)))
        raise ModelError(f"There is no model named {name!r}. The known ones are {known}.")
    facts = _facts(one.spec if one is not None else PUBLISHED[name].card)
    if published is not None:
        facts |= {"address": published.address, "padding": f"{published.card.padding} px (its makers')"}
        if published.quantised:
            facts["quantised"] = f"{published.quantised} (8 bits; runs only by its own code, see docs/models.md)"
    if one is not None:
        facts |= {"weights": str(one.path), "source": one.source}
    print(name)
    for label, value in facts.items():
        if value:
            print(f"  {label:<12} {value}")
    if one is None:
        print(f"  not here yet; fetch it with: mitonb models pull {name}")


def _facts(card: Any) -> dict[str, str]:
    return {
        "title": card.title, "architecture": card.architecture, "classes": ", ".join(card.classes),
        "normalised": f"mean {card.mean:g}, std {card.std:g}, of grey values from 0 to 1",
        "multiple": f"{card.multiple} px", "licence": card.licence,
        "cite": "; ".join(str(REFERENCES.get(paper, paper)) for paper in card.papers),
        "data": "; ".join(card.data), "sha256": card.sha256, "notes": card.notes,
    }  # fmt: skip


def _pull(options: Options) -> None:
    from mitonb.models.zoo import pulling

    known = pinned(Path(options.model).stem if options.model.endswith((".yaml", ".yml")) else options.model)
    steps = pulling(options.model, address=options.address, sha256=options.sha256, trust_code=options.trust_code)
    one = drain(steps, show=not options.quiet)
    fresh = "pinned now: its makers publish no hash, so compare it with a colleague's"
    said = "as pinned before" if known or options.sha256 else fresh
    print(f"{one.spec.name}\n  weights  {one.path}\n  sha256   {one.spec.sha256} ({said})")
    if one.spec.architecture != "encoder":
        _note(options, f"use it with --model {one.spec.name}; its papers: mitonb cite {one.spec.name}")


def _import(options: Options) -> None:
    from mitonb.models.zoo import import_model

    one = import_model(options.file, options.name, trust_code=options.trust_code)
    print(f"{one.spec.name}\n  weights  {one.path}\n  sha256   {one.spec.sha256} (pinned)")
    _note(options, f"use it with --model {one.spec.name}; the model folder is {model_folder()}")


def _export(options: Options) -> None:
    from mitonb.models.zoo import export

    one = installed_as(options.model)
    inputs = [] if one is None else [str(one.path)]
    _check_outputs([(options.out, (".safetensors", ".empanada"))], inputs, overwrite=options.overwrite)
    print(export(options.model, options.out))


# ----------------------------------------------------------------------------------------- the notebook: mitonb lab


def _add_lab(commands: Any) -> None:
    parser = _command(
        commands, "lab", _lab, "Open JupyterLab on a notebook that opens your file.",
        "mitonb lab",
        "mitonb lab cell.tif",
    )  # fmt: skip
    parser.add_argument("file", nargs="?", metavar="FILE", help="an image volume (default: a drawn one)")
    _add_voxel_size(parser)
    parser.add_argument("--folder", type=Path, default=Path(), help="where notebook and results go (default: here)")
    parser.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    parser.add_argument("--write-only", action="store_true", help="write the notebook, start nothing")


def _lab(options: Options) -> int:
    book, fresh = write_quickstart(options.folder, options.file, voxel_size=_voxel_size(options))
    _note(options, f"{'wrote' if fresh else 'found your earlier'} {book}")
    if options.write_only:
        return 0
    if not find_spec("jupyterlab"):
        raise InputError(
            f"JupyterLab is not installed here. Install it with: pip install jupyterlab ipykernel. Or open {book} in "
            "the notebook program that you use, with the Python of this environment."
        )
    # Kernel, server and browser share the cores: threads of torch that spin while they wait would take them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    command = [sys.executable, "-m", "jupyterlab", str(book)]
    command += ["--no-browser"] if options.no_browser else []
    # Containers run as root, where Jupyter wants to be asked.
    command += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    sys.stderr.flush()
    if os.name == "nt":  # there exec starts a second process and ends this one: the terminal would take it for the end
        return subprocess.call(command)
    os.execv(command[0], command)  # what stops this process, such as SIGTERM, then stops Jupyter with its kernels


def quickstart_path() -> Path:
    """Return where the quickstart notebook lies: in the installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    for folder in (here / "notebooks", here.parent / "notebooks"):
        if (path := folder / "00_quickstart.ipynb").exists():
            return path
    raise InputError("The quickstart notebook is missing from this installation. Install mitonb again.")


def pointed_at(source: str, *, name: str, voxel_size: float | tuple[float, ...] | None = None) -> dict[str, Any]:
    """Return the quickstart as a notebook dict that opens `source`, its results named after `name`."""
    size = "" if voxel_size is None else f", voxel_size={voxel_size!r}"
    book: dict[str, Any] = json.loads(quickstart_path().read_text(encoding="utf-8"))
    for cell in book["cells"]:
        code = "".join(cell["source"])
        if cell["cell_type"] == "code" and OPEN_LINE.search(code):
            # A function as replacement: backslashes of Windows paths are no escapes then.
            code = OPEN_LINE.sub(lambda _: f"stack = mn.open({source!r}{size})", code)
            code = re.sub(r'^name = ".*"', lambda _: f"name = {name!r}", code, flags=re.MULTILINE)
            cell["source"] = code.splitlines(keepends=True)
            return book
    raise InputError("The quickstart notebook has no line `stack = mn.open(...)`. Install mitonb again.")


def write_quickstart(
    folder: Path, source: str | None = None, *, voxel_size: float | tuple[float, ...] | None = None
) -> tuple[Path, bool]:
    """Write the quickstart into a folder, for the phantom or for a file.

    Parameters
    ----------
    folder : path
        Where notebook and results go; must exist.
    source : str, optional
        Image volume to open; None keeps the phantom.
    voxel_size : float or tuple of float, optional
        One size or (z, y, x) in nm, where the file does not say.

    Returns
    -------
    path, fresh : Path, bool
        The notebook, and whether it was written now; one that is there already is the user's and stays. Where that
        one opens another file, the new one gets a number: "cell-2.ipynb".
    """
    if source is None:
        book = json.loads(quickstart_path().read_text(encoding="utf-8"))
        path = folder / "00_quickstart.ipynb"
    else:
        file = Path(source).expanduser().resolve()
        if not file.exists():
            raise InputError(f"There is no {file}. Check the path.")
        stem = file.name.partition(".")[0]
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        name = next(name for name in names if _is_free(folder / f"{name}.ipynb", str(file)))
        book = pointed_at(str(file), name=name, voxel_size=voxel_size)
        path = folder / f"{name}.ipynb"
    if path.exists():
        return path, False
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder.absolute()} for the notebook. Create it first.")
    path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path, True


def _is_free(book: Path, source: str) -> bool:
    """Whether a notebook is not there yet, or is this file's own."""
    try:
        cells = json.loads(book.read_text(encoding="utf-8"))["cells"]
        return any(f"mn.open({source!r}" in "".join(cell["source"]) for cell in cells)
    except FileNotFoundError:
        return True
    except (ValueError, KeyError, TypeError):  # not a notebook, but somebody's file
        return False


# ------------------------------------------------------------------------------ questions that are answered at once


def _add_questions(commands: Any) -> None:
    info = _command(commands, "info", _info, "Say what a file holds, from its headers.", "mitonb info cell.ome.zarr")
    info.add_argument("image", metavar="FILE")
    _add_reading(info)
    text = "Check this machine, and say how to fix what is wrong."
    _command(commands, "doctor", _doctor, text, "mitonb doctor")
    cite = _command(commands, "cite", _cite, "List the papers to cite when you use a model.", "mitonb cite mito-mini")
    cite.add_argument("model", nargs="?", default="mito-mini")


def _info(options: Options) -> None:
    stack = _open(options)
    z, y, x = stack.shape
    voxels = "unknown" if stack.voxel_size is None else "{:g} x {:g} x {:g} nm (z, y, x)".format(*stack.voxel_size)
    print(f"{stack.name}\n  shape       {z} x {y} x {x} (z, y, x)\n  dtype       {stack.dtype}")
    print(f"  size        {z * y * x * stack.dtype.itemsize / 1e6:,.1f} MB as voxels\n  voxel size  {voxels}")
    print("  intensity   {:g} to {:g}".format(*stack.intensity))
    for note in stack.notes:
        print(f"  note        {note}")


def _doctor(_: Options) -> int:
    report = mn.doctor()
    print(report)
    return 0 if report.healthy else 1


def _cite(options: Options) -> None:
    print(mn.cite(options.model))
