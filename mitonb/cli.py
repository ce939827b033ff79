"""The command line: the same verbs as in a notebook, without a screen."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import mitonb as mn
from mitonb.errors import InputError, MitonbError
from mitonb.recipe import PRESETS, Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

VOXEL_SIZE: dict[str, Any] = {"nargs": "+", "type": float, "metavar": "NM", "help": "one size, or z y x, in nm"}
EXIT_CODES = "exit codes: 0 done, 1 it could not be done (one sentence says why), 2 wrong usage, 130 stopped by Ctrl-C"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What comes after `mitonb`; those of this process by default.
    """
    options = build_parser().parse_args(arguments)
    try:
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
        return _complain(_sentence(error), 1)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="mitonb", description=(mn.__doc__ or "").splitlines()[0], epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"mitonb {mn.__version__}")
    parser.add_argument("--traceback", action="store_true", help="on an error, show where it happened")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_add_segment, _add_train, _add_score, _add_lab, _add_info, _add_doctor, _add_cite):
        add(commands)
    return parser


# ---------------------------------------------------------------------------------------------------- segment


def _add_segment(commands: Any) -> None:
    parser = _command(
        commands, "segment", _segment, "Segment a volume and save the labels.",
        "mitonb segment cell.tif labels.ome.tif",
        "mitonb segment cell.ome.zarr labels.ome.zarr --planes xy xz yz --table objects.csv",
        "mitonb segment planes/ labels.tif --voxel-size 50 5 5 --center-threshold 0.2",
    )  # fmt: skip
    parser.usage = "mitonb segment [options] IN OUT"
    parser.add_argument("image", metavar="IN", help="TIFF, OME-Zarr, .npy, .npz, or a folder of planes")
    parser.add_argument("labels", metavar="OUT", help="ends in .tif, .ome.tif, .ome.zarr, .npy or .npz")
    parser.add_argument("--table", metavar="CSV", help="also measure every object into this table")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT and CSV if they are there")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")
    _add_reading(parser)
    group = parser.add_argument_group("recipe", "every parameter of the run; what is not given keeps its default")
    group.add_argument("--preset", choices=sorted(PRESETS), default="default", help="start from a named recipe")
    group.add_argument("--recipe", metavar="FILE", help="start from a recipe, or the record of a run, in JSON")
    _add_fields(group)


def _segment(options: argparse.Namespace) -> None:
    recipe = _recipe(options)
    out = Path(options.labels)
    for target in filter(None, (options.labels, options.table)):
        _check_target(Path(target), overwrite=options.overwrite)  # before hours of work, not after
    stack = _open(options)
    _note(options, repr(stack), *stack.notes)
    labels = mn.segment(stack, recipe, show=not options.quiet)
    mn.save(labels, out, overwrite=options.overwrite)
    _note(options, f"{len(labels.ids())} objects in {out}")
    if options.table:
        mn.save(mn.measure(labels, stack=stack), options.table, overwrite=options.overwrite)
        _note(options, f"table in {options.table}")


def _recipe(options: argparse.Namespace) -> Recipe:
    """Return the preset or the file's recipe with what the command line changes."""
    base = PRESETS[options.preset]
    if options.recipe:
        try:
            values = json.loads(Path(options.recipe).read_bytes())
        except ValueError as error:  # no JSON, or no text at all
            raise InputError(f"{options.recipe} is no JSON: {error}. A recipe is made by Recipe().to_json().") from None
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
        flag = "--" + field.name.replace("_", "-")
        default = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        unit = f" {facts['unit']}" if facts["unit"] else ""
        limits = f"{facts['low']:g} to {facts['high']:g}{unit}; " if facts["low"] is not None else ""
        text = f"{facts['help']} ({limits}default: {default})".replace("%", "%%")
        if hint is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif get_origin(hint) is Literal:
            group.add_argument(flag, choices=get_args(hint), help=text)
        elif get_origin(hint) is tuple:
            group.add_argument(flag, nargs="+", choices=("xy", "xz", "yz"), metavar="AXIS", help=text)
        else:
            group.add_argument(flag, type=hint, metavar=hint.__name__.upper(), help=text)


# ------------------------------------------------------------------------------------------------------ train


