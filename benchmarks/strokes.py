"""What ten strokes on one plane are worth on the other planes, and how long it takes to learn from them.

    MITONB_DATA_DIR=/path/to/data python -m benchmarks.strokes --models FOLDER [--only vnc nerve] [--seed 0]

FOLDER holds NAME.safetensors for each set: a model that was trained without it (`python -m training.mito_mini OUT
--leave-out SET`). The user is simulated: seven strokes of up to 80 pixels lie in the largest places where the model is
wrong, the others confirm what is right, so that there are at least three of each kind: on mitochondria that it finds,
and on what it takes for none, but hardly. Of stacks one plane teaches and up to three others are measured, of single
sections one half teaches and the other is measured. Foreground IoU of the map before and after.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import cc3d
import numpy as np
from scipy import ndimage

import mitonb as mn
from benchmarks.generality import foreground_iou
from benchmarks.verdicts import sets
from mitonb.errors import InputError

STROKES, ERRORS, FEWEST = 10, 7, 3
LONG, RADIUS = 80, 3


def chances(stack: mn.Stack, model: str, planes: list[int]) -> np.ndarray:
    net = mn.load_model(Path(model) if model.endswith(".safetensors") else model)
    return np.stack([mn.predict(stack.plane(z), model=net).semantic[0] for z in planes]) / 255


def stroke(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (row, column) of the ends of a line inside of a place: from somewhere in its middle far across."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    middle = np.argwhere(depth >= min(RADIUS + 1, 0.7 * depth.max()))
    first = middle[rng.integers(len(middle))]
    last = middle[((middle - first) ** 2).sum(1).argmax()]
    return np.stack([first, first + (last - first) * min(1, LONG / max(1, np.hypot(*(last - first))))])


def places(mask: np.ndarray) -> list[np.ndarray]:
    """Return the connected places of a mask, the largest first, without threads of it."""
    ids = cc3d.connected_components(ndimage.binary_opening(mask, iterations=2).astype(np.uint8))
    return [ids == k for k in np.argsort(-np.bincount(ids.ravel())[1:])[: 2 * STROKES] + 1]


def draw(session: mn.Session, z: int, chance: np.ndarray, truth: np.ndarray, known: np.ndarray, seed: int) -> str:
    """Draw as a user would; return how many strokes of each kind."""
    rng, found = np.random.default_rng(seed), chance >= 0.5
    wrong = [(place, kind) for kind in (True, False) for place in places(known & (truth == kind) & (found != kind))]
    wrong = sorted(wrong, key=lambda one: -one[0].sum())[:ERRORS]
    right = places(known & truth & found)
    rng.shuffle(right)
    calm = known & ~found & ~ndimage.binary_dilation(truth, iterations=4)
    while len(wrong) < STROKES:
        kinds = [kind for _, kind in wrong]
        if right and sum(kinds) <= len(kinds) / 2:
            wrong.append((right.pop(), True))
            continue
        y, x = np.unravel_index(np.where(calm, ndimage.gaussian_filter(chance, 2), -1).argmax(), calm.shape)
        near = np.s_[max(0, y - 15) : y + 15, max(0, x - 15) : x + 15]
        place = np.zeros_like(calm)
        place[near] = calm[near]
        wrong.append((place, False))
        calm[max(0, y - 45) : y + 45, max(0, x - 45) : x + 45] = False
    for place, kind in wrong:
        line = np.insert(stroke(place, rng), 0, z, axis=1)
        (session.teach_mito if kind else session.teach_not)(line, radius=RADIUS)
    kinds = [kind for _, kind in wrong]
    return f"{sum(kinds)} is, {len(kinds) - sum(kinds)} is not"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", type=int, default=0, help="plane, or half of a section, that teaches")
    options = parser.parse_args()
    print("set        strokes             IoU of the others        strokes right   phantoms         seconds")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MITONB_MODEL_DIR"] = folder
        for name, stack, truth, parts in sets(Path(os.environ["MITONB_DATA_DIR"]), whole=True):
            start = options.models / f"{name}.safetensors"
            if not start.is_file() or (options.only and name not in options.only):
                continue
            part = np.broadcast_to(parts[options.part], truth.shape)
            others = np.broadcast_to(np.any(np.broadcast_arrays(*parts), 0), truth.shape) & ~part
            z = int(part.any((1, 2)).argmax())
            there = np.flatnonzero(others.any((1, 2)))
            few = there[np.unique(np.linspace(len(there) // 3, len(there) - 1, 3).astype(int))].tolist()
            seen = others[few]
            first = chances(stack, str(start), [z, *few])
            session = mn.Session(stack)
            kinds = draw(session, z, first[0], truth[z], part[z], options.seed)
            before = foreground_iou((first[1:] >= 0.5)[seen], truth[few][seen])
            began = time.monotonic()
            try:
                taught = mn.teach_strokes(
                    session, recipe=mn.Recipe(model=str(start)), name=f"{name}-taught", show=False
                )
            except InputError as error:
                print(f"{name:10} {kinds:18}  {before:.3f}  stays: {error}", flush=True)
                continue
            took = time.monotonic() - began
            after = foreground_iou((chances(stack, taught.model, few) >= 0.5)[seen], truth[few][seen])
            right, drawn = ("{:.2f} -> {:.2f}".format(*ends) for ends in (taught.right, taught.reference))
            told = f"{before:.3f} -> {after:.3f} ({after - before:+.3f})"
            print(f"{name:10} {kinds:18}  {told}  {right}   {drawn}   {took:.0f}", flush=True)


if __name__ == "__main__":
    main()
