"""How near the memory that is announced before a run comes to what it takes (bar B8: 0.7 to 1.3).

    python -m benchmarks.estimates [--json estimates.json] [--only 3 7] [--rounds 3] [--torch]

Each line is the middle of three processes: `mn.estimate`, then the run, with the bundled model. The peak is that of the
resident memory, less what was in use when the estimate was made; lowest and highest are printed beside it, because what
the allocator keeps of freed memory depends on how threads happened to meet, and small runs show it. "first" runs are
the first of their process (the libraries are loaded on the way); the others come after a small run.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import operator
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

XYZ = ["xy", "xz", "yz"]
RUNS: list[dict[str, Any]] = [
    {"shape": [48, 256, 256], "first": True},
    {"shape": [12, 1024, 1024]},
    {"shape": [6, 1024, 1024], "recipe": {"tile": 0}},
    {"shape": [12, 768, 768], "recipe": {"tile": 256, "batch": 8}},
    {"shape": [24, 1024, 1024], "recipe": {"tile": 0, "downsampling": 2, "median": 5}},
    {"shape": [96, 128, 128], "recipe": {"planes": XYZ}, "first": True},
    {"shape": [48, 256, 256], "recipe": {"planes": XYZ, "median": 7}, "keep": "memory"},
    {"shape": [192, 384, 384], "recipe": {"planes": XYZ, "downsampling": 4, "tile": 0}},
    {"shape": [192, 384, 384], "recipe": {"planes": XYZ, "downsampling": 4, "tile": 0}, "store": True, "file": True},
    {"shape": [8, 2048, 2048], "recipe": {"downsampling": 4, "lookahead": 4}, "store": True, "keep": "disk"},
    {"shape": [160, 512, 512], "recipe": {"downsampling": 8}, "keep": "memory"},
    {"shape": [24, 512, 512], "recipe": {"flips": True, "tile": 256}, "store": True, "first": True},
]


def give_back() -> None:
    """Let the allocator give freed memory back, where it can: else a run begins with what the one before has left."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def measure(run: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Estimate, run, and return both figures; in this process."""
    import numpy as np

    import mitonb as mn
    from benchmarks.peaks import Peak

    made = mn.phantom((32, 128, 128), seed=1).stack.data
    shape = tuple(run["shape"])
    data = np.tile(made, [-(-a // b) for a, b in zip(shape, made.shape, strict=True)])[tuple(slice(n) for n in shape)]
    data = np.ascontiguousarray(data)
    recipe = mn.Recipe(**run.get("recipe", {}))
    stack = mn.Stack(data)
    if run.get("file"):
        mn.save(stack, folder / "image.ome.zarr")
        del stack, data
        stack = mn.open(folder / "image.ome.zarr")
    keep, stored = run.get("keep"), bool(run.get("store"))
    if not run.get("first"):
        warm = mn.Recipe(planes=("xy", "xz", "yz"), downsampling=recipe.downsampling)
        mn.segment(made[:16, :64, :64], warm, show=False)
    gc.collect()
    give_back()
    guess = mn.estimate(stack, recipe, keep=keep == "memory", stored=stored)
    kept = {"memory": lambda: mn.KeptMaps(), "disk": lambda: mn.KeptMaps(folder=folder / "maps"), None: lambda: None}[
        keep
    ]()
    start = time.monotonic()
    with Peak() as peak:
        if stored:
            mn.segment(stack, recipe, kept=kept, out=folder / "labels.ome.zarr", show=False)
        else:
            labels = mn.segment(stack, recipe, kept=kept, show=False)
            assert labels.shape == shape
    return {"estimate": guess, "peak": peak.used, "seconds": time.monotonic() - start}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the lines to measure, from 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch", action="store_true", help="as where OpenVINO is not installed")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch:
        sys.modules["openvino"] = None  # type: ignore[assignment]
    if options.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(json.loads(options.one), Path(folder))))
        return 0
    rows, good = [], True
    print(f"{'':>2} {'estimate':>9} {'peak':>9} {'low':>5} {'high':>5} {'ratio':>6} {'s':>5}  run")
    for number, run in enumerate(RUNS, 1):
        if options.only and number not in options.only:
            continue
        command = [
            sys.executable,
            "-m",
            "benchmarks.estimates",
            "--one",
            json.dumps(run),
            *(["--torch"] if options.torch else []),
        ]
        rounds = [json.loads(subprocess.check_output(command).splitlines()[-1]) for _ in range(options.rounds)]
        rounds.sort(key=operator.itemgetter("peak"))
        low, row, high = rounds[0], rounds[len(rounds) // 2], rounds[-1]
        row |= {"low": low["peak"], "high": high["peak"]}
        ratio = row["estimate"] / row["peak"]
        good &= 0.7 <= ratio <= 1.3
        rows.append({**run, **row, "ratio": ratio})
        text = ", ".join(f"{k} {v}" for k, v in run.items() if k != "shape")
        print(f"{number:>2} {row['estimate'] / 1e6:>6.0f} MB {row['peak'] / 1e6:>6.0f} MB "
              f"{row['low'] / 1e6:>5.0f} {row['high'] / 1e6:>5.0f} {ratio:>6.2f} "
              f"{row['seconds']:>5.1f}  {'x'.join(map(str, run['shape']))} {text}", flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
