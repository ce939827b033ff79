"""What goes wrong at a desk: each mishap says what to do, and the corrections are all still there."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import AxesError, CancelledError, InputError, MitonbError, ReadOnlyStoreError, StoreError
from mitonb.io import saving as saving_files
from mitonb.io.opening import open_labels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHAPE = (4, 24, 24)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[mn.Session]:
    """Give a session with corrections in it, and see afterwards that its file still holds all of them."""
    stack, labels = mn.phantom(SHAPE, seed=3)
    path = tmp_path / "desk" / "cell.mitonb"
    path.parent.mkdir()
    session = mn.Session(stack, labels, path=path)
    session.paint([[1, 4, 4], [1, 9, 9]], id=session.new_id(), radius=2)
    session.erase([[2, 12, 12]], radius=3)
    before, version = session.labels.data.copy(), session.version
    yield session
    np.testing.assert_array_equal(session.labels.data, before)
    session.close()
    with mn.Session.open(path) as again:
        assert again.version == version
        np.testing.assert_array_equal(again.labels.data, before)
        again.undo()
        again.undo()
        np.testing.assert_array_equal(again.labels.data, labels.data)


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"", "Copy or download it again"),
        (b"<!doctype html><p>please log in", "Download it again"),
        (b"dear diary", "does not start like .tif"),
        (b"II*\0\x08\0\0\0\x05", "Copy or export it again|damaged, truncated"),
    ],
)
def test_a_wrong_file_is_named_as_image_as_labels_and_as_project(
    work: mn.Session, tmp_path: Path, content: bytes, advice: str
) -> None:
    path = tmp_path / "scan.tif"
    path.write_bytes(content)
    for read in (mn.open, open_labels):
        with pytest.raises(InputError, match=advice):
            read(path)
    with pytest.raises(StoreError, match=r"scan\.tif"):
        mn.Session.open(path)
    with pytest.raises(StoreError, match=r"scan\.tif"):
        mn.Session(labels=work.labels, path=path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir() if p.name != "desk"] == ["scan.tif"]


def test_five_axes_ask_which_and_one_more_word_opens_them(work: mn.Session, tmp_path: Path) -> None:
    film = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.uint16).reshape(2, 3, 4, 5, 6)
    np.save(tmp_path / "film.npy", film)
    for source in (film, tmp_path / "film.npy"):
        with pytest.raises(AxesError, match="axes='tczyx' with channel=0 and time=0"):
            mn.open(source)
        stack = mn.open(source, axes="tczyx", channel=2, time=1)
        np.testing.assert_array_equal(stack.read(), film[1, 2])
    for wrong in (lambda: mn.Session(film), lambda: work.adopt(film), lambda: mn.measure(film)):
        with pytest.raises(AxesError, match="3 axes"):
            wrong()


def test_an_image_of_nothing_but_nan_opens_and_a_run_says_what_to_check(work: mn.Session) -> None:
    pytest.importorskip("torch")
    from tests.infer.oracle import Oracle

    nothing = mn.open(np.full(SHAPE, np.nan, np.float32))
    assert nothing.intensity == (0.0, 1.0)
    session = mn.Session(nothing)
    session.paint([[1, 4, 4]], id=1, radius=2)
    painted = session.labels.data.copy()
    with pytest.raises(InputError, match=r"no picture to segment\. Check how the file was written"):
        session.adopt(mn.segment(nothing, model=Oracle(), show=False))
    with pytest.raises(InputError, match="Choose another plane"):
        mn.predict(nothing.plane(0), model=Oracle())
    np.testing.assert_array_equal(session.labels.data, painted)


def test_an_empty_folder_says_what_belongs_into_it(work: mn.Session, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="Give a folder with one PNG, TIFF or JPEG for each plane"):
        mn.open(tmp_path / "empty")
    with pytest.raises(StoreError, match="Check the path"):
        mn.Session.open(tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("name", ["labels.tif", "labels.ome.tif", "labels.ome.zarr", "labels.npz", "table.csv"])
def test_a_read_only_folder_is_said_and_the_same_thing_is_saved_elsewhere(
    work: mn.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    locked, free = tmp_path / "locked", tmp_path / "free"
    locked.mkdir()
    free.mkdir()
    what = mn.measure(work.labels) if name.endswith(".csv") else work.labels
    real = os.access
    # The tests may run as root, who may write everywhere: only the answer of the system is changed.
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: os.fspath(path) != os.fspath(locked) and real(path, mode, **more)
    )
    with pytest.raises(InputError, match=r"locked is read-only\. Save elsewhere"):
        mn.save(what, locked / name)
    with pytest.raises(ReadOnlyStoreError, match="Choose a folder that you may write to"):
        work.save_copy(locked / "cell.mitonb")
    assert list(locked.iterdir()) == []
    saved = mn.save(what, free / name)
    if not name.endswith(".csv"):
        np.testing.assert_array_equal(open_labels(saved).data, work.labels.data)


def test_a_cancelled_run_changes_nothing_says_so_and_goes_on_where_it_was(work: mn.Session) -> None:
    pytest.importorskip("torch")
    from mitonb.infer.kept import KeptMaps
    from tests.infer.oracle import Oracle, volume

    model, kept = Oracle(), KeptMaps()
    recipe = mn.Recipe(min_area=8, min_size=50, center_distance=8, tile=0, median=1)
    job = mn.Job(mn.segmenting(volume(), recipe, model=model, kept=kept), name="segmenting")
    job.progressed.connect(lambda p: job.cancel() if p.done == 5 else None)
    with pytest.raises(CancelledError, match=r"segmenting was cancelled; nothing was changed\. Start it again"):
        job.start().result(60)
    labels = mn.segment(volume(), recipe, model=model, kept=kept, show=False)
    assert labels.data.max() == 4
    assert len(model.net.calls) == 16


KERNEL = """
import os, signal, sys
import mitonb as mn
stack, labels = mn.phantom((4, 24, 24), seed=3)
session = mn.Session(stack, labels, path=sys.argv[1])
for k in range(7):
    change = session.paint([[k % 4, 4 + k, 4]], id=session.new_id(), radius=2)
