"""How fast, and in how much memory, contours are decoded; beside the same rules with scikit-image's watershed.

    python -m benchmarks.contours [--size 256] [--objects 70] [--json contours.json]

Drawn ellipsoids that touch, their maps blurred and with noise, in bytes; BC and BCD. Each figure comes from a process
of its own: the time of the second call of two, and the highest memory of the first beyond what the process held before
it, in bytes per voxel (maps not counted) and as a multiple of the labels (uint32).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from benchmarks.scores import ellipsoids

if TYPE_CHECKING:
    from mitonb.post.contours import ContourSettings


def maps_of(size: int, objects: int, channels: int) -> list[np.ndarray]:
    """Draw maps in bytes, plane by plane."""
    from mitonb.post.targets import contour_targets

    rng = np.random.default_rng(0)
    truth = ellipsoids(size, objects)
    out = [np.empty(truth.shape, np.uint8) for _ in range(channels)]
    for z, plane in enumerate(truth):
        semantic, contour, distance = contour_targets(plane)
        for target, drawn in zip(out, (semantic, contour, distance * 0.5 + 0.5), strict=False):
            noisy = ndimage.gaussian_filter(drawn, 0.7) + rng.normal(0, 0.02, plane.shape)
            target[z] = np.clip(noisy, 0, 1) * 255
    return out


def reset_peak() -> None:
    """Let the kernel forget the highest memory so far."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(what: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(what))
    return int(line.split()[1]) * 1024


def with_skimage(maps: list[np.ndarray], settings: ContourSettings) -> np.ndarray:
    """Decode by the same rules, the flood of scikit-image in the middle."""
    from skimage.segmentation import watershed

    from mitonb.post.contours import find_seeds

    inside = maps[0] > int(255 * settings.foreground)
    if len(maps) == 3:
        inside &= maps[2] / 255.0 * 2.0 - 1.0 > settings.foreground_distance
    labels = watershed(-maps[0].astype(np.float64), find_seeds(*maps, settings=settings).astype(np.int32), mask=inside)
    sizes = np.bincount(labels.ravel())
    stays = (sizes >= settings.min_size) & (np.arange(len(sizes)) > 0)
    return np.where(stays, np.cumsum(stays), 0).astype(np.uint32)[labels]


def child(size: int, objects: int, channels: int, flood: str) -> None:
    from mitonb.post.contours import ContourSettings, decode_contours

    maps = maps_of(size, objects, channels)
    setting = ContourSettings(contour=0.5)

    def work(maps: list[np.ndarray]) -> np.ndarray:
        return with_skimage(maps, setting) if flood == "skimage" else decode_contours(*maps, settings=setting)

    work([m[:8].copy() for m in maps])  # compile
    reset_peak()
    before = memory("VmRSS")
    labels = work(maps)
    beyond = memory("VmHWM") - before
    start = time.perf_counter()
    work(maps)
    seconds = time.perf_counter() - start
    found = int(labels.max())
    print(json.dumps({"ms": seconds * 1e3, "bytes_per_voxel": beyond / labels.size, "objects": found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--objects", type=int, default=70)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.size, options.objects, int(options.child[0]), options.child[1])
        return
    rows = []
    for channels in (2, 3):
        for flood in ("mitonb", "skimage"):
            command = [sys.executable, "-m", "benchmarks.contours", "--size", str(options.size)]
            command += ["--objects", str(options.objects), "--child", str(channels), flood]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            row = json.loads(answer.stdout.splitlines()[-1])
            rows.append({"maps": "BC" if channels == 2 else "BCD", "flood": flood, **row})
            print(
                f"{rows[-1]['maps']:>4} {flood:>10} {row['ms']:>9.0f} ms {row['bytes_per_voxel']:>6.1f} bytes a voxel "
                f"= {row['bytes_per_voxel'] / 4:.2f} x the labels, {row['objects']} objects",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
