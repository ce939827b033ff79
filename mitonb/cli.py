"""The command line: the same verbs as in a notebook, without a screen; errors are one sentence, exit codes honest."""

import argparse
import dataclasses
import difflib
import itertools
import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import mitonb as mn
from mitonb.citing import REFERENCES
from mitonb.errors import InputError, MitonbError, ModelError, wanting_torch
from mitonb.io.opening import find_source, images_in, without_ending
from mitonb.io.record import read_record, same_image
from mitonb.io.saving import TABLES, VOLUMES, check_output, require_apart, rescued
from mitonb.io.zarr import job_of
from mitonb.job import drain
from mitonb.models.folder import PUBLISHED, about_model, installed_as, model_folder, offered_models, pinned
from mitonb.recipe import FORMER_NAMES, IN_NM, PRESETS, Recipe
from mitonb.session.merging import take_over
from mitonb.session.opening import place_of, reopen
from mitonb.stack import AXES

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
    options = build_parser().parse_args(values_last(sys.argv[1:] if arguments is None else arguments))
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


def values_last(words: Sequence[str]) -> list[str]:
    """Move options of several values to the end, where no name of a file can be taken for one more value."""
    if "--" in words:
        return list(words)
    rest, last = list(words), list[str]()
    for flag, value in (("--voxel-size", r"[-+.\de]+"), ("--planes", "xy|xz|yz")):
        if flag in rest:
            start = stop = rest.index(flag) + 1
            while stop < len(rest) and re.fullmatch(value, rest[stop]):
                stop += 1
            if stop > start:  # else argparse says what is wrong with the first
                last += rest[start - 1 : stop]
                del rest[start - 1 : stop]
    return [*rest, *last]


def build_parser() -> Parser:
    """Return the parser of all commands: what they take stands in `commands.json`."""
    parser = _Parser(prog="mitonb", description=(mn.__doc__ or "").splitlines()[0], epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"mitonb {mn.__version__}")
    parser.add_argument("--traceback", action="store_true", help="on an error, show where it happened")
    told = json.loads(Path(__file__).with_name("commands.json").read_text("utf-8"))
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command in told["commands"].items():
        _add_command(commands, name, command, told["shared"])
    group = commands.choices["segment"].add_argument_group("recipe", "the other parameters keep their defaults")
    group.add_argument("--preset", choices=sorted(PRESETS), default="default", help="start from a named recipe")
    group.add_argument("--recipe", metavar="FILE", help="start from a recipe, or the record of a run, in JSON")
    hints = get_type_hints(Recipe)
    for field in dataclasses.fields(Recipe):
        names = [field.name, *(old for old, name in FORMER_NAMES.items() if name == field.name)]
        flags = ["--" + name.replace("_", "-") for name in names]
        group.add_argument(*flags, **_option(field, hints[field.name]))
    return parser


