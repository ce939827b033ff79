"""How long a phantom takes, how much memory, and what it holds.

    python -m benchmarks.phantom [--seeds 9000 9001] [--json phantom.json]

Processor time, which other work on the machine disturbs less than the clock; peak memory is that of the process.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import cc3d
import numpy as np

from mitonb.phantoms import phantom


def measured(seed: int) -> dict[str, float]:
    """Draw the default phantom of a seed and say what it cost and what it holds."""
    start = time.process_time()
    stack, labels = phantom(seed=seed)
    seconds = time.process_time() - start
    touching = {int(i) for pair in cc3d.region_graph(labels.data, connectivity=6) for i in pair}
    low, middle, high = np.percentile(stack.read(), (5, 50, 95))
    return {
        "seed": seed,
        "cpu_seconds": round(seconds, 2),
        "objects": len(labels.ids()),
        "touching": len(touching),
        "foreground": round(float((labels.data > 0).mean()), 3),
        "grey_5": float(low),
        "grey_50": float(middle),
        "grey_95": float(high),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(9000, 9010)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    phantom((4, 32, 32))  # imports and first calls are not what is measured
    rows = []
    for seed in options.seeds:
        rows.append(measured(seed))
        print(rows[-1])
    share = sum(r["touching"] for r in rows) / max(1, sum(r["objects"] for r in rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    summary = {"touching_share": round(share, 3), "peak_mib": round(peak)}
    print(summary)
    if options.json:
        options.json.write_text(json.dumps({"phantoms": rows, **summary}, indent=1))


if __name__ == "__main__":
    main()
