"""Opening reads headers; a plane reads a plane; pages are kept while there is room."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import mitonb as mn
from mitonb.errors import TooLargeError
from mitonb.io import arrays, tiff
from mitonb.io.arrays import Source, paged
from mitonb.io.axes import arrange
from mitonb.io.opening import open_labels


@pytest.fixture
def counted(monkeypatch):
    """The numbers of the pages that are decoded, in order."""
    pages: list[int] = []
    real = tiff._Pages.page

    def page(self, k):
        pages.append(k)
        return real(self, k)

    monkeypatch.setattr(tiff._Pages, "page", page)
    return pages


def write(path, data, **options):
    tifffile.imwrite(path, data, compression="zlib", photometric="minisblack", **options)
    return path


def test_opening_8_bit_reads_no_plane_and_a_plane_reads_one(tmp_path, counted):
    path = write(tmp_path / "cell.tif", np.zeros((30, 8, 9), np.uint8))
    stack = mn.open(path)
    assert counted == []
    assert stack.data[7].shape == (8, 9)
    assert counted == [7]
    stack.data[7, 2:4]
    stack.data[6:9, 0, 0]
    assert counted == [7, 6, 8]


def test_a_channel_reads_only_its_own_pages(tmp_path, counted):
    path = tmp_path / "cell.tif"
    data = np.zeros((4, 2, 8, 9), np.uint8)
    tifffile.imwrite(path, data, ome=True, metadata={"axes": "ZCYX"}, compression="zlib", photometric="minisblack")
    mn.open(path, channel=1).read()
    assert counted == [1, 3, 5, 7]


@pytest.mark.parametrize("name", ["cell.tif", "cell.npy"])
def test_of_an_uncompressed_file_only_the_rows_that_are_asked_for_are_read(name, tmp_path, monkeypatch):
    data = np.zeros((12, 40, 50), np.uint16)
    np.save(tmp_path / name, data) if name == "cell.npy" else tifffile.imwrite(tmp_path / name, data)
    lazy, read, real = mn.open(tmp_path / name).data, [], arrays.read_items

    def counting(file, count, dtype, what):
        read.append(count)
        return real(file, count, dtype, what)

    monkeypatch.setattr(arrays, "read_items", counting)
    lazy[:, 5]
    lazy[4]
    assert sum(read) == 12 * 50 + 40 * 50


@pytest.mark.parametrize("tile", [None, (64, 128)])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_corner_of_a_huge_page_decodes_only_its_tiles(tmp_path, monkeypatch, counted, tile, byteorder):
    monkeypatch.setattr("mitonb.io.arrays.CACHE_BYTES", 100_000)
    data = np.random.default_rng(0).integers(0, 60_000, (2, 300, 500)).astype(np.uint16)
    path = write(tmp_path / "cell.tif", data, tile=tile, rowsperstrip=None if tile else 16, byteorder=byteorder)
    lazy = mn.open(path).data
    counted.clear()
    np.testing.assert_array_equal(lazy[1, 290:, 480:], data[1, 290:, 480:])
    np.testing.assert_array_equal(lazy[:, 60:70, 3], data[:, 60:70, 3])
    np.testing.assert_array_equal(lazy[0, 200:100:-7, 130:120:-3], data[0, 200:100:-7, 130:120:-3])
    assert counted == []
    np.testing.assert_array_equal(lazy[0], data[0])
    assert counted == [0]


def test_the_newest_pages_are_kept_within_their_bytes(monkeypatch):
    monkeypatch.setattr("mitonb.io.arrays.CACHE_BYTES", 250)
    read: list[int] = []

    def page(k):
        read.append(k)
        return np.full((10, 10), k, np.uint8)

    lazy = paged((4,), (10, 10), np.uint8, page, "cell")
    for k in (1, 2, 1, 3, 1, 2):
        assert lazy[k, 0, 0] == k
    assert read == [1, 2, 3, 2]


def test_what_is_handed_out_does_not_change_what_is_kept(tmp_path):
    stack = mn.open(write(tmp_path / "cell.tif", np.zeros((2, 8, 9), np.uint8)))
    image = stack.plane(0).image
    if image.flags.writeable:
        image[0, 0] = 7
    assert stack.plane(0).image[0, 0] == 0


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_every_cut_of_every_arrangement_is_what_numpy_gives(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=5, max_size=5)))
    array = np.arange(np.prod(shape), dtype=">i4").reshape(shape)
    pages = paged(shape[:2], shape[2:], array.dtype, lambda k: array.reshape(-1, *shape[2:])[k].astype("i4"), "cell")
    order = data.draw(st.permutations(range(5)))
    time, channel = (data.draw(st.integers(0, shape[axis] - 1)) for axis in order[:2])
    fixed = dict(zip(order, (time, channel), strict=False))
    letters = "".join(letter for _, letter in sorted(zip(order, "tczyx", strict=True)))
    lazy, _, _ = arrange(Source(pages), axes=letters, time=time, channel=channel)
    rest = [axis for axis in range(5) if axis not in fixed]
    want = array[tuple(fixed.get(axis, slice(None)) for axis in range(5))].transpose([rest.index(a) for a in order[2:]])
    ends, steps = st.one_of(st.none(), st.integers(-5, 5)), st.sampled_from([None, 1, 2, -1, -2, 3])
    slices = st.builds(slice, ends, ends, steps)
    given_axes = want.shape[: data.draw(st.integers(0, 3))]
    key = tuple(data.draw(st.one_of(st.integers(-n, n - 1), slices)) for n in given_axes)
    np.testing.assert_array_equal(lazy[key], want[key])
    last = data.draw(st.integers(-want.shape[-1], want.shape[-1] - 1))
    np.testing.assert_array_equal(lazy[..., last], want[..., last])


@pytest.mark.parametrize("key", [3, -4, (0, 0, 0, 0), [0, 1], 1.0, (..., ...), "z"])
def test_wrong_indices_are_refused(key, tmp_path):
    stack = mn.open(write(tmp_path / "cell.tif", np.zeros((3, 8, 9), np.uint8)))
    with pytest.raises(IndexError):
        stack.data[key]


def test_threads_read_the_same_voxels(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (24, 64, 64)).astype(np.uint8)
    stack = mn.open(write(tmp_path / "cell.tif", data))
    wrong: list[int] = []

    def look(seed):
        for k in np.random.default_rng(seed).integers(0, 24, 60):
            if not np.array_equal(stack.plane(int(k)).image, data[k]):
                wrong.append(int(k))

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_labels_that_do_not_fit_are_refused_before_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "labels.npy"
    np.save(path, np.zeros((4, 500, 500), np.uint16))
    monkeypatch.setenv("MEM_LIMIT", str(32 * 2**20))
    with pytest.raises(TooLargeError, match=r"Opening the labels labels.npy needs about 6 MB"):
        open_labels(path)
