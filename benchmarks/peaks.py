"""The highest resident memory of a piece of work in this process, above what was in use before."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil

__all__ = ["Peak"]


class Peak:
    """Measure the peak of a block: the kernel's own high-water mark where it can be reset, else 200 samples a second.

    Attributes
    ----------
    before : int
        Resident bytes at the start.
    used : int
        Highest resident bytes in the block, less those before.
    """

    def __init__(self) -> None:
        self.before = self.used = 0
        self._most = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._reset = _reset()
        self.before = psutil.Process().memory_info().rss
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        most = _high_water() if self._reset else self._most
        self.used = max(0, most - self.before)

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.005 if not self._reset else 1):
            self._most = max(self._most, process.memory_info().rss)


def _reset() -> bool:
    """Set the high-water mark back to what is in use now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _high_water() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
