"""What ten marks on one plane are worth on the other planes, and how long it takes to learn them.

    MITONB_DATA_DIR=/path/to/data python -m benchmarks.verdicts [--model FILE] [--marks 10] [--below 0.2] [--whole]

The user is simulated: he marks objects at random, right where more than half of one is in the truth. Of single
sections one half teaches and the other is measured. Foreground IoU before and after, mean over planes and 20 users; the
worst user; the gain of a filter that knows the truth. The bundled model has seen the training planes of three sets, of
which the held-out planes are taken, and the single sections: `--whole` takes all planes, for a model trained without.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import fastremap
import numpy as np

import mitonb as mn
from benchmarks.accuracy import real_cases
from benchmarks.generality import KNOWN_SIZE, foreground_iou, sections
from mitonb.post.verdicts import false_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = 20
Set = tuple[str, mn.Stack, np.ndarray, list[np.ndarray]]


def sets(data: Path, *, whole: bool) -> Iterator[Set]:
    """Yield name, stack, truth, and the parts (bool arrays of voxels) of which each teaches in turn."""
    for case in real_cases(data, "held"):
        planes = slice(None) if whole else case.planes
        truth, size = case.truth[planes] > 0, KNOWN_SIZE[case.name]
        stack = dataclasses.replace(
            case.stack, data=case.stack.read()[planes], voxel_size=case.stack.voxel_size or (size,) * 3
        )
        yield case.name, stack, truth, [np.arange(len(truth))[:, None, None] == z for z in range(len(truth))]
    for name, image, ids, counts in sections(data):
        left = np.arange(image.shape[1])[None, None] < image.shape[1] // 2
        yield name, mn.Stack(image[None]), (ids > 0)[None], [left & counts[None], ~left & counts[None]]


def profiles(stack: mn.Stack, recipe: mn.Recipe) -> tuple[np.ndarray, list[mn.Maps]]:
    """Return ids of each plane by itself, no id twice, and the maps."""
    model, planes, maps, first = mn.load_model(recipe.model), [], [], 0
    for z in range(stack.shape[0]):
        maps.append(mn.predict(stack.plane(z), model=model, recipe=recipe))
        ids = mn.decode(maps[-1], recipe).astype(np.uint32)
        planes.append(np.where(ids > 0, ids + first, 0).astype(np.uint32))
        first = max(first, int(planes[-1].max()))
    return np.stack(planes), maps


def measure(case: Set, recipe: mn.Recipe, marks: int, below: float) -> dict[str, float]:
    """Return the figures of one set."""
    _, stack, truth, given_parts = case
    ids, maps = profiles(stack, recipe)
    began = time.perf_counter()
    features = mn.describe_objects(ids, stack, maps=lambda z: maps[z])
    describing = time.perf_counter() - began
    number, shared = np.bincount(ids.ravel()), np.bincount(ids[truth], minlength=int(ids.max()) + 1)
    right = {id: bool(2 * shared[id] > number[id]) for id in features.index}
    parts = [np.broadcast_to(part, ids.shape) for part in given_parts]
    counted = np.any(parts, axis=0)
    before, after, perfect, took = list[float](), list[float](), list[float](), list[float]()
    for part in parts:
        rest = counted & ~part
        there = fastremap.unique(ids[part & (ids > 0)])
        base = foreground_iou((ids > 0)[rest], truth[rest])
        kept = fastremap.mask(ids, [id for id, good in right.items() if not good])
        for user in range(USERS):
            chosen = np.random.default_rng(user).permutation(there)[:marks].tolist()
            given = {int(id): right[id] for id in chosen}
            before.append(base)
            perfect.append(foreground_iou((kept > 0)[rest], truth[rest]))
            after.append(base)
            if len(set(given.values())) == 2:  # else he has nothing to compare
                began = time.perf_counter()
                gone = false_ids(mn.learn_verdicts(features, given, below=below), features)
                took.append(time.perf_counter() - began)
                after[-1] = foreground_iou((fastremap.mask(ids, gone) > 0)[rest], truth[rest])
    gains = np.array(after) - before
    return {
        "objects": len(features), "false": sum(not good for good in right.values()), "IoU before": np.mean(before),
        "after": np.mean(after), "gain": gains.mean(), "worst": gains.min(),
        "perfect": np.mean(perfect) - np.mean(before), "taught": len(took) / len(gains), "describe s": describing,
        "learn and judge s": float(np.median(took)) if took else float("nan"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="mito-mini")
    parser.add_argument("--marks", type=int, default=10)
    parser.add_argument("--below", type=float, default=0.2)
    parser.add_argument("--only", nargs="+", help="names of sets")
    parser.add_argument("--whole", action="store_true", help="all planes, for a model that has not seen the set")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = os.environ.get("MITONB_DATA_DIR")
    if not folder:
        raise SystemExit("Set MITONB_DATA_DIR to the folder that holds vnc_sstem, cortex_sstem and the others.")
    found = {}
    for case in sets(Path(folder), whole=options.whole):
        if not options.only or case[0] in options.only:
            found[case[0]] = measure(case, mn.Recipe(model=options.model), options.marks, options.below)
            print(f"{case[0]:9s}", "  ".join(f"{k} {v:.3g}" for k, v in found[case[0]].items()), flush=True)
    gains = [row["gain"] for row in found.values() if row["perfect"] >= 0.1]
    if gains:
        print(f"mean gain where a perfect filter gains 0.1: {np.mean(gains):.3f} over {len(gains)} sets")
    if options.json:
        options.json.write_text(json.dumps({k: {n: float(v) for n, v in row.items()} for k, row in found.items()}))


if __name__ == "__main__":
    main()