def _add_command(commands: Any, name: str, told: dict[str, Any], shared: dict[str, Any]) -> None:
    """Add a command, with the actions below it if it has any."""
    parser: Parser = commands.add_parser(
        name.split()[-1], help=told["help"], description=told["help"], usage=told.get("usage"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n  ".join(["examples:", *told["examples"]]) + f"\n\n{EXIT_CODES}",
    )  # fmt: skip
    parser.set_defaults(run=_RUNS[name])
    _add_options(parser, told["options"])
    if "either" in told:
        _add_options(parser.add_mutually_exclusive_group(required=True), told["either"])
    for group in told.get("shared", ()):
        about = "for files that do not say these things, or say them wrongly" if group == "reading" else None
        _add_options(parser.add_argument_group(group, about), shared[group])
    if "actions" in told:
        inner = parser.add_subparsers(title="what to do (default: list)", metavar="ACTION")
        for action, inside in told["actions"].items():
            _add_command(inner, f"{name} {action}", inside, shared)


def _add_options(parser: Any, options: dict[str, dict[str, Any]]) -> None:
    types = {"int": int, "float": float, "Path": Path}
    for name, facts in options.items():
        changed: dict[str, Any] = {"type": types[facts["type"]]} if "type" in facts else {}
        if isinstance(facts.get("metavar"), list):
            changed["metavar"] = tuple(facts["metavar"])
        parser.add_argument(name, **{**facts, **changed})


class _Parser(Parser):
    """A parser that guesses what a mistyped command, choice or option was meant to be."""

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            known = re.findall(r"[\w.-]+", wrong[2])
        elif wrong := re.search(r"unrecognized arguments: (?:.* )?(--[\w-]+)", message):
            known = sorted(self._options() - {wrong[1]})  # it may be one of another command
        near = difflib.get_close_matches(wrong[1], known, 1) if wrong else []
        super().error(f"{message}\nDid you mean {near[0]}?" if near else message)

    def _options(self) -> set[str]:
        """Return the options of this command and of those below it."""
        inner = (p for a in self._actions if isinstance(a.choices, dict) for p in a.choices.values())
        return set(self._option_string_actions).union(*(p._options() for p in inner if isinstance(p, _Parser)))


def in_shell(text: str) -> str:
    """Return a sentence about arguments in Python as it is said of options of the shell.

    Examples
    --------
    >>> in_shell("Choose one with series='name'; or pass overwrite=True, or another folder (job=).")
    'Choose one with --series NAME; or pass --overwrite, or another folder (--job).'
    """
    text = text.replace("series='name'", "--series NAME").replace("voxel_size=(z, y, x)", "--voxel-size Z Y X")
    text = text.replace("box=mn.box_nm(stack, start, stop)", "--from and --to").replace(" or like= ", " or --like ")

    def option(found: re.Match[str]) -> str:
        value = (found[2] or "").replace("True", "")
        plain = value[1:-1] if re.fullmatch(r"'[\w./+-]+'", value) else value
        return f"--{found[1]} {plain}".rstrip()

    return re.sub(r"(?<![\w./-])(overwrite|series|axes|channel|time|job|workers)=(True|'[^']*'|\d+)?", option, text)


def _complain(sentence: str, code: int) -> int:
    print(f"mitonb: {in_shell(' '.join(sentence.split()))}", file=sys.stderr)
    return code


def _note(options: Options, *lines: str) -> None:
    """Tell what happens, beside the results."""
    if not getattr(options, "quiet", False):
        print(*map(in_shell, lines), sep="\n", file=sys.stderr)


# ------------------------------------------------------------------------------------------- what commands share


def _open(options: Options) -> Any:
    channel, series = _number_or_name(options.channel), _number_or_name(options.series)
    size = _voxel_size(options)
    return mn.open(options.image, voxel_size=size, channel=channel, time=options.time, axes=options.axes, series=series)


def _number_or_name(text: str | None) -> Any:
    return int(text) if text is not None and text.lstrip("-").isdigit() else text


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
    for path, endings in outputs:
        if path is not None:
            check_output(path, endings, overwrite=overwrite, apart_from=apart)
            apart.append(path)
    for path in apart if maps else ():
        require_apart(Path(maps).expanduser(), path)


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


def _option(field: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    """Return what makes an option of a field of the recipe."""
    facts = field.metadata
    default = " ".join(field.default) if isinstance(field.default, tuple) else field.default
    unit = f" {facts['unit']}" if facts["unit"] else ""
    limits = f"{facts['low']:g} to {facts['high']:g}{unit}; " if facts["low"] is not None else ""
    text = f"{facts['help']} ({limits}default: {default})".replace("%", "%%")
    if field.name == "verdicts":
        return {"metavar": "FILE", "help": f"{facts['help']} FILE: a recipe, or the record of a run, in JSON"}
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


def _segment(options: Options, recipe: Recipe | None = None) -> int:
    recipe = recipe or _recipe(options)
    if _is_batch(options):
        return _segment_all(options, recipe)
    from mitonb.infer.jobs import folder_of  # numba loads here, and not with every command
    from mitonb.infer.pools import connect

    out = Path(options.labels).expanduser()
    outputs = [(options.labels, VOLUMES), (options.table, (".csv",))]
    inputs = [options.image, recipe.model, *filter(None, [options.recipe, options.verdicts])]
    is_store = options.labels.lower().endswith(".zarr")
    if (options.job or options.scheduler or options.workers is not None) and not is_store:
        raise InputError("--job, --workers and --scheduler are for runs into a store: let OUT end in .ome.zarr.")
    # Labels of a job may be those of this one, which is done.
    _check_outputs(outputs, inputs, overwrite=options.overwrite or job_of(out) is not None, maps=options.maps)
    stack = _open(options)
    _note(options, repr(stack), *stack.notes)
    model = mn.load_model(recipe.model, trust_code=options.trust_code) if options.trust_code else None
    kept = None
    if options.maps:
        _make_folder(options.maps)
        kept = mn.KeptMaps(folder=options.maps)
    settings: dict[str, Any] = {"model": model, "kept": kept, "show": not options.quiet}
    if is_store:
        folder = folder_of(out, options.job)
        _note(options, f"the labels go to {out} slab by slab; what is done is kept in {folder} until all is")
        client = connect(options.scheduler) if options.scheduler else None
        crew = {"workers": options.workers, "client": client}
        settings |= {"job": options.job, "overwrite": options.overwrite, **crew}
        try:
            stored = mn.segment(stack, recipe, out=out, **settings)
        except KeyboardInterrupt:
            if folder.exists():
                _note(options, f"what is done is kept in {folder}: the same command goes on from there")
            raise
        finally:
            if client is not None:
                client.close()
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
    options.count = count  # for whoever runs many
    return 0


def _is_batch(options: Options) -> bool:
    """Return whether IN is a folder of images: then OUT is a folder, too, and names no format."""
    return not Path(options.labels).suffix and Path(options.image).expanduser().is_dir()


def _segment_all(options: Options, recipe: Recipe) -> int:
    """Segment every image of a folder; what fails is listed at the end and stops nothing."""
    source, folder = Path(options.image).expanduser(), Path(options.labels).expanduser()
    if options.maps or options.job:
        raise InputError("--maps and --job are for one image. Leave them out, or segment the images one by one.")
    images = images_in(source)
    if options.ending not in VOLUMES:
        raise InputError(f"--ending is one of {', '.join(VOLUMES)}, got {options.ending!r}.")
    _check_outputs([(options.table, (".csv",))], [options.image], overwrite=options.overwrite)
    require_apart(folder, source)
    _make_folder(options.labels)
    import pandas as pd

    rows, tables, stems = list[dict[str, Any]](), [], [without_ending(image) for image in images]
    table = folder / "results.csv"
    before = _rows_of(table)
    for image, stem in zip(images, stems, strict=True):
        out = folder / f"{image.name if stems.count(stem) > 1 else stem}{options.ending}"
        start = time.monotonic()
        row: dict[str, Any] = {"image": image.name, "labels": out.name}
        _note(options, f"{len(rows) + 1} of {len(images)}: {image.name}")
        each = Options(**vars(options) | {"image": str(image), "labels": str(out), "table": None})
        try:
            if out.exists() and not options.overwrite:
                row |= before.get(out.name, {}) | {"done": "before"}
            else:
                _segment(each, recipe)
                row |= {"done": "now", "objects": each.count}
            if options.table:
                tables.append(mn.measure(mn.open(out), stack=_open(each)))
                tables[-1].insert(0, "image", image.name)
        except Exception as error:  # whatever is wrong with one image, the others are wanted
            row |= {"done": "failed", "error": " ".join(str(error).split()) or type(error).__name__}
        rows.append({"seconds": round(time.monotonic() - start, 1)} | row)
        found = pd.DataFrame(rows, columns=["image", "labels", "done", "objects", "seconds", "error"])
        mn.save(found.astype({"objects": "Int64"}), table, overwrite=True)
    if tables:
        mn.save(pd.concat(tables, ignore_index=True), options.table, overwrite=options.overwrite)
    failed = [row for row in rows if row["done"] == "failed"]
    _note(options, f"{len(rows) - len(failed)} of {len(rows)} done; the table is {table}")
    for row in failed:
        _complain(row["error"] if row["image"] in row["error"] else f"{row['image']}: {row['error']}", 1)
    return 1 if failed else 0


def _rows_of(table: Path) -> dict[str, dict[str, Any]]:
    """Return what an earlier run over a folder told of its labels, by their name; nothing, if it cannot be read."""
    import pandas as pd

    try:
        rows = pd.read_csv(table).set_index("labels")[["objects", "seconds"]].dropna()
        return {str(name): {"objects": int(n), "seconds": float(s)} for name, n, s in rows.itertuples(name=None)}
    except (OSError, ValueError, KeyError):
        return {}


def _rerun(options: Options) -> int:
    record = _record_of(options.record)
    try:
        image, recipe = record["image"], Recipe.from_json(json.dumps(record["recipe"]))
        source, known = options.image or image["source"], record["model"]["sha256"]
    except (KeyError, TypeError):
        raise InputError(f"{options.record} is no record of a run: it names no image, recipe or model.") from None
    if not source or ("://" in source and not options.image):
        raise InputError(f"The record's image is {source or 'an array'}. Say where it is with --image.")
    options.image, options.voxel_size = source, options.voxel_size or image["voxel_size_nm"]
    stack = _open(options)
    if not same_image(stack, image["fingerprint"]):
        raise InputError(f"{source} does not hold the voxels of the record ({image['name']}, {image['shape']}).")
    found = mn.load_model(recipe.model, trust_code=options.trust_code).spec.sha256
    if found != known:
        raise ModelError(f"{recipe.model} is another one here: its hash is {found}, that of the record {known}.")
    nothing = dict.fromkeys(("table", "maps", "job", "scheduler", "workers", "recipe", "verdicts"))
    return _segment(Options(**vars(options) | nothing), recipe)


def _record_of(path: str) -> Any:
    """Return the record in a JSON file, or in or beside labels."""
    if path.lower().endswith(".json"):
        return _read_json(path, "A record is saved with labels, as NAME.record.json or inside of them.")
    return find_source(path, None)[0].record or read_record(Path(path).expanduser())


def _plan(options: Options) -> None:
    recipe = _saved_recipe(options.recipe) if options.recipe else Recipe.of(options.preset)
    recipe = recipe.replace(**{k: v for k in ("model", "planes") if (v := getattr(options, k)) is not None})
    print(mn.plan(_open(options), recipe, workers=options.workers, device=options.device))


def _saved_recipe(path: str) -> Recipe:
    values = _read_json(path, "A recipe is made by Recipe().to_json().")
    # A run record holds its recipe under that name.
    return Recipe.from_json(json.dumps(values.get("recipe", values) if isinstance(values, dict) else values))


def _recipe(options: Options) -> Recipe:
    """Return the preset or the file's recipe with what the command line changes."""
    base = PRESETS[options.preset]
    if options.recipe:
        base = _saved_recipe(options.recipe)
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Recipe)}
    if options.verdicts:
        given["verdicts"] = _saved_recipe(options.verdicts).verdicts
        if given["verdicts"] is None:
            raise InputError(f"{options.verdicts} is a recipe without verdicts. Save one with recipe.to_json().")
    return base.replace(**{name: value for name, value in given.items() if value is not None})


