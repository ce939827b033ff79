"""Outputs are checked before the work that they are of, and what was computed is never thrown away after it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch")

import mitonb as mn
from mitonb.cli import main
from mitonb.errors import InputError
from mitonb.io.opening import open_labels
from mitonb.io.zarr import LabelStore

if TYPE_CHECKING:
    from pathlib import Path

TRAIN = ["train", "{cell}", "{tmp}/a.safetensors", "--labels", "{cell}", "--steps", "1"]
SEGMENT = ["segment", "{cell}", "{tmp}/out.tif"]
OUTPUTS = [
    (["segment", "{cell}", "{tmp}/out.xyz"], "must end in"),
    (["segment", "{cell}", "{tmp}/out"], "must end in"),
    (["segment", "{cell}", "{tmp}/out.csv"], "must end in"),
    (["segment", "{cell}", "{tmp}/nowhere/out.tif"], "does not exist"),
    (["segment", "{cell}", "/proc/out.tif"], ""),
    (["segment", "{cell}", "{tmp}/" + "x" * 300 + ".tif"], "is too long"),
    (["segment", "{cell}", "{tmp}/full", "--overwrite"], "other things in it"),
    (["segment", "{cell}", "{tmp}/there.tif"], "--overwrite"),
    (["segment", "{cell}", "{tmp}/folder.tif", "--overwrite"], "other things in it"),
    (["segment", "{cell}", "{cell}", "--overwrite"], "is also"),
    (["segment", "{cell}", "{tmp}/link.tif", "--overwrite"], "is also"),
    (["segment", "{cell}", "{tmp}/twin.tif", "--overwrite"], "is also"),
    ([*SEGMENT, "--table", "{tmp}/t.xlsx"], "must end in .csv"),
    ([*SEGMENT, "--table", "{tmp}/out.tif"], "must end in .csv"),
    ([*SEGMENT, "--table", "/proc/t.csv"], ""),
    ([*SEGMENT, "--table", "{cell}", "--overwrite"], "must end in .csv"),
    ([*SEGMENT, "--maps", "{tmp}/full"], "other things than kept maps"),
    ([*SEGMENT, "--maps", "{tmp}/nowhere/maps"], "cannot be made"),
    (["segment", "{cell}", "{tmp}/out.ome.zarr", "--maps", "{tmp}/out.ome.zarr"], "is also"),
    (["segment", "{zarr}", "{zarr}/0/labels.tif"], "lies in the same place"),
    (["segment", "{zarr}/0", "{zarr}", "--overwrite"], "lies in the same place"),
    (["train", "{cell}", "{tmp}/net.pth", *TRAIN[3:]], "must end in .safetensors"),
    (["train", "{cell}", "{tmp}/nowhere/net.safetensors", *TRAIN[3:]], "does not exist"),
    (["train", "{cell}", "{tmp}/there.safetensors", *TRAIN[3:]], "--overwrite"),
    (
        ["train", "{cell}", "{tmp}/there.safetensors", *TRAIN[3:], "--start", "{tmp}/there.safetensors", "--overwrite"],
        "is also",
    ),
    ([*TRAIN, "--hold", "2"], "hold is a part from 0 to 0.9"),
    ([*TRAIN, "--start", "{tmp}/there.safetensors"], "there.safetensors is not"),
    ([*TRAIN, "--seed", "-1"], "Seed, freeze"),
    ([*TRAIN, "--rate", "nan"], "must be above 0"),
    ([*TRAIN, "--card", "{tmp}/card.json"], "no field 'colour'"),
    (["models", "export", "mito-mini", "{tmp}/x.pth"], "must end in"),
    (["models", "export", "mito-mini", "{tmp}/nowhere/x.safetensors"], "does not exist"),
    (["models", "export", "mito-mini", "{tmp}/there.safetensors"], "--overwrite"),
]


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    stack, _ = mn.phantom((8, 96, 96), seed=4)
    return mn.save(stack, tmp_path / "cell.ome.tif")


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return the folder of the results, and the one for temporary files."""
    folder, spare = tmp_path / "results", tmp_path / "spare"
    folder.mkdir()
    spare.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spare))
    return folder, spare


