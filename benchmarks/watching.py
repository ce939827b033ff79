"""What a 2 GB limit means here: the resident memory of a process tree, sampled every 50 ms, killed above the limit."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Watch"]


class Watch:
    """Watch a process and its descendants.

    Resident memory is added up over processes, so pages that they share count more than once: the real need is lower.

    Parameters
    ----------
    pid : int
        Root of the tree.
    limit : float or None
        Bytes; above it every process of the tree is killed.
    """

    def __init__(self, pid: int, *, limit: float | None = None, every: float = 0.05) -> None:
        self.pid, self.limit, self.every = pid, limit, every
        self.peak = 0
        self.peaks: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self.killed = False
        self.samples = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def largest(self) -> tuple[str, int]:
        """Return name and peak, in bytes, of the process that needed most."""
        pid = max(self.peaks, key=lambda p: self.peaks[p])
        return self.names[pid], self.peaks[pid]

    def kernel(self) -> int:
        """Return the peak of the largest Jupyter kernel in bytes."""
        return max((peak for pid, peak in self.peaks.items() if "ipykernel" in self.names[pid]), default=0)

    def __str__(self) -> str:
        text = f"peak {self.peak / 1e9:.2f} GB in all, {self.kernel() / 1e9:.2f} GB in the kernel"
        kept = "EXCEEDED: killed" if self.killed else "kept"
        limit = f", limit {self.limit / 1e9:g} GB {kept}" if self.limit else ""
        return f"{text}{limit} ({self.samples} samples)"

    def _run(self) -> None:
        while not self._stop.is_set():
            start = time.monotonic()
            self._sample()
            self._stop.wait(max(0.0, self.every - (time.monotonic() - start)))

    def _sample(self) -> None:
        try:
            root = psutil.Process(self.pid)
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        total = 0
        for process in tree:
            try:
                held = int(process.memory_info().rss)
                if process.pid not in self.names:
                    self.names[process.pid] = " ".join(process.cmdline())
            except psutil.Error:
                continue
            total += held
            self.peaks[process.pid] = max(held, self.peaks.get(process.pid, 0))
        self.samples += 1
        self.peak = max(self.peak, total)
        if self.limit and total > self.limit:
            self.killed = True
            for process in reversed(tree):
                try:
                    process.kill()
                except psutil.Error:
                    continue
            self._stop.set()