# --------------------------------------------------------------------------------------------------------- train


def _train(options: Options) -> None:
    inputs = [file for file in (options.data, options.labels, options.card, options.start) if file]
    _check_outputs([(options.out, (".safetensors",))], inputs, overwrite=options.overwrite)
    card = _read_json(options.card, "A model card is a JSON object.") if options.card else None
    given = {name: getattr(options, name) for name in ("minutes", "steps", "hold", "seed", "batch", "rate")}
    more = {"card": card, "show": not options.quiet, **{k: v for k, v in given.items() if v is not None}}
    data = (options.data, options.labels) if options.labels else options.data
    if options.start:
        trained = mn.finetune(data, options.out, start=options.start, **more)
    else:
        trained = mn.train(data, options.out, net=options.net, **more)
    _note(options, repr(trained), f"weights in {options.out}; use them with --model {options.out}")


# ------------------------------------------------------------------------------------------------ measure and score


def _measure(options: Options) -> None:
    inputs = [path for path in (options.labels, options.image, options.others, options.mask) if path]
    _check_outputs([(options.out, TABLES)], inputs, overwrite=options.overwrite)
    also = "all" if "all" in options.also else options.also
    near = {name: mn.open(path) for name in ("others", "mask") if (path := getattr(options, name))}
    table = mn.measure(
        mn.open(options.labels), stack=mn.open(options.image) if options.image else None, also=also,
        voxel_size=_voxel_size(options), within_nm=options.within, **near,
    )  # fmt: skip
    if options.out:
        print(f"{len(table)} objects in {mn.save(table, options.out, overwrite=options.overwrite)}")
    if options.summary:
        print(mn.summarize(table).to_string(index=False))
    elif not options.out:
        print(table.to_string(index=False))


