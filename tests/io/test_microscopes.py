"""Files of microscopes, by bioio and its readers; the files are written by the library of the maker of CZI."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import CorruptFileError, InputError, UnsupportedFormatError

DATA = np.random.default_rng(0).integers(0, 60000, (4, 20, 24)).astype(np.uint16)


def write_czi(path):
    """Write planes of pixels of 8 nm, 40 nm apart."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    pytest.importorskip("bioio_czi")
    with czi.create_czi(str(path)) as document:
        for z, plane in enumerate(DATA):
            document.write(data=plane[..., None], plane={"Z": z, "C": 0, "T": 0})
        document.write_metadata(scale_x=8e-9, scale_y=8e-9, scale_z=40e-9)
    return path


def test_a_czi_opens_lazily_with_its_voxel_size(tmp_path):
    stack = mn.open(write_czi(tmp_path / "cell.czi"))
    assert (stack.shape, stack.dtype) == (DATA.shape, np.uint16)
    assert stack.voxel_size == pytest.approx((40.0, 8.0, 8.0))
    assert np.array_equal(stack.plane(2).image, DATA[2])
    assert np.array_equal(stack.read(), DATA)
    assert mn.info(tmp_path / "cell.czi").kind == "CZI"


def test_an_image_that_is_not_there_is_refused(tmp_path):
    path = write_czi(tmp_path / "cell.czi")
    assert np.array_equal(mn.open(path, series=0).read(), DATA)
    with pytest.raises(InputError, match="holds images 0 to 0, got series=1"):
        mn.open(path, series=1)


def test_a_damaged_file_says_so_and_one_without_reader_what_to_install(tmp_path):
    whole = write_czi(tmp_path / "cell.czi").read_bytes()
    (tmp_path / "cut.czi").write_bytes(whole[:900])
    with pytest.raises(CorruptFileError, match=r"cut\.czi is damaged"):
        mn.open(tmp_path / "cut.czi")
    (tmp_path / "cell.lif").write_bytes(b"p\0\0\0" + bytes(200))
    with pytest.raises((UnsupportedFormatError, CorruptFileError), match="bioio-lif"):
        mn.open(tmp_path / "cell.lif")


def test_without_bioio_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / "cell.czi").write_bytes(b"ZISRAWFILE" + bytes(200))
    with pytest.raises(UnsupportedFormatError, match=r"needs bioio: pip install 'mitonb\[microscopes\]'"):
        mn.open(tmp_path / "cell.czi")
