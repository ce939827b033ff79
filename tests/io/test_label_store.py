"""Labels written slab by slab: whole and checked, or not there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mitonb.errors import CorruptFileError, InputError
from mitonb.io.opening import open_labels
from mitonb.io.zarr import LabelStore

if TYPE_CHECKING:
    from pathlib import Path

LABELS = np.random.default_rng(0).integers(0, 5, (37, 20, 30)).astype(np.uint32)


def fill(store: LabelStore, thick: int) -> None:
    for top in range(0, 37, thick):
        store.write(top, LABELS[top : top + thick])


@pytest.mark.parametrize("thick", [1, 7, 16, 37])
def test_slabs_of_any_thickness_become_one_volume_with_lower_levels(thick: int, tmp_path: Path) -> None:
    target = tmp_path / "labels.ome.zarr"
    with LabelStore.at(target, (37, 20, 30), (8.0, 4.0, 4.0), "drawn") as store:
        fill(store, thick)
        assert not target.exists()
        assert len(list(store.finish({"recipe": {}}))) >= 1
    read = open_labels(target)
    assert np.array_equal(read.data, LABELS)
    assert read.voxel_size == (8.0, 4.0, 4.0)
    assert np.array_equal(open_labels(target, series=1).data, LABELS[:, ::2, ::2])


def write(target: Path, record: object = None, *, spoil: bool = False) -> None:
    with LabelStore.at(target, (37, 20, 30), None, "drawn") as store:
        fill(store, 7)
        if spoil:
            store.write(7, LABELS[7:14] + 1)
            store.sums.pop()
        list(store.finish(None if record is None else {"recipe": record}))


def test_a_block_that_changes_on_the_disk_is_noticed_and_nothing_is_left(tmp_path: Path) -> None:
    target = tmp_path / "labels.ome.zarr"
    target.mkdir()
    (target / ".zgroup").write_text("{}")  # what was there before
    with pytest.raises(CorruptFileError, match="planes 7 to 13 were read back changed"):
        write(target, spoil=True)
    assert [p.name for p in target.iterdir()] == [".zgroup"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_record_that_json_cannot_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written as JSON"):
        write(tmp_path / "labels.zarr", object())
    assert list(tmp_path.iterdir()) == []
