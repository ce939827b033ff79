"""A driver whose only worker has a task in hand that takes an hour: writes the number of the worker's process."""

from __future__ import annotations

import sys
import time
from typing import Any

from mitonb.infer import pools


def serve_slowly(*about: Any) -> None:
    """Serve as a worker does, with tasks that take an hour."""
    pools.do_task = lambda place, task: time.sleep(3600)
    pools._serve(*about)


if __name__ == "__main__":
    from tests.infer import slow_worker

    pools._serve = slow_worker.serve_slowly
    worker = pools._Process(0, 1)
    worker.begin("nowhere", "planes-xy-0")
    worker.ended()  # has begun
    sys.stdout.write(f"{worker._process.pid}\n")
    sys.stdout.flush()
    time.sleep(3600)