def _score(options: Options) -> None:
    from mitonb.accuracy import score_planes, size_notes
    from mitonb.io.opening import open_ids
    from mitonb.labels import require_ids

    (labels, size), (truth, true_size) = open_ids(options.labels), open_ids(options.truth)
    for path, values in ((options.labels, labels), (options.truth, truth)):
        require_ids(values, str(path))
    settings: dict[str, Any] = {"ious": options.iou, "ignore": options.ignore, "smallest": options.smallest}
    if options.planes and options.ranking:
        raise InputError("Profiles of planes are ranked by their size only. Leave out --ranking or --planes.")
    if options.planes:
        scores = score_planes(labels, truth, axis=options.planes, **settings)
    else:
        ranking = mn.open(options.ranking).read() if options.ranking else None
        scores = mn.score(labels, truth, ranking=ranking, **settings)
    scores = dataclasses.replace(scores, notes=size_notes(size, true_size))
    print(json.dumps(scores.as_dict(), indent=1) if options.json else scores)
    if options.mistakes and not options.json:
        for row in mn.list_mistakes(labels, truth, smallest=options.smallest).itertuples():
            ids, truths = (", ".join(map(str, objects)) or "none" for objects in (row.ids, row.truths))
            print(
                f"{row.kind:>8}: labels {ids}; truth {truths}; at z {row.z}, y {row.y}, x {row.x}; {row.voxels} voxels"
            )
    if options.by and not options.json:
        print(mn.errors_by_size(labels, truth, by=options.by, voxel_size=size).to_string(float_format="{:.3g}".format))


