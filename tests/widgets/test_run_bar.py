"""The run bar: shows a job, its end, its cancellation and its failure; and the worker where the newest wins."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from mitonb.errors import InputError, JobError
from mitonb.job import Job, Progress, clock
from mitonb.widgets.runs import RunBar
from mitonb.widgets.style import Latest

if TYPE_CHECKING:
    from collections.abc import Generator


def counting(gate: threading.Event | None = None) -> Generator[Progress, None, int]:
    for k in range(4):
        yield Progress("count", k, 4)
        if gate is not None:
            gate.wait(20)
    return 42


def failing(error: Exception) -> Generator[Progress, None, int]:
    yield Progress("count", 1, 4)
    raise error


def test_a_finished_job_says_its_result_and_frees_the_buttons() -> None:
    bar = RunBar()
    job = bar.watch(Job(counting()), then=lambda result: f"{result} found.")
    assert job.result(20) == 42
    assert bar.message.value == '<span class="mnb-good">42 found.</span>'
    on = [button.description for button in bar.buttons.values() if not button.disabled]
    assert on == ["Segment this plane", "Segment the volume", "Look at maps"]
    assert not bar.busy


def test_while_a_job_runs_only_cancel_can_be_pressed() -> None:
    gate, bar = threading.Event(), RunBar()
    job = bar.watch(Job(counting(gate), name="Counting"))
    assert all(button.disabled for button in bar.buttons.values())
    assert not bar.stop.disabled
    with pytest.raises(JobError, match="Counting is still running"):
        bar.watch(Job(counting()))
    bar.stop.click()
    gate.set()
    assert job.wait(20)
    assert "Counting cancelled; nothing was changed." in bar.message.value
    assert bar.stop.disabled
    assert not bar.buttons["plane"].disabled


def test_what_is_said_while_a_job_runs_stands_in_its_line_and_changes_nothing_else() -> None:
    gate, bar = threading.Event(), RunBar()
    job = bar.watch(Job(counting(gate), name="Counting"))
    for say in (lambda: bar.fail(JobError("Counting is still running.")), lambda: bar.say("With the next run.")):
        say()
        assert bar.message.value == ""
        assert bar.undo.layout.display == "none"
    # The next progress does not wipe it out before anybody has read it.
    bar._draw(Progress("count", 1, 4))
    assert "With the next run." in bar.status.value
    assert bar.progress.value == 0.25
    gate.set()
    assert job.wait(20)
    assert bar.status.value == bar.message.value == ""


def test_an_error_on_purpose_is_a_sentence_and_no_traceback() -> None:
    bar = RunBar()
    job = bar.watch(Job(failing(InputError("The stack is <b>too</b> flat. Take a thicker one."))))
    assert job.wait(20)
    assert (
        '<span class="mnb-error">The stack is &lt;b&gt;too&lt;/b&gt; flat. Take a thicker one.</span>'
        in bar.message.value
    )
    assert "<details>" not in bar.message.value


def test_an_unexpected_error_is_shown_too() -> None:
    bar = RunBar()
    assert bar.watch(Job(failing(ZeroDivisionError("by zero")))).wait(20)
    assert "Something went wrong (ZeroDivisionError): by zero" in bar.message.value
    assert "<details>" in bar.message.value


def test_what_fails_after_the_job_reaches_the_screen() -> None:
    bar = RunBar()

    def then(_: int) -> str:
        raise InputError("The disk is full.")

    assert bar.watch(Job(counting()), then=then).wait(20)
    assert "The disk is full." in bar.message.value


def test_buttons_ask_by_name() -> None:
    bar, asked = RunBar(), []
    bar.asked.connect(asked.append)
    bar.allow(apply_plane=True)
    for name in ("plane", "volume", "apply-plane"):
        bar.buttons[name].click()
    assert asked == ["plane", "volume", "apply-plane"]
    assert bar.buttons["apply-volume"].disabled


def test_time_is_told_as_people_say_it() -> None:
    assert [clock(s) for s in (7.6, 70, 7380)] == ["8 s", "1:10", "2:03:00"]


def test_of_many_calls_that_wait_only_the_newest_is_made() -> None:
    gate, begun, done = threading.Event(), threading.Event(), []

    def work(value: int) -> None:
        begun.set()
        gate.wait(20)
        done.append(value)

    latest = Latest(work, failed=lambda error: done.append(-1))
    latest.ask(1)
    assert begun.wait(20)
    for value in (2, 3, 4):
        latest.ask(value)
    gate.set()
    assert latest.wait(20)
    assert done == [1, 4]


def test_what_follows_edits_rests_as_long_as_it_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rests = [0.0], []

    def work() -> None:
        now[0] += 5.0
        if now[0] == 5.0:
            latest.ask()

    monkeypatch.setattr("mitonb.widgets.style.time", SimpleNamespace(sleep=rests.append, monotonic=lambda: now[0]))
    latest = Latest(work, failed=lambda error: None, delay=0.1)
    latest.ask()
    assert latest.wait(20)
    assert rests == [0.1, 5.0], "nobody waits for a rest that nothing follows"
    latest.ask()
    assert latest.wait(20)
    assert rests == [0.1, 5.0, 5.0]


def test_a_failed_call_is_told_and_the_next_one_is_made() -> None:
    told: list[str] = []

    def work(value: int) -> None:
        told.append(f"{10 / value:g}")

    latest = Latest(work, failed=lambda error: told.append(type(error).__name__))
    latest.ask(0)
    assert latest.wait(20)
    latest.ask(5)
    assert latest.wait(20)
    assert told == ["ZeroDivisionError", "2"]


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps it")
def test_what_threads_leave_after_edits_goes_back_to_the_system() -> None:
    left: list[list[bytes]] = []

    def held() -> int:
        return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])

    def work() -> None:
        pieces = [bytes(5000 + k % 97) for k in range(20_000)]
        left.append(pieces[::50])

    latest, before = Latest(work, failed=lambda error: None, delay=0.01), held()
    for _ in range(4):
        latest.ask()
        assert latest.wait(20)
    assert len(left) == 4
    assert held() - before < 50_000, "kB, of the 400,000 that were used"
