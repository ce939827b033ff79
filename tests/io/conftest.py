"""Small volumes with known voxels."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def volume() -> np.ndarray:
    """(3, 5, 7) uint8; every voxel differs from its neighbours."""
    return np.arange(105, dtype=np.uint8).reshape(3, 5, 7)


@pytest.fixture
def ids() -> np.ndarray:
    """(3, 5, 7) uint32 with ids 0, 1, 300 and 65535."""
    found = np.zeros((3, 5, 7), np.uint32)
    found[0, 0, 0], found[1, 2, 3], found[2, 4, 6] = 1, 300, 65535
    return found


@pytest.fixture
def most_memory():
    """Return a block in which this process may not grow by more than some bytes."""
    import contextlib
    import threading

    import psutil

    @contextlib.contextmanager
    def limit(most: int):
        process, over = psutil.Process(), threading.Event()
        before, highest = process.memory_info().rss, [0]

        def watch() -> None:
            while not over.wait(0.001):
                highest[0] = max(highest[0], process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
        assert highest[0] - before < most

    return limit
