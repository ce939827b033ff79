"""How fast profiles of three directions become labels: look-ahead, tracking, consensus, cleaning; and in what memory.

    python -m benchmarks.volume [--shape 256 512 512] [--objects 300] [--only main ...] [--json volume.json]

Drawn tubes, cut into planes along three directions; each plane is moved by up to a voxel and some profiles are lost, so
that the directions disagree. Input: ids per plane of three directions. Output: labels, by the path that
`mitonb.segment` takes after decoding. Parts of the table (`--only` takes some of them):

- main: one volume: seconds with one thread and with two, memory beyond the input, seconds of each stage
- start: a fresh process: import and first call, with code in the cache, without, and where it cannot be kept
- size: 128, 256 and 512 voxels cubed, as densely filled
- runs: the same objects with stripes cut out, so that they have two and four times as many runs
- filling: 3 % and 17 % foreground
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.infer.run import Run
from mitonb.job import drain
from mitonb.post.centers import connect
from mitonb.post.tables import overlaps
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from collections.abc import Callable

Shape = tuple[int, int, int]
Planes = dict[Axis, np.ndarray]
Row = dict[str, Any]

RECIPE = Recipe(planes=tuple(AXES))
DENSITY = 300 / (256 * 512 * 512)  # tubes per voxel


def tubes(
    shape: Shape, count: int, seed: int = 0, *, until: float = 1.0, radii: tuple[float, float] = (5, 12)
) -> np.ndarray:
    """Draw bent tubes, radii in voxels, that touch but never cover each other, until so much is filled."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    filled = 0
    for number in range(1, count + 1):
        if filled >= until * labels.size:
            break
        place, way = rng.uniform(0, shape), rng.normal(size=3)
        radius = rng.uniform(*radii)
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
            filled += int((inside & (here == 0)).sum())
            here[inside & (here == 0)] = number
    return labels


def profiles_of(labels: np.ndarray, axis: int, seed: int) -> np.ndarray:
    """Cut a volume into planes of disturbed profiles; (n, h, w) along the axis."""
    rng = np.random.default_rng(seed)
    planes = np.array(np.moveaxis(labels, axis, 0), order="C")
    for plane in planes:
        plane[...] = np.roll(plane, tuple(rng.integers(-1, 2, 2)), (0, 1))
        ids, count = connect(plane)
        lost = rng.random(count + 1) < 0.01
        plane[...] = np.where(lost[ids], 0, ids)
    return planes


def disturbed(labels: np.ndarray) -> Planes:
    """Return the planes of all directions."""
    return {axis: profiles_of(labels, k, k) for axis, k in AXES.items()}


def labels_of(planes: Planes, shape: Shape, threads: int = 1) -> np.ndarray:
    """Make labels of the ids of all planes, as a run does."""
    run = Run(shape, RECIPE)

    def feed(axis: Axis) -> None:
        for ids in planes[axis]:
            run.add(axis, ids)
        run.end(axis)

    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(feed, planes))
    else:
        for axis in planes:
            feed(axis)
    labels = drain(run.objects(), show=False)
    assert labels is not None
    return labels


def stages(planes: Planes, shape: Shape) -> list[Row]:
    """Time each stage of a run."""
    rows: dict[str, Row] = {}
    begin, cpu = time.perf_counter(), time.process_time()

    def note(stage: str) -> None:
        nonlocal begin, cpu
        row = rows.setdefault(stage, {"stage": stage, "seconds": 0.0, "cpu_seconds": 0.0})
        row["seconds"] += time.perf_counter() - begin
        row["cpu_seconds"] += time.process_time() - cpu
        begin, cpu = time.perf_counter(), time.process_time()

    run = Run(shape, RECIPE)
    for axis in planes:
        for ids in planes[axis]:
            run.add(axis, ids)
        run.end(axis)
        note(f"{axis} planes")
    for step in run.objects():
        note(step.stage)
    return list(rows.values())


def measured(planes: Planes, shape: Shape, threads: int = 1, repeats: int = 3) -> tuple[Row, np.ndarray]:
    """Return the best time of some repeats, the memory beyond the input, and the labels."""
    best: Row = {}
    for _ in range(repeats):
        before = _reset_peak()
        begin, cpu = time.perf_counter(), time.process_time()
        labels = labels_of(planes, shape, threads)
        row = {
            "seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu, "threads": threads,
            "bytes_per_voxel": (_peak() - before) / labels.size,
        }  # fmt: skip
        # The first call finds the system's pages cold: its memory counts, not its time.
        memory = max(row["bytes_per_voxel"], best.get("bytes_per_voxel", 0.0))
        best = min((row, best or row), key=lambda r: r["seconds"]) | {"bytes_per_voxel": memory}
    return best, labels