session.undo()
import hashlib
print(session.version, hashlib.sha256(session.labels.data.tobytes()).hexdigest(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_kernel_loses_no_edit_and_running_the_cell_again_brings_all_back(tmp_path: Path) -> None:
    path = tmp_path / "cell.mitonb"
    run = subprocess.run([sys.executable, "-c", KERNEL, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    version, shown = run.stdout.split()
    stack, labels = mn.phantom(SHAPE, seed=3)
    session = mn.Session(stack, labels, path=path)  # the same line of the notebook
    assert not session.read_only
    assert session.version == int(version) == 8
    assert hashlib.sha256(session.labels.data.tobytes()).hexdigest() == shown
    session.redo()
    for _ in range(7):
        session.undo()
    np.testing.assert_array_equal(session.labels.data, labels.data)
    with pytest.raises(MitonbError, match="nothing to undo"):
        session.undo()
    session.close()


class _PaintsWhenRead:
    """An image during whose reading somebody paints."""

    shape, dtype = SHAPE, np.dtype(np.uint8)

    def __init__(self, session: mn.Session) -> None:
        self.session = session

    def __getitem__(self, key: object) -> object:
        self.session.paint([[1, 20, 20]], id=self.session.new_id(), radius=2)
        return np.ones(SHAPE, np.uint8)[key]  # type: ignore[index]


@pytest.mark.parametrize("as_array", [False, True])
def test_painting_while_labels_are_measured_or_saved_disturbs_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_array: bool
) -> None:
    labels = np.zeros(SHAPE, np.uint32)
    labels[:, 2:6, 2:6] = 1
    session = mn.Session(labels=labels)
    live = session.labels.data if as_array else session.labels
    stack = mn.Stack(_PaintsWhenRead(session), intensity=(0.0, 255.0))
    assert mn.measure(live, stack=stack).voxels.to_list() == [64]

    before, compare = session.labels.data.copy(), saving_files._compare

    def compare_later(path: Path, saving: saving_files.Saving) -> None:
        session.delete(1)
        compare(path, saving)

    monkeypatch.setattr(saving_files, "_compare", compare_later)
    saved = mn.save(live, tmp_path / "labels.npy")
    np.testing.assert_array_equal(np.load(saved), before)
    assert session.ids() != [1]
