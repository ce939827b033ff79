"""Compiled functions are kept where the user may write, and run where nothing can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
from mitonb.post.centers import jit

@jit
def double(x):
    return 2 * x
"""
CALL = "import drawn; print(drawn.double(21), sum(drawn.double.stats.cache_hits.values()))"


def called(folder: Path, code: str = CALL, **changes: str) -> str:
    """Call the function in a fresh process; return what it prints: the result, and how often the cache had the code."""
    (folder / "drawn.py").write_text(MODULE)
    # Only the folder that the environment names is tried: whoever runs the tests may be allowed to write anywhere.
    fixed = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=os.environ | fixed | changes, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_where_nothing_can_be_written_each_process_compiles_anew(tmp_path: Path) -> None:
    for _ in range(2):
        assert called(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "drawn.py")) == "42 0"


def test_a_cache_that_is_gone_or_full_stops_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    spoiled = f"import drawn, shutil; shutil.rmtree({str(cache)!r}); open({str(cache)!r}, 'w').close(); " + CALL
    assert called(tmp_path, spoiled, NUMBA_CACHE_DIR=str(cache)) == "42 0"
    cache.unlink()
    assert called(tmp_path, NUMBA_CACHE_DIR=str(cache)) == "42 0"
    assert called(tmp_path, NUMBA_CACHE_DIR=str(cache)) == "42 1"
    shutil.rmtree(cache)
