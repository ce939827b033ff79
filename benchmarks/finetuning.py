"""What a few own squares bring: k squares of a set, five minutes of finetuning, scores elsewhere and on phantoms.

    MITONB_DATA_DIR=/path/to/data python -m benchmarks.finetuning --sets cortex --start FILE [--squares 1 3 8]

Give a model that was trained without the set (`python -m training.mito_mini OUT --leave-out SET`). The squares have 256
pixels. Of stacks they lie in the planes that training may see, and the held-out planes are scored; of single sections
they lie in the upper half, and what lies 32 pixels below is scored. In-domain is what the bundled model reaches there,
which has seen the set. Forgetting is what the model loses on eight planes of phantoms, and on one held-out plane of
each of three stacks (--known, by default those that are not in the table).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

import mitonb as mn
from benchmarks.accuracy import real_cases
from benchmarks.generality import foreground_iou, sections
from mitonb.job import drain
from mitonb.learn.scoring import judging, reference_patches

SIDE = 256
UNKNOWN = 2**16 - 1
SIZES = {"vnc": (50, 4.6, 4.6), "neuropil": (50, 8, 8), "epfl": (10, 10, 10), "cortex": (30, 6, 6)}
"""Voxel sizes in nm; those of cortex and neuropil are not stated anywhere, about these."""


def parts(data: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images and ids to take squares from, and those to score on; all (z, y, x)."""
    for case in real_cases(data, "inner"):
        if case.name == name:
            held = next(c for c in real_cases(data, "holdout") if c.name == name)
            first = case.planes.start
            return (
                case.stack.read()[:first],
                case.truth[:first],
                held.stack.read()[held.planes],
                held.truth[held.planes],
            )
    image, truth, counts = next(rest for found, *rest in sections(data) if found == name)
    truth[~counts] = UNKNOWN
    half = len(image) // 2
    return image[None, :half], truth[None, :half], image[None, half + 32 :], truth[None, half + 32 :]


def squares(image: np.ndarray, ids: np.ndarray, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return squares that hold some mitochondria, as a user would choose them, no two of one place."""
    h, w = (n // SIDE * SIDE for n in image.shape[1:])
    corners = [(z, y, x) for z in range(len(image)) for y in range(0, h, SIDE) for x in range(0, w, SIDE)]
    cuts = [np.s_[z, y : y + SIDE, x : x + SIDE] for z, y, x in np.random.default_rng(seed).permutation(corners)]
    return [(image[cut], ids[cut]) for cut in cuts if ((ids[cut] > 0) & (ids[cut] < UNKNOWN)).mean() > 0.002][:count]


def iou(model: mn.Trained | str, image: np.ndarray, truth: np.ndarray, size: object) -> float:
    stack, net = mn.Stack(image, size), mn.load_model(model)
    found = np.stack([mn.predict(stack.plane(z), model=net).semantic[0] >= 128 for z in range(len(truth))])
    return foreground_iou(found & (truth < UNKNOWN), (truth > 0) & (truth < UNKNOWN))


def remembered(model: mn.Trained | str, known: dict[str, tuple[np.ndarray, np.ndarray, object]]) -> dict[str, float]:
    """Return the IoU of the phantoms that nothing trains on, and of one plane of each known set."""
    drawn = drain(judging(mn.load_model(model), reference_patches()), show=False).iou
    return {"phantoms": drawn, **{name: iou(model, *one) for name, one in known.items()}}


def told(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {score:.3f}" for name, score in scores.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["cortex"])
    parser.add_argument("--start", default="mito-mini")
    parser.add_argument("--squares", nargs="+", type=int, default=[1, 3, 8])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, help="instead of minutes, so that the load of the machine does not count")
    parser.add_argument("--replay", type=float, default=0.4)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--freeze", type=int, default=0)
    parser.add_argument("--known", nargs="*")
    parser.add_argument("--hold", type=float, default=0.2)
    options = parser.parse_args()
    data = Path(os.environ["MITONB_DATA_DIR"])
    others = [name for name in ("vnc", "neuropil", "epfl") if name not in options.sets]
    seen = {name: parts(data, name)[2:] for name in (others if options.known is None else options.known)}
    known = {name: (image[:1], truth[:1], SIZES[name]) for name, (image, truth) in seen.items()}
    before = remembered(options.start, known)
    print("before:", told(before))
    lasting = {"steps": options.steps} if options.steps else {"minutes": options.minutes}
    more = {"rate": options.rate} if options.rate else {}
    print("set         k   held-out IoU     in-domain   lost elsewhere   seconds")
    for name in options.sets:
        image, ids, held, truth = parts(data, name)
        size = SIZES.get(name)
        first, best = (iou(model, held, truth, size) for model in (options.start, "mito-mini"))
        for k in options.squares:
            pairs = [mn.Pair(*square, UNKNOWN, voxel_size=size) for square in squares(image, ids, k, seed=0)]
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                made = mn.finetune(
                    pairs, Path(folder) / "own", start=options.start, hold=options.hold, replay=options.replay,
                    freeze=options.freeze, show=False, **lasting, **more,
                )  # fmt: skip
                took = time.monotonic() - began
                after, now = iou(made, held, truth, size), remembered(made, known)
            lost = told({key: before[key] - now[key] for key in before})
            print(f"{name:10} {len(pairs):2}   {first:.3f} -> {after:.3f}   {best:.3f}   {lost}   {took:.0f}")
            print("             ", made.notes[-1], flush=True)


if __name__ == "__main__":
    main()
