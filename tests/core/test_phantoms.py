"""Phantoms: exact truth, the options do what they say, and the picture is in the range of real microscopes."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from scipy import ndimage as ndi

from mitonb.errors import InputError, TooLargeError
from mitonb.phantoms import Grid, Phantom, phantom

SMALL = (12, 96, 96)


@pytest.fixture(scope="module")
def usual() -> Phantom:
    return phantom(seed=9000)


def touching(ids: np.ndarray) -> set[int]:
    """Ids that share a voxel face with another id."""
    return {int(i) for pair in cc3d.region_graph(ids, connectivity=6) for i in pair}


def test_the_same_arguments_give_the_same_volume_and_another_seed_another() -> None:
    a, b, c = phantom(SMALL, 5), phantom(SMALL, 5), phantom(SMALL, 6)
    assert (a.stack.data == b.stack.data).all()  # type: ignore[attr-defined]
    assert (a.labels.data == b.labels.data).all()
    assert (a.labels.data != c.labels.data).any()


def test_it_unpacks_into_an_image_and_its_truth() -> None:
    stack, labels = phantom(SMALL, 1)
    assert stack.shape == labels.shape == SMALL
    assert stack.dtype == np.uint8
    assert labels.data.dtype == np.uint32
    assert stack.voxel_size == labels.voxel_size == (8, 8, 8)
    assert "Drawn" in stack.notes[0]


def test_every_instance_is_one_piece_and_ids_run_from_one(usual: Phantom) -> None:
    ids = usual.labels.data
    assert usual.labels.ids().tolist() == list(range(1, ids.max() + 1))
    for k, at in enumerate(ndi.find_objects(ids.astype(np.int32)), start=1):
        assert ndi.label(ids[at] == k)[1] == 1


def test_a_fifth_of_the_objects_or_more_touch_another(usual: Phantom) -> None:
    assert len(touching(usual.labels.data)) >= 0.2 * len(usual.labels.ids())


def test_nothing_touches_when_nothing_should() -> None:
    ids = phantom((32, 160, 160), 3, touching=0.0, objects=6).labels.data
    assert len(np.unique(ids)) > 3
    assert not touching(ids)


def test_mitochondria_are_darker_than_what_is_around_them(usual: Phantom) -> None:
    image, ids = usual.stack.read(), usual.labels.data
    around = ndi.binary_dilation(ids > 0, iterations=6) & ~ndi.binary_dilation(ids > 0, iterations=2)
    assert image[ids > 0].mean() < image[around].mean() - 25


def test_grey_and_grain_are_in_the_range_of_real_sets(usual: Phantom) -> None:
    """The ranges span what EPFL, VNC, neuropil and medulla show: 5, 50 and 95 %, and the finest grain."""
    image = usual.stack.read()
    low, middle, high = np.percentile(image, (5, 50, 95))
    assert 25 < low < 105
    assert 100 < middle < 160
    assert 170 < high < 225
    fine = image[:, :, 1:-1].astype(float) - (image[:, :, :-2].astype(float) + image[:, :, 2:]) / 2
    assert 3 < np.median(np.abs(fine)) < 25


def test_the_outline_of_the_truth_lies_on_the_dark_outer_membrane() -> None:
    stack, labels = phantom((24, 128, 128), 4, noise=0, flicker=0, drift=0)
    image, inside = stack.read().astype(float), labels.data > 0
    depth = ndi.distance_transform_edt(inside) - ndi.distance_transform_edt(~inside)
    rim, cytoplasm = image[(depth > -1.5) & (depth < 1.5)], image[(depth > -5) & (depth < -3)]
    assert rim.mean() < cytoplasm.mean() - 20


def test_sections_jump_only_when_they_drift() -> None:
    def jump(drift: float) -> float:
        """How much sections differ from their neighbours beside what the same change within a section costs."""
        ids = phantom((24, 96, 96), 8, drift=drift).labels.data > 0
        return float((ids[1:] != ids[:-1]).mean() / max((ids[:, 1:] != ids[:, :-1]).mean(), 1e-9))

    assert jump(2.0) > 1.5 * jump(0.0)


def test_thick_sections_are_drawn_with_their_own_voxel_size() -> None:
    stack, labels = phantom((3, 160, 160), 2, voxel_size=(45, 5, 5))
    assert stack.voxel_size == (45, 5, 5)
    assert len(labels.ids()) >= 1


def test_options_change_what_they_name() -> None:
    plain = phantom(SMALL, 1, noise=0).stack.read().astype(float)
    grainy = phantom(SMALL, 1, noise=2).stack.read().astype(float)
    assert 8 < (grainy - plain).std() < 25
    assert phantom(SMALL, 1, contrast=0.4).stack.read().std() < 0.6 * plain.std()
    swapped = phantom(SMALL, 1, contrast=-1.0, noise=0).stack.read().astype(float)
    assert np.corrcoef(plain.ravel(), swapped.ravel())[0, 1] < -0.9
    assert len(phantom(SMALL, 1, objects=1).labels.ids()) <= 2


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 1, 1), (64, 32, 16)])
def test_odd_shapes_are_drawn_too(shape: tuple[int, int, int]) -> None:
    stack, labels = phantom(shape, 0)
    assert stack.shape == labels.shape == shape


def test_a_phantom_that_memory_would_not_hold_is_refused_before_it_is_drawn() -> None:
    with pytest.raises(TooLargeError, match=r"Drawing 4000 x .* GB of memory.*Draw a smaller volume"):
        phantom((4000, 4000, 4000), voxel_size=(30, 30, 30))


def test_interpolating_a_linear_field_gives_it_back() -> None:
    grid = Grid((9, 20, 31), (40.0, 8.0, 8.0))
    z, y, x = grid.nodes()
    box = grid.around(np.array([0.0, 10, 20]), np.array([300.0, 140, 200]))
    got = grid.refine((2 * z - y + 3 * x)[grid.support(box).slices], box)
    at = np.meshgrid(*[np.arange(a, b) * v for a, b, v in zip(box.start, box.stop, (40, 8, 8), strict=True)],
                     indexing="ij")  # fmt: skip
    np.testing.assert_allclose(got, 2 * at[0] - at[1] + 3 * at[2], atol=1e-2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shape": (0, 5, 5)}, "at least one voxel"),
        ({"shape": (5, 5)}, "at least one voxel"),
        ({"voxel_size": (8, 8)}, "1 to 200 nm"),
        ({"voxel_size": (8, 8, float("nan"))}, "1 to 200 nm"),
        ({"touching": 1.5}, "share from 0 to 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        phantom(**options)  # type: ignore[arg-type]