def _report(options: Options) -> None:
    also = "all" if "all" in options.also else tuple(options.also)
    settings = {"stack": options.image, "truth": options.truth, "also": also, "overwrite": options.overwrite}
    inputs = [path for path in (options.labels, options.image, options.truth) if path]
    _check_outputs([(options.out, (".html", ".pdf"))], inputs, overwrite=options.overwrite)
    if options.labels.endswith(".mitonb"):
        with mn.Session.open(options.labels, read_only=True) as session:
            print(mn.report(session, options.out, **settings))
    else:
        print(mn.report(options.labels, options.out, **settings))


# -------------------------------------------------------------------------------------------------------- models


def _list_models(_: Options) -> None:
    names = offered_models()
    for name in names:
        print(f"{name:<{max(map(len, names))}}  {about_model(name)}")


def _show_model(options: Options) -> None:
    name = options.model
    one, published = installed_as(name), PUBLISHED.get(name)
    if one is None and published is None:
        raise ModelError(f"There is no model named {name!r}. The known ones are {', '.join(offered_models())}.")
    card = one.spec if one is not None else PUBLISHED[name].card
    facts = {
        "in short": about_model(name), "architecture": card.architecture, "classes": ", ".join(card.classes),
        "normalised": f"mean {card.mean:g}, std {card.std:g}, of grey values from 0 to 1",
        "multiple": f"{card.multiple} px",
        "cite": "; ".join(str(REFERENCES.get(paper, paper)) for paper in card.papers),
        "data": "; ".join(card.data), "sha256": card.sha256, "notes": card.notes,
    }  # fmt: skip
    if published is not None:
        facts |= {"address": published.address, "padding": f"{published.card.padding} px (its makers')"}
        facts |= {"quantised": f"{published.quantised} (8 bits; runs only by its own code, see docs/models.md)"}
    if one is not None:
        facts |= {"weights": str(one.path), "source": one.source}
    print(name, *(f"  {label:<12} {value}" for label, value in facts.items() if value), sep="\n")
    if one is None:
        print(f"  not here yet; fetch it with: mitonb models pull {name}")


def _pull(options: Options) -> None:
    from mitonb.models.zoo import pulling

    known = pinned(Path(options.model).stem if options.model.endswith((".yaml", ".yml")) else options.model)
    steps = pulling(options.model, address=options.address, sha256=options.sha256, trust_code=options.trust_code)
    one = drain(steps, show=not options.quiet)
    fresh = "pinned now: its makers publish no hash, so compare it with a colleague's"
    said = "as pinned before" if known or options.sha256 else fresh
    print(f"{one.spec.name}\n  weights  {one.path}\n  sha256   {one.spec.sha256} ({said})")
    _note(options, f"use it with --model {one.spec.name}; its papers: mitonb cite {one.spec.name}")


