"""`mitonb info`, `cite` and `doctor`: questions that are answered at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mitonb as mn
from mitonb.cli.shared import add_reading, command, open_image

if TYPE_CHECKING:
    import argparse

__all__ = ["add_cite", "add_doctor", "add_info"]


def add_info(commands: Any) -> None:
    parser = command(
        commands, "info", _info, "Say what a file holds, from its headers.",
        "mitonb info cell.ome.zarr",
    )  # fmt: skip
    parser.add_argument("image", metavar="FILE")
    add_reading(parser)


def _info(options: argparse.Namespace) -> None:
    stack = open_image(options)
    z, y, x = stack.shape
    voxels = "unknown" if stack.voxel_size is None else "{:g} x {:g} x {:g} nm (z, y, x)".format(*stack.voxel_size)
    print(f"{stack.name}\n  shape       {z} x {y} x {x} (z, y, x)\n  dtype       {stack.dtype}")
    print(f"  size        {z * y * x * stack.dtype.itemsize / 1e6:,.1f} MB as voxels\n  voxel size  {voxels}")
    print("  intensity   {:g} to {:g}".format(*stack.intensity))
    for note in stack.notes:
        print(f"  note        {note}")


def add_cite(commands: Any) -> None:
    parser = command(commands, "cite", _cite, "List the papers to cite when you use a model.", "mitonb cite mito-mini")
    parser.add_argument("model", nargs="?", default="mito-mini")


def _cite(options: argparse.Namespace) -> None:
    print(mn.cite(options.model))


def add_doctor(commands: Any) -> None:
    command(commands, "doctor", _doctor, "Check this machine, and say how to fix what is wrong.", "mitonb doctor")


def _doctor(_: argparse.Namespace) -> int:
    report = mn.doctor()
    print(report)
    return 0 if report.healthy else 1
