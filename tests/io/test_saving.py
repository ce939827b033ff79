"""Saving is all or nothing, refuses to replace unasked, and reads back what it wrote."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mitonb as mn
from mitonb import files
from mitonb.errors import CorruptFileError, InputError, UnsupportedFormatError
from mitonb.io import saving
from mitonb.io.opening import open_labels

ENDINGS = [".tif", ".ome.tif", ".ome.zarr", ".npy", ".npz", ".nii", ".nii.gz", ".h5", ".planes"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_replaced_unless_asked(tmp_path, volume, ending):
    path = mn.save(mn.Stack(volume), tmp_path / f"cell{ending}")
    with pytest.raises(InputError, match=r"already exists\. Pass overwrite=True"):
        mn.save(mn.Stack(volume + 1), path)
    np.testing.assert_array_equal(mn.open(path).read(), volume)
    mn.save(mn.Stack(volume + 1), path, overwrite=True)
    np.testing.assert_array_equal(mn.open(path).read(), volume + 1)
    assert [p.name for p in tmp_path.iterdir()] == [f"cell{ending}"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_stack_may_replace_the_file_that_it_reads_from(tmp_path, volume, ending):
    path = mn.save(mn.Stack(volume), tmp_path / f"cell{ending}")
    mn.save(mn.open(path, voxel_size=8), path, overwrite=True)
    np.testing.assert_array_equal(mn.open(path).read(), volume)


@pytest.mark.parametrize("ending", [*ENDINGS, ".csv"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("stage", ["_sync", "_rename"])
def test_a_failed_save_leaves_what_was_there_and_nothing_else(tmp_path, volume, monkeypatch, ending, code, stage):
    what = pd.DataFrame({"id": [1, 2]}) if ending == ".csv" else mn.Stack(volume)
    path = mn.save(what, tmp_path / f"cell{ending}")
    before = [(p, p.read_bytes()) for p in sorted(tmp_path.rglob("*")) if p.is_file()]

    def refuse(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files, stage, refuse)
    said = {errno.ENOSPC: "the disk is full", errno.EIO: "the disk refused"}.get(code, "the folder is read-only")
    with pytest.raises(InputError, match=rf"was not saved: {said}.*unchanged"):
        mn.save(what, path, overwrite=True)
    assert [(p, p.read_bytes()) for p in sorted(tmp_path.rglob("*")) if p.is_file()] == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
def test_a_write_that_the_disk_cuts_short_is_told(tmp_path, volume, monkeypatch):
    real = saving._write_npy
    full = lambda path, what: (path.symlink_to("/dev/full"), real(path, what))  # noqa: E731
    monkeypatch.setitem(saving._WRITERS, ".npy", full)
    with pytest.raises(InputError, match="the disk is full"):
        mn.save(mn.Stack(volume), tmp_path / "cell.npy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_reads_back_changed_is_never_put_in_place(tmp_path, volume, monkeypatch, ending):
    real = saving.Saving.plane
    calls = iter(range(10_000))
    monkeypatch.setattr(saving.Saving, "plane", lambda self, z: real(self, z) + (next(calls) >= 3))
    if ending in (".npz", ".ome.zarr", ".h5"):  # these write from the data itself
        monkeypatch.setattr(saving.Saving, "plane", lambda self, z: real(self, z) + 1)
    with pytest.raises(CorruptFileError, match="read back changed"):
        mn.save(mn.Stack(volume), tmp_path / f"cell{ending}")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_and_a_bad_ending_are_said_before_work(tmp_path, volume):
    with pytest.raises(InputError, match=r"nowhere does not exist. Create it first"):
        mn.save(mn.Stack(volume), tmp_path / "nowhere" / "cell.tif")
    with pytest.raises(UnsupportedFormatError, match=r"'cell.jpg' has an ending that .*Use .ome.tif"):
        mn.save(mn.Stack(volume), tmp_path / "cell.jpg")
    with pytest.raises(UnsupportedFormatError, match=r"\.csv holds tables"):
        mn.save(mn.Stack(volume), tmp_path / "cell.csv")
    with pytest.raises(UnsupportedFormatError, match=r"A table goes to .csv"):
        mn.save(pd.DataFrame({"a": [1]}), tmp_path / "cell.tif")
    with pytest.raises(InputError, match="A path names a file"):
        mn.save(mn.Stack(volume), "")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_read_only_folder_is_said(tmp_path, volume):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"is read-only\. Save elsewhere"):
        mn.save(mn.Stack(volume), tmp_path / "cell.tif")


def test_a_read_only_folder_is_said_to_the_administrator_too(tmp_path, volume, monkeypatch):
    monkeypatch.setattr(saving.os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"is read-only\. Save elsewhere"):
        mn.save(mn.Stack(volume), tmp_path / "cell.tif")


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path, volume):
    real = mn.save(mn.Stack(volume), tmp_path / "real.npy")
    (tmp_path / "link.npy").symlink_to(real)
    mn.save(mn.Stack(volume + 1), tmp_path / "link.npy", overwrite=True)
    assert (tmp_path / "link.npy").is_symlink()
    np.testing.assert_array_equal(mn.open(real).read(), volume + 1)


@pytest.mark.parametrize("name", [".", "/"])
def test_a_folder_alone_is_no_name_to_save_to(volume, name):
    with pytest.raises(InputError, match=r"Name the file"):
        mn.save(volume, name, overwrite=True)


def test_links_that_lead_to_each_other_are_told(tmp_path, volume):
    (tmp_path / "a.tif").symlink_to(tmp_path / "b.tif")
    (tmp_path / "b.tif").symlink_to(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"leads to itself"):
        mn.save(volume, tmp_path / "a.tif")


def test_arrays_and_planes_can_be_saved(tmp_path, volume):
    np.testing.assert_array_equal(mn.open(mn.save(volume, tmp_path / "a.tif")).read(), volume)
    np.testing.assert_array_equal(mn.open(mn.save(volume[0], tmp_path / "b.tif")).read(), volume[:1])
    np.testing.assert_array_equal(
        mn.open(mn.save(volume.T[::-1], tmp_path / "c.npy"), axes="zyx").read(), volume.T[::-1]
    )
    with pytest.raises(InputError):
        mn.save(volume[None], tmp_path / "d.tif")
    with pytest.raises(InputError):
        mn.save("text", tmp_path / "e.tif")


def test_cells_that_a_spreadsheet_would_run_are_made_text(tmp_path):
    table = pd.DataFrame(
        {"name": ["=1+1", "+x", "-x", "@x", "plain", "\tx"], "size": [-1, 2, 3, 4, 5, 6], "=bad": range(6)}
    )
    text = mn.save(table, tmp_path / "cells.csv").read_text("utf-8")
    assert text.splitlines()[:4] == ["name,size,'=bad", "'=1+1,-1,0", "'+x,2,1", "'-x,3,2"]
    assert table["name"][0] == "=1+1"
    found = pd.read_csv(tmp_path / "cells.csv")
    assert found["size"].tolist() == [-1, 2, 3, 4, 5, 6]


def test_the_record_goes_with_the_labels_and_leaves_with_them(tmp_path, ids):
    record = {"format": "mitonb-run-record", "recipe": {"model": "mito-mini"}}
    path = mn.save(mn.Labels(ids, record=record), tmp_path / "cell.tif")
    assert (tmp_path / "cell.tif.record.json").is_file()
    assert open_labels(path).record == record
    mn.save(mn.Labels(ids), path, overwrite=True)
    assert open_labels(path).record is None
    assert not (tmp_path / "cell.tif.record.json").exists()


def test_a_damaged_record_is_said_not_dropped(tmp_path, ids):
    path = mn.save(mn.Labels(ids, record={"recipe": {}}), tmp_path / "cell.tif")
    (tmp_path / "cell.tif.record.json").write_text("{")
    with pytest.raises(CorruptFileError, match="Move it away to go on"):
        open_labels(path)


def test_a_record_that_json_cannot_hold_is_refused_before_anything_is_there(tmp_path, ids):
    for ending in (".npz", ".ome.zarr", ".tif"):
        with pytest.raises(InputError, match="cannot be written as JSON"):
            mn.save(mn.Labels(ids, record={"recipe": {}, "x": object()}), tmp_path / f"cell{ending}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["photos.tif", "photos.ome.zarr"])
def test_a_folder_of_other_things_is_never_replaced(tmp_path, volume, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "holiday.jpg").write_bytes(b"la")
    with pytest.raises(InputError, match="folder with other things in it"):
        mn.save(volume, tmp_path / name, overwrite=True)
    assert (tmp_path / name / "holiday.jpg").read_bytes() == b"la"
    with pytest.raises(InputError, match="A path names a file, got 5"):
        mn.save(volume, 5)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_planes_of_one_column_go_to_formats_that_can_hold_them(tmp_path, dtype):
    column = np.arange(20, dtype=dtype).reshape(4, 5, 1)
    with pytest.raises(UnsupportedFormatError, match=r"planes of one column\. Save as \.ome\.tif"):
        mn.save(column, tmp_path / "a.tif")
    for name in ("a.ome.tif", "a.ome.zarr", "a.npy"):
        np.testing.assert_array_equal(mn.open(mn.save(column, tmp_path / name)).read(), column)
    assert not (tmp_path / "a.tif").exists()


def test_what_was_computed_is_kept_also_for_a_user_without_a_home(tmp_path, monkeypatch):
    def have_no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", have_no_home)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))

    def write(path):
        if path.parent == tmp_path / "gone":
            raise OSError(28, "No space left on device")
        path.write_text("kept")

    with pytest.raises(InputError, match=r"What was computed is kept in .*mitonb-rescued-"):
        saving.rescued(write, tmp_path / "gone" / "labels.npz")
    (kept,) = tmp_path.glob("mitonb-rescued-*/labels.npz")
    assert kept.read_text() == "kept"
