"""Measure editing: acknowledgement of single edits on a 64 x 1024 x 1024 project, replay, reopening, journal size.

    python benchmarks/edits.py [--folder DIR] [--edits N] [--large]

DIR should lie on the disk whose figures matter; a temporary folder is the default.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import mitonb as mn
from mitonb.edit import ops
from mitonb.edit.edits import apply, decode, encode
from mitonb.io.zarr import LabelStore

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (64, 1024, 1024)


def main() -> None:
    """Print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--edits", type=int, default=300, help="single edits timed")
    parser.add_argument("--replay", type=int, default=10_000, help="edits replayed")
    parser.add_argument("--large", action="store_true", help="only: 2 GiB of labels that stay on disk, and the memory")
    options = parser.parse_args()
    if options.large:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            large(Path(folder))
        return
    plane_stroke()
    split_preview()
    merge_long()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        acknowledge(Path(folder), options.edits)
        replay(Path(folder), options.replay)


def plane_stroke() -> None:
    """Time a diagonal stroke over a plane of 2048 x 2048, without store."""
    labels = np.zeros((1, 2048, 2048), np.uint32)
    for radius in (3, 10, 50):
        took = timed(lambda r=radius: ops.paint(labels, [[0, 5, 5], [0, 2040, 2000]], id=7, radius=r), 20)
        say(f"diagonal stroke, 2048 x 2048 plane, radius {radius}", took)


def split_preview() -> None:
    """Time what is shown before a split of two merged ellipsoids in a box of 100 x 200 x 200 is taken."""
    voxels = np.indices((100, 200, 200), np.float32) - np.array([50, 100, 100], np.float32).reshape(3, 1, 1, 1)
    labels = np.zeros((140, 260, 260), np.uint32)
    for x in (-45, 45):
        away = ((voxels + np.array([0, 0, x], np.float32).reshape(3, 1, 1, 1)) / [[[[48]]], [[[95]]], [[[54]]]]) ** 2
        labels[20:120, 30:230, 30:230][away.sum(axis=0) <= 1] = 7
    session = mn.Session(labels=labels)
    asked = {
        "split": {"seeds": [(70, 130, 80), (70, 130, 180)]}, "split_at_necks": {},
        "cut": {"line": [(70, 0, 130), (70, 259, 130)]},
    }  # fmt: skip
    for verb, given in asked.items():
        session.preview(verb, id=7, **given)  # what is loaded late is loaded now
        took = timed(lambda verb=verb, given=given: session.preview(verb, id=7, **given), 20)
        say(f"preview of {verb}, object of 100 x 200 x 200", took)


def merge_long() -> None:
    """Time the merge of two objects that wind through all of 512 x 512 x 512 voxels, and its undo."""
    labels = np.zeros((512, 512, 512), np.uint32)
    for z in range(512):
        y, x = int(250 + 200 * np.sin(z / 60)), int(250 + 200 * np.cos(z / 45))
        labels[z, y : y + 12, x : x + 12], labels[z, y + 12 : y + 24, x : x + 12] = 1, 2
    with (
        tempfile.TemporaryDirectory() as folder,
        mn.Session(labels=labels, path=Path(folder, "long.mitonb")) as session,
    ):
        session.ids()  # the table of objects is built at its first use
        times = [(once(lambda: session.merge(1, 2)), once(session.undo)) for _ in range(20)]
    say("merge of two objects through 512 x 512 x 512: acknowledged", [merge for merge, _ in times])
    say("its undo", [undo for _, undo in times])


