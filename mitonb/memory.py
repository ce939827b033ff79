"""Memory: how much there is, and a refusal in numbers before work starts that would not fit."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.errors import TooLargeError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Budget", "memory_budget", "require", "require_room"]

_NO_LIMIT = 1 << 60
_SMALL = 64 << 20
"""Bytes that are not worth asking for."""


@dataclass(frozen=True)
class Budget:
    """Memory that a job may take.

    Attributes
    ----------
    bytes : int
        What the job may take: half of the limit, less what this process holds already.
    limit : int
        The smallest of the limits found, in bytes.
    source : str
        What sets that limit, in words.
    """

    bytes: int
    limit: int
    source: str


def memory_budget() -> Budget:
    """Return the memory that a job may take.

    The limit is the smallest of the container's (cgroup), the hub's (MEM_LIMIT), the shell's (ulimit) and the
    machine's. What the machine has says nothing inside a container, which is where the kernel dies silently.
    """
    limit, source = min(_limits())
    held = _resident()
    # A process that holds half already can still do small work.
    return Budget(max(limit // 2 - held, limit // 8), limit, source)


def require(needed: int, what: str, advice: str) -> None:
    """Refuse work that would not fit.

    Raises
    ------
    TooLargeError
        With the numbers and the advice.
    """
    budget = memory_budget()
    if needed > budget.bytes:
        raise TooLargeError(
            f"{what} needs about {_size(needed)} of memory; {_size(budget.bytes)} are free for it "
            f"(half of {_size(budget.limit)}, the limit of {budget.source}, less what is in use). {advice}"
        )


def require_room(shape: Sequence[int], dtype: Any) -> None:
    """Refuse to read voxels that would not fit; every reader of what is not in memory yet asks this first.

    Parameters
    ----------
    shape : sequence of int
        Lengths of what will be in memory at once: a plane, a slab, the whole.
    dtype : dtype
        Of its voxels.

    Raises
    ------
    TooLargeError
        With the numbers and the advice.
    """
    needed = math.prod(int(n) for n in shape) * np.dtype(dtype).itemsize
    if needed > _SMALL:
        require(
            needed, f"Reading {' x '.join(map(str, shape))} voxels",
            "Cut out a smaller part of it, open a lower resolution (series=), or use a machine with more memory.",
        )  # fmt: skip


def _size(n: float) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e8 else f"{n / 1e6:.0f} MB"


def _limits() -> list[tuple[int, str]]:
    import psutil

    found = [(int(psutil.virtual_memory().total), "this machine")]
    for path in _cgroup_files():
        value = _number(path)
        if value is not None:
            found.append((value, "this container"))
    hub = os.environ.get("MEM_LIMIT", "")
    if hub.isdigit() and int(hub) > 0:
        found.append((int(hub), "this hub (MEM_LIMIT)"))
    try:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if 0 < soft < _NO_LIMIT:
            found.append((soft, "this shell (ulimit -v)"))
    except ImportError:  # Windows has no such limit
        pass
    return found


def _cgroup_files() -> list[Path]:
    """Return the files that may hold a limit: of our own group and all above it."""
    root = Path("/sys/fs/cgroup")
    files = [root / "memory.max", root / "memory" / "memory.limit_in_bytes"]
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return files
    for line in lines:
        _, controllers, group = line.split(":", 2)
        base = root if controllers == "" else root / "memory"
        name = "memory.max" if controllers == "" else "memory.limit_in_bytes"
        if controllers in ("", "memory") and ".." not in group:
            here = base / group.strip("/")
            files.extend(p / name for p in (here, *here.parents) if p.is_relative_to(base))
    return files


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() and 0 < int(text) < _NO_LIMIT else None


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
