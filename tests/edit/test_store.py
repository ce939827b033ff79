"""The project file: whole or an error, with full disks and in closed folders."""

import json
import os
import random
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from mitonb.edit.store import FORMAT, Store
from mitonb.errors import MitonbError, StoreError
from mitonb.session import Session
from tests.edit.drawing import PAINTED, painted, whole


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
    with pytest.raises(StoreError, match="not a mitonb project"):
        Session.open(path)
    path.unlink()
    change(path, "CREATE TABLE t (x)")
    with pytest.raises(StoreError, match="not a mitonb project"):
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


def test_a_full_disk_is_said_and_work_goes_on_when_there_is_space(path):
    session = painted(path)
    before, version = session.labels.data.copy(), session.version
    noise = np.random.default_rng(0).integers(0, 2**32, PAINTED, np.uint32)
    db = session._project.store._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count={pages + 2}")  # SQLite's own way to be full
    states = []
    session.state_changed.connect(lambda s: states.append(s.kind))
    with pytest.raises(StoreError, match="disk is full: free some space"):
        session.adopt(noise, replace_corrected=True)
    assert np.array_equal(session.labels.data, before)
    assert session.version == version
    assert "full" in str(session.save_state)
    session.adopt(noise, replace_corrected=True)  # a new connection has no such limit: space was freed
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
    session.adopt(noise, replace_corrected=True)
    print("no error")
except StoreError as error:
    print(type(error).__name__)
assert np.array_equal(session.labels.data, before)
resource.setrlimit(resource.RLIMIT_FSIZE, old)
session.adopt(noise, replace_corrected=True)
print(session.save_state)
session.close()
"""


def test_writes_that_the_system_cuts_short_lose_nothing(path):
    painted(path).close()
    run = subprocess.run([sys.executable, "-c", QUOTA, str(path)], capture_output=True, text=True, check=False)
    assert run.stdout.split("\n")[:2] == ["StoreError", "saved"], run.stderr
    noise = np.random.default_rng(0).integers(0, 2**32, PAINTED, np.uint32)
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
