"""Both commands of the README from nothing (bar B1): minutes, download and size, with an empty pip cache.

    python -m benchmarks.setup [--source https://.../mitonb.git] [--commands headless test]

Clones into a temporary folder, so that only what is committed counts. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def size(folder: Path) -> float:
    """Return the bytes that a folder takes."""
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)


def main() -> int:
    """Clone, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default=str(ROOT), help="what to clone (default: this checkout)")
    parser.add_argument("--commands", nargs="+", default=["headless", "test"], choices=["headless", "test"])
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        for command in options.commands:
            home = Path(folder) / command
            subprocess.run(["git", "clone", "--quiet", options.source, str(home)], check=True)
            cache = home.with_name(f"{command}-cache")
            environment = {**os.environ, "PIP_CACHE_DIR": str(cache), "XDG_CACHE_HOME": str(cache)}
            start = time.monotonic()
            code = subprocess.call([options.python, "start.py", command], cwd=home, env=environment)
            minutes = (time.monotonic() - start) / 60
            logs = [p.read_text(errors="replace") for p in (home / "artifacts").glob("setup-*.log")]
            units = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
            found = re.findall(r"Downloading \S+ \(([\d.]+) (kB|MB|GB)\)", "\n".join(logs))
            fetched = sum(float(number) * units[unit] for number, unit in found)
            print(
                f"\n### {command}: exit code {code}, {minutes:.1f} min, {fetched / 1e6:.0f} MB downloaded by pip, "
                f"environment {size(home / '.venv') / 1e9:.2f} GB, pip cache {size(cache) / 1e6:.0f} MB"
            )
            start = time.monotonic()
            if command == "headless":
                subprocess.call([options.python, "start.py", command], cwd=home, env=environment)
                print(f"### {command} again: {(time.monotonic() - start) / 60:.1f} min")
            worst = max(worst, code)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
