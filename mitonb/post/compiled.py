"""Compile hot loops once and keep the machine code where the user may write."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import config, njit

from mitonb.job import announce

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile a function of arrays and numbers with numba; it runs without the interpreter's lock.

    In hot loops indices that only grow from 0 on are made `np.uint64`: for others numba tests at each access whether
    they count from the end, which keeps simple loops from becoming vector code and doubles the cost of many others.

    The machine code is cached on disk: beside the package, else in the user's cache folder, else (a read-only
    installation without a home) in a folder of the user's own in the system's temporary one. Where nothing can be
    written at all, the function is compiled again in each process instead of failing.
    """
    try:
        return _cached(function)
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        folder = _private_folder()
    if folder is not None:
        settings: Any = config
        before = settings.CACHE_DIR
        try:
            settings.CACHE_DIR = str(folder)
            return _cached(function)
        except RuntimeError:
            pass
        finally:
            settings.CACHE_DIR = before
    return cast("F", njit(nogil=True, error_model="numpy")(function))


def _cached(function: F) -> F:
    compiled: Any = njit(cache=True, nogil=True, error_model="numpy")(function)
    cache = getattr(compiled, "_cache", None)
    if cache is not None:
        cache.load_overload = _told(_if_possible(cache.load_overload))
        cache.save_overload = _if_possible(cache.save_overload)
    return cast("F", compiled)


def _if_possible(access: Callable[..., Any]) -> Callable[..., Any]:
    """Let a full disk, or a cache that was taken away, cost some seconds of compilation instead of the call."""

    def access_if_possible(*what: Any) -> Any:
        try:
            return access(*what)
        except OSError:
            return None

    return access_if_possible


def _told(load: Callable[..., Any]) -> Callable[..., Any]:
    """Say that compiling takes its time when there is no machine code to load yet."""

    def load_or_tell(*what: Any) -> Any:
        found = load(*what)
        if found is None:
            announce("compiling, which only the first run has to do (up to a minute)")
        return found

    return load_or_tell


def _private_folder() -> Path | None:
    """Return a folder that nobody else can write to: what is read from it is run."""
    if not hasattr(os, "getuid"):
        return None
    try:
        folder = Path(tempfile.gettempdir()) / f"mitonb-compiled-{os.getuid()}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        there = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(there.st_mode) and there.st_uid == os.getuid() and not there.st_mode & 0o077
    return folder if private else None
