"""What the fast engines make of the labels of mito-mini, on planes that no choice was made by.

    python -m benchmarks.network_labels            # or: python -m benchmarks.network --held-out

Label IoU with the exact engine, plane by plane, at the default recipe: each precision by itself, and `fast` as a run
has it, which looks at tiles as it goes and falls back. Needs MITONB_DATA_DIR with the sets of its README.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mitonb.infer.engines import OpenVinoEngine, TorchEngine
from mitonb.infer.engines.vino import Program, has_bf16, openvino_is_there
from mitonb.infer.predict import Predictor, label_iou
from mitonb.models.zoo import load_model
from mitonb.post.decoding import decode
from mitonb.recipe import Recipe
from mitonb.stack import Plane, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitonb.models.zoo import Model

HELD_OUT = {
    "vnc_sstem/raw.tif": range(11, 14),
    "neuropil_sbem/raw.tif": range(17, 20),
    "epfl_hippocampus/raw_10nm.tif": range(70, 82),
}


def sets() -> Iterator[tuple[str, list[Plane]]]:
    import tifffile

    for file, planes in HELD_OUT.items():
        stack = Stack(tifffile.imread(Path(os.environ["MITONB_DATA_DIR"]) / file))
        yield file.split("/")[0], [stack.plane(k) for k in planes]


def predictors(made: Model) -> dict[str, Predictor]:
    """Return one predictor for each way: new ones for each stack, since a check is for a run."""
    found = {"exact": Predictor(made, Recipe()), "fast": Predictor(made, Recipe(engine="fast"))}
    if openvino_is_there():
        program = Program(made.net)
        engines = {"int8": OpenVinoEngine(program, "int8", samples=found["exact"]._samples())}
        if has_bf16():
            engines["bf16"] = OpenVinoEngine(program, "bf16")
    else:
        engines = {"bf16": TorchEngine(made.net, precision="bf16")}
    for name, engine in engines.items():
        found[name] = Predictor(made, Recipe())
        found[name]._runner = engine  # unchecked
    return found


def labels(predictor: Predictor, plane: Plane) -> np.ndarray:
    steps = predictor.steps(plane)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return decode(end.value, predictor.recipe)


def main() -> None:
    made = load_model("mito-mini")
    every: dict[str, list[float]] = {}
    for name, planes in sets():
        ways = predictors(made)
        for plane in planes:
            true = labels(ways["exact"], plane)
            row = {way: label_iou(labels(p, plane), true) for way, p in ways.items() if way != "exact"}
            for way, iou in row.items():
                every.setdefault(way, []).append(iou)
            said = "  ".join(f"{way} {iou:.4f}" for way, iou in row.items())
            print(f"{name:>18} {plane.index:>3}  {said}  {ways['fast'].engine_record['precision']}", flush=True)
        for note in ways["fast"].notes:
            print(f"{'':>18} fast: {note}")
    for way, found in every.items():
        enough = sum(iou >= 0.995 for iou in found)
        print(f"{way}: mean {np.mean(found):.4f}, least {min(found):.4f}, {enough} of {len(found)} at 0.995 or more")


if __name__ == "__main__":
    main()
