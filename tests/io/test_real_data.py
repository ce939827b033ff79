"""The real volumes open, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mitonb as mn
from mitonb.io.opening import open_labels

FOLDER = os.environ.get("MITONB_DATA_DIR", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="MITONB_DATA_DIR names no folder of real EM data")

VOLUMES = {
    "vnc_sstem/raw.tif": (14, 1024, 1024),
    "epfl_hippocampus/raw_10nm.tif": (82, 384, 512),
    "medulla_fibsem_unlabelled/raw.tif": (250, 250, 250),
    "neuropil_sbem/raw.tif": (20, 1024, 1024),
    "tile_256/raw.tif": (1, 256, 256),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_a_real_volume_opens_lazily_without_a_made_up_voxel_size(name):
    path = Path(FOLDER) / name
    stack = mn.open(path)
    assert stack.shape == VOLUMES[name]
    assert stack.voxel_size is None
    assert stack.plane(stack.shape[1] // 2, "xz").shape == (stack.shape[0], stack.shape[2])


def test_real_labels_keep_their_ids(tmp_path):
    labels = open_labels(Path(FOLDER) / "vnc_sstem" / "mito_instances.tif")
    assert len(labels.ids()) == 39
    assert (open_labels(mn.save(labels, tmp_path / "mito.ome.zarr")).data == labels.data).all()