def _add_train(commands: Any) -> None:
    parser = _command(
        commands, "train", _train, "Train a model on labelled volumes, on phantoms, or on both.",
        "mitonb train small.safetensors --phantoms 4 --steps 200",
        "mitonb train mine.safetensors --source mine=cell.tif:cell_labels.tif:held=20-29 --phantoms 8 --minutes 60",
    )  # fmt: skip
    parser.add_argument("out", metavar="OUT", help="weights to write; ends in .safetensors")
    parser.add_argument("--source", action="append", default=[], metavar="NAME=RAW:LABELS",
                        help="a labelled volume; may be repeated; after another colon planes=0-9,held=8;9,"
                        "axes=xy+xz+yz,weight=2,zoom=0.5 (held planes are watched, never learned from)")  # fmt: skip
    parser.add_argument("--phantoms", type=int, default=0, metavar="N", help="also learn from N drawn volumes")
    parser.add_argument("--share", type=float, default=0.3, help="part of the patches from phantoms (default: 0.3)")
    parser.add_argument("--cache", metavar="FOLDER", help="keep the phantoms there for the next run")
    parser.add_argument("--start", metavar="WEIGHTS", help="begin from these weights instead of from nothing")
    parser.add_argument("--card", metavar="JSON", help="fields of the model card: title, licence, papers, data, notes")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="how long")
    length.add_argument("--steps", type=int, help="how many steps; only so is the result the same again")
    parser.add_argument("--seed", type=int, default=0, help="of weights, patches and disturbances (default: 0)")
    parser.add_argument("--batch", type=int, default=8, help="patches per step (default: 8)")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate (default: 0.002)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32",
                        help="bf16 is about twice as fast on recent processors (default: fp32)")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _train(options: argparse.Namespace) -> None:
    from mitonb.job import drain
    from mitonb.train.loop import Settings, training
    from mitonb.train.sources import draw_phantoms, read_source, shared

    settings = Settings(
        minutes=options.minutes, steps=options.steps, seed=options.seed, batch=options.batch, rate=options.rate,
        precision=options.precision,
    )  # fmt: skip
    card = json.loads(Path(options.card).read_text(encoding="utf-8")) if options.card else None
    show = not options.quiet
    phantoms = drain(draw_phantoms(options.phantoms, cache=options.cache), show=show)
    sources = shared([read_source(text) for text in options.source], phantoms, options.share)
    steps = training(sources, out=options.out, settings=settings, start=options.start, card=card)
    out = drain(steps, show=show)
    _note(options, f"weights in {out}; use them with --model {out}")


# ---------------------------------------------------------------------------------------- score, info, cite, doctor


def _add_score(commands: Any) -> None:
    parser = _command(
        commands, "score", _score, "Compare labels with the truth.",
        "mitonb score labels.tif truth.tif",
        "mitonb score labels.ome.zarr truth.tif --iou 0.5 0.75 --json",
    )  # fmt: skip
    parser.add_argument("labels", metavar="LABELS")
    parser.add_argument("truth", metavar="TRUTH")
    parser.add_argument("--iou", nargs="+", type=float, default=[0.5, 0.75],
                        help="from which overlap on two objects match (default: 0.5 0.75)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print numbers for programs")


def _score(options: argparse.Namespace) -> None:
    from mitonb.io.reading import open_labels

    scores = mn.score(open_labels(options.labels), open_labels(options.truth), ious=tuple(options.iou))
    print(json.dumps(scores.as_dict(), indent=1) if options.json else scores)


def _add_info(commands: Any) -> None:
    parser = _command(
        commands, "info", _info, "Say what a file holds, from its headers.",
        "mitonb info cell.ome.zarr",
    )  # fmt: skip
    parser.add_argument("image", metavar="FILE")
    _add_reading(parser)


def _info(options: argparse.Namespace) -> None:
    stack = _open(options)
    z, y, x = stack.shape
    voxels = "unknown" if stack.voxel_size is None else "{:g} x {:g} x {:g} nm (z, y, x)".format(*stack.voxel_size)
    print(f"{stack.name}\n  shape       {z} x {y} x {x} (z, y, x)\n  dtype       {stack.dtype}")
    print(f"  size        {z * y * x * stack.dtype.itemsize / 1e6:,.1f} MB as voxels\n  voxel size  {voxels}")
    print("  intensity   {:g} to {:g}".format(*stack.intensity))
    for note in stack.notes:
        print(f"  note        {note}")


