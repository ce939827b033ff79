"""A damaged project is refused in words, wherever the damage is; a half write is taken back; leftovers go."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from mitonb.edit.store import checksum as digest
from mitonb.errors import MitonbError, StoreError
from mitonb.labels import Labels
from mitonb.session import Session
from tests.edit.drawing import painted, whole

PLACES = int(os.environ.get("MITONB_FUZZ_PLACES", "240"))


@pytest.fixture
def project(path, tmp_path):
    """A closed project with something in every table."""
    labels = Labels(np.zeros((3, 40, 50), np.uint32), record={"recipe": {}, "notes": ["x" * 3000]})
    np.save(tmp_path / "image.npy", np.zeros((3, 40, 50), np.uint8))
    session = painted(tmp_path / "first.mitonb", 30)
    session.new_id()
    session.adopt(labels)
    session.save_as(path)
    session.close()
    return path


def raised(file, read_only):
    """Open a project and do a little of everything; return what that raised."""
    try:
        with Session.open(file, read_only=read_only) as session:
            assert session.labels.data.shape == session.shape
            assert len(session.history()) <= session.version
            assert all(session.voxels(id) for id in session.ids())
            if not session.read_only:
                session.undo()
                session.paint([[0, 1, 1]], id=None, radius=2)
    except Exception as error:
        return error


def damages(data, count):
    """Yield copies of some bytes with flipped bits, wiped stretches, and cut ends."""
    rng = random.Random(0)
    for k in range(count):
        at = rng.randrange(len(data)) if k % 3 else rng.randrange(min(len(data), 4096))
        if k % 4 == 3:
            yield f"cut at {at}", data[:at]
        elif k % 4 == 2:
            yield f"wiped at {at}", data[:at] + bytes(rng.randrange(256) for _ in range(16)) + data[at + 16 :]
        else:
            yield f"bit at {at}", data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def test_no_damage_raises_anything_raw_or_hangs(project, tmp_path):
    good, refused = project.read_bytes(), 0
    for k, (what, data) in enumerate(damages(good, PLACES)):
        file = tmp_path / "damaged.mitonb"
        file.write_bytes(data)
        error = raised(file, k % 2 == 0)
        assert error is None or isinstance(error, MitonbError), f"{what}: {type(error).__name__}: {error}"
        assert error is None or str(file) in str(error) or "edit" in str(error).lower(), what
        refused += error is not None
        file.with_name(file.name + "-journal").unlink(missing_ok=True)
    assert refused > PLACES / 3


def rewritten(file, table, key, name, text):
    """Put a text under a valid checksum, as only somebody with an intent could."""
    with sqlite3.connect(file) as db:
        column = {"meta": "value", "records": "record"}[table]
        db.execute(f"UPDATE {table} SET {column} = ?, checksum = ? WHERE {key} = ?", (text, digest(name, text), name))
    db.close()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        "nan",
        "[]",
        "7",
        "{}",
        '{"name": 3, "source": 4, "fingerprint": 5}',
        "1e999",
        '"x"',
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.parametrize("key", ["stack", "shape", "block", "head", "owner", "voxel_size", "snapshot", "epoch", "uuid"])
def test_values_that_no_mitonb_writes_are_refused_in_words(project, key, text):
    rewritten(project, "meta", "key", key, text)
    error = raised(project, read_only=False)
    assert error is None or isinstance(error, MitonbError)
    assert error is None or str(project) in str(error) or "project is damaged" in str(error)


def test_a_record_that_is_nested_without_end_is_refused(project):
    with sqlite3.connect(project) as db:
        (seq,) = db.execute("SELECT seq FROM records").fetchone()
    db.close()
    rewritten(project, "records", "seq", seq, "[" * 100_000)
    with pytest.raises(StoreError, match="damaged"):
        Session.open(project)


def test_schema_text_that_is_no_text_is_refused(project):
    data = project.read_bytes()
    for old, new in ((b"CREATE TABLE edits", b"CREATE TABLE \xff\xfe\xffts"), (b"CREATE TABLE notes", b"\x80" * 18)):
        assert old in data
        project.write_bytes(data.replace(old, new))
        with pytest.raises(StoreError, match="go on with a copy from a backup"):
            Session.open(project, read_only=True)


# A child that dies in the middle of a commit: pages are in the file already, and the journal can take them back.
HALF = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size=1")
db.execute("PRAGMA cache_spill=1")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE edits SET effect = zeroblob(9000)")
db.execute("UPDATE blocks SET data = zeroblob(9000)")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def hot(project):
    """A project whose writer died in the middle of a write, and what it held before."""
    before = whole(project)
    subprocess.run([sys.executable, "-c", HALF, str(project)], check=False)
    assert project.with_name(project.name + "-journal").stat().st_size > 0
    return project, before


def test_after_a_crash_a_project_is_read_without_writing_to_it(hot, tmp_path, monkeypatch):
    project, before = hot
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    files = {f.name: f.read_bytes() for f in tmp_path.iterdir() if f.is_file()}
    for _ in range(2):
        labels, history = whole(project)
        assert np.array_equal(labels, before[0])
        assert history == before[1]
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir() if f.is_file()} == files
    assert not list((tmp_path / "tmp").iterdir()), "the private copy goes with the session"
    with Session.open(project) as session:
        assert not session.read_only, "who may write takes the half step back in the file itself"
    assert np.array_equal(whole(project)[0], before[0])


def test_a_journal_that_cannot_be_copied_is_said(hot, monkeypatch):
    project, _ = hot

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StoreError, match=r"in the middle of a step.*No space left.*Free some space"):
        Session.open(project, read_only=True)


# A child that dies in the middle of a copy: the first block is in it, the second is not.
KILLED = """
import os, signal, sys
from mitonb.edit import project
from mitonb.session import Session
with Session.open(sys.argv[1], read_only=True) as session:
    project.pack = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    session.save_copy(sys.argv[2])
"""


def test_what_a_killed_save_left_is_no_part_of_the_next(project, tmp_path):
    copy = tmp_path / "copy.mitonb"
    subprocess.run([sys.executable, "-c", KILLED, str(project), str(copy)], check=False)
    assert not copy.exists()
    assert len(list(tmp_path.glob(".mitonb-*.tmp"))) == 1
    with Session.open(project) as session:
        session.save_copy(copy)
    assert np.array_equal(whole(copy)[0], whole(project)[0])
    assert not list(tmp_path.glob(".mitonb-*"))
