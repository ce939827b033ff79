"""Public data sets: what is known of them, and pulling them from a real server on this machine that may break off."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tifffile
from PIL import Image

import mitonb as mn
from mitonb.citing import REFERENCES
from mitonb.cli import main
from mitonb.errors import ChecksumError, CorruptFileError, DownloadError, InputError
from mitonb.learn import public
from mitonb.learn.pairs import find_pairs, read_pair
from mitonb.learn.public import DataFile, Dataset


def tiff(array):
    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric="minisblack")
    return file.getvalue()


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def drawn(shape=(3, 240, 320)):
    """A noisy image with two bright boxes, and the mask of these."""
    mask = np.zeros(shape, np.uint8)
    mask[:, 8:20, 8:20] = mask[:, 30:40, 30:50] = 255
    return (np.random.default_rng(0).integers(40, 90, shape) + mask // 3).astype(np.uint8), mask


class Answers(BaseHTTPRequestHandler):
    """Serve `server.files`; of those in `server.breaking` once only the first half comes."""

    def do_GET(self):
        name = self.path.strip("/")
        data, start = self.server.files[name], int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.server.asked.append((name, start))
        half = name in self.server.breaking and not start
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", f'"{len(data)}"')
        self.end_headers()
        self.wfile.write(data[start : len(data) // 2] if half else data[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server with a set like that of EPFL, one like VNC, and one like CEM-MitoLab; all known by name."""
    image, mask = drawn()
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w") as archive:
        for part, content in (("images", image), ("masks", mask)):
            archive.writestr(f"cem_mitolab/mouse/{part}/a.tiff", tiff(content[0]))
            archive.writestr(f"cem_mitolab/fly/{part}/b.tiff", tiff(content[1]))
        archive.writestr("../../out.txt", "mine")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("MITONB_DATA_DIR", str(tmp_path / "data"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as it:
        it.daemon_threads, it.asked, it.breaking = True, [], set()
        it.files = {"image.tif": tiff(image), "mask.tif": tiff(mask), "cem.zip": box.getvalue()}
        it.files |= {f"raw{z}": tiff(image[z]) for z in range(3)} | {f"mito{z}": png(mask[z]) for z in range(3)}
        at = f"http://127.0.0.1:{it.server_port}"
        told = {"title": "drawn", "page": at, "size": "tiny", "licence": "free", "papers": ("lucchi2012",)}
        size = len(it.files["image.tif"])
        pairs = (
            DataFile(f"{at}/image.tif", "images/v.tif", size),
            DataFile(f"{at}/mask.tif", "masks/v.tif", len(it.files["mask.tif"])),
        )
        planes = [DataFile(f"{at}/raw{z}", f"im/0{z}.tif") for z in range(3)]
        planes += [DataFile(f"{at}/mito{z}", f"mito/0{z}.png") for z in range(3)]
        sets = {
            "pairs": Dataset("pairs", **told, voxel_size=(5, 5, 5), files=pairs),
            "planes": Dataset("planes", **told, voxel_size=(50, 4.6, 4.6), files=tuple(planes)),
            "zipped": Dataset("zipped", **told, files=(DataFile(f"{at}/cem.zip", "cem.zip"),)),
            "manual": Dataset("manual", **told, voxel_size=(30, 8, 8), by_hand="Fetch it with a browser"),
        }
        monkeypatch.setattr(public, "datasets", lambda: sets)
        monkeypatch.setattr("mitonb.learn.pairs.datasets", lambda: sets)
        monkeypatch.setattr(mn, "datasets", lambda: sets)
        it.sets = sets
        threading.Thread(target=it.serve_forever, args=(0.01,), daemon=True).start()
        yield it
        it.shutdown()


def test_every_set_that_the_issue_asks_for_is_known_with_its_licence_page_and_citation():
    sets = mn.datasets()
    assert {"cem-mitolab", "mitonet-hela-cell", "mitonet-tem", "cem1.5m", "epfl", "mitoem-r", "mitoem-h", "vnc"} <= set(
        sets
    )
    for name, one in sets.items():
        assert one.name == name
        assert bool(one.files) != bool(one.by_hand), name
        assert one.title, name
        assert one.licence, name
        assert one.page.startswith("https://"), name
        assert set(one.papers) <= set(REFERENCES), name
        assert all(file.address.startswith("https://") for file in one.files), name
        assert len({file.path for file in one.files}) == len(one.files)
    assert sum(file.size for file in sets["epfl"].files) == 4 * 129_919_357
    assert len(sets["vnc"].files) == 40
    assert "CC BY-NC-SA" in repr(sets["vnc"])
    assert "Gerhard" in repr(sets["vnc"])


def test_looking_at_data_sets_loads_no_torch():
    code = "import mitonb as mn, sys; mn.datasets(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_pulled_set_is_pairs_with_its_voxel_size_and_comes_once(server):
    folder = mn.pull("pairs", show=False)
    assert folder == server.sets["pairs"].folder
    (pair,), notes = find_pairs("pairs")
    source = read_pair(pair)
    size = source.voxel_size
    assert (source.image.shape, size, notes) == ((3, 240, 320), (5, 5, 5), [])
    assert np.array_equal(np.unique(source.labels), [0, 1, 2])  # pieces of the mask
    asked = len(server.asked)
    mn.pull("pairs", show=False)
    assert len(server.asked) == asked


def test_planes_of_a_set_are_one_volume(server):
    mn.pull("planes", show=False)
    (pair,), _ = find_pairs("planes")
    source = read_pair(pair)
    size = source.voxel_size
    assert (source.image.shape, size) == ((3, 240, 320), (50, 4.6, 4.6))


def test_a_line_that_breaks_is_gone_on_with(server):
    server.breaking.add("mask.tif")
    with pytest.raises(DownloadError, match=r"connection broke.*put it at .*masks.v\.tif, and pull again"):
        mn.pull("pairs", show=False)
    with pytest.raises(InputError, match=r"not all of it\. mitonb data pull pairs"):
        find_pairs("pairs")
    mn.pull("pairs", show=False)
    assert [name for name, _ in server.asked] == ["image.tif", "mask.tif", "mask.tif"]
    assert server.asked[-1][1] > 0  # the rest alone
    assert find_pairs("pairs")[0][0].labels.read_bytes() == server.files["mask.tif"]


def test_a_zip_is_unpacked_whole_and_stays_in_its_folder(server, tmp_path):
    folder = mn.pull("zipped", show=False)
    pairs, _ = find_pairs("zipped")
    assert sorted(pair.name for pair in pairs) == ["fly", "mouse"]
    assert not (folder / "cem.zip").exists()
    assert not list(tmp_path.glob("out.txt"))
    assert not list((tmp_path / "data").glob("out.txt"))
    mn.pull("zipped", show=False)
    assert len(server.asked) == 1


def test_a_damaged_zip_leaves_no_folder(server):
    whole = bytearray(server.files["cem.zip"])
    at = whole.index(b"mouse/images/a.tiff") + 400
    whole[at] ^= 255
    server.files["cem.zip"] = bytes(whole)
    with pytest.raises(CorruptFileError, match="is damaged"):
        mn.pull("zipped", show=False)
    assert not server.sets["zipped"].is_here
    server.files["cem.zip"] = b"no zip"
    server.sets["zipped"].folder.joinpath("cem.zip").unlink()
    with pytest.raises((CorruptFileError, ChecksumError), match=r"no zip|pinned"):
        mn.pull("zipped", show=False)


def test_a_file_of_another_size_or_one_that_does_not_open_is_refused(server):
    good = server.files["image.tif"]
    server.files["image.tif"] = good + b"x"
    with pytest.raises(CorruptFileError, match=rf"{len(good) + 1:,} bytes, but its makers say {len(good):,}"):
        mn.pull("pairs", show=False)
    server.files["raw1"] = server.files["raw1"][:200]
    with pytest.raises(InputError):
        mn.pull("planes", show=False)
    assert not server.sets["planes"].is_here
    assert not (server.sets["planes"].folder / "im" / "01.tif").exists()


def test_the_hash_of_what_came_first_counts_from_then_on(server):
    folder = mn.pull("planes", show=False)
    assert len(json.loads((folder / "dataset.json").read_text())["sha256"]) == 6
    (folder / "im" / "00.tif").write_bytes(tiff(np.zeros((240, 320), np.uint8)))
    with pytest.raises(ChecksumError, match="was changed, or is another file"):
        mn.pull("planes", show=False)
    (folder / "im" / "00.tif").unlink()
    right, server.files["raw0"] = server.files["raw0"], tiff(np.ones((240, 320), np.uint8))
    with pytest.raises(ChecksumError, match="was pinned"):
        mn.pull("planes", show=False)
    server.files["raw0"] = right
    assert mn.pull("planes", show=False) == folder


def test_a_set_that_is_there_is_pulled_again_without_writing_into_its_folder(server):
    folder = mn.pull("pairs", show=False)
    before = (folder / "dataset.json").stat()
    assert mn.pull("pairs", show=False) == folder
    after = (folder / "dataset.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_published_hash_is_checked(server):
    one = server.sets["pairs"]
    server.sets["pairs"] = dataclasses.replace(one, files=(dataclasses.replace(one.files[0], sha256="0" * 64),))
    with pytest.raises(ChecksumError, match="thrown away"):
        mn.pull("pairs", show=False)


def test_what_has_to_be_fetched_by_hand_says_so_before_anything_starts(server, tmp_path):
    with pytest.raises(DownloadError, match=r"manual is not pulled. Fetch it with a browser, into .*manual\."):
        mn.pull("manual", show=False)
    assert not server.asked
    assert not (tmp_path / "data").exists()
    with pytest.raises(InputError, match="by hand: mitonb data info manual"):
        find_pairs("manual")
    for part in ("im", "mito"):
        (server.sets["manual"].folder / part).mkdir(parents=True)
    for z in range(3):
        (server.sets["manual"].folder / "im" / f"im{z}.tif").write_bytes(server.files[f"raw{z}"])
        (server.sets["manual"].folder / "mito" / f"seg{z}.png").write_bytes(server.files[f"mito{z}"])
    (pair,), _ = find_pairs("manual")
    assert pair.voxel_size == (30, 8, 8)


def test_an_unknown_name_lists_the_known_ones(server):
    with pytest.raises(InputError, match="known ones are pairs, planes"):
        mn.pull("epfk", show=False)
    with pytest.raises(InputError, match="MitoNet_v1 is a model: mitonb models pull MitoNet_v1"):
        mn.pull("MitoNet_v1", show=False)
    with pytest.raises(InputError, match="no public data set"):
        find_pairs("epfk")


def test_the_command_line_lists_tells_and_pulls(server, capsys):
    assert main(["data"]) == 0
    assert "pairs                     to pull  drawn; tiny; free" in capsys.readouterr().out
    assert main(["data", "pull", "pairs", "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == str(server.sets["pairs"].folder)
    assert main(["data", "list"]) == 0
    assert "pairs                     here" in capsys.readouterr().out
    assert main(["data", "info", "pairs"]) == 0
    assert "Lucchi" in capsys.readouterr().out
    assert main(["data", "pull", "manual"]) == 1
    assert "Fetch it with a browser" in capsys.readouterr().err
