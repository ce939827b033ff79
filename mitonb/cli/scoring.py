"""`mitonb score`: labels against the truth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mitonb as mn
from mitonb.cli.shared import command

if TYPE_CHECKING:
    import argparse

__all__ = ["add_score"]


def add_score(commands: Any) -> None:
    parser = command(
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
