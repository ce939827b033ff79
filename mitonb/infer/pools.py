"""Who does the tasks of a job: this process, others on this machine, or the workers of a dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
import uuid
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from mitonb.errors import InputError, JobError
from mitonb.infer.tasks import Work, do_task

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from mitonb.job import Progress

_DEATHS = 3
"""A task whose workers died so often is given up: it may be the reason."""
_POLL = 0.02
_LAST_WORDS = 10  # seconds in which a process that has closed its pipe may end by itself
_READY = "ready"


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
    waiting, deaths = list(reversed(tasks)), dict.fromkeys(tasks, 0)
    crew = [_Process(number, count) for number in range(min(count, len(tasks)))]
    try:
        while waiting or any(one.task for one in crew):
            for one in crew:
                if not one.task and waiting:
                    one.begin(str(work.place), waiting.pop())
            ready = wait([one.pipe for one in crew if one.task], timeout=0.5)
            yield None
            for one in (one for one in crew if one.pipe in ready):
                task, died = one.ended()
                if not task:
                    continue
                if not died:
                    yield task
                    continue
                deaths[task] += 1
                if deaths[task] >= _DEATHS:
                    raise JobError(
                        f"{_DEATHS} processes ended in the middle of {task}, probably for want of memory. Take fewer "
                        "workers, a smaller tile, or a machine with more memory."
                    )
                waiting.append(task)
                crew[crew.index(one)] = _Process(one.number, count)
    finally:
        for one in crew:
            one.stop()


class _Process:
    """A process that does one task after the other."""

    def __init__(self, number: int, of: int) -> None:
        self.number, self.task, self._begun = number, "", False
        self.pipe, theirs = multiprocessing.Pipe()
        # A fresh Python: after a fork, threads of torch and tensorstore would be missing.
        self._process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(theirs, number, of), daemon=True
        )
        self._process.start()
        theirs.close()

    def begin(self, folder: str, task: str) -> None:
        self.task = task
        with contextlib.suppress(OSError):  # it has died; its end of the pipe says so
            self.pipe.send((folder, task))

    def ended(self) -> tuple[str, bool]:
        """Return the task that it is done with, and whether it died of it; none where it has just begun."""
        try:
            error = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join(_LAST_WORDS)
            killed = (self._process.exitcode or 0) < 0
            self.stop()
            if not self._begun and not killed:  # what was killed may begin another time
                raise JobError(
                    "A process ended before it took its first task; what it printed says why. In a script, put what "
                    'runs under `if __name__ == "__main__":`, because each process reads the script again.'
                ) from None
            task, self.task = self.task, ""
            return task, True
        if error == _READY:
            self._begun = True
            return "", False
        task, self.task = self.task, ""
        if error is not None:
            raise error
        return task, False

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: Connection, number: int, of: int) -> None:
    """Do what comes through a pipe, until it ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send(_READY)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ["OMP_NUM_THREADS"] = str(max(1, cores // of))
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(max(1, cores // of))
        if torch.cuda.device_count() > 1:
            torch.cuda.set_device(number % torch.cuda.device_count())
    while True:
        try:
            folder, task = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            do_task(folder, task)
            pipe.send(None)
        except KeyboardInterrupt:
            return
        except Exception as error:
            try:
                pipe.send(error)
            except Exception:  # one that cannot be sent
                pipe.send(JobError(f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    """End this process, in whatever it is, when the one that began it ends: nobody else would, were it killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
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
