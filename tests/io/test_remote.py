"""Stores on the network: the same voxels and sizes as on disk, and an error of ours for whatever goes wrong there."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import tensorstore

import mitonb as mn
from mitonb.errors import CorruptFileError, InputError, UnreachableError, UnsafeFileError
from mitonb.io import remote
from tests.serving import serving

IDS = np.zeros((20, 140, 150), np.uint32)
IDS[2:18, 10:130, 10:140] = 7
DATA = np.random.default_rng(0).integers(1, 255, (20, 70, 90)).astype(np.uint8)


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as one:
        yield one


@pytest.fixture
def impatient(monkeypatch):
    """Wait for answers for moments only."""
    monkeypatch.setattr(remote, "ANSWER", 0.7)
    monkeypatch.setattr(remote, "PATIENCE", 0.3)
    monkeypatch.setitem(remote.RETRIES, "max_retries", 1)


def write_n5(folder, data=DATA, levels=3):
    """Write an N5 pyramid as CellMap does: x first, sizes and the shift of half voxels in `transform`."""
    folder.mkdir(parents=True)
    datasets = []
    for k in range(levels):
        part = data[:: 2**k, :: 2**k, :: 2**k]
        metadata = {"dimensions": part.shape[::-1], "blockSize": [32, 32, 8], "dataType": "uint8"}
        spec = {"driver": "n5", "kvstore": f"file://{folder}/s{k}/", "metadata": {**metadata, "compression": GZIP}}
        tensorstore.open(spec, create=True).result().write(part.T).result()
        sizes = {"z": 5.24 * 2**k, "y": 4.0 * 2**k, "x": 4.0 * 2**k}
        shifts = {axis: size * (1 - 2.0**-k) / 2 for axis, size in sizes.items()}
        transform = {"axes": ["z", "y", "x"], "units": ["nm"] * 3}
        transform |= {"scale": list(sizes.values()), "translate": list(shifts.values())}
        datasets.append({"path": f"s{k}", "transform": transform})
        path = folder / f"s{k}" / "attributes.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"transform": transform}))
    (folder / "attributes.json").write_text(json.dumps({"multiscales": [{"datasets": datasets}]}))
    return folder


GZIP = {"type": "gzip", "level": 1}


@pytest.mark.parametrize("kind", ["0.4", "0.5", "n5", "precomputed", "labels"])
def test_a_store_on_a_server_opens_as_it_does_from_disk(tmp_path, server, kind):
    stack = mn.Stack(DATA, (40.0, 8.0, 7.0))
    if kind == "n5":
        path = write_n5(tmp_path / "cell.n5" / "em" / "raw")
    elif kind == "labels":
        path = mn.save(mn.Labels(IDS, (40.0, 8.0, 7.0)), tmp_path / "mito.precomputed")
    elif kind == "precomputed":
        path = mn.save(stack, tmp_path / "cell.precomputed")
    else:
        path = mn.save(stack, tmp_path / "cell.ome.zarr", version=kind)
    here, there = mn.open(path), mn.open(f"{server.address}/{path.relative_to(tmp_path).as_posix()}")
    facts = [(one.shape, one.dtype, one.voxel_size, one.notes) for one in (here, there)]
    assert facts[0] == facts[1]
    assert there.source.startswith("http://")
    names = {"attributes.json", "info", ".zattrs", ".zgroup", ".zarray", "zarr.json"}
    assert kind == "labels" or {path.rpartition("/")[2] for path in server.asked} <= names  # no voxel was read yet
    np.testing.assert_array_equal(there.read(), here.read())
    np.testing.assert_array_equal(there.data[::-3, 4, 5:9], here.data[::-3, 4, 5:9])
    if kind == "labels":
        np.testing.assert_array_equal(mn.open_labels(there.source).data, here.read())
    assert len(there.levels) == len(here.levels)
    for k in range(1, len(here.levels)):
        one, other = there.at_level(k), here.at_level(k)
        assert (one.shape, one.voxel_size, one.origin) == (other.shape, other.voxel_size, other.origin)


def test_levels_say_where_their_voxels_lie(tmp_path, server):
    write_n5(tmp_path / "cell.n5" / "em" / "raw")
    for place in (f"{server.address}/cell.n5/em/raw", tmp_path / "cell.n5" / "em" / "raw"):
        stack = mn.open(place)
        levels = [stack.at_level(k) for k in range(len(stack.levels))]
        assert [level.shape for level in levels] == [(20, 70, 90), (10, 35, 45), (5, 18, 23)]
        assert levels[2].voxel_size == pytest.approx((20.96, 16, 16))
        assert levels[1].origin == pytest.approx((2.62, 2, 2))
        assert levels[2].origin == pytest.approx((7.86, 6, 6))
        np.testing.assert_array_equal(levels[1].read(), DATA[::2, ::2, ::2])
    assert mn.open(f"{server.address}/cell.n5", series="em/raw/s1").shape == (10, 35, 45)
    (tmp_path / "cell.n5" / "em" / "raw" / "attributes.json").write_text('{"pixelResolution": [4, 4, 8]}')
    assert len(mn.open(f"{server.address}/cell.n5/em/raw").levels) == 3  # counted by asking for them


@pytest.mark.parametrize("ending", ["ome.zarr", "precomputed"])
def test_averaged_levels_of_ours_are_shifted_by_half_a_voxel(tmp_path, ending):
    path = mn.save(mn.Stack(np.zeros((8, 300, 300), np.uint8), (40, 8, 8)), tmp_path / f"cell.{ending}")
    second = mn.open(path).at_level(1)
    assert (second.origin, second.voxel_size, second.shape) == ((0, 4, 4), (40, 16, 16), (8, 150, 150))


def test_s3_and_google_are_asked_at_the_address_of_another_store(tmp_path, server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
    write_n5(tmp_path / "bucket" / "cell.n5" / "raw")
    mn.save(mn.Stack(DATA, (40.0, 8.0, 7.0)), tmp_path / "bucket" / "cell.zarr")
    for address in ("s3://bucket/cell.n5/raw", "gs://bucket/cell.zarr", "zarr://s3://bucket/cell.zarr/"):
        np.testing.assert_array_equal(mn.open(address).read(), DATA)
    assert "/bucket/cell.n5/raw/attributes.json" in server.asked
    with pytest.raises(InputError, match=r"There is no OME-Zarr, zarr, N5 or precomputed volume at s3://bucket/other"):
        mn.open("s3://bucket/other")


@pytest.mark.parametrize(
    "address",
    ["ftp://a.org/x.zarr", "file:///etc", "http://", "https://me:secret@a.org/x", "https://a.org/x?X-Amz-Signature=1",
     "s3://a/b#c", "memory://x", "https://a.org/x\n.zarr"],
)  # fmt: skip
def test_addresses_that_are_not_opened_say_so_without_secrets(address):
    with pytest.raises(InputError) as error:
        mn.open(address)
    assert "secret" not in str(error.value)
    assert "Signature" not in str(error.value)


def test_a_lost_block_of_labels_is_an_error_and_of_an_image_nothing(tmp_path, server):
    path = mn.save(mn.Labels(IDS), tmp_path / "mito.precomputed")
    next((path / "1_1_1").iterdir()).unlink()
    address = f"{server.address}/mito.precomputed"
    for place in (path, address):
        with pytest.raises(CorruptFileError, match=r"lacks a block.*empty_blocks=True"):
            mn.open_labels(place)
        assert len(mn.open_labels(place, empty_blocks=True).ids()) == 1


@pytest.mark.parametrize(
    ("fault", "match"),
    [(503, "a fault or is busy"), (401, "or it is not public"), ("redirect", "sends on to another address"),
     ("hang", "no answer within")],
)  # fmt: skip
def test_a_server_that_refuses_is_said_soon(tmp_path, server, impatient, fault, match):
    mn.save(mn.Stack(DATA), tmp_path / "cell.zarr")
    server.fault["cell"] = fault
    start = time.monotonic()
    with pytest.raises(InputError if fault == 401 else UnreachableError, match=match):
        mn.open(f"{server.address}/cell.zarr")
    assert time.monotonic() - start < 8


def test_a_server_that_is_not_there_is_said_soon(server, impatient):
    server.http.server_close()
    with pytest.raises(UnreachableError, match="cannot be read"):
        mn.open(f"{server.address}/cell.zarr")
    with pytest.raises(UnreachableError, match="there is no such host"):
        mn.open("https://no-such-host.invalid/cell.zarr")


def test_a_block_that_is_refused_may_be_one_that_was_left_out_and_is_no_zeros(tmp_path, server):
    mn.save(mn.Stack(DATA), tmp_path / "cell.zarr")
    stack = mn.open(f"{server.address}/cell.zarr")
    server.fault["cell.zarr/0/1"] = 403
    np.testing.assert_array_equal(stack.data[0], DATA[0])
    with pytest.raises(UnreachableError, match="or a block was left out as empty"):
        stack.data[17]


@pytest.mark.parametrize("fault", [503, "hang", "cut"])
def test_a_connection_that_is_lost_is_an_error_and_the_next_read_works(tmp_path, server, impatient, fault):
    path = mn.save(mn.Stack(np.tile(DATA, (1, 4, 4))), tmp_path / "cell.zarr")
    stack = mn.open(f"{server.address}/cell.zarr")
    server.fault["cell.zarr"] = fault
    with pytest.raises(UnreachableError, match="cannot be read"):
        stack.data[3]
    server.fault.clear()
    np.testing.assert_array_equal(stack.data[3], mn.open(path).data[3])


@pytest.mark.parametrize("fault", ["", "whole"])
def test_metadata_without_end_and_blocks_that_lie_are_refused(tmp_path, server, fault):
    path = mn.save(mn.Stack(DATA), tmp_path / "cell.zarr")
    server.fault |= {"cell": fault} if fault else {}
    block = path / "0" / "0" / "0" / "0"
    data = bytearray(block.read_bytes())
    data[4:8] = (2**31 - 1).to_bytes(4, "little")  # blosc would make room for 2 GiB
    block.write_bytes(data)
    with pytest.raises(UnsafeFileError, match="is stored in"):
        mn.open(f"{server.address}/cell.zarr").data[0]
    with (path / ".zattrs").open("ab") as file:
        file.truncate(2**24 + 5)
    with pytest.raises(UnsafeFileError, match=r"\.zattrs has more than 16"):
        mn.open(f"{server.address}/cell.zarr")


def test_metadata_of_which_no_part_is_given_are_never_taken_whole(tmp_path, server):
    path = mn.save(mn.Stack(DATA), tmp_path / "cell.zarr")
    with (path / ".zattrs").open("ab") as file:
        file.truncate(2**24 + 5)
    server.fault[".zattrs"] = "none"
    with pytest.raises(CorruptFileError):
        mn.open(f"{server.address}/cell.zarr")
    assert server.sent < 2**16


def test_metadata_that_are_packed_on_their_way_are_read(tmp_path, server):
    mn.save(mn.Stack(DATA, (40.0, 8.0, 7.0)), tmp_path / "cell.zarr")
    server.fault[".z"] = "packed"
    assert mn.open(f"{server.address}/cell.zarr").voxel_size == (40, 8, 7)


def test_a_server_of_whole_files_serves_what_is_not_in_shards(tmp_path, server):
    server.fault["cell"] = "whole"
    mn.save(mn.Stack(DATA), tmp_path / "cell.zarr")
    np.testing.assert_array_equal(mn.open(f"{server.address}/cell.zarr").read(), DATA)
    codec = {"name": "sharding_indexed", "configuration": {"chunk_shape": [4, 16, 16]}}
    metadata = {"shape": DATA.shape, "data_type": "uint8", "codecs": [codec]}
    metadata["chunk_grid"] = {"name": "regular", "configuration": {"chunk_shape": [8, 32, 32]}}
    spec = {"driver": "zarr3", "kvstore": f"file://{tmp_path}/cell3.zarr/", "metadata": metadata}
    tensorstore.open(spec, create=True).result().write(DATA).result()
    stack = mn.open(f"{server.address}/cell3.zarr")
    with pytest.raises(UnreachableError, match="does not give parts of files"):
        stack.data[0]
    server.fault.clear()
    np.testing.assert_array_equal(stack.read(), DATA)
    with pytest.raises(InputError, match=r"cell.zarr has no 'labels/none' inside"):
        mn.open(f"{server.address}/cell.zarr", series="labels/none")


@pytest.mark.parametrize("kind", ["ome", "n5"])
def test_a_level_lies_where_it_lies_however_it_is_chosen(tmp_path, kind):
    """Where the file gives sizes alone, the voxels of a level cover those of the finest that they stand for."""
    if kind == "ome":
        path = mn.save(mn.Stack(np.zeros((8, 300, 300), np.uint8), (40, 8, 8)), tmp_path / "cell.ome.zarr")
        told = json.loads((path / ".zattrs").read_text())
        for one in told["multiscales"][0]["datasets"]:
            one["coordinateTransformations"] = one["coordinateTransformations"][:1]
        (path / ".zattrs").write_text(json.dumps(told))
        ways = {k: [k] for k in (1, 2)}
    else:
        path = write_n5(tmp_path / "cell.n5" / "raw")
        (path / "attributes.json").write_text("{}")
        for k in range(3):
            file = path / f"s{k}" / "attributes.json"
            told = json.loads(file.read_text())
            del told["transform"]["translate"]
            file.write_text(json.dumps(told))
        ways = {k: [k, f"s{k}"] for k in (1, 2)}
    for k, names in ways.items():
        want = mn.open(path).at_level(k)
        assert want.origin[2] == want.voxel_size[2] * (1 - 0.5**k) / 2
        for name in names:
            assert mn.open(path, series=name).origin == pytest.approx(want.origin)
    assert mn.open(path, series=1).at_level(1).origin == pytest.approx(mn.open(path).at_level(2).origin)


def test_a_damaged_level_of_n5_takes_nothing_from_the_others(tmp_path):
    path = write_n5(tmp_path / "raw.n5")
    (path / "s1" / "attributes.json").write_text('{"dimensions": [45, 35')
    file = path / "s2" / "attributes.json"
    file.write_text(file.read_text().replace('"gzip"', '"zip of its own"'))
    stack = mn.open(path)
    np.testing.assert_array_equal(stack.read(), DATA)
    assert any("The resolution s1 is left out" in note for note in stack.notes)
    assert [level.factors for level in stack.levels] == [(1, 1, 1), (4, 4, 4)]  # none was opened
    with pytest.raises(CorruptFileError, match=r"raw\.n5 cannot be read: it is damaged"):
        stack.at_level(1)
    assert any("Level 1 cannot be read" in note for note in mn.info(path).notes)
    (path / "s0" / "attributes.json").write_text("")
    with pytest.raises(CorruptFileError):
        mn.open(path)
