"""A driver whose only worker has a task in hand that takes an hour: its process writes its number."""

import os
import sys
import time

from mitonb.infer import pools


def do_slowly(place: str, task: str) -> None:
    """Do a task that takes an hour."""
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    time.sleep(3600)


class Work:
    """Work of which only the place matters."""

    place = "nowhere"


if __name__ == "__main__":
    from tests.infer import slow_worker

    pools.do_task = slow_worker.do_slowly
    list(pools.on_processes(Work(), ["planes-xy-0"], 1))  # type: ignore[arg-type]
