"""How much memory the quickstart takes (bar B2).

python -m benchmarks.memory                 headless: the kernel alone, at most 1.6 GB, below 120 s
python -m benchmarks.memory --browser       a real JupyterLab: server and kernel together, killed above 2 GB
python -m benchmarks.memory --import-time   `import mitonb`: median of 7 fresh Pythons, at most 0.5 s
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.watching import Watch
from mitonb.cli import quickstart_path


def headless(limit: float) -> bool:
    """Execute the quickstart with nbconvert; return whether it ended well below the limit."""
    with tempfile.TemporaryDirectory() as folder:
        book = shutil.copy(quickstart_path(), folder)
        start = time.monotonic()
        command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", book]
        process = subprocess.Popen([*command, "--ExecutePreprocessor.timeout=900", "--log-level=ERROR"], cwd=folder)
        with Watch(process.pid, limit=limit) as watch:
            code = process.wait()
        print(f"headless quickstart: {time.monotonic() - start:.0f} s, exit code {code}, {watch}")
    return code == 0


def browser(limit: float) -> bool:
    """Run the quickstart in JupyterLab and Chromium; return whether it ended well below the limit."""
    from tests.browser.lab import Lab
    from tests.browser.steps import Quickstart

    with tempfile.TemporaryDirectory() as folder, Lab(folder) as lab, Watch(lab.pid, limit=limit) as watch:
        start = time.monotonic()
        book = lab.notebook(quickstart_path(), width=1440, height=1000)
        user = Quickstart(book, Path("artifacts/memory"), timeout=900)
        try:
            book.run(timeout=900)
            user.show()
            user.wait_for_picture()
            user.press("Segment this plane")
            user.wait_for_run()
        except Exception as error:
            print(f"stopped: {str(error)[:300]}")
        print(f"quickstart in JupyterLab: {time.monotonic() - start:.0f} s, {watch}")
        return not watch.killed and not book.error()


def import_time() -> bool:
    """Time `import mitonb` in fresh processes."""
    code = "import time; t = time.perf_counter(); import mitonb; print(time.perf_counter() - t)"
    runs = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(7)]
    print(f"import mitonb: median {statistics.median(runs):.3f} s of {len(runs)} (slowest {max(runs):.3f} s)")
    return statistics.median(runs) < 0.5


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--import-time", action="store_true")
    parser.add_argument("--limit", type=float, help="bytes above which everything is killed")
    options = parser.parse_args()
    if options.import_time:
        return 0 if import_time() else 1
    return 0 if (browser(options.limit or 2e9) if options.browser else headless(options.limit or 1.6e9)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
