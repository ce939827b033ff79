"""The run bar: start jobs, watch them, cancel them, and read what went wrong."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
from psygnal import Signal

from mitonb.errors import JobError
from mitonb.job import clock
from mitonb.widgets.style import error_html, note, row, sheet

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitonb.job import Job, Progress

__all__ = ["RunBar"]

_EVERY = 0.1
"""Least seconds between two updates of the screen: more would only fill the socket."""

_READ = 5.0
"""Seconds that a sentence stands in the line of a running job."""

_BUTTONS = {
    "plane": ("Segment this plane", "play", "Run the model on the plane on screen (Enter)"),
    "volume": ("Segment the volume", "cubes", "Run the model on every plane, and join the planes to objects"),
    "maps": ("Look at maps", "eye", "Run the model on the plane on screen for its maps alone; its labels stay"),
    "apply-plane": ("Apply to this plane", "check", "Make the preview an edit, which can be undone (Enter)"),
    "apply-volume": ("Apply to the volume", "check", "Decode and track the kept maps; the network is not run"),
}

Said = tuple[str, int]
"""A sentence, and the number of the edit that it is about; 0 for none."""


class RunBar(ipw.VBox):
    """Buttons that ask for runs, and a progress bar with stage, percent, time left and cancel.

    The bar runs nothing by itself: it emits `asked` and shows the job that it is given.

    Attributes
    ----------
    asked : Signal(str)
        "plane", "volume", "maps", "apply-plane" or "apply-volume".
    undone : Signal(int)
        The user wants the edit of that number back that the sentence is about.
    worked : Signal(bool)
        Whether a job is running.
    job : Job or None
        The job that is shown.
    """

    asked = Signal(str)
    undone = Signal(int)
    worked = Signal(bool)

    def __init__(self, **options: Any) -> None:
        self.job: Job[Any] | None = None
        self._lock = threading.RLock()
        self._drawn = 0.0
        self._read = 0.0
        self._stages: set[str] = set()
        self._stopping = False
        self._allowed = dict.fromkeys(_BUTTONS, False) | {"plane": True, "volume": True, "maps": True}
        self.buttons = {
            name: ipw.Button(
                description=text, icon=icon, tooltip=tip, layout={"width": "auto"}
            )
            for name, (text, icon, tip) in _BUTTONS.items()
        }  # fmt: skip
        self.progress = ipw.FloatProgress(
            min=0, max=1, value=0, layout={"flex": "1 1 60px", "max_width": "220px", "width": "auto", "height": "8px"}
        )
        self.stop = ipw.Button(
            icon="times", tooltip="Cancel the running job; nothing is changed", disabled=True, layout={"width": "28px"}
        )
        self.stop.add_class("mnb-stop")
        self.status = ipw.HTML().add_class("mnb-ellipsis")
        self.message = ipw.HTML(layout={"flex": "0 1 auto"})
        self.undo = ipw.Button(description="Undo", tooltip="Take this edit back (Ctrl-Z)", layout={"width": "auto"})
        self.undo.add_class("mnb-link")
        self._edit = 0
        self.replace = ipw.Checkbox(
            description="replace corrected, too", indent=False, layout={"width": "auto", "flex": "0 0 auto"},
            tooltip="Off: objects that you have painted, erased, merged ... stay as they are, and what you deleted "
            "stays away. Either way the run is one edit that can be undone.",
        )  # fmt: skip
        self.running = row(self.progress, self.stop, self.status, flex_flow="row nowrap")
        # Both take the same place, which is kept free: nothing jumps when a job starts or something is said.
        said = row(self.message, self.undo, flex_flow="row nowrap")
        news = ipw.VBox([self.running, said]).add_class("mnb-news")
        super().__init__([sheet(), row(*self.buttons.values()), row(self.replace, news)], **options)
        self.add_class("mnb").add_class("mnb-run")
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self.asked.emit(name))
        self.stop.on_click(lambda _: self.cancel())
        self.undo.on_click(lambda _: self.undone.emit(self._edit))
        self.offer_undo(0)
        self._enable()

    @property
    def replaces(self) -> bool:
        """Whether a run shall replace what the user has corrected, too."""
        return bool(self.replace.value)

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self.job is not None and self.job.state == "running"

    def watch(self, job: Job[Any], *, then: Callable[[Any], str | Said | None] | None = None) -> Job[Any]:
        """Start a job and show it; `then` gets its result and may return a sentence for the user (see `Said`).

        Raises
        ------
        JobError
            If another job is still running.
        """
        with self._lock:
            if self.job is not None and self.busy:
                raise JobError(f"{self.job.name} is still running: wait for its end or cancel it.")
            self.job, self._stopping, self._stages, self._read = job, False, set(), 0.0
            job.progressed.connect(self._on_progress)
            job.finished.connect(lambda result: self._on_finish(result, then))
            job.failed.connect(self._on_failure)
            stopped = f"{job.name} cancelled; nothing was changed. You can run it again at any time."
            job.cancelled.connect(lambda: self._end("", stopped, "dim"))
            self.say("")
            self.progress.bar_style = "info"
            self._draw(job.progress)
            job.start()
            self._enable()
        return job

    def cancel(self) -> None:
        """Ask the running job to stop."""
        if self.job is not None and self.busy:
            self._stopping = True
            self.stop.disabled = True
            self.status.value = note("stopping after this step …")
            self.job.cancel()

    def allow(self, **allowed: bool) -> None:
        """Switch buttons on or off, by the name that they ask for ("_" for "-"); *Apply* shows only while it is on."""
        self._allowed |= {name.replace("_", "-"): on for name, on in allowed.items()}
        self._enable()

    def say(self, said: str | Said, kind: str = "dim") -> None:
        """Show one sentence under the bar, with Undo where it is about an edit."""
        text, edit = said if isinstance(said, tuple) else (said, 0)
        self._show(note(text, kind), edit)

    def offer_undo(self, edit: int) -> None:
        """Show *Undo* for the edit of that number; 0 takes it away, as is due when another edit came."""
        self._edit = edit
        self.undo.layout.display = None if edit else "none"

    def fail(self, error: BaseException) -> None:
        """Show an error under the bar."""
        self._show(error_html(error), 0)

    def _show(self, text: str, edit: int) -> None:
        """Show a text under the bar; while a job runs in its line, for a while, so that the picture stays in place."""
        with self._lock:
            # A traceback stays: whoever reports it needs more than a while.
            if self.busy and "<details>" not in text:
                self.status.value = text
                self._read = time.monotonic() + _READ
            else:
                self.message.value = text
            self.offer_undo(edit)

    def state(self) -> str:
        """Return what the bar shows, in one short text."""
        on = [b.description for b in self.buttons.values() if not b.disabled]
        return f"{self.status.value}|{self.progress.value:.0%}|{self.message.value}|{', '.join(on)}"

    def _on_progress(self, progress: Progress) -> None:
        if time.monotonic() - self._drawn >= _EVERY or progress.stage not in self._stages:
            self._draw(progress)

    def _draw(self, progress: Progress) -> None:
        self._drawn = time.monotonic()
        self._stages.add(progress.stage)
        left = self.job.seconds_left if self.job is not None else None
        rest = "" if left is None else f" · {clock(left)} left"
        stage = progress.stage or (self.job.name if self.job else "")
        self.progress.value = progress.fraction
        if not self._stopping and self._drawn > self._read:
            self.status.value = note(f"{stage} · {progress.fraction:.0%}{rest}", "plain")

    def _on_finish(self, result: Any, then: Callable[[Any], str | Said | None] | None) -> None:
        said = None
        try:
            said = then(result) if then else None
        except Exception as error:  # what happens after a job must reach the screen as well
            self._on_failure(error)
            return
        self._end("success", said or "", "good")

    def _on_failure(self, error: Any) -> None:
        self._end("danger", "", "error")
        self.fail(error)

    def _end(self, style: str, said: str | Said, kind: str) -> None:
        self.progress.bar_style = style
        self.progress.value = 0.0
        self.status.value = ""
        self.say(said, kind)
        self._enable()

    def _enable(self) -> None:
        busy = self.busy
        # The one that Enter stands for.
        first = "apply-plane" if self._allowed["apply-plane"] else "plane"
        for name, button in self.buttons.items():
            button.disabled = busy or not self._allowed[name]
            button.button_style = "primary" if name == first else ""
            button.layout.display = None if self._allowed[name] or not name.startswith("apply") else "none"
        self.stop.disabled = not busy
        self.running.layout.display = None if busy else "none"
        self.worked.emit(busy)
