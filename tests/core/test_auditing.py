"""The leak hunt: what makes a score on held-out patches too good is found, and clean data are called clean."""

from __future__ import annotations

import numpy as np
import pytest

import mitonb as mn
from mitonb.auditing import audit
from mitonb.errors import InputError


def tiles(planes: np.ndarray, size: int = 128) -> list[np.ndarray]:
    """Cut planes into squares beside each other."""
    _, h, w = planes.shape
    corners = [(y, x) for y in range(0, h - size + 1, size) for x in range(0, w - size + 1, size)]
    return [plane[y : y + size, x : x + size] for plane in planes for y, x in corners]


def kinds(*args: object, **options: object) -> list[str]:
    return [finding.kind for finding in audit(*args, **options).findings]


@pytest.fixture(scope="module")
def volume() -> tuple[np.ndarray, np.ndarray]:
    stack, labels = mn.phantom((24, 256, 256), seed=4)
    return stack.read(), labels.data


def test_every_other_plane_leaks_and_another_volume_does_not(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image, _ = volume
    found = audit(tiles(image[0::2]), tiles(image[1::2]))
    assert [f.kind for f in found.findings] == ["leak"]
    assert found.findings[0].count > 0.9 * 48
    assert "neighbouring planes" in str(found)
    assert "48 validation patches" in repr(found)
    other = mn.phantom((12, 256, 256), seed=5)[0].read()
    assert audit(tiles(image), tiles(other)).ok


def test_crops_that_overlap_leak_wherever_they_lie(volume: tuple[np.ndarray, np.ndarray]) -> None:
    plane = volume[0][3]
    assert kinds([plane[:128, :128]], [plane[40:168, 50:178]]) == ["leak"]
    assert kinds([plane[:128, :128]], [plane[128:, 128:]]) == []


def test_blocks_are_compared_by_their_outer_planes(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image = volume[0]
    assert kinds([image[:8, :128, :128]], [image[8:16, :128, :128]]) == ["leak"]
    assert kinds([image[:8, :128, :128]], [image[16:, 128:, 128:]]) == []


def test_copies_are_found_however_they_are_turned(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image = volume[0]
    one, two = image[2, :128, :128], image[20, 128:, 128:]
    found = audit([one, image[10, :128, 128:]], [np.rot90(one)[:, ::-1], two])
    assert [(f.kind, f.pairs) for f in found.findings] == [("copies", ((0, 0),))]


def test_validation_that_is_training_is_said_so(volume: tuple[np.ndarray, np.ndarray]) -> None:
    patches = tiles(volume[0][:2])
    assert kinds(patches, patches)[0] == "same data"
    assert kinds(patches) == ["no truth"]


def test_empty_patches_and_other_grey_values_are_said(volume: tuple[np.ndarray, np.ndarray]) -> None:
    image, ids = volume
    train = list(zip(tiles(image[:4]), tiles(ids[:4]), strict=True))
    held = [{"image": patch / 255.0, "mask": np.zeros_like(patch)} for patch in tiles(image[16:18])]
    assert kinds(train, held) == ["empty patches", "grey values"]


def test_slabs_that_no_patch_covers_are_said() -> None:
    volume = np.random.default_rng(0).random((25, 64, 64), np.float32)
    patches = [volume[z : z + 8, y : y + 32, x : x + 32] for z in (0, 8) for y in (0, 32) for x in (0, 32)]
    found = audit(patches[:6], patches[6:], volume=volume).findings
    assert [f.kind for f in found] == ["left over"]
    assert "36%" in found[0].text


def test_loaders_of_torch_are_read(volume: tuple[np.ndarray, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    image, ids = (torch.from_numpy(a[:, None].astype(np.float32)) for a in volume)
    data = torch.utils.data.TensorDataset(image, ids)
    near, far = (torch.utils.data.Subset(data, part) for part in ([1, 3, 5], [0, 2, 4]))
    load = torch.utils.data.DataLoader
    assert kinds(load(near, batch_size=2), load(far, batch_size=2, drop_last=True)) == ["leak", "left over"]
    both = load(data, batch_size=2)
    assert kinds(both, load(data, batch_size=4))[0] == "same data"


@pytest.mark.parametrize("bad", [[], [np.zeros(5)], ["text"], [np.zeros((2, 3, 4, 5))], [{"no": 1}]])
def test_what_is_no_patch_is_refused(bad: list[object]) -> None:
    with pytest.raises(InputError):
        audit(bad, [np.zeros((8, 8))])
