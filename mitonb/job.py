"""Jobs: progress as values, and a thread that drives a generator so that it can be watched and cancelled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from psygnal import EmitLoopError, Signal

from mitonb.errors import CancelledError, JobError

__all__ = ["Job", "Progress", "drain"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class Progress:
    """How far a long verb has come.

    Attributes
    ----------
    stage : str
        What it is doing, in a word or two.
    done, total : int
        Units of work of the whole job that are finished and planned.
    preview : object
        Something to show meanwhile, or None.
    """

    stage: str
    done: int
    total: int
    preview: Any = None

    @property
    def fraction(self) -> float:
        """Finished part, 0..1."""
        return self.done / self.total if self.total else 0.0


Steps = Generator[Progress, None, T]


def drain(steps: Steps[T], *, show: bool = True) -> T:
    """Run a generator to its end and return its result, with a progress bar if `show`."""
    from tqdm.auto import tqdm

    with tqdm(total=1, disable=not show, leave=False, bar_format="{desc}: {percentage:3.0f}% {bar} {remaining}") as bar:
        shown = 0.0
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            bar.total, bar.n = step.total, step.done
            bar.set_description_str(step.stage, refresh=False)
            if time.monotonic() - shown > 0.1:  # a log file or a slow link must not drown in redrawn bars
                bar.refresh()
                shown = time.monotonic()


class Job(Generic[T]):
    """Drive a generator in a thread.

    Signals are emitted from the worker thread. `cancel()` closes the generator between two steps, so its
    `finally` blocks run; nothing is half-written.

    Parameters
    ----------
    steps : generator of Progress
        The generator form of a long verb, such as `segmenting(...)`.
    name : str
        Shown to the user.
    """

    progressed = Signal(Progress)
    finished = Signal(object)
    failed = Signal(object)
    cancelled = Signal()

    def __init__(self, steps: Steps[T], *, name: str = "job") -> None:
        self.name = name
        self.state: State = "waiting"
        self.progress = Progress(name, 0, 0)
        self.error: BaseException | None = None
        self._steps = steps
        self._result: T | None = None
        self._stop = threading.Event()
        self._started = 0.0
        self._thread = threading.Thread(target=self._run, name=f"mitonb {name}", daemon=True)

    def start(self) -> Job[T]:
        """Start the thread; return the job itself."""
        self._started = time.monotonic()
        self.state = "running"
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Ask the job to stop at its next step."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; return whether it has come."""
        if self.state == "waiting":
            return False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result and return it, or raise what the job raised.

        Raises
        ------
        JobError
            If it was never started.
        CancelledError
            If the job was cancelled.
        TimeoutError
            If it is still running after `timeout` seconds.
        """
        if self.state == "waiting":
            raise JobError(f"{self.name} was not started. Call start() first.")
        if not self.wait(timeout):
            raise TimeoutError(f"{self.name} is still running.")
        if self.error is not None:
            raise self.error
        if self.state == "cancelled":
            raise CancelledError(f"{self.name} was cancelled; nothing was changed. Start it again to get its result.")
        return self._result  # type: ignore[return-value]

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end in seconds, or None before enough is known."""
        fraction = self.progress.fraction
        elapsed = time.monotonic() - self._started
        return None if fraction < 0.02 or elapsed < 0.5 else elapsed * (1 - fraction) / fraction

    def _run(self) -> None:
        notify: Callable[[], None]
        try:
            while not self._stop.is_set():
                self.progress = next(self._steps)
                self._tell(lambda: self.progressed.emit(self.progress))
            self._steps.close()
            self.state = "cancelled"
            notify = self.cancelled.emit
        except StopIteration as end:
            result = end.value
            self._result = result
            self.state = "done"
            notify = lambda: self.finished.emit(result)  # noqa: E731
        except Exception as error:  # every failure must reach the screen
            caught = error
            self.error = caught
            self.state = "failed"
            notify = lambda: self.failed.emit(caught)  # noqa: E731
        self._tell(notify)

    def _tell(self, notify: Callable[[], None]) -> None:
        """Emit; a listener that fails, such as a page that was closed, must not end a run of hours."""
        try:
            notify()
        except EmitLoopError:
            _log.exception("A listener of %s failed; the job itself is as it should be.", self.name)