def _add_cite(commands: Any) -> None:
    parser = _command(commands, "cite", _cite, "List the papers to cite for a model.", "mitonb cite mito-mini")
    parser.add_argument("model", nargs="?", default="mito-mini")


def _cite(options: argparse.Namespace) -> None:
    print(mn.cite(options.model))


def _add_doctor(commands: Any) -> None:
    _command(commands, "doctor", _doctor, "Check this machine, and say how to mend what is wrong.", "mitonb doctor")


def _doctor(_: argparse.Namespace) -> int:
    report = mn.doctor()
    print(report)
    return 0 if report.healthy else 1


# -------------------------------------------------------------------------------------------------------- lab


def _add_lab(commands: Any) -> None:
    parser = _command(
        commands, "lab", _lab, "Open JupyterLab on a notebook that opens your file.",
        "mitonb lab",
        "mitonb lab cell.tif",
    )  # fmt: skip
    parser.add_argument("file", nargs="?", metavar="FILE", help="an image volume; the built-in phantom without")
    parser.add_argument("--voxel-size", **VOXEL_SIZE)
    parser.add_argument("--folder", type=Path, default=Path(), help="where notebook and results go (default: here)")
    parser.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    parser.add_argument("--write-only", action="store_true", help="write the notebook, start nothing")


def _lab(options: argparse.Namespace) -> int:
    from mitonb.quickstart import write_quickstart

    book, fresh = write_quickstart(options.folder, options.file, voxel_size=_voxel_size(options))
    _note(options, f"{'wrote' if fresh else 'found your earlier'} {book}")
    if options.write_only:
        return 0
    command = [sys.executable, "-m", "jupyterlab", str(book), *(["--no-browser"] if options.no_browser else [])]
    # Containers run as root, where Jupyter wants to be asked.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return subprocess.call([*command, "--allow-root"] if root else command)


# ----------------------------------------------------------------------------------------------- small things


def _command(commands: Any, name: str, run: Any, text: str, *examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n  ".join(["examples:", *examples]) + f"\n\n{EXIT_CODES}",
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading", "for files that do not say, or say it wrongly")
    group.add_argument("--voxel-size", **VOXEL_SIZE)
    group.add_argument("--channel", help="number of the channel, or mean")
    group.add_argument("--time", type=int, help="number of the moment of a time series")
    group.add_argument("--axes", help="the meaning of each axis, such as tczyx")
    group.add_argument("--series", help="which image of a file with several: number, level, name or path")


def _open(options: argparse.Namespace) -> Any:
    return mn.open(
        options.image, voxel_size=_voxel_size(options),
        channel=_number(options.channel), time=options.time, axes=options.axes, series=_number(options.series),
    )  # fmt: skip


def _voxel_size(options: argparse.Namespace) -> Any:
    """Return one size or (z, y, x) in nm, or None."""
    size = options.voxel_size
    if size is not None and len(size) not in (1, 3):
        raise InputError(f"--voxel-size takes one number or three (z y x) in nm, got {len(size)}.")
    return size if size is None else size[0] if len(size) == 1 else tuple(size)


def _number(text: str | None) -> Any:
    """Return the number that a text is, or the text."""
    return int(text) if text is not None and text.lstrip("-").isdigit() else text


def _check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a target that could not be written at the end."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already. Choose another name, or add --overwrite.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"There is no folder {path.absolute().parent} to save into. Make it first.")
    if not os.access(path.absolute().parent, os.W_OK):
        raise InputError(f"The folder {path.absolute().parent} is read-only. Save somewhere else.")


def _note(options: argparse.Namespace, *lines: str) -> None:
    """Tell what happens, beside the results."""
    if not getattr(options, "quiet", False):
        print(*lines, sep="\n", file=sys.stderr)


def _sentence(error: Exception) -> str:
    """Say in one sentence what went wrong."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "torch":
        return (
            "PyTorch is not installed, and running or training a network needs it. Install its CPU build with: "
            "pip install torch --index-url https://download.pytorch.org/whl/cpu"
        )
    if isinstance(error, MitonbError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or 'cannot be used').lower()}."
    return f"unexpected {type(error).__name__}: {error} (mitonb --traceback ... shows where)"


def _complain(sentence: str, code: int) -> int:
    print(f"mitonb: {' '.join(sentence.split())}", file=sys.stderr)
    return code
