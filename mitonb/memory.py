"""Memory: how much there is, a refusal in numbers before work starts that would not fit, free memory given back."""

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mitonb.errors import TooLargeError

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


def memory_budget(share: float = 0.5) -> Budget:
    """Return the memory that a job may take: this share of the limit, less what the process holds already.

    The limit is the smallest of the container's (cgroup), the hub's (MEM_LIMIT), the shell's (ulimit) and the
    machine's. What the machine has says nothing inside a container, which is where the kernel dies silently.
    """
    import psutil

    limit, source = min(_limits())
    held = psutil.Process().memory_info().rss
    # A process that holds half already can still do small work.
    return Budget(max(int(limit * share) - held, limit // 8), limit, source)


def require(needed: int, what: str, advice: str, *, share: float = 0.5) -> None:
    """Refuse work that would not fit into a share of the limit.

    Raises
    ------
    TooLargeError
        With the numbers and the advice.
    """
    budget = memory_budget(share)
    part = "half" if share == 0.5 else f"{share:.0%}"
    if needed > budget.bytes:
        raise TooLargeError(
            f"{what} needs about {_size(needed)} of memory; {_size(budget.bytes)} are free for it "
            f"({part} of {_size(budget.limit)}, the limit of {budget.source}, less what is in use). {advice}"
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


def give_back() -> None:
    """Give free memory back to the system, where the C library (glibc) would keep it for each thread that was there.

    A kernel in which threads measured a volume after each of twenty thousand edits held 85 MB of it.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _size(n: float) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e8 else f"{n / 1e6:.0f} MB"


def _limits() -> list[tuple[int, str]]:
    import psutil

    found = [(int(psutil.virtual_memory().total), "this machine")]
    found += [(value, "this container") for value in _group_limits()]
    hub = os.environ.get("MEM_LIMIT", "")
    found.append((int(hub) if hub.isdigit() else 0, "this hub (MEM_LIMIT)"))
    with contextlib.suppress(ImportError):  # Windows has no such limit
        import resource

        found.append((resource.getrlimit(resource.RLIMIT_AS)[0], "this shell (ulimit -v)"))
    return [(value, source) for value, source in found if 0 < value < _NO_LIMIT]


def _group_limits() -> Iterator[int]:
    """Yield the limits of our own control group and of all above it, of both versions of control groups."""
    root = Path("/sys/fs/cgroup")
    groups = {"", *(line.split(":", 2)[2].strip("/") for line in _read(Path("/proc/self/cgroup")).splitlines())}
    for base, name in ((root, "memory.max"), (root / "memory", "memory.limit_in_bytes")):
        for here in (base / group for group in groups if ".." not in group):
            for place in (here, *here.parents):
                text = _read(place / name).strip() if place.is_relative_to(base) else ""
                yield int(text) if text.isdigit() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
