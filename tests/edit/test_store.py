"""The project file: whole or an error, one writer at a time, full disks and closed folders."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from mitonb.edit import project
from mitonb.edit.owner import Owner
from mitonb.edit.store import FORMAT, Store
from mitonb.errors import MitonbError, ReadOnlyStoreError, StaleWriterError, StoreError
from mitonb.session import Session

SHAPE = (3, 40, 50)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cell.mitonb"


def painted(path, count=6, **more):
    """Return a session with a few edits of every kind."""
    session = Session(labels=np.zeros(SHAPE, np.uint32), path=path, **more)
    for k in range(count):
        session.paint([[k % 3, 5 + k, 5], [k % 3, 10, 20 + k]], id=k + 1, radius=3, client=("test", k))
    session.merge(1, 2)
    session.undo()
    session.set_voxel_size(8)
    return session


def whole(path):
    """Return all that a project holds, for comparison."""
    with Session.open(path, read_only=True) as session:
        return session.labels.data.copy(), [(e.seq, e.time, e.text, e.code, e.undone) for e in session.history()]


def change(path, statement, *values):
    with sqlite3.connect(path) as db:
        db.execute(statement, values)
    db.close()


def test_a_closed_project_is_one_file_with_no_owner(path):
    painted(path).close()
    assert [p.name for p in path.parent.iterdir()] == ["cell.mitonb"]
    assert Store.open(path, read_only=True)[0].meta("owner") is None


def test_the_settings_that_promise_durability_are_on(path):
    session = painted(path)
    db = session._project.store._db
    assert db.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
    assert db.execute("PRAGMA synchronous").fetchone() == (3,)


def test_flipping_a_bit_anywhere_is_an_error_or_changes_nothing(path):
    painted(path).close()
    good, want = path.read_bytes(), whole(path)
    rng = random.Random(5)
    places = [*range(0, 100), *(rng.randrange(len(good)) for _ in range(300))]
    errors = 0
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        try:
            got = whole(path)
        except MitonbError:
            errors += 1
            continue
        assert np.array_equal(got[0], want[0]), f"byte {place}"
        assert got[1] == want[1], f"byte {place}"
    assert errors > 20


def test_a_file_cut_off_anywhere_is_an_error(path):
    painted(path).close()
    good = path.read_bytes()
    for size in [*range(0, 200, 7), *range(200, len(good), 487), len(good) - 1]:
        path.write_bytes(good[:size])
        with pytest.raises(MitonbError):
            whole(path)


@pytest.mark.parametrize(
    ("statement", "say"),
    [
        ("DELETE FROM edits WHERE seq = 3", "edit 3"),
        ("DELETE FROM edits WHERE seq = (SELECT MAX(seq) FROM edits)", "end of the journal"),
        ("UPDATE edits SET effect = x'00' WHERE seq = 2", "edit 2"),
        ("UPDATE edits SET intent = '{}' WHERE seq = 2", "edit 2"),
        ("UPDATE edits SET undo_of = 1 WHERE kind = 'undo'", "edit 8"),
        ("UPDATE edits SET time = 0 WHERE seq = 1", "edit 1"),
        ("DELETE FROM blocks WHERE number = 0", "block 0"),
        ("UPDATE blocks SET data = x'00' WHERE number = 0", "block 0"),
        ("UPDATE meta SET value = '[1, 40, 50]' WHERE key = 'shape'", "'shape'"),
        ("DELETE FROM meta WHERE key = 'head'", "'head'"),
        ("DELETE FROM meta WHERE key = 'shape'", "'shape'"),
    ],
)
def test_what_is_damaged_or_missing_is_named(path, statement, say):
    painted(path).close()
    change(path, statement)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=say):
        Session.open(path)
    assert path.read_bytes() == before


def test_other_files_are_no_projects(path):
    path.write_bytes(b"not a database at all, but longer than a header of a hundred bytes would be" * 3)
    with pytest.raises(StoreError, match="no mitonb project"):
        Session.open(path)
    path.unlink()
    change(path, "CREATE TABLE t (x)")
    with pytest.raises(StoreError, match="no mitonb project"):
        Session.open(path)
    with pytest.raises(StoreError, match="no project file"):
        Session.open(path.parent)
    with pytest.raises(StoreError, match="no project file"):
        Session.open(path.parent / "none.mitonb")


@pytest.mark.parametrize(("version", "say"), [(FORMAT + 1, "Update mitonb"), (0, "the mitonb that made it")])
def test_other_format_versions_are_refused(path, version, say):
    painted(path).close()
    change(path, f"PRAGMA user_version={version}")
    with pytest.raises(StoreError, match=say):
        Session.open(path)


def test_a_name_that_is_taken_is_never_overwritten(path):
    def store_of():
        return Store.create(path, {}, (), Store(None).head)

    path.write_text("precious")
    with pytest.raises(StoreError, match="exists already"):
        store_of()
    assert path.read_text() == "precious"


def test_a_missing_folder_is_named(path):
    with pytest.raises(StoreError, match="no folder"):
        painted(path.parent / "none" / "cell.mitonb")


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
        assert any("took over" in note for note in second._project.store.notes())


def test_a_dead_owner_is_taken_over_without_asking(path, holder):
    say(holder, 9)
    holder.kill()
    holder.wait()
    with Session.open(path) as second:
        assert not second.read_only
        assert second.pick(0, 0, 9) == 77


def test_an_owner_on_another_machine_may_live(path):
    painted(path).close()
    other = Owner("elsewhere", 1, "", "2026-01-01 00:00")
    store = Store.open(path)[0]
    store._put("owner", other.to_json())
    store.confirm()
    store._db.close()
    with Session.open(path) as session:
        assert session.read_only
        assert "elsewhere" in str(session.save_state)
    with Session.open(path, take_over=True) as session:
        assert not session.read_only


def test_a_number_that_was_given_to_a_new_process_is_no_owner():
    me = Owner.me()
    assert me.is_me
    assert me.may_live
    if me.born:
        assert not Owner(me.host, me.pid, "an older boot 1", me.since).may_live


def test_the_older_session_of_this_process_can_only_look(path):
    old = painted(path)
    new = Session.open(path)
    assert old.read_only
    assert "newer session" in str(old.save_state)
    with pytest.raises(ReadOnlyStoreError, match="newer session"):
        old.undo()
    new.undo()
    new.close()


def test_a_retried_request_gets_the_same_answer_even_after_reopening(path):
    session = painted(path)
    first = session.paint([[0, 1, 1]], id=5, radius=2, client=("tab", 1))
    session.undo()
    assert session.paint([[0, 1, 1]], id=5, radius=2, client=("tab", 1)) == first
    assert session.pick(0, 1, 1) == 0
    nothing = session.erase([[2, 39, 49]], radius=0, client=("tab", 2))
    session.paint([[2, 39, 49]], id=5, radius=0)
    session.close()
    with Session.open(path) as again:
        assert again.paint([[0, 1, 1]], id=5, radius=2, client=("tab", 1)) == first
        assert again.erase([[2, 39, 49]], radius=0, client=("tab", 2)) == nothing
        assert again.pick(2, 39, 49) == 5


def test_a_full_disk_is_said_and_work_goes_on_when_there_is_space(path):
    session = painted(path)
    before, version = session.labels.data.copy(), session.version
    noise = np.random.default_rng(0).integers(0, 2**32, SHAPE, np.uint32)
    db = session._project.store._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count={pages + 2}")  # SQLite's own way to be full
    states = []
    session.state_changed.connect(lambda s: states.append(s.kind))
    with pytest.raises(StoreError, match="disk is full: free some space"):
        session.adopt(noise)
    assert np.array_equal(session.labels.data, before)
    assert session.version == version
    assert "full" in str(session.save_state)
    session.adopt(noise)  # a new connection has no such limit: space was freed
    assert states == ["unsaved", "saved"]
    assert np.array_equal(session.labels.data, noise)
    session.close()
    assert np.array_equal(whole(path)[0], noise)


QUOTA = """
import resource, signal, sys
import numpy as np
from mitonb.errors import StoreError
from mitonb.session import Session
session = Session.open(sys.argv[1])
before = session.labels.data.copy()
noise = np.random.default_rng(0).integers(0, 2**32, session.shape, np.uint32)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
old = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, old[1]))
try:
    session.adopt(noise)
    print("no error")
