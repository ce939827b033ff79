"""The doctor: what it finds on machines that are not well, each with what to do about it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from mitonb import checkup

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_server_with_other_widgets_than_the_kernel_is_bad_and_says_what_to_install() -> None:
    old = checkup.compare_server({"jupyterlab_widgets": "1.1.7", "anywidget": ""}, "/opt/hub")
    assert old.verdict == "bad"
    assert "jupyterlab_widgets 1.1.7, anywidget missing" in old.text
    assert "ipywidgets>=8" in old.advice
    assert checkup.compare_server({"jupyterlab_widgets": "3.0.16", "anywidget": "0.11.0"}, "/opt/hub").verdict == "ok"


def test_of_the_server_that_started_us_the_python_is_asked(tmp_path: Path) -> None:
    """A process called jupyter-lab starts a kernel, as servers do."""
    server = tmp_path / "jupyter-lab"
    code = "from mitonb import checkup; print(checkup._server())"
    server.write_text(f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {code!r}]))")
    said = subprocess.run([sys.executable, str(server)], capture_output=True, text=True, check=True).stdout
    assert "the environment of the kernel" in said
    assert "verdict='ok'" in said


def test_a_folder_keeps_projects_where_locks_work_and_no_files_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checkup._folder(tmp_path)
    assert (found.verdict, list(tmp_path.iterdir())) == ("ok", [])
    assert checkup._folder(tmp_path / "nowhere").verdict == "note"
    # As on a disk that gives a lock to everybody.
    monkeypatch.setattr(checkup, "_HOLD", checkup._HOLD.replace('held.execute("BEGIN IMMEDIATE")', "pass"))
    assert checkup._folder(tmp_path).verdict == "bad"


def test_the_build_of_torch_is_held_against_the_gpu_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "_version", lambda _: "2.10.0")
    cases = (
        ("2.10.0+cpu ", False, "ok"), ("2.10.0+cpu ", True, "note"), ("2.10.0 12.8", False, "note"),
        ("2.10.0 12.8", True, "ok"), ("", True, "bad"),
    )  # fmt: skip
    for said, has_gpu, verdict in cases:
        monkeypatch.setattr(checkup, "_run", lambda _, said=said: said)
        assert checkup._torch(has_gpu).verdict == verdict, (said, has_gpu)


def test_extras_that_are_missing_are_named_as_pip_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "_version", lambda name: "" if name in ("h5py", "onnx") else "1")
    assert "mitonb[formats,exchange]" in checkup._extras().advice
