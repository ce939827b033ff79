"""What other programs take: NIfTI, HDF5, folders of planes, Neuroglancer's volumes and meshes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorstore

import mitonb as mn
from mitonb.errors import CorruptFileError, InputError, TooLargeError, UnsafeFileError, UnsupportedFormatError
from mitonb.io import saving
from mitonb.io.opening import open_labels
from mitonb.io.precomputed import DTYPES
from tests.io.test_round_trips import REFUSED, values

KILLS = int(os.environ.get("MITONB_KILLS", "12"))


@pytest.mark.parametrize("dtype", ["bool", "float16", "float64", "int64", *DTYPES])
def test_every_dtype_that_neuroglancer_has_is_read_back_as_it_was(tmp_path, dtype):
    want = np.tile(values(dtype), (7, 30, 19))
    stack = mn.Stack(want, (40.0, 8.0, 7.25))
    if dtype in REFUSED[".precomputed"]:
        with pytest.raises(UnsupportedFormatError, match=rf"Neuroglancer has no {dtype}\. Save as"):
            mn.save(stack, tmp_path / "cell.precomputed")
        assert not list(tmp_path.iterdir())
        return
    path = mn.save(stack, tmp_path / "cell.precomputed")
    np.testing.assert_array_equal(mn.open(path).read(), want)
    info = json.loads((path / "info").read_text())
    assert (info["type"], info["data_type"]) == ("image", "uint8" if dtype == "bool" else dtype)
    assert [scale["resolution"] for scale in info["scales"]][:2] == [[7.25, 8.0, 40.0], [14.5, 16.0, 40.0]]
    assert info["scales"][0]["size"] == [133, 150, 21]


def test_labels_for_neuroglancer_have_lower_levels_of_ids_and_a_mesh_each(tmp_path):
    ids = np.zeros((20, 60, 160), np.uint32)
    ids[4:14, 10:30, 20:60], ids[2:18, 40:50, 100:150] = 2**32 - 1, 7
    path = mn.save(mn.Labels(ids, (30.0, 6.0, 5.0), record={"recipe": {}}), tmp_path / "mito.precomputed")
    np.testing.assert_array_equal(mn.open(path).read(), ids)
    info = json.loads((path / "info").read_text())
    assert (info["type"], info["mesh"]) == ("segmentation", "mesh")
    assert {scale["encoding"] for scale in info["scales"]} == {"compressed_segmentation"}
    spec = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{path}/", "scale_index": 1}
    half = tensorstore.open(spec).result()[..., 0].read().result().T
    assert set(np.unique(half)) == {0, 7, 2**32 - 1}
    assert sorted(p.name for p in (path / "mesh").iterdir()) == sorted(
        ["info", "7", "7:0", "4294967295", "4294967295:0"]
    )
    assert json.loads((path / "mesh" / "7:0").read_text()) == {"fragments": ["7"]}
    packed = (path / "mesh" / "7").read_bytes()
    count = int.from_bytes(packed[:4], "little")
    points = np.frombuffer(packed, "<f4", 3 * count, 4).reshape(-1, 3)
    triangles = np.frombuffer(packed, "<u4", -1, 4 + 12 * count).reshape(-1, 3)
    assert triangles.max() == count - 1
    # x, y, z in nm from the corner of the first voxel; smoothing rounds the corners off
    np.testing.assert_allclose(points.min(axis=0), [100 * 5, 40 * 6, 2 * 30], atol=15)
    np.testing.assert_allclose(points.max(axis=0), [150 * 5, 50 * 6, 18 * 30], atol=15)
    assert json.loads((tmp_path / "mito.precomputed.record.json").read_text()) == {"recipe": {}}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".h5", ".precomputed", ".npy"])
@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_ids_of_a_file_beyond_32_bits_go_out_as_they_came(tmp_path, ending, dtype):
    ids = np.zeros((3, 8, 9), dtype)
    ids[0, :4], ids[2, 5:] = 2**53 + 1, 2**62
    np.save(tmp_path / "in.npy", ids)
    path = mn.save(open_labels(tmp_path / "in.npy"), tmp_path / f"out{ending}")
    found = mn.open(path).read()
    assert found.dtype.itemsize == 8
    np.testing.assert_array_equal(found, ids)


def test_nibabel_reads_the_voxel_size_and_the_ids(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    ids = np.arange(3 * 4 * 5, dtype=np.uint32).reshape(3, 4, 5) * 70_000
    for ending in (".nii", ".nii.gz"):
        image = nibabel.load(mn.save(mn.Labels(ids, (40.0, 8.0, 7.25)), tmp_path / f"mito{ending}"))
        np.testing.assert_array_equal(np.asarray(image.dataobj).T, ids)
        np.testing.assert_allclose(np.diag(image.affine), [0.00725, 0.008, 0.04, 1], rtol=1e-6)
        assert image.header.get_xyzt_units()[0] == "micron"
    long = np.zeros((1, 1, 40_000), np.uint8)
    long[0, 0, -1] = 3
    path = mn.save(mn.Stack(long), tmp_path / "long.nii")
    assert isinstance(nibabel.load(path), nibabel.Nifti2Image)
    np.testing.assert_array_equal(mn.open(path).read(), long)


def test_what_nibabel_writes_opens_with_its_scale_and_its_turned_axes_are_said(tmp_path, volume):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(volume.T.astype(np.int16), np.diag([-0.004, 0.004, 0.04, 1]))
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(2, 10)
    image.to_filename(tmp_path / "cell.nii.gz")
    stack = mn.open(tmp_path / "cell.nii.gz")
    np.testing.assert_array_equal(stack.read(), volume * 2.0 + 10)
    assert stack.voxel_size == (40_000.0, 4000.0, 4000.0)
    assert any("turns or mirrors" in note for note in stack.notes)


def test_a_nifti_that_is_cut_off_or_declares_too_much_is_refused(tmp_path, volume):
    for ending in (".nii", ".nii.gz"):
        path = mn.save(mn.Stack(volume), tmp_path / f"cell{ending}")
        whole = path.read_bytes()
        path.write_bytes(whole[:-20])
        with pytest.raises(CorruptFileError):
            mn.open(path).read()
    bomb = bytearray(mn.save(mn.Stack(volume), tmp_path / "bomb.nii").read_bytes())
    bomb[42:48] = np.array([30_000] * 3, "<i2").tobytes()
    (tmp_path / "bomb.nii").write_bytes(bomb)
    with pytest.raises(CorruptFileError, match="declares"):
        mn.open(tmp_path / "bomb.nii")
    import gzip

    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(bytes(bomb)))
    with pytest.raises((CorruptFileError, TooLargeError)):
        mn.open(tmp_path / "bomb.nii.gz")
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"dear diary"))
    with pytest.raises(UnsupportedFormatError, match="no NIfTI in one file"):
        mn.open(tmp_path / "text.gz")


@pytest.mark.parametrize("ending", [".nii", ".h5"])
def test_a_missing_package_is_said_before_work_and_how_to_get_it(tmp_path, monkeypatch, volume, ending):
    monkeypatch.setitem(sys.modules, saving.NEEDS[ending], None)
    for refused in (lambda p: saving.check_output(p), lambda p: mn.save(mn.Stack(volume), p)):
        with pytest.raises(UnsupportedFormatError, match=r"pip install 'mitonb\[formats\]'"):
            refused(tmp_path / f"cell{ending}")


@pytest.mark.parametrize(("ending", "mine"), [(".planes", "notes.txt"), (".precomputed", "thesis.doc")])
def test_a_folder_with_other_things_is_not_replaced(tmp_path, volume, ending, mine):
    folder = tmp_path / f"cell{ending}"
    folder.mkdir()
    (folder / mine).write_text("mine")
    with pytest.raises(InputError, match="folder with other things"):
        mn.save(mn.Stack(volume), folder, overwrite=True)
    assert (folder / mine).read_text() == "mine"


@pytest.mark.parametrize(
    ("ending", "mine"),
    [(".planes", "notes.txt"), (".planes", "z0009.tif"), (".precomputed", "thesis.doc"), (".precomputed", "mesh")],
)
def test_an_exported_folder_is_replaced_until_something_else_lies_in_it(tmp_path, volume, ending, mine):
    folder = mn.save(mn.Stack(volume), tmp_path / f"cell{ending}")
    mn.save(mn.Stack(volume), folder, overwrite=True)
    (folder / mine).write_text("mine")
    with pytest.raises(InputError, match="folder with other things"):
        mn.save(mn.Stack(volume), folder, overwrite=True)
    assert (folder / mine).read_text() == "mine"


@pytest.mark.parametrize("info", ["my notes", "{}", '{"scales": [{"key": "raw"}]}', "[]", '{"scales": 3}'])
def test_a_folder_is_no_volume_because_a_file_in_it_is_called_info(tmp_path, volume, info):
    folder = tmp_path / "cell.precomputed"
    (folder / "raw").mkdir(parents=True)
    (folder / "info").write_text(info)
    with pytest.raises(InputError, match="folder with other things"):
        mn.save(mn.Stack(volume), folder, overwrite=True)
    assert (folder / "raw").is_dir()


CHILD = """
import itertools, sys
import numpy as np
import mitonb as mn