def _import(options: Options) -> None:
    from mitonb.models.zoo import import_model

    one = import_model(options.file, options.name, trust_code=options.trust_code)
    print(f"{one.spec.name}\n  weights  {one.path}\n  sha256   {one.spec.sha256} (pinned)")
    _note(options, f"use it with --model {one.spec.name}; the model folder is {model_folder()}")


def _export(options: Options) -> None:
    from mitonb.infer.exporting import ENDINGS, export_model

    one = installed_as(options.model)
    _check_outputs([(options.out, ENDINGS)], [str(one.path) if one else options.model], overwrite=options.overwrite)
    print(export_model(options.model, options.out, authors=options.author or ()))


def _benchmark(options: Options) -> None:
    recipe = Recipe(planes=tuple(options.planes or ("xy",)))
    found = mn.benchmark(options.set, options.model, recipe=recipe, show=not options.quiet)
    print(json.dumps(found.as_dict(), indent=1) if options.json else found)


# ---------------------------------------------------------------------------------------------------------- data


def _list_data(_: Options) -> None:
    for one in mn.datasets().values():
        where = "here" if one.is_here else "by hand" if one.by_hand else "to pull"
        print(f"{one.name:<25} {where:<8} {one.title}; {one.size}; {one.licence}")


def _show_data(options: Options) -> None:
    from mitonb.learn.public import dataset_named

    print(dataset_named(options.set))


def _pull_data(options: Options) -> None:
    print(mn.pull(options.set, show=not options.quiet))
    _note(options, f"licence: {mn.datasets()[options.set].licence}; score with mitonb benchmark {options.set}")


# ----------------------------------------------------------------------------------------- the notebook: mitonb lab


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
        # What is said of the phantom, and how to open something else, is not for those who named a file.
        if cell["cell_type"] == "markdown" and (found := re.search("To use your own data", code)):
            advice = "" if size else " If the file does not state its voxel size, add voxel_size=(z, y, x) in nm."
            cell["source"] = [f"{code[: found.start()]}They open `{Path(source).name}`.{advice}"]
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
        name, text = "00_quickstart", quickstart_path().read_text(encoding="utf-8")
    else:
        file = Path(source).expanduser().resolve()
        if not file.exists():
            raise InputError(f"There is no {file}. Check the path.")
        stem = file.name.partition(".")[0]
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        name = next(name for name in names if _is_free(folder / f"{name}.ipynb", str(file)))
        book = pointed_at(str(file), name=name, voxel_size=voxel_size)
        text = json.dumps(book, indent=1, ensure_ascii=False) + "\n"
    path = folder / f"{name}.ipynb"
    if path.exists():
        return path, False
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder.absolute()} for the notebook. Create it first.")
    path.write_text(text, encoding="utf-8")
    return path, True


def _is_free(book: Path, source: str) -> bool:
    """Whether a notebook is not there yet, or is this file's own."""
    if not book.exists():
        return True
    try:
        cells = json.loads(book.read_text(encoding="utf-8"))["cells"]
        return any(f"mn.open({source!r}" in "".join(cell["source"]) for cell in cells)
    except (ValueError, KeyError, TypeError):  # not a notebook, but somebody's file
        return False


# ------------------------------------------------------------------------------ questions that are answered at once


def _info(options: Options) -> None:
    found = mn.info(options.image, series=_number_or_name(options.series), axes=options.axes)
    facts = dataclasses.asdict(found) | {"bytes": found.bytes, "block_bytes": found.block_bytes}
    print(json.dumps(facts, indent=1, default=str) if options.json else in_shell(str(found)))


