"""A volume of 1024 x 1024 x 1024 through the 3-D path into a store on disk: seconds, memory, disk (bar B8: below 4 GB).

    python -m benchmarks.large [--side 1024] [--planes xy xz yz] [--folder .] [--json large.json]

The image is drawn when it is read: about a thousand ellipsoids on a jittered lattice, 4 % of the voxels. The net is a
fake that draws the maps of what it sees, so that the figure is that of everything but the network. One process, fresh.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peaks import Peak
from mitonb.infer.memory_estimate import estimate
from mitonb.infer.segment import segmenting
from mitonb.io.arrays import box_of
from mitonb.recipe import Recipe
from mitonb.stack import Stack
from tests.infer.oracle import Oracle

SPACING = 100


class Ellipsoids:
    """A (z, y, x) uint8 volume of ellipsoids that is drawn where it is read; neighbours have different values."""

    def __init__(self, side: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.shape = (side, side, side)
        self.dtype = np.dtype(np.uint8)
        lattice = np.stack(np.meshgrid(*[np.arange(SPACING // 2, side, SPACING)] * 3, indexing="ij"), -1).reshape(-1, 3)
        self.centers = lattice + rng.integers(-18, 19, lattice.shape)
        self.radii = rng.uniform(14, 31, lattice.shape)
        self.values = (1 + np.arange(len(lattice)) % 251).astype(np.uint8)

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        parts = box_of(key, self.shape)
        ranges = [p if isinstance(p, range) else range(p, p + 1) for p in parts]
        low, high = (np.array([getattr(r, name) for r in ranges]) for name in ("start", "stop"))
        out = np.zeros(high - low, np.uint8)
        for k in np.flatnonzero(((self.centers + self.radii >= low) & (self.centers - self.radii < high)).all(axis=1)):
            a = np.maximum(np.floor(self.centers[k] - self.radii[k]).astype(int), low)
            b = np.minimum(np.ceil(self.centers[k] + self.radii[k]).astype(int) + 1, high)
            if (a >= b).any():
                continue
            boxes = zip(a, b, self.centers[k], self.radii[k], strict=True)
            z, y, x = (((np.arange(p, q) - c) / r) ** 2 for p, q, c, r in boxes)
            inside = z[:, None, None] + y[:, None] + x <= 1
            out[tuple(slice(p, q) for p, q in zip(a - low, b - low, strict=True))][inside] = self.values[k]
        return out[tuple(slice(None) if isinstance(p, range) else 0 for p in parts)]


class Disk:
    """The most that the files of this process in a folder take, those without a name included."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.most = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            fds = [p for p in Path("/proc/self/fd").glob("*") if "(deleted)" in str(p.resolve())]
            blocks = 0
            for path in (*self._folder.rglob("*"), *fds):
                with contextlib.suppress(OSError):  # files come and go
                    blocks += path.stat().st_blocks
            self.most = max(self.most, 512 * blocks)

    def __enter__(self) -> Disk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--planes", nargs="+", default=["xy", "xz", "yz"])
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    recipe = Recipe(planes=tuple(options.planes), tile=0, median=3)
    data = Ellipsoids(options.side)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, Disk(Path(folder)) as disk:
        stack = Stack(data, (8.0, 8.0, 8.0), name="ellipsoids")
        _run(Stack(data[:32, :64, :64]), recipe, Path(folder) / "warm.ome.zarr")  # compile, or load what was compiled
        with Peak() as peak:
            start = time.monotonic()
            stored, stages = _run(stack, recipe, Path(folder) / "labels.ome.zarr")
            seconds = time.monotonic() - start
        size = sum(p.stat().st_blocks * 512 for p in Path(stored).rglob("*") if p.is_file())
    print(f"{options.side}^3, {' '.join(options.planes)}: {seconds:.0f} s with the fake net ({os.cpu_count()} cores)")
    for name, value in stages.items():
        print(f"{name:>16} {value:>8.1f} s")
    guess = estimate(stack, recipe, stored=True)
    print(
        f"peak {peak.used / 1e9:.2f} GB above {peak.before / 1e9:.2f} GB before the run; estimate {guess / 1e9:.2f} GB"
    )
    print(f"disk: at most {disk.most / 1e9:.2f} GB meanwhile, store {size / 1e6:.0f} MB")
    print(f"{stored.count} objects of {len(data.centers)} ellipsoids")
    if options.json:
        row = {
            "side": options.side, "planes": options.planes, "seconds": seconds, "stages": stages,
            "peak_bytes": peak.used, "estimate_bytes": guess, "disk_bytes": disk.most, "objects": stored.count,
        }  # fmt: skip
        options.json.write_text(json.dumps(row, indent=1))
    return 0 if peak.used + peak.before < 4e9 else 1


def _run(stack: Stack, recipe: Recipe, out: Path) -> tuple[Any, dict[str, float]]:
    """Segment; return the labels and the seconds of each stage."""
    stages: dict[str, float] = {}
    steps = segmenting(stack, recipe, model=Oracle(), out=out)
    last = time.monotonic()
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value, stages
        now = time.monotonic()
        stages[step.stage] = stages.get(step.stage, 0.0) + now - last
        last = now


if __name__ == "__main__":
    raise SystemExit(main())
