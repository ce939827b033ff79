"""Whether explanations of pixels are right, and how long they take.

    [MITONB_DATA_DIR=/path/to/data] python -m benchmarks.microscope [--pixels 1000]

Right: each is compared with a decoder in plain numpy that shares no line with ours (tests/post/brute.py), on random
pixels of planes of phantoms and of what the bundled network says of real EM, by our rules and by the published ones. It
stops at the first that differs. Time: the first explanation of a plane decodes it, the next ones do not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np

import mitonb as mn
from benchmarks.decode import drawn_maps
from mitonb.post.microscope import Microscope
from mitonb.recipe import PRESETS
from tests.post.test_microscope import compare, noisy

RECIPES = {"ours": mn.Recipe(), "published": PRESETS["empanada"]}


def planes() -> list[tuple[str, mn.Maps]]:
    """Return maps by what they are of."""
    model = mn.load_model("mito-mini")
    stacks = {"islet": mn.sample("islet"), "medulla": mn.sample("medulla")}
    folder = os.environ.get("MITONB_DATA_DIR")
    epfl = sorted(Path(folder, "epfl_hippocampus").glob("raw*.tif")) if folder else []
    stacks |= {f"epfl, {path.name}": mn.open(path) for path in epfl[:1]}
    drawn = [
        (f"phantom {seed}, stride {stride}", noisy(stride, seed=seed)) for seed, stride in ((0, 1), (1, 4), (2, 4))
    ]
    seen = [(name, mn.predict(stack.plane(stack.shape[0] // 2), model=model).kept()) for name, stack in stacks.items()]
    return drawn + seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, default=1000)
    options = parser.parse_args()
    for name, maps in planes():
        for rules, recipe in RECIPES.items():
            reasons = compare(maps, recipe, options.pixels)
            said = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
            print(f"{name}, {rules}: {options.pixels} pixels equal ({said})", flush=True)
    print("\n1024 x 1024, ms of CPU time: first explanation of a plane, the next ones, what another threshold changes")
    for stride, rules in ((4, "ours"), (1, "ours"), (4, "published")):
        maps, times = drawn_maps(1024, 200, stride), []
        pixels = np.random.default_rng(0).integers(0, 1024, (50, 2))
        for repeat in range(6):
            lens, times = Microscope(maps, RECIPES[rules]), times if repeat else []
            for y, x in pixels:
                start = time.thread_time()
                lens.explain(y, x)
                times.append(1e3 * (time.thread_time() - start))
            if not repeat:
                times.clear()
        first, later = times[:: len(pixels)], [t for k, t in enumerate(times) if k % len(pixels)]
        ahead = []
        for threshold in (0.4, 0.5, 0.6) * 4:
            start = time.thread_time()
            mn.foresee(maps, RECIPES[rules], semantic_threshold=threshold)
            ahead.append(1e3 * (time.thread_time() - start))
        medians = [statistics.median(part) for part in (first, later, ahead)]
        print(f"stride {stride}, {rules}: {medians[0]:.0f}, {medians[1]:.1f}, {medians[2]:.0f}")


if __name__ == "__main__":
    main()