except StoreError as error:
    print(type(error).__name__)
assert np.array_equal(session.labels.data, before)
resource.setrlimit(resource.RLIMIT_FSIZE, old)
session.adopt(noise)
print(session.save_state)
session.close()
"""


def test_writes_that_the_system_cuts_short_lose_nothing(path):
    painted(path).close()
    run = subprocess.run([sys.executable, "-c", QUOTA, str(path)], capture_output=True, text=True, check=False)
    assert run.stdout.split("\n")[:2] == ["StoreError", "saved"], run.stderr
    noise = np.random.default_rng(0).integers(0, 2**32, SHAPE, np.uint32)
    assert np.array_equal(whole(path)[0], noise)


def test_a_project_that_is_deleted_under_the_session_is_noticed(path):
    session = painted(path)
    before = session.labels.data.copy()
    path.unlink()
    with pytest.raises(StoreError, match="deleted, moved or replaced"):
        session.undo()
    assert np.array_equal(session.labels.data, before)
    session.save_as(path.parent / "rescued.mitonb")
    session.undo()
    session.close()
    assert len(whole(path.parent / "rescued.mitonb")[1]) == 10


READ_ONLY = """
import os, sys
folder, user = sys.argv[1], int(sys.argv[2])
import encodings.ascii, sqlite3
import numpy as np
from mitonb.errors import ReadOnlyStoreError
from mitonb.session import Session
# Everything is loaded and used once before: the folder of the interpreter may be closed to the new user.
Session(labels=np.zeros((1, 4, 4), np.uint32)).paint([(0, 1, 1)], id=1, radius=1)
sqlite3.connect(":memory:").execute("select 1")
if user:
    os.setuid(user)
