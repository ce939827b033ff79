"""How fast labels are compared with truth, against stardist's `matching`; both give the same counts.

    python -m benchmarks.scores --peer PATH [--size 256] [--objects 70] [--repeats 7] [--json scores.json]

PATH is a checkout or an unpacked wheel of stardist; its file `stardist/matching.py` is loaded by itself, since the
package as a whole does not import everywhere. Without --peer only our own times are shown. Drawn ellipsoids; of the
labels some are dropped, cut, merged or dented. Nine thresholds, 0.1 to 0.9. Runs are interleaved, on one thread, and
the ratio is the median of the ratios of neighbouring runs. `table` is reading the voxels alone, `ours` the nine
thresholds too, `all figures` also AP, VI, Rand and the list of mistakes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np

from mitonb.accuracy import score

IOUS = tuple(round(0.1 * k, 1) for k in range(1, 10))


def ellipsoids(size: int, count: int, seed: int = 0) -> np.ndarray:
    """Draw ellipsoids over each other."""
    rng = np.random.default_rng(seed)
    out = np.zeros((size,) * 3, np.uint32)
    for k in range(1, count + 1):
        center, radii = rng.integers(0, size, 3), rng.integers(size // 24, size // 9, 3)
        low, high = np.maximum(center - radii, 0), np.minimum(center + radii + 1, size)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.ogrid[box]
        out[box][sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center, radii, strict=True)) < 1] = k
    return out


def disturbed(truth: np.ndarray) -> np.ndarray:
    """Drop, cut, merge and dent objects in turn."""
    labels = truth.copy()
    highest = int(truth.max())
    table = np.arange(2 * highest + 1, dtype=np.uint32)
    for k in range(1, highest + 1):
        if k % 9 == 0:
            table[k] = 0
        elif k % 7 == 0:
            table[k] = k - 1
    labels = table[labels]
    labels[(labels % 5 == 1) & (np.arange(len(labels)) % 2 == 0)[:, None, None]] = 0  # every second plane is lost
    cut = (labels % 4 == 2) & (np.arange(len(labels)) > len(labels) // 2)[:, None, None]
    labels[cut] += highest
    return labels


def load_peer(path: Path) -> Any:
    """Load stardist's module of metrics by its path, with the one small helper that it takes from elsewhere."""
    file = next(iter(sorted(path.glob("**/stardist/matching.py"))), None)
    if file is None:
        raise SystemExit(f"There is no stardist/matching.py below {path}. Name a checkout or an unpacked wheel.")

    def _raise(error: Exception) -> None:
        raise error

    helpers = types.ModuleType("csbdeep.utils")
    helpers._raise = _raise  # type: ignore[attr-defined]
    sys.modules.setdefault("csbdeep", types.ModuleType("csbdeep"))
    sys.modules.setdefault("csbdeep.utils", helpers)
    spec = importlib.util.spec_from_file_location("stardist_matching", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def timed(work) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return (time.perf_counter() - start) * 1e3, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, metavar="PATH")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--objects", type=int, default=70)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    truth = ellipsoids(options.size, options.objects)
    labels = disturbed(truth)
    peer = load_peer(options.peer) if options.peer else None
    works = {
        "table": lambda: score(labels, truth),
        "ours": lambda: [scores.at(t) for scores in [score(labels, truth)] for t in IOUS],
        "all figures": lambda: score(labels, truth, ious=IOUS).as_dict(),
    }
    if peer:
        works["stardist"] = lambda: peer.matching(truth, labels, thresh=IOUS)
    for work in works.values():  # compile first
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    results: dict[str, Any] = {}
    for _ in range(options.repeats):
        for name, work in works.items():
            ms, results[name] = timed(work)
            times[name].append(ms)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"{options.size}^3 voxels, {len(np.unique(truth)) - 1} objects, {len(np.unique(labels)) - 1} labels, one thread"
    )
    for name, ms in median.items():
        print(f"{name:>12} {ms:>9.1f} ms")
    row: dict[str, Any] = {"size": options.size, "ms": median}
    if peer:
        for a, b in zip(results["ours"], results["stardist"], strict=True):
            assert (a.found, a.false, a.missed) == (b.tp, b.fp, b.fn), (a, b)
            assert abs(a.f1 - b.f1) < 1e-6
            assert abs(a.pq - b.panoptic_quality) < 1e-6
        ratios = [b / a for a, b in zip(times["ours"], times["stardist"], strict=True)]
        row["ratio"] = statistics.median(ratios)
        print(f"{row['ratio']:.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f}); equal counts, F1 and PQ")
    if options.json:
        options.json.write_text(json.dumps(row, indent=1) + "\n")


if __name__ == "__main__":
    main()
