"""Run records say what made a result; fingerprints say of what."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import mitonb as mn
from mitonb.io.record import fingerprint, run_record, same_image
from mitonb.models.spec import ModelSpec


def test_the_same_voxels_have_the_same_fingerprint_whatever_holds_them(tmp_path):
    data = np.random.default_rng(0).integers(0, 60_000, (5, 6, 7)).astype(np.uint16)
    want = fingerprint(mn.Stack(data))
    for ending in (".tif", ".ome.tif", ".npy", ".npz", ".ome.zarr"):
        assert fingerprint(mn.open(mn.save(mn.Stack(data, (9, 9, 9)), tmp_path / f"cell{ending}"))) == want
    assert fingerprint(mn.open(data.astype(">u2"))) == want
    assert fingerprint(mn.open(np.asfortranarray(data))) == want


@pytest.mark.parametrize("z", [0, 2, 4])
def test_one_voxel_of_a_small_stack_changes_the_fingerprint(z):
    data = np.zeros((5, 6, 7), np.uint16)
    before = fingerprint(mn.Stack(data))
    data[z, 3, 3] = 1
    assert fingerprint(mn.Stack(data)) != before


def test_shape_and_dtype_count():
    data = np.zeros((4, 6, 6), np.uint8)
    prints = {fingerprint(mn.Stack(a)) for a in (data, data[:2], data.reshape(4, 4, 9), data.astype(np.int8))}
    assert len(prints) == 4


@pytest.mark.parametrize("depth", [17, 40, 200])
def test_one_voxel_anywhere_changes_the_fingerprint(depth):
    data = np.zeros((depth, 6, 7), np.uint16)
    before = fingerprint(mn.Stack(data))
    for z in range(depth):
        data[z, 3, 3] = 1
        assert fingerprint(mn.Stack(data)) != before
        assert not same_image(mn.Stack(data), before)
        data[z, 3, 3] = 0
    assert same_image(mn.Stack(data), before)


def test_a_fingerprint_of_an_earlier_version_is_still_that_of_its_image():
    data = np.random.default_rng(0).integers(0, 255, (40, 6, 7)).astype(np.uint8)
    old = "sha256:902b336632ac9943935a9ada920662d2f42658d109dff03e19775bb3c6f8bad2"  # as version 0.1 wrote it
    assert same_image(mn.Stack(data), old)
    data[0] += 1
    assert not same_image(mn.Stack(data), old)


def test_of_a_large_stack_some_planes_are_read(monkeypatch):
    monkeypatch.setattr("mitonb.io.record.READ_ALL", 15_000)

    class Counting:
        shape, dtype = (1000, 4, 4), np.dtype(np.uint8)
        read = 0

        def __getitem__(self, key):
            self.read += 1
            return np.zeros((4, 4), np.uint8)

    data = Counting()
    stack = mn.Stack(data)
    fingerprint(stack)
    assert data.read == 16


def test_a_record_is_plain_json_and_makes_the_recipe_again(volume):
    recipe = mn.Recipe(center_threshold=0.2, planes=("xy", "xz"))
    stack = mn.Stack(volume, (40, 8, 8), name="cell", source="cell.tif")
    record = run_record(stack, recipe, ModelSpec(name="mito-mini", sha256="abc", licence="research"))
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again == record
    assert mn.Recipe.from_json(json.dumps(again["recipe"])) == recipe
    assert again["image"]["fingerprint"] == fingerprint(stack)
    assert again["image"]["voxel_size_nm"] == [40, 8, 8]
    assert again["model"] == {"name": "mito-mini", "sha256": "abc", "licence": "research"}
    assert again["engine"]["precision"] == "fp32"
    assert again["engine"]["threads"] >= 1
    assert again["software"]["mitonb"] == mn.__version__
    assert "numpy" in again["software"]


def test_reading_saving_and_records_need_no_torch(tmp_path):
    code = (
        "import sys, numpy as np, mitonb as mn; from mitonb.io.record import run_record; "
        "s = mn.Stack(np.zeros((2, 3, 4), np.uint8)); run_record(s, mn.Recipe()); "
        f"mn.open(mn.save(s, {str(tmp_path / 'a.ome.zarr')!r})); mn.cite(); "
        "assert not {'torch', 'IPython', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
