"""`mitonb score`: labels against the truth."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mitonb as mn
from mitonb.cli.shared import command
from mitonb.errors import InputError
from mitonb.stack import AXES

if TYPE_CHECKING:
    import argparse

__all__ = ["add_score"]


def add_score(commands: Any) -> None:
    parser = command(
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


def _score(options: argparse.Namespace) -> None:
    from mitonb.accuracy import score_planes, size_notes
    from mitonb.io.reading import open_ids, probe

    labels, truth = open_ids(options.labels), open_ids(options.truth)
    settings: dict[str, Any] = {"ious": options.iou, "ignore": options.ignore, "smallest": options.smallest}
    if options.planes and options.ranking:
        raise InputError("Profiles of planes are ranked by their size only. Leave out --ranking or --planes.")
    if options.ranking:
        settings["ranking"] = mn.open(options.ranking).read()
    if options.planes:
        scores = score_planes(labels, truth, axis=options.planes, **settings)
    else:
        scores = mn.score(labels, truth, **settings)
    scores = replace(scores, notes=size_notes(*(probe(path).voxel_size for path in (options.labels, options.truth))))
    if options.json:
        print(json.dumps(scores.as_dict(), indent=1))
        return
    print(scores)
    for mistake in scores.mistakes() if options.mistakes else ():
        print(f"{mistake.kind:>8}: labels {_listed(mistake.ids)}; truth {_listed(mistake.truths)}")


def _listed(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids)) or "none"