with Session.open(f"{folder}/cell.mitonb") as session:
    print(session.read_only, session.version, session.save_state)
try:
    Session(labels=np.zeros((1, 4, 4), np.uint32), path=f"{folder}/new.mitonb")
except ReadOnlyStoreError as error:
    print(error)
"""


def test_in_a_read_only_folder_projects_open_for_looking_and_new_ones_are_refused(path):
    with painted(path) as session:
        version = session.version
    folder = path.parent
    folder.chmod(0o555)
    path.chmod(0o444)
    for up in (folder, *folder.parents[:3]):
        if up.owner() == folder.owner() and up != folder:
            up.chmod(up.stat().st_mode | 0o111)
    # root may write everywhere, so the child becomes somebody else
    user = "65534" if os.geteuid() == 0 else "0"
    run = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(folder), user], capture_output=True, text=True, check=False
    )
    folder.chmod(0o755)
    first, second = run.stdout.splitlines() or (run.stderr, "")
    assert first.startswith(f"True {version} not saved: ")
    assert "read-only" in first
    assert "Choose a folder that you may write to" in second


def test_a_schema_from_elsewhere_runs_nothing(path):
    painted(path).close()
    change(path, "CREATE TRIGGER evil AFTER INSERT ON edits BEGIN DELETE FROM blocks; END")
    with pytest.raises(StoreError, match="tables or triggers that are not ours"):
        Session.open(path)


def test_records_are_json_text(path):
    session = painted(path)
    db = session._project.store._db
    for (intent,) in db.execute("SELECT intent FROM edits").fetchall():
        assert isinstance(json.loads(intent), dict)
    session.close()


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


def test_an_interrupt_waits_until_journal_and_labels_agree(path, monkeypatch):
    session = painted(path)
    real = project.apply

    def interrupted(*args, **options):
        signal.raise_signal(signal.SIGINT)
        real(*args, **options)

    version = session.version
    with monkeypatch.context() as patch:
        patch.setattr(project, "apply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.paint([[0, 3, 3]], id=9, radius=2)
        with pytest.raises(KeyboardInterrupt):
            session.undo()
        with pytest.raises(KeyboardInterrupt):
            session.redo()
    assert session.version == version + 3
    assert session.pick(0, 3, 3) == 9
    session.paint([[0, 3, 30]], id=10, radius=2)
    shown = session.labels.data.copy()
    session.close()
    assert np.array_equal(whole(path)[0], shown)


def no_memory(*_, **__):
    raise MemoryError


def test_labels_that_could_not_follow_the_journal_take_no_more_edits(path, monkeypatch):
    session = painted(path)
    with monkeypatch.context() as patch:
        patch.setattr(project, "apply", no_memory)
        with pytest.raises(StoreError, match=r"safe in .* open the project again: nothing is lost"):
            session.paint([[0, 3, 3]], id=9, radius=2)
    for verb in (session.undo, lambda: session.delete(1), lambda: session.save_copy(path.parent / "copy.mitonb")):
        with pytest.raises(StoreError, match="open the project again"):
            verb()
    session.close()
    with Session.open(path) as again:
        assert again.pick(0, 3, 3) == 9


def test_a_thousand_specks_are_deleted_in_one_edit_and_come_back(path):
    specks = np.arange(1, 40**3 + 1, dtype=np.uint32).reshape(40, 40, 40)
    session = Session(labels=specks, path=path)
    session.delete(*range(1, 40**3, 2))
    session.close()
    with Session.open(path) as again:
        again.undo()
        assert np.array_equal(again.labels.data, specks)