def main_rows(shape: Shape, count: int) -> Row:
    truth = tubes(shape, count)
    planes = disturbed(truth)
    print(f"\n{'x'.join(map(str, shape))}, {count} tubes, {100 * (truth > 0).mean():.1f} % foreground")
    one, labels = measured(planes, shape)
    two, same = measured(planes, shape, threads=2)
    for row in (one, two):
        print(
            f"{row['threads']} thread(s): {row['seconds']:.2f} s ({row['cpu_seconds']:.2f} s of processor), "
            f"{row['bytes_per_voxel']:.1f} bytes per voxel beyond the input"
        )
    assert np.array_equal(labels, same), "labels depend on the number of threads"
    rows = stages(planes, shape)
    for row in rows:
        print(f"{row['stage']:>16} {row['seconds']:>8.3f} s {row['cpu_seconds']:>8.3f} s cpu")
    print(f"{'sum':>16} {sum(r['seconds'] for r in rows):>8.3f} s")
    table = overlaps(labels, truth)
    found, there = np.bincount(labels.ravel()), np.bincount(truth.ravel())
    iou = table[:, 2] / (found[table[:, 0]] + there[table[:, 1]] - table[:, 2])
    matched, well = int((iou > 0.5).sum()), int((iou > 0.75).sum())
    print(f"{labels.max()} objects of {np.count_nonzero(there[1:])}; {matched} at IoU 0.5, {well} at 0.75")
    digest = hashlib.sha256(labels.tobytes()).hexdigest()
    print(f"sha256 of the labels {digest[:16]}, with one thread and with two")
    return {"one": one, "two": two, "stages": rows, "matched": matched, "well": well, "sha256": digest}


_FIRST_CALL = """
import time
begin = time.perf_counter()
import numpy as np
from mitonb.infer.run import Run
from mitonb.job import drain
from mitonb.recipe import Recipe
from mitonb.stack import AXES
imported = time.perf_counter()
run = Run((16, 16, 16), Recipe(planes=tuple(AXES)))
ids = np.zeros((16, 16), np.uint32)
ids[2:6, 2:6], ids[2:6, 8:14] = 1, 2
for axis in AXES:
    for k in range(16):
        # Objects part and meet, so that everything is called once.
        run.add(axis, ids if k % 4 else np.where(ids.any(axis=1)[:, None], np.uint32(1), ids))
    run.end(axis)
drain(run.objects(), show=False)
print(imported - begin, time.perf_counter() - imported)
"""


def start_rows() -> Row:
    """Time import and first call in fresh processes."""
    result: Row = {}
    print("\nA fresh process: seconds of import, and of the first call of every stage")
    with tempfile.TemporaryDirectory() as folder:
        kept = {"NUMBA_CACHE_DIR": folder}
        # A package and a home that cannot be written: what is compiled goes to the user's part of the temporary folder.
        fixed = {
            "NUMBA_CACHE_DIR": "/dev/null",
            "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
            "TMPDIR": folder,
        }
        for case, changes in [
            ("nothing compiled yet", kept), ("the second process", kept),
            ("read-only, first", fixed), ("read-only, second", fixed),
        ]:  # fmt: skip
            command = [sys.executable, "-c", _FIRST_CALL]
            done = subprocess.run(command, env=os.environ | changes, capture_output=True, text=True, check=True)
            imported, called = map(float, done.stdout.split())
            result[case] = {"import": imported, "call": called}
            print(f"{case:>24} {imported:>8.2f} s {called:>8.2f} s")
    return result


def compared(volumes: dict[str, Callable[[], np.ndarray]]) -> Row:
    """Time several volumes, one after the other."""
    result: Row = {}
    for name, draw in volumes.items():
        truth = draw()
        shape: Shape = truth.shape  # type: ignore[assignment]
        planes, share = disturbed(truth), float((truth > 0).mean())
        del truth
        # Stretches of one id along the rows.
        runs = sum(int(np.count_nonzero(np.diff(p, axis=2, prepend=0) * (p > 0))) for p in planes.values())
        row, _ = measured(planes, shape)
        row |= {"runs": runs, "filled": share, "ns_per_voxel": 1e9 * row["seconds"] / float(np.prod(shape))}
        result[name] = row
        print(
            f"{name:>14} {100 * share:>5.1f} % {runs:>9} runs {row['seconds']:>7.2f} s ({row['cpu_seconds']:.2f} cpu) "
            f"{row['ns_per_voxel']:>7.1f} ns and {row['bytes_per_voxel']:>4.1f} bytes per voxel"
        )
    return result


def striped(labels: np.ndarray, period: int) -> np.ndarray:
    """Cut oblique stripes out of a volume, one voxel wide."""
    z, y, x = np.ogrid[tuple(map(slice, labels.shape))]
    return np.where((z + y + x) % period == 0, 0, labels).astype(np.uint32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(256, 512, 512))
    parser.add_argument("--objects", type=int, default=300)
    parts = ["main", "start", "size", "runs", "filling"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shape: Shape = tuple(options.shape)
    labels_of(disturbed(tubes((24, 48, 48), 9)), (24, 48, 48))  # compile, or load what was compiled
    result: Row = {}
    if "main" in options.only:
        result["main"] = main_rows(shape, options.objects)
    if "start" in options.only:
        result["start"] = start_rows()
    if "size" in options.only:
        print("\nAs densely filled, larger volumes")
        sides = (128, 256, 512)
        result["size"] = compared({f"{n} cubed": lambda n=n: tubes((n,) * 3, round(DENSITY * n**3)) for n in sides})
    if "runs" in options.only:
        print("\nThe same objects, more runs in each")
        truth = tubes((128, 256, 256), 20, radii=(20, 30))
        result["runs"] = compared({f"every {n}th cut": lambda n=n: striped(truth, n) for n in (32, 16, 8, 4)})
    if "filling" in options.only:
        print("\nThe same volume, more objects")
        result["filling"] = compared(
            {f"{100 * f:.0f} %": lambda f=f: tubes(shape, 10_000, until=f) for f in (0.03, 0.17)}
        )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


def _status(name: str) -> int:
    """Return a figure of this process in bytes, as Linux tells it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"No {name} in /proc/self/status.")


def _reset_peak() -> int:
    """Forget the largest memory so far; return what is in use."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


if __name__ == "__main__":
    main()
