"""Who does the tasks of a job: this process, others on this machine, or the workers of a dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from mitonb.errors import InputError, JobError
from mitonb.infer.tasks import Work, do_task

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from concurrent.futures import Future
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

    from mitonb.job import Progress

_DEATHS = 3
"""A task whose workers died so often is given up: it may be the reason."""
_POLL = 0.02


def here(work: Work, tasks: Sequence[str]) -> Generator[Progress | str | None, None, None]:
    """Do tasks in this process, one after the other; yield progress, the name of each that is done, or nothing yet."""
    for task in tasks:
        yield from work.steps(task)
        yield task


def on_processes(work: Work, tasks: Sequence[str], count: int) -> Generator[Progress | str | None, None, None]:
    """Do tasks in processes of this machine, each with its share of the cores and, where there are several, a GPU.

    The task of a process that dies is done again by another one.

    Raises
    ------
    JobError
        If processes die at the same task again and again, or before they have begun.
    MitonbError
        What a task raised.
    """
    # A fresh Python: after a fork, threads of torch and tensorstore would be missing.
    context = multiprocessing.get_context("spawn")
    begun, (ours, leave) = context.Event(), context.Pipe(duplex=False)

    def worker(number: int) -> ProcessPoolExecutor:
        # A pool of one: a process that dies takes its whole pool with it.
        return ProcessPoolExecutor(1, context, _begin, (number, count, begun, ours))

    crew = [worker(number) for number in range(min(count, len(tasks)))]
    waiting, deaths = [*reversed(tasks)], Counter[str]()
    busy: dict[Future[None], tuple[int, str]] = {}
    try:
        free = [*range(len(crew))]
        while waiting or busy:
            while waiting and free:
                number, task = free.pop(), waiting.pop()
                busy[crew[number].submit(do_task, str(work.place), task)] = number, task
            ended = wait(busy, timeout=0.5, return_when=FIRST_COMPLETED).done
            yield None
            for future in ended:
                number, task = busy.pop(future)
                free.append(number)
                try:
                    future.result()
                    yield task
                except BrokenProcessPool:
                    deaths[task] += 1
                    _refuse(task, deaths, some_began=begun.is_set())
                    waiting.append(task)
                    crew[number] = worker(number)
    finally:
        leave.close()
        for pool in crew:
            pool.shutdown(cancel_futures=True)


def _refuse(task: str, deaths: Counter[str], *, some_began: bool) -> None:
    """Give up when processes have died too often."""
    if not some_began and deaths.total() >= _DEATHS:
        raise JobError(
            "A process ended before it took its first task; what it printed says why. In a script, put what "
            'runs under `if __name__ == "__main__":`, because each process reads the script again.'
        )
    if deaths[task] >= _DEATHS:
        raise JobError(
            f"{_DEATHS} processes ended in the middle of {task}, probably for want of memory. Take fewer "
            "workers, a smaller tile, or a machine with more memory."
        )


def _begin(number: int, of: int, begun: Event, leave: Connection) -> None:
    """Prepare a process for its tasks."""
    threading.Thread(target=_end_with_parent, args=(leave,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is heard by who has begun it
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ["OMP_NUM_THREADS"] = str(max(1, cores // of))
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(max(1, cores // of))
        if torch.cuda.device_count() > 1:
            torch.cuda.set_device(number % torch.cuda.device_count())
    begun.set()


def _end_with_parent(leave: Connection) -> None:
    """End this process, in whatever it is, when it shall leave, or the one that began it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel, leave])
        os._exit(1)


def on_cluster(
    work: Work, tasks: Sequence[str], client: Any, do: Callable[[str, str], None] = do_task
) -> Generator[Progress | str | None, None, None]:
    """Do tasks on the workers of a dask cluster: what goes there is the folder and a name, and nothing comes back.

    A task that was lost, with its worker or with the scheduler, is sent again; that one is done, storage says.

    Raises
    ------
    JobError
        If the scheduler does not answer any more, or workers die at the same task again and again.
    MitonbError
        What a task raised.
    """
    place, deaths = str(work.place), dict.fromkeys(tasks, 0)

    def send(task: str) -> Any:
        return client.submit(do, place, task, key=f"{task}-{uuid.uuid4().hex[:12]}", pure=False)

    waiting = {send(task): task for task in tasks}
    try:
        while waiting:
            ended = [future for future in waiting if future.done()]
            for future in ended:
                task = waiting.pop(future)
                if future.status == "finished":
                    yield task
                    continue
                error = future.exception() if future.status == "error" else None
                if error is not None and type(error).__name__ != "KilledWorker":
                    raise error
                deaths[task] += 1
                if deaths[task] >= _DEATHS:
                    raise JobError(f"{task} was lost {_DEATHS} times with its worker. Look at the logs of the cluster.")
                waiting[send(task)] = task
            if client.status == "closed":
                raise JobError("The scheduler of the cluster does not answer any more. Start it again.")
            yield None
            if not ended:
                time.sleep(_POLL)
    finally:
        client.cancel(list(waiting))


def connect(address: str) -> Any:
    """Return a client of the dask scheduler at an address.

    Raises
    ------
    InputError
        If dask.distributed is not installed, or nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError("A cluster needs dask.distributed. Install it with: pip install 'mitonb[cluster]'") from None
    try:
        return Client(address, set_as_default=False, timeout="10s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"No scheduler answers at {address} ({error}). Start one with: dask scheduler") from error


def pool_of(work: Work, workers: int | None, client: Any) -> Callable[[Sequence[str]], Any]:
    """Return what does tasks: it takes their names, and yields as `here` does.

    Raises
    ------
    InputError
        If both are asked for, or less than one worker.
    """
    if client is not None and workers is not None:
        raise InputError("Give workers= for processes on this machine, or client= for a cluster, not both.")
    if client is not None:
        return lambda tasks: on_cluster(work, tasks, client)
    if workers is None:
        return lambda tasks: here(work, tasks)
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InputError(f"workers is a number of processes from 1 on, got {workers!r}.")
    return lambda tasks: on_processes(work, tasks, workers)