@pytest.mark.parametrize(("words", "said"), OUTPUTS, ids=lambda v: " ".join(v)[-60:] if isinstance(v, list) else "")
def test_outputs_are_checked_before_any_work(
    words: list[str], said: str, cell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    for name in ("infer.predict.Predictor.steps", "learn.pairs.read_pair"):
        monkeypatch.setattr(f"mitonb.{name}", work)
    zarr = mn.save(mn.Stack(np.zeros((2, 32, 32), np.uint8)), tmp_path / "image.ome.zarr")
    for name in ("full", "folder.tif"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    (tmp_path / "link.tif").symlink_to(cell)
    (tmp_path / "twin.tif").hardlink_to(cell)
    (tmp_path / "card.json").write_text('{"colour": "blue"}')
    for name in ("there.tif", "there.safetensors"):
        (tmp_path / name).write_text("old")
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    assert main([word.format(cell=cell, tmp=tmp_path, zarr=zarr) for word in words]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error
    assert "unexpected" not in error
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("lost", ["labels.npz", "objects.csv"])
def test_what_cannot_be_saved_in_the_end_is_kept_elsewhere(
    lost: str, cell: Path, rooms: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, spare = rooms
    name = "segment" if lost == "labels.npz" else "measure"
    does = getattr(mn, name)

    def and_the_drive_is_pulled_out(*words: Any, **more: Any) -> Any:
        result = does(*words, **more)
        shutil.rmtree(folder)
        return result

    monkeypatch.setattr(mn, name, and_the_drive_is_pulled_out)
    words = [str(cell), str(folder / "labels.npz"), "--table", str(folder / "objects.csv"), "--quiet"]
    assert main(["segment", *words]) == 1
    monkeypatch.undo()
    (kept,) = spare.glob(f"mitonb-rescued-*/{lost}")
    assert f"What was computed is kept in {kept}" in capsys.readouterr().err
    expected = mn.segment(mn.open(cell), show=False)
    if lost == "labels.npz":
        np.testing.assert_array_equal(open_labels(kept).data, expected.data)
    else:
        assert len(kept.read_text().splitlines()) == len(expected.ids()) + 1


@pytest.mark.parametrize("again", [False, True])
def test_a_store_that_cannot_be_written_in_the_end_is_not_lost(
    again: bool, cell: Path, rooms: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, spare = rooms
    write, kept = LabelStore.write, mn.KeptMaps()
    want = mn.segment(mn.open(cell), kept=kept, show=False)

    def full(store: LabelStore, top: int, slab: Any) -> int:
        if store.target.parent == folder:
            raise InputError("labels.ome.zarr was not saved: the disk is full.")
        return write(store, top, slab)

    monkeypatch.setattr(LabelStore, "write", full)
    where = r"What was computed is kept in" if again else r"What is done is kept in .*labels.ome.zarr.job: run the same"
    does, what = (mn.redecode, kept) if again else (mn.segment, mn.open(cell))
    with pytest.raises(InputError, match=rf"the disk is full.*{where}") as error:
        does(what, out=folder / "labels.ome.zarr", show=False)
    if again:
        (found,) = spare.glob("mitonb-rescued-*/labels.ome.zarr")
        assert str(found) in str(error.value)
        assert list(folder.iterdir()) == []
    else:
        monkeypatch.undo()
        monkeypatch.setattr("mitonb.infer.predict.Predictor.steps", None)  # the network does not run again
        found = mn.segment(mn.open(cell), out=folder / "labels.ome.zarr", show=False)
    np.testing.assert_array_equal(open_labels(found).data, want.data)


@pytest.mark.parametrize("out", ["labels.tif", "nowhere/labels.ome.zarr", "/proc/labels.ome.zarr", "cell.ome.tif"])
def test_a_store_that_could_not_be_written_is_refused_before_the_run(
    out: str, cell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitonb.infer.predict.Predictor.steps", None)
    with pytest.raises(InputError):
        mn.segment(mn.open(cell), out=tmp_path / out, overwrite=True, show=False)
