"""Files that another program writes while they are open: a sentence, never other voxels or a dead process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile

import imagecodecs
import numpy as np
import pytest
import tensorstore
import tifffile

import mitonb as mn
from mitonb.errors import ChangedFileError
from mitonb.io.zarr import _Node, _ZarrBlocks
from mitonb.session import Session

rng = np.random.default_rng(5)
OLD, NEW = (rng.integers(0, 120, (12, 40, 50)).astype(np.uint8) for _ in range(2))


def tif(path, data):
    tifffile.imwrite(path, data, photometric="minisblack")


def packed(path, data):
    tifffile.imwrite(path, data, photometric="minisblack", compression="zlib", tile=(16, 16))


def npy(path, data):
    with open(path, "wb") as file:
        np.save(file, data)


def mrc(path, data):
    with pytest.importorskip("mrcfile").new(path, data.view(np.int8), overwrite=True):
        pass


def hdf5(path, data):
    # In place, as programs do that know nothing of a reader's lock.
    with pytest.importorskip("h5py").File(path.with_suffix(".new"), "w") as file:
        file["raw"] = data
    path.write_bytes(path.with_suffix(".new").read_bytes())
    path.with_suffix(".new").unlink()


def pictures(path, data):
    path.mkdir(exist_ok=True)
    for z, plane in enumerate(data):
        (path / f"p{z:03}.png").write_bytes(imagecodecs.png_encode(plane))


def tiffs(path, data):
    path.mkdir(exist_ok=True)
    for z, plane in enumerate(data):
        tif(path / f"p{z:03}.tif", plane)


def zarr(path, data):
    mn.save(mn.Stack(data, (9, 9, 9)), path, overwrite=True)


def zipped(path, data):
    zarr(path.with_name("inner.ome.zarr"), data)
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(path.with_name("inner.ome.zarr").rglob("*")):
            archive.write(file, file.relative_to(path.parent))


FORMATS = {
    "c.tif": tif, "packed.tif": packed, "c.npy": npy, "c.mrc": mrc, "c.h5": hdf5, "pictures": pictures,
    "tiffs": tiffs, "c.ome.zarr": zarr, "c.zip": zipped,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("how", ["other voxels", "fewer planes", "gone", "replaced"])
def test_a_file_that_was_changed_while_it_is_open_is_told(name, how, tmp_path):
    path, write = tmp_path / name, FORMATS[name]
    write(path, OLD)
    stack = mn.open(path)
    np.testing.assert_array_equal(stack.plane(3).image, OLD[3])
    if how == "gone":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif how == "replaced":
        (tmp_path / "other").mkdir()
        write(tmp_path / "other" / name, NEW)
        shutil.rmtree(path) if path.is_dir() else None
        os.replace(tmp_path / "other" / name, path)
    else:
        shutil.rmtree(path) if path.is_dir() and how == "fewer planes" else None
        write(path, NEW if how == "other voxels" else NEW[:2])
    for index in (3, 9):
        with pytest.raises(ChangedFileError, match=r"has changed since it was opened.*[Oo]pen it again"):
            stack.plane(index)
    with pytest.raises(ChangedFileError):
        stack.plane(3, "xz")


@pytest.mark.parametrize("name", FORMATS)
def test_what_lies_beside_a_file_may_change_and_a_copy_over_it_opens(name, tmp_path):
    path, write = tmp_path / name, FORMATS[name]
    write(path, OLD)
    stack = mn.open(path)
    mn.save(stack, tmp_path / "copy.tif")
    mn.save(stack, tmp_path / "copy.ome.zarr")
    (tmp_path / f"{name}.record.json").write_text("{}")
    np.testing.assert_array_equal(stack.read(), OLD)
    write(path, NEW)
    np.testing.assert_array_equal(mn.open(path).read(), NEW)


def test_a_stack_is_saved_over_its_own_file(tmp_path):
    path = tmp_path / "c.tif"
    tif(path, OLD)
    mn.save(mn.open(path), path, overwrite=True)
    np.testing.assert_array_equal(mn.open(path).read(), OLD)


def test_one_picture_of_a_folder_that_changes_spoils_no_other(tmp_path):
    pictures(tmp_path / "planes", OLD)
    stack = mn.open(tmp_path / "planes")
    (tmp_path / "planes" / "p004.png").write_bytes(imagecodecs.png_encode(NEW[4]))
    np.testing.assert_array_equal(stack.data[3], OLD[3])
    with pytest.raises(ChangedFileError, match=r"p004\.png has changed"):
        stack.data[2:6, 1]


def test_one_block_of_a_store_that_is_written_again_is_told(tmp_path):
    zarr(tmp_path / "c.ome.zarr", OLD)
    stack = mn.open(tmp_path / "c.ome.zarr")
    stack.plane(0)
    for block in (tmp_path / "c.ome.zarr" / "0").rglob("*"):
        if block.is_file() and block.name[0].isdecimal():
            block.write_bytes(block.read_bytes()[:-1])
    with pytest.raises(ChangedFileError):
        stack.plane(0)


def test_a_file_that_shrinks_does_not_end_the_process(tmp_path):
    code = (
        "import sys, numpy as np, tifffile, mitonb as mn\n"
        "path = sys.argv[1]\n"
        "tifffile.imwrite(path, np.ones((64, 256, 256), np.uint8), photometric='minisblack')\n"
        "stack = mn.open(path)\n"
        "open(path, 'r+b').truncate(100_000)\n"
        "try:\n    stack.plane(60)\nexcept mn.errors.ChangedFileError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c.tif")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert "changed since it was opened" in done.stdout


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "u1"])
def test_raw_voxels_are_cut_as_numpy_cuts_them(order, dtype, tmp_path):
    data = np.asarray(rng.integers(0, 255, (7, 8, 9)), dtype=dtype, order=order)
    np.save(tmp_path / "c.npy", data)
    lazy = mn.open(tmp_path / "c.npy").data
    for key in (
        3, (slice(None), 2), (..., -1), (slice(5, 1, -2), slice(None), slice(2, 9, 3)), (1, slice(7, None, -3), 4),
        (slice(0, 0),), (slice(None), slice(3, 3)),
    ):  # fmt: skip
        np.testing.assert_array_equal(lazy[key], data[key])


@pytest.mark.parametrize("path", [None, "cell.mitonb"])
def test_corrections_outlive_an_image_that_was_changed(path, tmp_path):
    for name, write in (("c.tif", tif), ("c.npy", npy)):
        write(tmp_path / name, OLD)
        session = Session(mn.open(tmp_path / name), path=path and tmp_path / f"{name}.{path}")
        session.paint([[2, 3, 4]], id=5, radius=1)
        write(tmp_path / name, NEW[:2])
        with pytest.raises(ChangedFileError):
            session.stack.plane(2)
        session.paint([[2, 9, 9]], id=6, radius=1)
        copy = session.save_copy(tmp_path / f"copy of {name}.mitonb")
        mn.save(session.labels, tmp_path / f"{name}.labels.tif")
        session.close()
        again = Session.open(copy)
        assert set(np.unique(again.labels.data)) == {0, 5, 6}
        assert again.stack is None
        again.close()


def test_of_blocks_without_end_not_all_are_remembered(tmp_path, monkeypatch):
    """A change is told still: of metadata always, of a block as long as it is remembered."""
    monkeypatch.setattr("mitonb.io.blocks.MOST_SEEN", 4)
    path = tmp_path / "cell.ome.zarr"
    store = tensorstore.open(
        {
            "driver": "zarr",
            "kvstore": f"file://{path}/",
            "metadata": {"shape": [12, 40, 50], "chunks": [2, 40, 50], "dtype": "|u1"},
        },
        create=True,
    ).result()
    store.write(OLD).result()
    blocks = _ZarrBlocks("zarr", _Node(path, path), strict=False)
    data = blocks.lazy()
    for z in range(12):
        np.testing.assert_array_equal(data[z], OLD[z])
        assert len(blocks._seen) <= 8
    (path / ".zarray").write_text((path / ".zarray").read_text() + " ")
    with pytest.raises(ChangedFileError):
        data[0]
