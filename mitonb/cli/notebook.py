"""`mitonb lab`: JupyterLab on a notebook that opens your file."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitonb.cli.shared import VOXEL_SIZE, command, note, voxel_size
from mitonb.errors import InputError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_lab"]


def add_lab(commands: Any) -> None:
    parser = command(
        commands, "lab", _lab, "Open JupyterLab on a notebook that opens your file.",
        "mitonb lab",
        "mitonb lab cell.tif",
    )  # fmt: skip
    parser.add_argument("file", nargs="?", metavar="FILE", help="an image volume (default: a drawn one)")
    parser.add_argument("--voxel-size", **VOXEL_SIZE)
    parser.add_argument("--folder", type=Path, default=Path(), help="where notebook and results go (default: here)")
    parser.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    parser.add_argument("--write-only", action="store_true", help="write the notebook, start nothing")


def _lab(options: argparse.Namespace) -> int:
    from mitonb.quickstart import write_quickstart

    book, fresh = write_quickstart(options.folder, options.file, voxel_size=voxel_size(options))
    note(options, f"{'wrote' if fresh else 'found your earlier'} {book}")
    if options.write_only:
        return 0
    if not find_spec("jupyterlab"):
        raise InputError(
            f"JupyterLab is not installed here. Install it with: pip install jupyterlab ipykernel. Or open {book} in "
            "the notebook program that you use, with the Python of this environment."
        )
    command = [sys.executable, "-m", "jupyterlab", str(book), *(["--no-browser"] if options.no_browser else [])]
    # Containers run as root, where Jupyter wants to be asked.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return become([*command, "--allow-root"] if root else command)


def become(command: list[str]) -> int:
    """Go on as another program: what stops this process, such as SIGTERM, then stops Jupyter with its kernels."""
    sys.stderr.flush()
    if os.name == "nt":  # there exec starts a second process and ends this one: the terminal would take it for the end
        return subprocess.call(command)
    os.execv(command[0], command)
