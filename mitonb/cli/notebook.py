"""`mitonb lab`: JupyterLab on a notebook that opens your file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitonb.cli.shared import VOXEL_SIZE, command, note, voxel_size

if TYPE_CHECKING:
    import argparse

__all__ = ["add_lab"]


def add_lab(commands: Any) -> None:
    parser = command(
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

    book, fresh = write_quickstart(options.folder, options.file, voxel_size=voxel_size(options))
    note(options, f"{'wrote' if fresh else 'found your earlier'} {book}")
    if options.write_only:
        return 0
    command = [sys.executable, "-m", "jupyterlab", str(book), *(["--no-browser"] if options.no_browser else [])]
    # Containers run as root, where Jupyter wants to be asked.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return subprocess.call([*command, "--allow-root"] if root else command)
