"""How fast profiles of three directions become labels: tracking, consensus, cleaning; and what memory that takes.

    python -m benchmarks.volume [--shape 256 512 512] [--objects 300] [--json volume.json]

Drawn tubes, cut into planes along three directions; each plane is moved by up to a voxel and some profiles are lost, so
that the directions disagree. Input: ids per plane of three directions. Output: labels. One thread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import psutil

from mitonb.post.cleaning import clean
from mitonb.post.profiles import profiles
from mitonb.post.tables import overlaps
from mitonb.post.tracking import track
from mitonb.post.voting import consensus
from mitonb.recipe import Recipe
from mitonb.stack import AXES


def tubes(shape: tuple[int, int, int], count: int, seed: int = 0) -> np.ndarray:
    """Draw bent tubes of radius 5 to 12 voxels that touch but never cover each other."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for number in range(1, count + 1):
        place, way = rng.uniform(0, shape), rng.normal(size=3)
        radius = rng.uniform(5, 12)
        for _ in range(int(rng.uniform(10, 40))):
            way = way / np.linalg.norm(way) + rng.normal(size=3) * 0.2
            place = place + way / np.linalg.norm(way) * radius * 0.5
            low = np.maximum(np.floor(place - radius), 0).astype(int)
            high = np.minimum(np.ceil(place + radius) + 1, shape).astype(int)
            if (low >= high).any():
                break
            here = labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
            z, y, x = np.indices(here.shape) + low[:, None, None, None]
            inside = (z - place[0]) ** 2 + (y - place[1]) ** 2 + (x - place[2]) ** 2 <= radius**2
            here[inside & (here == 0)] = number
    return labels


def profiles_of(labels: np.ndarray, axis: int, seed: int) -> np.ndarray:
    """Cut a volume into planes of disturbed profiles; (n, h, w) along the axis."""
    rng = np.random.default_rng(seed)
    planes = np.array(np.moveaxis(labels, axis, 0), order="C")
    for plane in planes:
        plane[...] = np.roll(plane, tuple(rng.integers(-1, 2, 2)), (0, 1))
        ids, count = profiles(plane)
        lost = rng.random(count + 1) < 0.01
        plane[...] = np.where(lost[ids], 0, ids)
    return planes


class Clock:
    """Wall and processor time, and the memory high-water mark, of named stages."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []
        self.reset()

    def reset(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self, stage: str) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self.rows.append({"stage": stage, "seconds": wall, "cpu_seconds": cpu})
        print(f"{stage:>16} {wall:>8.2f} s {cpu:>8.2f} s cpu")
        self.reset()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(256, 512, 512))
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    truth = tubes(tuple(options.shape), options.objects)
    planes = {axis: profiles_of(truth, k, k) for axis, k in AXES.items()}
    print(f"{'x'.join(map(str, options.shape))}, {options.objects} tubes, {100 * (truth > 0).mean():.1f} % foreground")
    recipe = Recipe()
    small = {axis: track(p[:8, :8, :8], recipe) for axis, p in planes.items()}
    clean(consensus(small, recipe), recipe)  # compile, or load what was compiled
    before = psutil.Process().memory_info().rss
    clock = Clock()
    for axis in planes:
        planes[axis] = track(planes[axis], recipe)
        clock.lap(f"track {axis}")
    for axis, k in AXES.items():
        planes[axis] = np.ascontiguousarray(np.moveaxis(planes[axis], 0, k))
    clock.lap("turn")
    labels = consensus(planes, recipe, in_place=True)
    clock.lap("consensus")
    labels = clean(labels, recipe)
    clock.lap("clean")
    wall, cpu = (sum(float(r[k]) for r in clock.rows) for k in ("seconds", "cpu_seconds"))  # type: ignore[arg-type]
    memory = _peak() - before
    print(f"{'total':>16} {wall:>8.2f} s {cpu:>8.2f} s cpu, {memory / truth.size:.1f} bytes per voxel beyond the input")
    table = overlaps(labels, truth)
    found, there = np.bincount(labels.ravel()), np.bincount(truth.ravel())
    iou = table[:, 2] / (found[table[:, 0]] + there[table[:, 1]] - table[:, 2])
    matched, well = int((iou > 0.5).sum()), int((iou > 0.75).sum())
    print(f"{labels.max()} objects of {np.count_nonzero(there[1:])}; {matched} at IoU 0.5, {well} at 0.75")
    if options.json:
        summary = {"seconds": wall, "cpu_seconds": cpu, "bytes_per_voxel": memory / truth.size}
        options.json.write_text(json.dumps({"stages": clock.rows, "matched": matched, **summary}, indent=1))


def _peak() -> int:
    """Return the largest resident memory that this process has had, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
