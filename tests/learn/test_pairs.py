"""What users bring to learn from: folders with strays, colours, one image, the unknown; and what is held out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

import mitonb as mn
from mitonb.errors import InputError
from mitonb.job import drain
from mitonb.learn.pairs import gathering, hold_out, read_pair


def spots(shape=(96, 96), seed=0, dtype=np.uint8):
    """Dark disks of radius 9 on bright noise, one per 32 pixels; ids from 1."""
    y, x = (np.arange(n) for n in shape)
    ids = (y[:, None] // 32 * 16 + x // 32 + 1) * ((y[:, None] % 32 - 16) ** 2 + (x % 32 - 16) ** 2 <= 81)
    image = np.where(ids > 0, 60, 180) + np.random.default_rng(seed).normal(0, 12, shape)
    return (image * (1 if dtype == np.uint8 else 200)).astype(dtype), ids.astype(np.uint16)


def gather(data, hold=0.2):
    return drain(gathering(data, hold), show=False)


def folder_of(path, count=7, packed=False):
    for part in ("images", "masks"):
        (path / part).mkdir(parents=True)
    for k in range(count):
        image, ids = spots(seed=k)
        tifffile.imwrite(path / "images" / f"cell_{k}.tiff", image)
        if packed:
            ids = np.stack([np.zeros_like(ids), ids // 4, ids * 3], -1).astype(np.uint8)
        Image.fromarray(ids).save(path / "masks" / f"cell_{k}.png")
    return path


def test_seven_images_in_folders_are_paired_by_name_and_strays_are_told(tmp_path):
    folder = folder_of(tmp_path / "set")
    (folder / "images" / "Thumbs.db").write_bytes(b"x")
    (folder / "masks" / ".DS_Store").write_bytes(b"x")
    (folder / "masks" / "cell_3.png").unlink()
    (folder / "images" / "cell_0.tiff").rename(folder / "images" / "cell_9.tiff")
    found = gather(folder)
    assert len(found.sources) == 5
    assert [len(s.held) for s in found.sources] == [0, 0, 0, 0, 1]  # the last one in the order of names
    text = "\n".join(found.notes)
    assert "set: no images, so left out: images/Thumbs.db, masks/.DS_Store" in text
    assert "without a mask of the same name, so left out: cell_3.tiff, cell_9.tiff" in text
    assert "without a image" not in text
    assert "without an image of the same name, so left out: cell_0.png" in text


def test_folders_of_several_sources_are_read_and_an_empty_one_says_what_it_needs(tmp_path):
    for name in "ab":
        folder_of(tmp_path / name, 4)
    assert [s.name for s in gather(tmp_path).sources] == ["a"] * 4 + ["b"] * 4
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"nothing to learn from. It needs images/ and masks/"):
        gather(tmp_path / "none")


def test_two_files_of_one_name_are_refused(tmp_path):
    folder = folder_of(tmp_path / "set", 1)
    (folder / "images" / "cell_0.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"cell_0.png and cell_0.tiff: which"):
        gather(folder)


def test_colours_are_packed_ids_and_three_equal_ones_a_mask(tmp_path):
    folder = folder_of(tmp_path / "set", 1, packed=True)
    source = read_pair(mn.Pair(folder / "images" / "cell_0.tiff", folder / "masks" / "cell_0.png"))
    _, ids = spots()
    assert len(np.unique(source.labels)) == 10
    np.testing.assert_array_equal(source.labels[0], (ids // 4).astype(int) * 256 + ids * 3)
    mask = np.repeat((ids > 0)[..., None], 3, -1).astype(np.uint8) * 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    source = read_pair(mn.Pair(spots()[0], tmp_path / "mask.png"))
    assert len(np.unique(source.labels)) == 10  # nine pieces


@pytest.mark.parametrize("truth", [lambda ids: ids > 0, lambda ids: (ids > 0) * np.uint8(255)])
def test_the_pieces_of_a_mask_are_its_objects(truth):
    image, ids = spots()
    assert len(np.unique(read_pair(mn.Pair(image, truth(ids))).labels)) == 10


def test_images_of_sixteen_bits_are_seen_by_their_own_contrast():
    image, ids = spots(dtype=np.uint16)
    low, high = read_pair(mn.Pair(image, ids)).contrast
    assert 5_000 < low < 14_000 < 30_000 < high < 50_000


def test_what_is_unknown_is_neither_object_nor_background():
    image, ids = spots()
    right = np.zeros(ids.shape, bool)
    right[:, 48:] = True
    for pair in (
        mn.Pair(image, ids, unknown=right),
        mn.Pair(image, np.where(right, 99, ids), unknown=99),
    ):
        source = read_pair(pair)
        np.testing.assert_array_equal(source.labels[0] == source.ignore, right)
    reviewed = [mn.Box((0, 0, 0), (1, 32, 32)), mn.Box((0, 32, 32), (1, 64, 64))]
    source = read_pair(mn.Pair(image, ids, known=reviewed))
    assert source.image.shape == (1, 64, 64)  # only this part is read
    assert (source.labels == source.ignore).mean() == 0.5
    with pytest.raises(InputError, match="of none of its voxels"):
        read_pair(mn.Pair(image, ids, unknown=np.ones_like(right)))
    with pytest.raises(InputError, match="boxes inside of"):
        read_pair(mn.Pair(image, ids, known=[mn.Box((0, 0, 0), (2, 32, 32))]))


def test_a_label_image_of_another_size_is_refused():
    image, ids = spots()
    with pytest.raises(InputError, match=r"1 x 96 x 96 voxels and its labels are 1 x 48 x 48"):
        read_pair(mn.Pair(image, ids[::2, ::2]))


def test_one_image_gives_a_strip_with_a_gap_and_a_volume_a_block():
    image, ids = spots((300, 500))
    learned, held = gather((image, ids)).sources
    assert (learned.image.shape, held.image.shape) == ((1, 300, 380), (1, 300, 100))
    assert (learned.held, held.held) == ((), (0,))
    np.testing.assert_array_equal(held.image[0], image[:, 400:])
    volume = np.stack([image] * 30)
    learned, held = hold_out([read_pair(mn.Pair(volume, np.stack([ids] * 30)))], 0.2)
    assert (len(learned.image), len(held.image)) == (22, 6)


def test_the_end_that_holds_objects_is_held_out():
    image, ids = spots((64, 320))
    ids[:, 200:] = 0
    _, held = hold_out([read_pair(mn.Pair(image, ids))], 0.2)
    np.testing.assert_array_equal(held.image[0], image[:, :64])


def test_the_planes_of_mitoem_are_paired_by_number_or_as_their_lists_say(tmp_path):
    (tmp_path / "im").mkdir()
    for part in ("mito-train", "mito-val"):
        (tmp_path / part).mkdir()
    for k in range(6):
        image, ids = spots(seed=k)
        Image.fromarray(image).save(tmp_path / "im" / f"im{k:04d}.png")
        tifffile.imwrite(tmp_path / ("mito-train" if k < 4 else "mito-val") / f"seg{k:04d}.tif", ids)
    train, val = gather(tmp_path, 0).sources
    assert (train.image.shape, val.image.shape) == ((4, 96, 96), (2, 96, 96))
    np.testing.assert_array_equal(val.image[0], spots(seed=4)[0])
    for name, part in (("im", "im/im"), ("mito", "mito-train/seg")):
        planes = [f"{part}{k:04d}.{'png' if name == 'im' else 'tif'}" for k in range(3)]
        (tmp_path / f"{name}_train.json").write_text(json.dumps({"ndim": 1, "image": planes}))
    (listed,) = gather(tmp_path, 0).sources
    assert listed.image.shape == (3, 96, 96)
    (tmp_path / "im_train.json").write_text("[]")
    with pytest.raises(InputError, match="list of planes under 'image'"):
        gather(tmp_path, 0)


def test_labels_of_mitoem_in_hdf5_go_with_its_planes(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "im").mkdir()
    for k in range(3):
        Image.fromarray(spots(seed=k)[0]).save(tmp_path / "im" / f"im{k:04d}.png")
    with h5py.File(tmp_path / "mito_train.h5", "w") as file:
        file["main"] = np.stack([spots()[1]] * 3)
    (source,) = gather(tmp_path, 0).sources
    assert source.labels.shape == (3, 96, 96)


def test_data_held_out_by_the_user_are_audited():
    stack, truth = mn.phantom((8, 128, 128), seed=1)
    planes, ids = stack.read(), truth.data
    honest = gather(mn.Pair(stack, truth))
    assert not [note for note in honest.notes if note.startswith("copies")]
    leaky = gather([(planes[k], ids[k]) for k in (0, 2, 4, 6)], [(planes[k], ids[k]) for k in (1, 3, 5, 7)])
    assert [note.split(":")[0] for note in leaky.notes] == ["leak"]
    assert sum(len(s.held) for s in leaky.sources) == 4


@pytest.mark.parametrize("nothing", [[], 3, None])
def test_nothing_to_learn_from_says_what_could_be(nothing):
    with pytest.raises(InputError, match=r"give a mn.Pair"):
        gather(nothing)


def test_one_grey_among_several_is_left_out():
    image, ids = spots()
    found = gather([(image, ids), (np.full_like(image, 7), ids)], 0)
    assert len(found.sources) == 1
    assert "all one grey" in found.notes[0]


def test_images_are_brought_to_the_pixels_that_the_model_knows():
    image, ids = spots()
    spec = mn.load_model("mito-mini").spec  # 4 to 16 nm
    source = read_pair(mn.Pair(image, ids, voxel_size=2.0), spec)
    assert source.image.shape == source.labels.shape == (1, 48, 48)


def test_image_and_labels_the_wrong_way_round_are_refused(tmp_path):
    image, ids = spots()
    with pytest.raises(InputError, match=r"9\d% of neighbouring pixels differ.* are the two swapped\?"):
        gather(mn.Pair(ids, image))
    with pytest.raises(InputError, match=r"looks like a grey image.* Is it the right file\?"):
        gather(mn.Pair(image, image))
    mask = (ids > 0).astype(np.uint8) * 255
    assert "its image looks drawn" in " ".join(gather(mn.Pair(mask, ids), 0).notes)
    with pytest.raises(InputError, match="swapped"):
        mn.train((mask, image), tmp_path / "a", steps=1, show=False)


def test_images_and_labels_of_any_kind_are_told_apart():
    image, ids = spots()
    for shown in (image.astype(np.int16) - 500, image / 255, np.where(image < 60, 0, image)):
        assert "drawn" not in " ".join(gather(mn.Pair(shown, ids), 0).notes)
    filled = np.where(ids > 0, ids, 200)  # every pixel belongs to something
    assert "drawn" not in " ".join(gather(mn.Pair(image, filled), 0).notes)
