"""How long the course takes, and how much memory: all lessons, run to their end one after the other.

    python -m benchmarks.course [--fast] [--only 03 07]

Each lesson runs in a folder and a process of its own, in its full setting (MITONB_FULL=1), or as in the tests.
The bar: all together below 20 minutes on two cores, each below 1.8 GB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LESSONS = "01 02 03 04 05 06 07 08 20 21".split()


def run(path: Path, queue: Any) -> None:
    """Run a notebook; put seconds, seconds of processors and the peak in GB of its largest process."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        book = nbformat.read(shutil.copy(path, folder), as_version=4)
        client = nbclient.NotebookClient(
            book, timeout=1800, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    queue.put((time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e9))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="as in the tests")
    parser.add_argument("--only", nargs="*", default=LESSONS, help="numbers of lessons")
    options = parser.parse_args()
    os.environ["MITONB_FULL"] = "0" if options.fast else "1"
    spawn, rows = multiprocessing.get_context("spawn"), []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if path.name[:2] in options.only:
            queue = spawn.Queue()
            process = spawn.Process(target=run, args=(path, queue))
            process.start()
            process.join()
            if process.exitcode:
                print(f"{path.stem} failed")
                return 1
            rows.append(queue.get())
            wall, cpu, peak = rows[-1]
            print(f"{path.stem:28} {wall:5.0f} s, {cpu:5.0f} s of processors, at most {peak:.2f} GB", flush=True)
    wall, cpu = (sum(row[i] for row in rows) / 60 for i in (0, 1))
    print(f"{'together':28} {wall:.1f} min, {cpu:.1f} min of processors, at most {max(row[2] for row in rows):.2f} GB")
    return int(wall > 20 or max(row[2] for row in rows) > 1.8)


if __name__ == "__main__":
    raise SystemExit(main())
