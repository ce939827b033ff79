"""Jobs: progress as values, and a thread that drives a generator so that it can be watched and cancelled."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from psygnal import EmitLoopError, Signal, SignalInstance

from mitonb.errors import CancelledError, JobError

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
        Something to show meanwhile, or None. Runs give planes as they come: axis, index, and the (h, w) ids that were
        found on it, before objects are joined across planes; training gives a dict of figures.
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
    """Run a generator to its end and return its result; if `show`, a line of text tells how far it is.

    The line is rewritten in a terminal and in a notebook, which keeps its last state when it is saved. Elsewhere, such
    as in a log file, each state is a line of its own: at the first step of every stage, and then every ten seconds.
    """
    with _Line() if show else contextlib.nullcontext() as line:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            if line is not None:
                line.show(step)


class _Line:
    """The line of text of `drain`."""

    def __init__(self) -> None:
        self._notebook = "ipykernel" in sys.modules and type(sys.stdout).__module__.startswith("ipykernel")
        self._rewrites = self._notebook or sys.stderr.isatty()
        self._every = 0.25 if self._rewrites else 10.0
        self._started = self._shown = time.monotonic()
        self._stages: set[str] = set()
        self._display: Any = None
        self._width = 0

    def __enter__(self) -> "_Line":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Leave how long it took, if anything was shown, and the cursor on a line of its own."""
        if self._width and kind is None:
            self._write(f"done in {clock(time.monotonic() - self._started)}")
        if self._width and self._rewrites and not self._notebook:
            sys.stderr.write("\n")

    def show(self, step: Progress) -> None:
        """Show a step, unless another one was shown a moment ago; what is done at once shows nothing."""
        now = time.monotonic()
        # In a log, the first of its kind: a stage without what changes, such as the loss in "train: loss 0.31".
        kind = step.stage.partition(":")[0]
        due = now - self._shown >= self._every or (not self._rewrites and kind not in self._stages)
        if due and now - self._started > 0.5:
            self._stages.add(kind)
            self._write(self._text(step, now - self._started))

    def _text(self, step: Progress, elapsed: float) -> str:
        fraction = min(step.fraction, 1.0)
        seconds = _seconds_left(elapsed, fraction)
        left = "" if seconds is None else f", {clock(seconds)} left"
        filled = round(20 * fraction)
        bar = f"{'█' * filled}{'░' * (20 - filled)} " if self._rewrites else ""
        return f"{bar}{fraction:4.0%} {step.stage}{left}"

    def _write(self, text: str) -> None:
        self._shown = time.monotonic()
        padded, self._width = text.ljust(self._width), len(text)
        if self._notebook:
            from IPython.display import display

            said = {"text/plain": text}
            if self._display is None:
                self._display = display(said, raw=True, display_id=True)  # type: ignore[no-untyped-call]
            else:
                self._display.update(said, raw=True)
        else:
            sys.stderr.write(f"\r{padded}" if self._rewrites else f"{text.strip()}\n")
            sys.stderr.flush()


def _seconds_left(elapsed: float, fraction: float) -> float | None:
    """Estimate the time to the end, or None before enough is known."""
    return None if fraction < 0.02 or elapsed < 0.5 else elapsed * (1 - fraction) / fraction


def clock(seconds: float) -> str:
    """Return a duration as people say it: "8 s", "1:10", "2:03:00"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


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

    def start(self) -> "Job[T]":
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
        return _seconds_left(time.monotonic() - self._started, self.progress.fraction)

    def _run(self) -> None:
        self.state, signal, said = self._drive()
        self.progress = replace(self.progress, preview=None)  # nothing large is kept
        self._tell(signal, *said)

    def _drive(self) -> tuple[State, SignalInstance, tuple[Any, ...]]:
        """Take all steps; return how it ended, and what is to be told."""
        try:
            while not self._stop.is_set():
                self.progress = next(self._steps)
                self._tell(self.progressed, self.progress)
            self._steps.close()
            return "cancelled", self.cancelled, ()
        except StopIteration as end:
            self._result = end.value
            return "done", self.finished, (end.value,)
        except Exception as error:  # every failure must reach the screen
            self.error = error
            return "failed", self.failed, (error,)

    def _tell(self, signal: SignalInstance, *said: Any) -> None:
        """Emit; a listener that fails, such as a page that was closed, must not end a run of hours."""
        try:
            signal.emit(*said)
        except EmitLoopError:
            _log.exception("A listener of %s failed; the job itself is as it should be.", self.name)
