"""Compiled functions are kept where the user may write, and run where nothing can be."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
from mitonb.post.compiled import jit

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


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users of this system have a folder of their own")
def test_where_neither_package_nor_home_can_be_written_a_folder_of_the_users_own_holds_the_code(tmp_path: Path) -> None:
    nowhere = {"NUMBA_CACHE_DIR": str(tmp_path / "drawn.py"), "TMPDIR": str(tmp_path)}
    assert called(tmp_path, **nowhere) == "42 0"
    assert called(tmp_path, **nowhere) == "42 1"
    (folder,) = tmp_path.glob("mitonb-compiled-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # Where others could have written, nothing is read.
    folder.chmod(0o777)
    assert called(tmp_path, **nowhere) == "42 0"


def test_a_cache_that_is_gone_or_full_stops_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    spoiled = f"import drawn, shutil; shutil.rmtree({str(cache)!r}); open({str(cache)!r}, 'w').close(); " + CALL
    assert called(tmp_path, spoiled, NUMBA_CACHE_DIR=str(cache)) == "42 0"
    cache.unlink()
    assert called(tmp_path, NUMBA_CACHE_DIR=str(cache)) == "42 0"
    assert called(tmp_path, NUMBA_CACHE_DIR=str(cache)) == "42 1"
    shutil.rmtree(cache)
