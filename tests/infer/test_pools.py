"""Tasks of a job done by other processes, some of which die, and by a cluster: the labels are those of this process."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

import mitonb as mn
from mitonb.cli import main
from mitonb.errors import InputError
from mitonb.infer.pools import on_cluster, on_processes
from mitonb.infer.segment import segmenting
from mitonb.infer.tasks import HEADER
from mitonb.io.opening import open_labels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = mn.phantom((64, 64, 64), seed=3).stack
RECIPE = mn.Recipe(min_size=50, tile=64, halo=0, planes=("xy", "xz"))


@pytest.fixture(scope="module")
def want() -> Any:
    """Labels of a run in this process, in memory."""
    return mn.segment(IMAGE, RECIPE, show=False)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of two workers, which are threads."""
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own servers
        about = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
        with distributed.LocalCluster(**about) as cluster, distributed.Client(cluster, set_as_default=False) as one:
            yield one


class Folder:
    """Work of which only the place matters."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "run-1"


def refuse(folder: str, task: str) -> None:
    """Do nothing but fail."""
    raise InputError(f"{task} cannot be done.")


def test_processes_give_the_same_labels_though_one_is_killed(tmp_path: Path, want: Any) -> None:
    killed: set[int | None] = set()
    seen: set[tuple[str, int]] = set()
    steps = segmenting(IMAGE, RECIPE, workers=2, out=tmp_path / "labels.ome.zarr")
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            got = end.value
            break
        if step.preview is not None:  # the last plane of each piece
            axis, index, ids = step.preview
            assert ids.shape == (64, 64)
            seen.add((axis, index))
        if any(tmp_path.glob("*.job/*/done/planes-*.npz")) and not killed:
            workers = [p for p in multiprocessing.active_children() if p.pid and p.name.startswith("SpawnProcess")]
            killed = {one.pid for one in workers[:1]}
            workers[0].kill()
    assert killed
    assert seen == {("xy", 31), ("xy", 63), ("xz", 31), ("xz", 63)}
    assert np.array_equal(open_labels(got).data, want.data)
    assert want.data.max() > 1
    assert got.record == want.record
    assert [p.name for p in tmp_path.iterdir()] == ["labels.ome.zarr"]


def test_a_worker_ends_with_a_driver_that_is_killed() -> None:
    driver = subprocess.Popen([sys.executable, "-m", "tests.infer.slow_worker"], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    with driver.stdout:
        worker = psutil.Process(int(driver.stdout.readline()))
    assert worker.is_running()
    driver.kill()
    driver.wait()
    worker.wait(timeout=60)


def test_a_script_without_a_guard_is_told_of_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom mitonb.infer.pools import on_processes\n"
        "class Work:\n    place = Path('nowhere')\nlist(on_processes(Work(), ['planes-xy-0'], 1))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert "A process ended before it took its first task" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


def test_what_a_task_raises_in_a_process_comes_over(tmp_path: Path) -> None:
    (tmp_path / HEADER).write_text("no JSON")
    with pytest.raises(InputError, match=HEADER):
        list(on_processes(Folder(tmp_path), ["planes-xy-0"], 1))  # type: ignore[arg-type]


def test_a_cluster_gives_the_same_labels(tmp_path: Path, want: Any, client: Any) -> None:
    mn.save(IMAGE, tmp_path / "cell.ome.zarr")
    stack = mn.open(tmp_path / "cell.ome.zarr", name=IMAGE.name)
    got = mn.segment(stack, RECIPE, client=client, out=tmp_path / "labels.ome.zarr", show=False)
    assert np.array_equal(open_labels(got).data, want.data)
    assert {p.name for p in tmp_path.iterdir()} == {"cell.ome.zarr", "labels.ome.zarr"}
    with pytest.raises(InputError, match="not both"):
        mn.segment(stack, RECIPE, client=client, workers=2, out=tmp_path / "b.ome.zarr", show=False)


def test_what_a_task_raises_on_a_cluster_comes_over(tmp_path: Path, client: Any) -> None:
    with pytest.raises(InputError, match="planes-xy-0 cannot be done"):
        list(on_cluster(Folder(tmp_path), ["planes-xy-0"], client, refuse))  # type: ignore[arg-type]


def test_workers_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers is a number of processes from 1 on, got 0"):
        mn.segment(IMAGE, RECIPE, workers=0, out=tmp_path / "labels.ome.zarr", show=False)
    with pytest.raises(InputError, match="that write the labels to a store"):
        mn.segment(IMAGE, RECIPE, workers=2, show=False)
    trained = mn.load_model()
    object.__setattr__(trained, "spec", mn.load_model().spec.__class__(name="mine", sha256="5" * 64))
    with pytest.raises(InputError, match=r"Workers load the model by its name, and mine is not.*mn.export_model"):
        mn.segment(IMAGE, RECIPE, model=trained, workers=2, out=tmp_path / "labels.ome.zarr", show=False)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_says_what_a_run_would_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, many = mn.plan(IMAGE, RECIPE), mn.plan(IMAGE, RECIPE, workers=4)
    assert one.tasks == many.tasks == 4
    assert 0 < many.network_seconds < one.network_seconds < one.seconds
    assert one.read_bytes == 2 * 64**3
    assert one.worker_bytes == mn.estimate(IMAGE, RECIPE, stored=True)
    mn.save(IMAGE, tmp_path / "cell.tif")
    assert main(["plan", str(tmp_path / "cell.tif"), "--planes", "xy", "--workers", "2"]) == 0
    said = capsys.readouterr().out
    for word in ("with 2 workers", "of it network", "2 tasks", "for each worker", "from network ", "decode 0.045 s"):
        assert word in said
    with pytest.raises(InputError, match="needs a worker at least"):
        mn.plan(IMAGE, workers=0)