def write_store(path: Path) -> None:
    """Write an OME-Zarr of 128 x 2048 x 2048 voxels with 512 objects."""
    with LabelStore.at(path, (128, 2048, 2048), (8.0, 8.0, 8.0), "mito") as store:
        tile, hole = np.arange(1, 257, dtype=np.uint32).reshape(16, 16), np.zeros((128, 128), np.uint32)
        hole[16:112, 16:112] = 1
        for top in range(0, 128, 16):
            plane = np.kron(tile + np.uint32(256 * (top // 64)), hole)
            store.write(top, np.repeat(plane[None], 16, axis=0))
        for _ in store.finish(None):
            pass


def large(folder: Path) -> None:
    """Correct labels of 2 GiB, which begin in an OME-Zarr, and say how much memory each step takes at most."""
    path, rng = folder / "large.mitonb", np.random.default_rng(0)
    writer = multiprocessing.get_context("spawn").Process(target=write_store, args=(folder / "mito.ome.zarr",))
    writer.start()
    writer.join()
    memory("before")
    start = time.perf_counter()
    mn.Session(labels=mn.open(folder / "mito.ome.zarr"), path=path).close()
    memory("project made from the store", start)
    start = time.perf_counter()
    session = mn.Session.open(path)
    memory("opened", start)
    start = time.perf_counter()
    print(f"{len(session.ids())} objects")
    memory("table of objects", start)
    strokes = [stroke(rng, depth=128) * (1, 2, 2) for _ in range(100)]
    say("paint: acknowledged", [once(lambda k=k: session.paint(strokes[k], id=1000, radius=8)) for k in range(100)])
    say("merge: acknowledged", [once(lambda k=k: session.merge(2 * k + 1, 2 * k + 2)) for k in range(20)])
    say("delete: acknowledged", [once(lambda k=k: session.delete(2 * k + 1)) for k in range(20)])
    say("undo: acknowledged", [once(session.undo) for _ in range(100)])
    memory("verbs")
    for axis, name in enumerate(("xy", "xz", "yz")):
        planes = rng.integers(0, session.shape[axis], 20)
        took = [once(lambda k=k, a=axis: np.array(np.moveaxis(session.labels.data, a, 0)[k])) for k in planes]
        say(f"look at an {name} plane", took)
        memory("planes")
    for what, work in {
        "colours": lambda: session.colors,
        "replay": session.replay,
        "export to OME-Zarr, read back": lambda: session.export(folder / "out.ome.zarr"),
        "close": session.close,
    }.items():
        start = time.perf_counter()
        work()
        memory(what, start)


def memory(what: str, start: float | None = None) -> None:
    """Print the largest memory of this process since the last call, and how long something took; Linux."""
    took = "" if start is None else f"{time.perf_counter() - start:10.1f} s"
    status = Path("/proc/self/status").read_text()
    print(f"{what:60s} peak {int(status.split('VmHWM:')[1].split()[0]) / 1024:8.0f} MiB{took}", flush=True)
    Path("/proc/self/clear_refs").write_text("5")


def acknowledge(folder: Path, count: int) -> None:
    """Time verbs on a project with drawn objects, until each is on disk."""
    path = folder / "ack.mitonb"
    start = time.perf_counter()
    session = mn.Session(labels=drawn(), path=path)
    say(f"make a project of {SHAPE}, {len(session.ids())} objects", [time.perf_counter() - start])
    rng = np.random.default_rng(0)
    strokes = [stroke(rng) for _ in range(count)]
    took = [once(lambda k=k: session.paint(strokes[k], id=1000 + k, radius=8)) for k in range(count)]
    say("paint, radius 8, 30 points: acknowledged", took)
    lengths = "length(kind) + length(intent) + length(effect) + length(checksum) + length(chain)"
    with closing(sqlite3.connect(path)) as file:  # its number and time take 2 and 8 bytes
        rows = [10 + row for (row,) in file.execute(f"SELECT {lengths} FROM edits")]
    print(f"{'row of such a stroke in the journal':60s} median {np.median(rows):.0f} bytes")
    sizes = [len(encode(ops.paint(session.labels.data, stroke(rng), id=1, radius=8).parts)) for _ in range(200)]
    print(f"{'effect of such a stroke in the journal':60s} median {np.median(sizes):.0f} bytes")
    took = [once(lambda k=k: session.erase(strokes[k] + (0, 3, 3), radius=8)) for k in range(count)]
    say("erase, radius 8: acknowledged", took)
    took = [once(lambda k=k: session.merge(2 * k + 1, 2 * k + 2)) for k in range(20)]
    say("merge of two objects of 40 x 60 x 60: acknowledged", took)
    say("delete: acknowledged", [once(lambda k=k: session.delete(2 * k + 1)) for k in range(20)])
    say("undo: acknowledged", [once(session.undo) for _ in range(40)])
    say("redo: acknowledged", [once(session.redo) for _ in range(40)])
    say("fill of a patch: acknowledged", [once(lambda i=i: session.fill((32, i, i), 99)) for i in range(10)])
    plane, other = drawn()[9], drawn()[:, ::-1].copy()
    took = [once(lambda i=i: session.put_plane(plane, "xy", i)) for i in range(10)]
    say("put_plane of 1024 x 1024: acknowledged", took)
    say("adopt a whole volume: acknowledged", [once(lambda: session.adopt(other))])
    say("copy of the project while it is open", [once(lambda: session.save_copy(folder / "backup.mitonb"))])
    sizes: list[int] = []
    say("compact", [once(lambda: sizes.extend(session.compact()))])
    print(f"{'project file before and after':60s} {' and '.join(f'{size / 2**20:.2f} MiB' for size in sizes)}")
    say("close (snapshot)", [once(session.close)])
    start = time.perf_counter()
    mn.Session.open(path).close()
    say("reopen after a clean close", [time.perf_counter() - start])
    print(f"{'project file':60s} {path.stat().st_size / 2**20:.1f} MiB")


def replay(folder: Path, count: int) -> None:
    """Time reopening a project whose edits were never put into a snapshot."""
    path = folder / "replay.mitonb"
    session = mn.Session(labels=np.zeros((16, 1024, 1024), np.uint32))
    rng = np.random.default_rng(1)
    for _ in range(count):
        session.paint(stroke(rng, depth=16), id=int(rng.integers(1, 100)), radius=8)
    before = session.labels.data.copy()
    session.save_copy(path)
    print(f"{f'project with {count} brush edits':60s} {path.stat().st_size / count:.0f} bytes per edit")
    start = time.perf_counter()
    for _ in range(count):
        session.undo()
    say(f"{count} undos in memory", [time.perf_counter() - start])
    assert not session.labels.data.any()
    start = time.perf_counter()
    with mn.Session.open(path) as again:
        say(f"open after {count} edits (chain checked, snapshot read)", [time.perf_counter() - start])
        assert np.array_equal(again.labels.data, before)
        start = time.perf_counter()
        empty = np.zeros_like(before)
        for seq in range(1, count + 1):
            apply(empty, decode(again._project.store.effect(seq), empty.shape))
        say(f"replay of {count} effects", [time.perf_counter() - start])
        assert np.array_equal(empty, before)


def drawn() -> np.ndarray:
    """Return labels with 128 boxes."""
    labels = np.zeros(SHAPE, np.uint32)
    for k in range(128):
        row, column = divmod(k, 16)
        labels[10:50, row * 128 + 20 : row * 128 + 80, column * 64 + 2 : column * 64 + 62] = k + 1
    return labels


def stroke(rng: np.random.Generator, depth: int = 64) -> np.ndarray:
    """Return a wandering line of 30 points on one plane."""
    steps = rng.integers(-6, 7, (30, 2)).cumsum(axis=0) + rng.integers(100, 900, 2)
    return np.column_stack([np.full(30, rng.integers(depth)), steps])


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Return the seconds of repeated calls."""
    return [once(work) for _ in range(times)]


def once(work: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def say(what: str, seconds: list[float]) -> None:
    """Print median and 99th percentile."""
    ms = np.array(seconds) * 1000
    tail = f"   p99 {np.percentile(ms, 99):8.1f} ms" if len(ms) > 1 else ""
    print(f"{what:60s} median {np.median(ms):8.2f} ms{tail}")


if __name__ == "__main__":
    main()
