"""Labels that are too large for memory lie in a file, and every verb does the same there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

import mitonb as mn
from mitonb import mapped
from mitonb.colors import Coloring
from mitonb.errors import TooLargeError
from mitonb.io.opening import open_labels
from mitonb.io.zarr import LabelStore
from mitonb.labels import StoredLabels
from mitonb.mapped import MappedArray
from mitonb.session import Session
from mitonb.stack import AXES
from tests.edit.drawing import labels

SHAPE = (9, 40, 50)


@pytest.fixture
def in_files(monkeypatch):
    """Let even small labels lie in files, and let go of memory all the time."""
    monkeypatch.setattr(mapped, "LARGEST", 0)
    monkeypatch.setattr(mapped, "KEPT", 1 << 14)


def test_cuts_of_a_mapped_array_are_those_of_an_array(in_files):
    want = np.random.default_rng(0).integers(0, 2**32, SHAPE, np.uint32)
    array = mapped.room_for(SHAPE)
    assert isinstance(array, MappedArray)
    assert not array.any()
    array[:4] = want[:4]
    array[4:, ...][...] = want[4:]
    looking = array.view()
    looking.flags.writeable = False
    for one in (array, looking):
        for key in ((slice(2, 7), slice(5, 30), slice(9, 33)), 3, (slice(None), 17), (..., 8), (1, 2, 3), want > 2**31):
            np.testing.assert_array_equal(one[key], want[key])
        for axis in AXES.values():
            for k in range(SHAPE[axis]):
                np.testing.assert_array_equal(np.moveaxis(one, axis, 0)[k], np.moveaxis(want, axis, 0)[k])
        assert not isinstance(one == 3, MappedArray)
        assert isinstance((one + 1).sum(), np.integer)
    assert mapped.highest(array) == want.max()
    np.testing.assert_array_equal(mapped.copied(array), want)
    with pytest.raises(ValueError, match="read-only"):
        looking[0, 0, 0] = 1


def test_every_edit_does_the_same_as_in_memory(in_files, tmp_path, monkeypatch):
    with monkeypatch.context() as usual:
        usual.setattr(mapped, "LARGEST", 1 << 30)
        memory = Session(labels=np.pad(labels(), ((0, 5), (0, 30), (0, 40))))
        assert not isinstance(memory.labels.data, MappedArray)
    file = Session(labels=memory.labels, path=tmp_path / "cell.mitonb")
    assert isinstance(file.labels.data, MappedArray)
    assert not list(tmp_path.glob(".mitonb-*")), "the file of the voxels has no name"
    rng = np.random.default_rng(5)
    for k in range(60):
        some = memory.ids()
        at = [int(rng.integers(n)) for n in memory.shape]
        if k % 7 == 6 and len(some) > 1:
            call = ("merge", rng.choice(some, 2, replace=False).tolist(), {})
        elif k % 7 == 5 and some:
            call = ("delete", [int(rng.choice(some))], {})
        elif k % 7 == 4 and memory.can_undo:
            call = ("undo", [], {})
        elif k % 7 == 3 and memory.can_redo:
            call = ("redo", [], {})
        elif k % 7 == 2:
            call = ("fill", [at, 30 + k], {"axis": ("xy", "xz", "yz")[k % 3]})
        else:
            call = ("paint", [[at]], {"id": 30 + k, "radius": 6.0, "axis": ("xy", "xz", "yz")[k % 3]})
        for session in (memory, file):
            getattr(session, call[0])(*call[1], **call[2])
        np.testing.assert_array_equal(file.labels.data, memory.labels.data)
        assert file.pick(*at) == memory.pick(*at)
    assert {id: file.voxels(id) for id in file.ids()} == {id: memory.voxels(id) for id in memory.ids()}
    for session in (memory, file):
        session.go_to(session.ids()[0])
    assert file.position == memory.position
    np.testing.assert_array_equal(file.labels_before(20).data, memory.labels_before(20).data)
    saved = file.export(tmp_path / "out.ome.zarr")
    np.testing.assert_array_equal(open_labels(saved).data, memory.labels.data)
    file.close()
    with Session.open(tmp_path / "cell.mitonb") as again:
        assert isinstance(again.labels.data, MappedArray)
        np.testing.assert_array_equal(again.labels.data, memory.labels.data)
        assert again.replay() == memory.version


def test_what_is_saved_is_not_changed_by_what_is_painted_meanwhile(in_files):
    session = Session(labels=labels())
    data = mn.labels.settled(session.labels.data)
    before = np.array(data)
    session.delete(1)
    np.testing.assert_array_equal(data, before)


def test_a_session_begins_with_labels_in_a_store(in_files, tmp_path):
    ids = np.pad(labels(), ((0, 20), (0, 30), (0, 40)))
    with LabelStore.at(tmp_path / "mito.ome.zarr", ids.shape, (30.0, 8.0, 8.0), "mito") as store:
        for top in range(0, len(ids), 16):
            store.write(top, ids[top : top + 16])
        for _ in store.finish({"recipe": {}}):
            pass
    stored = StoredLabels(tmp_path / "mito.ome.zarr", ids.shape, 2, (30.0, 8.0, 8.0), record={"recipe": {}})
    for number, given in enumerate((stored, mn.open(stored))):
        path = tmp_path / f"{number}.mitonb"
        with Session(labels=given, path=path) as session:
            np.testing.assert_array_equal(session.labels.data, ids)
            assert session.voxel_size == (30.0, 8.0, 8.0)
            assert session.labels.record == (None if number else {"recipe": {}})
            session.delete(1)
        with Session(labels=given, path=path) as again:
            assert again.version == 1
    with pytest.raises(mn.MitonbError, match="whole numbers"):
        Session(labels=mn.Stack(np.full((2, 3, 4), 0.5, np.float32)))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot be asked for room")
def test_a_full_disk_is_said_before_anything_is_changed(in_files, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(TooLargeError, match=r"no room for them\. Free some space"):
        Session(labels=labels())


def test_colours_of_a_volume_do_not_depend_on_how_much_is_looked_at_at_once(monkeypatch):
    ids = np.random.default_rng(1).integers(0, 60, (12, 20, 24), np.uint32)
    want = Coloring.of(ids)
    monkeypatch.setattr("mitonb.colors._AT_ONCE", 3 * 20 * 24)
    found = Coloring.of(ids)
    assert found.moved == want.moved
    assert found._near == want._near


LARGE = """
import resource, sys
import numpy as np
import mitonb as mn
from mitonb import mapped

mapped.LARGEST = mapped.KEPT = 16 << 20
shape = (64, 1024, 1024)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
session = mn.Session(labels=mn.open(sys.argv[1]), path=sys.argv[2])
session.paint([[9, 100, 100], [9, 900, 900]], id=7, radius=5)
session.merge(1, 2)
session.delete(1)
session.undo()
for axis in range(3):
    np.moveaxis(session.labels.data, axis, 0)[50].sum()
session.close()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> (20 if sys.platform == "darwin" else 10))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets go of pages when it is told to")
def test_a_kernel_needs_less_memory_than_the_labels(tmp_path):
    ids = np.zeros((64, 1024, 1024), np.uint32)  # 256 MiB
    ids[:, 100:200, 100:200], ids[:, 200:300, 100:200] = 1, 2
    mn.save(mn.Labels(ids), tmp_path / "mito.ome.zarr")
    call = [sys.executable, "-c", LARGE, str(tmp_path / "mito.ome.zarr"), str(tmp_path / "cell.mitonb")]
    used = int(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
    assert used < 190, f"{used} MiB"
