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
        assert not isinstance(one[want > 2**31], MappedArray), "a copy lies in memory"
        assert isinstance((one + 1).sum(), np.integer)
    assert mapped.find_highest(array) == want.max()
    np.testing.assert_array_equal(mapped.copy_labels(array), want)
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


@pytest.mark.parametrize("largest", [0, 1 << 30])
@pytest.mark.parametrize("look", [lambda data: data, np.asarray, lambda data: np.asarray(data[1:])[:, 2:]])
def test_what_is_saved_is_not_changed_by_what_is_painted_meanwhile(monkeypatch, largest, look):
    monkeypatch.setattr(mapped, "LARGEST", largest)
    session = Session(labels=labels())
    data = mn.labels.settled(mn.Labels(look(session.labels.data)).data)
    assert isinstance(data, MappedArray) == (largest == 0)
    before = np.array(data)
    session.delete(1)
    np.testing.assert_array_equal(data, before)


@pytest.mark.skipif(os.name == "nt", reason="Windows names its temporary files")
def test_a_copy_lies_on_the_disk_of_the_project_and_an_error_names_the_disks(in_files, tmp_path, monkeypatch):
    session = Session(labels=labels(), path=tmp_path / "cell.mitonb")
    monkeypatch.setattr(mapped.tempfile, "tempdir", str(tmp_path / "no such folder"))
    for copy in (mapped.copy_labels(session.labels.data), mapped.copy_labels(np.asarray(session.labels.data))):
        assert isinstance(copy, MappedArray)
        np.testing.assert_array_equal(copy, session.labels.data)
    with pytest.raises(TooLargeError, match=r"No such file or directory in .*no such folder"):
        Session(labels=labels())


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
@pytest.mark.parametrize(("number", "refused"), [(errno.ENOSPC, True), (errno.EOPNOTSUPP, False)])
def test_a_full_disk_is_said_before_anything_is_changed(in_files, monkeypatch, number, refused):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    if refused:
        with pytest.raises(TooLargeError, match=r"No space left on device in .*\. Free some space there"):
            Session(labels=labels())
    else:
        np.testing.assert_array_equal(Session(labels=labels()).labels.data, labels())


def test_colours_of_a_volume_do_not_depend_on_how_much_is_looked_at_at_once(monkeypatch):
    ids = np.random.default_rng(1).integers(0, 60, (12, 20, 24), np.uint32)
    want = Coloring.of(ids)
    monkeypatch.setattr("mitonb.colors._AT_ONCE", 3 * 20 * 24)
    found = Coloring.of(ids)
    assert found.moved == want.moved
    assert found._near == want._near


LARGE = """
import sys
from pathlib import Path
import numpy as np
from mitonb.io import arrays
arrays.CACHE_BYTES = 1 << 20
import mitonb as mn
from mitonb import mapped

def make(store):
    mn.Session(labels=mn.open(store), path=f"{store}-{largest}.mitonb").close()

def correct(store):
    with mn.Session.open(f"{store}-{largest}.mitonb") as session:
        session.paint([[9, 100, 100], [9, 300, 300]], id=7, radius=5)
        session.merge(1, 2)
        session.delete(1)
        session.undo()
        for axis in range(3):
            np.moveaxis(session.labels.data, axis, 0)[50].sum()

def memory(of):
    return int(Path("/proc/self/status").read_text().split(of)[1].split()[0]) / 1024

small, large, largest = sys.argv[1:]
make(small), correct(small)  # what is loaded late is loaded now
mapped.KEPT, mapped.LARGEST = 16 << 20, int(largest)
for work in (make, correct):
    Path("/proc/self/clear_refs").write_text("5")  # the largest memory is counted from here on
    before = memory("VmRSS:")
    work(large)
    print(memory("VmHWM:") - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="only Linux says the largest memory since then")
@pytest.mark.once
def test_a_kernel_needs_less_memory_than_the_labels(tmp_path):
    ids = np.zeros((64, 1024, 1024), np.uint32)  # 256 MiB
    ids[:, 100:200, 100:200], ids[:, 200:300, 100:200] = 1, 2
    stores = [str(mn.save(ids[:, :n, :n], tmp_path / f"{n}.ome.zarr")) for n in (320, 1024)]
    in_file, in_memory = (
        [float(used) for used in subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()]
        for call in ([sys.executable, "-c", LARGE, *stores, str(largest)] for largest in (16 << 20, 1 << 30))
    )
    assert max(in_file) < min(220, *in_memory), f"MiB: {in_file} where labels lie in a file, {in_memory} in memory"
