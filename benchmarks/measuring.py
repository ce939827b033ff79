"""How exact measurements are on shapes whose answers are known, and how long 2,000 objects take.

    python -m benchmarks.measuring [--seeds 5] [--objects 2000] [--side 512] [--json measuring.json]

Balls, ellipsoids, cylinders, rings and Y-shaped tubes (drawn by tests/core/test_shapes.py), turned and moved, at
cubic voxels and at sections five times as thick as a pixel. The figure is the worst error of all seeds in per cent.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mitonb.measurements import measure

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "core"))
from test_shapes import shape


def errors(kind: str, unit: tuple[float, float, float], seeds: int) -> dict[str, Any]:
    """Return the worst errors of one shape in per cent, and how often the number of forks was right."""
    found: dict[str, list[float]] = {"volume": [], "surface": [], "length": []}
    right = 0
    for seed in range(seeds):
        inside, *truth, forks = shape(kind, unit, seed)
        row = measure(inside, voxel_size=unit, also=("shape", "skeleton")).iloc[0]
        values = row.volume_um3 * 1e9, row.surface_um2 * 1e6, row.skeleton_nm
        for name, value, true in zip(found, values, truth, strict=True):
            if true is not None:
                found[name].append(100 * (value / true - 1))
        right += int(row.branch_points) == forks
    worst = {name: round(max(some, key=abs), 2) for name, some in found.items() if some}
    return {"shape": kind, "voxels": unit, **worst, "forks right": f"{right} of {seeds}"}


def crowd(count: int, side: int) -> np.ndarray:
    """Return a volume of short rods."""
    rng, out = np.random.default_rng(0), np.zeros((side,) * 3, np.uint32)
    for k in range(1, count + 1):
        middle, along, r, half = (
            rng.integers(30, side - 30, 3),
            rng.normal(size=3),
            rng.uniform(5, 9),
            rng.uniform(3, 18),
        )
        along /= np.linalg.norm(along)
        reach = int(r + half + 2)
        part = out[tuple(slice(c - reach, c + reach + 1) for c in middle)]
        at = np.indices(part.shape).transpose(1, 2, 3, 0) - float(reach)
        off = np.linalg.norm(at - np.clip(at @ along, -half, half)[..., None] * along, axis=-1)
        part[(off <= r) & (part == 0)] = k
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--json")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for unit in ((2.0, 2.0, 2.0), (5.0, 1.0, 1.0)):
        for kind in ("ball", "ellipsoid", "cylinder", "ring", "Y"):
            rows.append(errors(kind, unit, given.seeds))
            print(rows[-1], flush=True)
    ids = crowd(given.objects, given.side)
    for also in ((), ("shape",), ("shape", "skeleton"), "all"):
        start, cpu = time.perf_counter(), time.process_time()
        table = measure(ids, voxel_size=10, also=also)
        seconds = round(time.perf_counter() - start, 1), round(time.process_time() - cpu, 1)
        rows.append({"objects": len(table), "also": also, "seconds": seconds[0], "CPU seconds": seconds[1]})
        print(rows[-1], flush=True)
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
