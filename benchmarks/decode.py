"""How fast a plane is decoded again from kept maps, as when a slider moves.

    python -m benchmarks.decode [--repeats 25] [--json decode.json]

Drawn ellipses that touch, 40 to 50 % of the plane: more than in any real picture. `redecode` is what a slider costs:
the median over three kept planes, centers, grouping and profiles; `cpu` is the same in processor time, which other
work on the machine disturbs less. One thread; the net is not run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from mitonb.infer.kept import KeptMaps
from mitonb.post.decoding import decode
from mitonb.post.target_maps import targets
from mitonb.recipe import Recipe


def ellipses(size: int, count: int, seed: int = 0) -> np.ndarray:
    """Draw a grid of ellipses of random shape, touching here and there."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(count)))
    pitch = size / side
    labels = np.zeros((size, size), np.uint32)
    for k in range(count):
        cy, cx = (k // side + 0.5) * pitch, (k % side + 0.5) * pitch
        a, b = rng.uniform(0.3, 0.52, 2) * pitch
        turn = rng.uniform(0, np.pi)
        low, high = (np.array([cy, cx]) - pitch).astype(int).clip(0), (np.array([cy, cx]) + pitch).astype(int)
        here = labels[low[0] : high[0], low[1] : high[1]]
        y, x = np.indices(here.shape) + low[:, None, None]
        u = (y - cy) * np.cos(turn) + (x - cx) * np.sin(turn)
        v = (x - cx) * np.cos(turn) - (y - cy) * np.sin(turn)
        here[((u / a) ** 2 + (v / b) ** 2 < 1) & (here == 0)] = k + 1
    return labels


def median_ms(work, repeats: int) -> tuple[float, float]:
    """Return the median wall and processor time of a call in ms, after one call to warm up."""
    work()
    wall, cpu = [], []
    for _ in range(repeats):
        a, b = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - a)
        cpu.append(time.process_time() - b)
    return statistics.median(wall) * 1e3, statistics.median(cpu) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    recipe = Recipe()
    rows = []
    print(f"{'plane':>10} {'objects':>8} {'head':>7} {'redecode':>11} {'cpu':>9} {'found':>6}")
    for size in (512, 1024, 2048):
        for count in (20, 200, 1000):
            labels = ellipses(size, count)
            for step in (4, 1):
                maps = targets(labels, step=step)
                kept = KeptMaps((3, size, size), "memory")
                for z in range(3):
                    kept.put("xy", z, maps)
                wall, cpu = median_ms(lambda: decode(kept.plane("xy", 1, recipe.median), recipe), options.repeats)  # noqa: B023
                found = int(decode(kept.plane("xy", 1, 3), recipe).max())
                head = "coarse" if step == 4 else "fine"
                rows.append({"size": size, "objects": count, "head": head, "ms": wall, "cpu_ms": cpu, "found": found})
                print(f"{size:>5}^2    {count:>8} {head:>7} {wall:>8.2f} ms {cpu:>6.2f} ms {found:>6}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
