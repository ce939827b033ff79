"""Nets of blocks beside that of planes on the same held-out block: EPFL hippocampus at 5 nm, planes 140 to 164.

    MITONB_DATA_DIR=/path/to/data python -m benchmarks.blocks [MODEL ...]

Each model runs through `mn.segment`; without models it is the bundled one, the panoptic path, along z and along all
three axes. What is read are planes 124 to 164, of which those of the gap (124 to 139) only give context; nothing was
learned from either. Scores are those of objects that are cut off at plane 140.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

import mitonb as mn

FIRST, SCORED = 124, 140


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    options = parser.parse_args()
    folder = Path(os.environ["MITONB_DATA_DIR"]) / "epfl_hippocampus"
    image = np.concatenate([mn.open(path).read() for path in sorted(folder.glob("raw_5nm*.tif"))])[FIRST:]
    truth = mn.open_labels(folder / "mito_instances_5nm.tif").data[SCORED:]
    stack = mn.Stack(image, voxel_size=(5, 5, 5))
    every = ("xy", "xz", "yz")
    recipes = [(name, mn.Recipe(model=name)) for name in options.models] or [
        ("mito-mini, along z", mn.Recipe()), ("mito-mini, along x, y and z", mn.Recipe(planes=every)),
    ]  # fmt: skip
    print(f"{'':30} {'IoU':>6} {'F1':>6} {'F1@75':>6} {'AP-50':>6} {'AP-75':>6} {'PQ':>6} {'s':>5}")
    for name, recipe in recipes:
        began = time.perf_counter()
        found = mn.segment(stack, recipe, show=False).data[SCORED - FIRST :]
        s = mn.score(found, truth)
        row = (s.iou, s.at(0.5).f1, s.at(0.75).f1, s.ap(0.5), s.ap(0.75), s.at(0.5).pq)
        print(f"{Path(name).name:30}", *(f"{v:6.3f}" for v in row), f"{time.perf_counter() - began:5.0f}", flush=True)


if __name__ == "__main__":
    main()
