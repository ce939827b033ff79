"""Jobs report, finish, fail and cancel in ways that can be seen."""

import threading

import pytest

from mitonb.errors import CancelledError, JobError
from mitonb.job import Job, Progress, drain


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
