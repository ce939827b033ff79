"""A file is replaced whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mitonb.files import atomic_write, scratch_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_has_the_new_content_after_the_block_and_the_old_one_within_it(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), atomic_write(path) as temporary:
        fail(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    with atomic_write(path) as first, atomic_write(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first", "the one that ends last wins"
    assert list(tmp_path.iterdir()) == [path]


# A process that writes, says so, and is killed.
WRITER = """
import sys, time
from pathlib import Path
from mitonb.files import atomic_write, scratch_folder

target = Path(sys.argv[1])
with atomic_write(target) as temporary:
    if sys.argv[2] == "store":
        temporary.mkdir()
        (temporary / "0").write_bytes(bytes(1000))
    else:
        temporary.write_bytes(bytes(1000))
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("what", ["file", "store"])
def test_what_a_killed_process_left_goes_with_the_next_that_writes_the_same_name(tmp_path: Path, what: str) -> None:
    target, other = tmp_path / "labels.ome.zarr", tmp_path / "others.ome.zarr"

    def start(path: Path) -> subprocess.Popen[str]:
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path), what], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
        return child

    def save() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("whole")

    with start(target) as killed, start(other) as elsewhere, start(target) as living:
        killed.kill()
        killed.wait()
        elsewhere.kill()
        elsewhere.wait()
        before = set(tmp_path.iterdir())
        save()
        gone = before - set(tmp_path.iterdir())
        assert len(gone) == 2, "what the killed one left, and its lock"
        assert len({path.name[:30] for path in gone}) == 1
        living.kill()
    save()
    left = {path for path in tmp_path.iterdir() if path != target}
    assert len(left) == 2, "those of the other name are for the next that writes there"
    with atomic_write(other) as temporary:
        temporary.write_text("whole")
    assert set(tmp_path.iterdir()) == {target, other}
    assert target.read_text() == "whole"


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter").write_text("years")
    with pytest.raises(IsADirectoryError), atomic_write(folder) as temporary:
        temporary.write_text("a,b")
    assert (folder / "chapter").read_text() == "years"
    assert list(tmp_path.iterdir()) == [folder]


# A process that makes a scratch folder, says so, and is killed.
SCRATCH = """
import sys, time
from pathlib import Path
from mitonb.files import scratch_folder

with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "ids").write_bytes(bytes(1000))
    print("there", flush=True)
    time.sleep(60)
"""


def test_the_scratch_folder_of_a_killed_process_goes_with_the_next_one(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SCRATCH, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with scratch_folder(tmp_path):
            assert len(list(tmp_path.rglob("ids"))) == 1, "the other still works"
        process.kill()
    assert len(list(tmp_path.rglob("ids"))) == 1
    with scratch_folder(tmp_path) as folder:
        assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]
    assert not list(tmp_path.iterdir())
