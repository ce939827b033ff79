"""One writer at a time: other processes, other machines, and older sessions of the same one."""

import subprocess
import sys

import numpy as np
import pytest

from mitonb.edit.store import Store
from mitonb.errors import ReadOnlyStoreError, StaleWriterError, StoreError
from mitonb.files import LockHolder
from mitonb.session import Session
from tests.edit.drawing import painted

# Another process keeps the project open until its input ends.
HOLDER = """
import sys
from mitonb.session import Session
session = Session.open(sys.argv[1])
print(session.read_only, flush=True)
for line in sys.stdin:
    try:
        print(session.paint([[0, 0, int(line)]], id=77, radius=0).seq, flush=True)
    except Exception as error:
        print(type(error).__name__, session.read_only, session.save_state, flush=True)
session.close()
"""


@pytest.fixture
def holder(path):
    painted(path).close()
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdout.readline() == "False\n"
    yield child
    child.stdin.close()
    child.wait()
    child.stdout.close()


def say(child, line):
    child.stdin.write(f"{line}\n")
    return child.stdout.readline().strip()


def test_a_second_session_only_looks_and_can_follow(path, holder):
    with Session.open(path) as second:
        assert second.read_only
        assert f"process {holder.pid}" in str(second.save_state)
        with pytest.raises(ReadOnlyStoreError, match="take_over=True"):
            second.undo()
        seq = int(say(holder, 9))
        seen = []
        second.edited.connect(seen.append)
        second.refresh()
        assert [c.seq for c in seen] == [seq]
        assert second.pick(0, 0, 9) == 77


def test_a_session_that_takes_over_fences_the_other(path, holder):
    seq = int(say(holder, 9))
    with Session.open(path, take_over=True) as second:
        assert not second.read_only
        assert second.version == seq
        assert second.pick(0, 0, 9) == 77
        answer = say(holder, 10)
        assert answer.startswith("StaleWriterError True not saved")
        second.paint([[0, 0, 11]], id=78, radius=0)
        assert second.pick(0, 0, 10) == 0
        assert any("took over" in note for _, note in second._project.store._read("notes"))


def test_a_dead_owner_is_taken_over_without_asking(path, holder):
    say(holder, 9)
    holder.kill()
    holder.wait()
    with Session.open(path) as second:
        assert not second.read_only
        assert second.pick(0, 0, 9) == 77


def test_an_owner_on_another_machine_may_live(path):
    painted(path).close()
    other = LockHolder("elsewhere", 1, "", "2026-01-01 00:00")
    store = Store.open(path)[0]
    store._put_meta("owner", other.to_json())
    store.confirm()
    store._db.close()
    with Session.open(path) as session:
        assert session.read_only
        assert "elsewhere" in str(session.save_state)
    with Session.open(path, take_over=True) as session:
        assert not session.read_only


def test_a_number_that_was_given_to_a_new_process_is_no_owner():
    me = LockHolder.me()
    assert me.is_me
    assert me.may_live
    if me.born:
        assert not LockHolder(me.host, me.pid, "an older boot 1", me.since).may_live


def test_the_older_session_of_this_process_can_only_look(path):
    old = painted(path)
    new = Session.open(path)
    assert old.read_only
    assert "newer session" in str(old.save_state)
    with pytest.raises(ReadOnlyStoreError, match="newer session"):
        old.undo()
    new.undo()
    new.close()


def test_a_forked_child_does_not_write(path):
    session = painted(path)
    session._project.store._pid -= 1
    with pytest.raises(StoreError, match="in another process"):
        session.undo()
    session._project.store._pid += 1
    session.close()


def test_stale_is_raised_by_the_epoch_alone(path):
    session = painted(path)
    store = Store.open(path)[0]  # the same process: takes over without asking
    store.confirm()
    before = session.labels.data.copy()
    with pytest.raises(StaleWriterError, match="taken over"):
        session.undo()
    assert session.read_only
    assert np.array_equal(session.labels.data, before)
    store.close()