for k in itertools.count(2):
    mn.save(mn.Labels(np.full((8, 100, 100), k, np.uint32), (9.0, 8.0, 7.0)), sys.argv[1], overwrite=True)
    print(k, flush=True)
"""


@pytest.mark.parametrize("ending", [".tif", ".ome.zarr", ".npz", ".nii", ".nii.gz", ".h5", ".planes", ".precomputed"])
def test_a_kill_leaves_what_was_there_or_what_is_whole(tmp_path, ending):
    """Of a folder, the one that is replaced may be left under its hidden name only: never half of one."""
    path = mn.save(mn.Labels(np.ones((8, 100, 100), np.uint32), (9.0, 8.0, 7.0)), tmp_path / f"mito{ending}")
    for _ in range(max(2, KILLS // 15)):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        done = int(child.stdout.readline())
        time.sleep(random.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        done = max([done, *map(int, child.communicate()[0].split())])
        if path.exists():
            read = mn.open(path).read()
            assert np.unique(read).tolist() in ([done], [done + 1])
    mn.save(mn.Labels(np.ones((8, 100, 100), np.uint32)), path, overwrite=True)
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]


@pytest.mark.parametrize("encoding", ["raw", "jpeg", "png", "compressed_segmentation", "sharded"])
def test_what_others_write_for_neuroglancer_opens(tmp_path, encoding):
    """Two channels, a place in a larger volume, blocks that do not divide it."""
    dtype = "uint32" if encoding == "compressed_segmentation" else "uint8"
    want = np.zeros((2, 9, 40, 50), dtype)
    want[0, 2:7, 8:30, 9:], want[1, :, :, :4] = 200, 3
    channels = 1 if encoding == "jpeg" else 2
    scale = {"size": [50, 40, 9], "voxel_offset": [-3, 20, 100], "chunk_size": [16, 16, 8], "resolution": [4, 4, 40]}
    scale |= {"encoding": "raw" if encoding == "sharded" else encoding}
    if encoding == "sharded":
        bits = {"preshift_bits": 1, "minishard_bits": 1, "shard_bits": 2, "hash": "identity"}
        scale["sharding"] = {"@type": "neuroglancer_uint64_sharded_v1", **bits, "data_encoding": "gzip"}
    if encoding == "compressed_segmentation":
        scale["compressed_segmentation_block_size"] = [8, 8, 8]
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": f"file://{tmp_path}/cell/", "scale_metadata": scale,
        "multiscale_metadata": {"type": "image", "data_type": dtype, "num_channels": channels},
    }  # fmt: skip
    store = tensorstore.open(spec, create=True).result()
    store.write(np.moveaxis(want[:channels], (0, 1, 2, 3), (3, 2, 1, 0))).result()
    stacks = [mn.open(tmp_path / "cell", channel=k if channels > 1 else None) for k in range(channels)]
    assert stacks[0].voxel_size == (40, 4, 4)
    assert "begins at voxel 100, 20, -3 (z, y, x)" in " ".join(stacks[0].notes)
    for k, stack in enumerate(stacks):
        most = 30 if encoding == "jpeg" else 0
        assert np.abs(stack.read().astype(int) - want[k]).max() <= most
        np.testing.assert_array_equal(stack.data[::-2, 3:8, 7], stack.read()[::-2, 3:8, 7])
    assert stacks[0].origin == (4000, 80, -12)


def damaged_info(folder, **changes):
    info = json.loads((folder / "info").read_text())
    info["scales"][0] |= changes
    (folder / "info").write_text(json.dumps(info))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"key": "../secret"}, "refers to '../secret', which lies outside"), ({"key": "/etc"}, "lies outside"),
        ({"encoding": "compresso"}, "encoded as 'compresso'"), ({"chunk_sizes": [[0, 8, 8]]}, None),
        ({"size": [10**9] * 3, "chunk_sizes": [[10**9] * 3]}, None), ({"size": [-1, 4, 4]}, None),
        ({"resolution": "8"}, None),
        ({"chunk_sizes": []}, None), ({"voxel_offset": [2**62, 0, 0]}, None), ({"encoding": 5}, None),
    ],
)  # fmt: skip
def test_an_info_that_leads_elsewhere_or_cannot_be_is_refused(tmp_path, changes, error):
    path = mn.save(mn.Stack(np.ones((4, 5, 6), np.uint8)), tmp_path / "cell.precomputed")
    shutil.copytree(path / "1_1_1", tmp_path / "secret")
    damaged_info(path, **changes)
    with pytest.raises(InputError, match=error):
        mn.open(path).read()


def test_blocks_for_neuroglancer_that_are_links_or_packed_once_more_are_refused(tmp_path):
    path = mn.save(mn.Stack(np.ones((4, 5, 6), np.uint8)), tmp_path / "cell.precomputed")
    (block,) = (path / "1_1_1").iterdir()
    away = shutil.move(block, tmp_path / "elsewhere")
    block.symlink_to(away)
    with pytest.raises(UnsafeFileError, match="link to a file that lies outside of"):
        mn.open(path).read()
    block.unlink()
    (path / "1_1_1" / "0-6_0-5_0-4.gz").write_bytes(b"")
    with pytest.raises(UnsupportedFormatError, match="as cloud-volume writes them"):
        mn.open(path)
