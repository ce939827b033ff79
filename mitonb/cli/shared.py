"""What the commands share: how they are declared, how a file is read, where results may go, what is said."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mitonb as mn
from mitonb.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "EXIT_CODES",
    "VOXEL_SIZE",
    "add_reading",
    "add_trust",
    "check_outputs",
    "command",
    "make_folder",
    "note",
    "open_image",
    "read_json",
    "voxel_size",
]

VOXEL_SIZE: dict[str, Any] = {"nargs": "+", "type": float, "metavar": "NM", "help": "one size, or z y x, in nm"}
EXIT_CODES = "exit codes: 0 done, 1 it could not be done (one sentence says why), 2 wrong usage, 130 stopped by Ctrl-C"


def command(commands: Any, name: str, run: Any, text: str, *examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n  ".join(["examples:", *examples]) + f"\n\n{EXIT_CODES}",
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading", "for files that do not say these things, or say them wrongly")
    group.add_argument("--voxel-size", **VOXEL_SIZE)
    group.add_argument("--channel", help="number of the channel, or mean")
    group.add_argument("--time", type=int, help="number of the time point in a series")
    group.add_argument("--axes", help="the meaning of each axis, such as tczyx")
    group.add_argument("--series", help="which image of a file with several: number, level, name or path")


def add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust-code", metavar="HASH",
        help="sha256:... of a model that only its own code can run, such as a quantised one: it can then do on this "
        "computer whatever you can (docs/models.md)",
    )  # fmt: skip


def open_image(options: argparse.Namespace) -> Any:
    return mn.open(
        options.image, voxel_size=voxel_size(options),
        channel=_number(options.channel), time=options.time, axes=options.axes, series=_number(options.series),
    )  # fmt: skip


def voxel_size(options: argparse.Namespace) -> Any:
    """Return one size or (z, y, x) in nm, or None."""
    size = options.voxel_size
    if size is not None and len(size) not in (1, 3):
        raise InputError(f"--voxel-size takes one number or three (z y x) in nm, got {len(size)}.")
    return size if size is None else size[0] if len(size) == 1 else tuple(size)


def _number(text: str | None) -> Any:
    """Return the number that a text is, or the text."""
    return int(text) if text is not None and text.lstrip("-").isdigit() else text


def check_outputs(
    outputs: Iterable[tuple[str | None, Sequence[str]]],
    inputs: Iterable[str],
    *,
    overwrite: bool,
    folders: Sequence[str | None] = (),
) -> None:
    """Refuse outputs that could not be saved at the end, before hours of work.

    Parameters
    ----------
    outputs : iterable of (path, sequence of str)
        Where they go, and what their names may end in; None was not asked for.
    inputs : iterable of str
        Files that must not be replaced; what is none, such as the name of a model, is left out.
    overwrite : bool
        Whether what is there may be replaced.
    folders : sequence of path
        Those of the outputs that are folders, to which something is added.
    """
    from mitonb.io.outputs import check_output, require_apart

    apart = [path for path in inputs if os.path.exists(os.path.expanduser(path))]
    for path, endings in outputs:
        if path is None:
            continue
        for other in apart:
            require_apart(Path(path).expanduser(), other)
        if path not in folders:
            if os.path.lexists(os.path.expanduser(path)) and not overwrite:
                raise InputError(f"{path} already exists. Choose another name, or add --overwrite.")
            check_output(path, endings, overwrite=overwrite)
        apart.append(path)


def make_folder(path: str) -> None:
    """Make a folder for what stays beside the results; its own folder must be there."""
    from mitonb.io.outputs import check_output

    try:
        Path(path).expanduser().mkdir(exist_ok=True)
        check_output(Path(path) / "x")
    except OSError as error:
        raise InputError(f"The folder {path} cannot be made: {error.strerror or error}. Choose another one.") from None


def note(options: argparse.Namespace, *lines: str) -> None:
    """Tell what happens, beside the results."""
    if not getattr(options, "quiet", False):
        print(*lines, sep="\n", file=sys.stderr)


def read_json(path: str, what: str) -> Any:
    """Read a JSON file; `what` says, in the error, what should be in it."""
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:  # no JSON, or no text at all
        raise InputError(f"{path} is not JSON: {error}. {what}") from None
