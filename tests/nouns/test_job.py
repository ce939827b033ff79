"""Jobs report, finish, fail and cancel in ways that can be seen."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mitonb.errors import CancelledError, JobError
from mitonb.job import Job, Progress, drain

ROOT = Path(__file__).parents[2]


def counting(n, cleaned=None):
    try:
        for i in range(n):
            yield Progress("count", i + 1, n)
        return n
    finally:
        if cleaned is not None:
            cleaned.set()


def test_the_plain_form_drains_the_generator():
    assert drain(counting(5), show=False) == 5


def test_a_job_tells_every_step_and_hands_over_its_result():
    seen, results = [], []
    job = Job(counting(4))
    job.progressed.connect(lambda p: seen.append(p.done))
    job.finished.connect(results.append)
    assert job.start().result(timeout=30) == 4
    assert (seen, results, job.state, job.progress.fraction) == ([1, 2, 3, 4], [4], "done", 1.0)


def test_a_failure_is_kept_signalled_and_raised_again():
    def failing():
        yield Progress("try", 1, 2)
        raise ValueError("no such thing")

    errors = []
    job = Job(failing())
    job.failed.connect(errors.append)
    job.start()
    with pytest.raises(ValueError, match="no such thing"):
        job.result(timeout=30)
    assert job.state == "failed"
    assert errors == [job.error]


def test_a_cancelled_job_cleans_up_and_says_so():
    cleaned, first = threading.Event(), threading.Event()
    job = Job(counting(10**9, cleaned), name="counting")
    job.progressed.connect(lambda p: first.set())
    job.start()
    assert first.wait(30)
    job.cancel()
    with pytest.raises(CancelledError, match="counting was cancelled"):
        job.result(timeout=30)
    assert job.state == "cancelled"
    assert cleaned.is_set()


def test_a_listener_that_fails_does_not_end_the_job(caplog):
    def failing(_):
        raise RuntimeError("the page is gone")

    job = Job(counting(3), name="counting")
    job.progressed.connect(failing)
    job.finished.connect(failing)
    assert job.start().result(timeout=30) == 3
    assert "A listener of counting failed" in caplog.text


def test_a_job_that_was_never_started_says_so():
    job = Job(counting(3), name="counting")
    assert not job.wait()
    with pytest.raises(JobError, match=r"counting was not started\. Call start"):
        job.result()


PIPED = """
import sys, time
from mitonb.job import Progress, drain
def steps(stage):
    for i in range(12):
        time.sleep(0.15)
        yield Progress(stage, i, 12)
        yield Progress(f"read: piece {i}", i, 12)
drain(steps("first"))
drain(steps("second"))
"""


def test_in_a_log_every_state_is_a_line_of_its_own():
    done = subprocess.run([sys.executable, "-c", PIPED], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "\r" not in done.stderr
    lines = done.stderr.splitlines()
    stages = [line.split("%")[-1].strip().split(",")[0].split(":")[0] for line in lines if "done in" not in line]
    assert [sorted(stages[:2]), sorted(stages[2:])] == [["first", "read"], ["read", "second"]]
    assert all(line.count("%") <= 1 for line in lines)
    assert done.stdout == ""


def test_in_a_terminal_one_line_is_rewritten_and_its_percents_are_true():
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on this system")
    try:
        ours, theirs = pty.openpty()
    except OSError:
        pytest.skip("this machine gives out no pseudo-terminals")
    process = subprocess.Popen([sys.executable, "-c", PIPED], stderr=theirs, cwd=ROOT)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # what Linux answers at the end
        while piece := os.read(ours, 4096):
            said += piece
    os.close(ours)
    assert process.wait() == 0
    states = re.findall(r"([█░]{20}) +(\d+)%", said.decode())
    assert len(states) > 4
    assert all(bar.count("█") == round(20 * int(percent) / 100) for bar, percent in states)
    assert said.count(b"\n") == 2