def _fetch(options: Options) -> None:
    from mitonb.io.boxes import box_nm, fetch_cost, fetching

    stack, like = mn.open(options.source), None if options.like is None else mn.open(options.like)
    if like is None and (options.start is None or options.stop is None):
        print(mn.info(options.source))
        if options.out is not None:
            raise InputError("Say which part is to be fetched: --from Z Y X --to Z Y X, in voxels (or --nm).")
        return
    box = None
    if like is None:
        ends = [(z, y, x) for z, y, x in (options.start, options.stop)]
        wrong = [] if options.nm else [value for end in ends for value in end if not value.is_integer()]
        if wrong:
            raise InputError(f"--from and --to count voxels, which are whole numbers, got {wrong[0]:g}; --nm takes nm.")
        box = box_nm(stack, *ends) if options.nm else mn.Box(*[(int(z), int(y), int(x)) for z, y, x in ends])
    _check_outputs([(options.out, (".zarr",))], [options.source], overwrite=options.overwrite)
    print(fetch_cost(stack, box, level=options.level, like=like))
    if options.out is not None:
        steps = fetching(stack, box, options.out, level=options.level, like=like, overwrite=options.overwrite)
        print(f"in {drain(steps, show=not options.quiet)}")


def _replay(options: Options) -> None:
    project, _ = reopen(place_of(options.project), None, None, read_only=True)
    try:
        project.replay()
    finally:
        project.close()
    print(f"{options.project}: {project.version} edits lead from its first labels to its labels, byte for byte.")


def _export_labels(options: Options) -> None:
    _check_outputs([(options.out, VOLUMES)], [options.project], overwrite=options.overwrite)
    with mn.Session.open(options.project, read_only=True) as session:
        done = session.export(options.out, overwrite=options.overwrite)
        print(f"{len(session.ids())} objects and {session.version} edits in {done}, read back and the same.")


def _merge(options: Options) -> None:
    with mn.Session.open(options.mine, read_only=True) as mine, mn.Session.open(options.other, read_only=True) as other:
        same = float((mine.labels.data == other.labels.data).mean()) if mine.shape == other.shape else 0.0
        matched = len(mn.score(other.labels, mine.labels).matches(0.75)) if mine.shape == other.shape else 0
        mine.save_copy(options.out)
        counts = len(mine.ids()), len(other.ids())
        try:
            with mn.Session.open(options.out) as merged:
                taken, conflicts = take_over(merged, other)
        except BaseException:
            Path(options.out).expanduser().unlink(missing_ok=True)
            raise
    print(f"before: {same:.2%} of the voxels have the same id; {matched} objects of {counts[0]} and {counts[1]} match")
    print(f"{options.out}: {taken} edits taken over, {len(conflicts)} left out")
    for one in conflicts:
        box = ", ".join(f"{a}:{b}" for a, b in zip(one.box.start, one.box.stop, strict=True))
        there = f"; objects there {', '.join(map(str, one.ids[:8]))} (z, y, x {box})" if one.ids else ""
        print(f"  edit {one.seq}: {one.text}{there}")


def _course(options: Options) -> None:
    from mitonb.lessons.course import sources, write_course

    written = write_course(options.folder, options.form)
    kept = len(sources()) - len(written)
    print(f"{len(written)} notebooks in {options.folder}" + f", {kept} were there and stay" * bool(kept))


def _class(options: Options) -> None:
    from mitonb.lessons.checking import class_table

    _check_outputs([(options.out, TABLES)], [], overwrite=True)
    table = class_table(options.folder)
    print(table.to_string(index=False, na_rep=""))
    if options.out is not None:
        mn.save(table, options.out, overwrite=True)
    for note in table.attrs["left_out"]:
        print(f"left out: {note}")


def _doctor(_: Options) -> int:
    report = mn.doctor()
    print(report)
    return 0 if report.healthy else 1


_RUNS: dict[str, Callable[[Options], int | None]] = {
    "segment": _segment, "rerun": _rerun, "plan": _plan, "train": _train, "measure": _measure, "score": _score,
    "report": _report, "lab": _lab,
    "info": _info, "fetch": _fetch, "replay": _replay, "export": _export_labels, "merge": _merge, "doctor": _doctor,
    "course": _course, "class": _class, "cite": lambda options: print(mn.cite(options.model)),
    "models": _list_models, "models list": _list_models, "models info": _show_model, "models pull": _pull,
    "models import": _import, "models export": _export, "benchmark": _benchmark, "data": _list_data,
    "data list": _list_data, "data info": _show_data, "data pull": _pull_data,
}  # fmt: skip
"""What each command does."""
