"""The set-up: what it refuses, what it reads out of logs, and that two copies do not get in each other's way."""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import re
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("start", ROOT / "start.py")
assert SPEC is not None
assert SPEC.loader is not None
start = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(start)


@pytest.mark.skipif(sys.platform != "linux", reason="the requirements are those of Linux wheels")
def test_a_wheel_that_brings_cuda_is_recognised() -> None:
    common = ["filelock", "sympy>=1.13", "setuptools; python_version >= '3.12'", "optree>=0.13; extra == 'optree'"]
    assert start.cuda_needs(common) == []
    cuda = ["nvidia-cublas-cu12==12.4.5; platform_system == 'Linux'", "triton==3.2.0; platform_system == 'Linux'"]
    assert start.cuda_needs([*common, *cuda]) == cuda
    assert start.cuda_needs(["nvidia-thing; extra == 'x'", "tritonclient"]) == []


def test_downloads_are_summed_up_from_what_pip_says(tmp_path: Path) -> None:
    log = tmp_path / "log"
    wheel = tmp_path / "here-1.whl"
    wheel.write_bytes(bytes(3000))
    lines = ["Downloading a-1.whl (1.5 MB)", "Downloading b.whl.metadata (500 kB)", "Using cached c-1.whl (9 MB)"]
    log.write_text("\n".join([*lines, f"Processing {wheel} (from a)", f"Processing {wheel}"]))
    assert start.downloaded(log) == "2 MB downloaded, 3 kB from wheels on this machine, 1 packages from pip's cache"


def test_the_closing_line_of_pytest_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("=== test session starts ===\nx\n=== 3 passed, 1 skipped in 0.12s ===\nafter\n")
    assert start.closing_line(log) == "=== 3 passed, 1 skipped in 0.12s ==="
    assert start.closing_line(tmp_path / "none") == ""


def test_an_interrupted_stamp_is_no_stamp(tmp_path: Path) -> None:
    assert start.read_stamp(tmp_path) == {}
    start.write_stamp(tmp_path, {"python": "3.11"})
    assert start.read_stamp(tmp_path) == {"python": "3.11"}
    (tmp_path / start.STAMP).write_text('{"pyth')
    assert start.read_stamp(tmp_path) == {}


def test_a_second_copy_waits_and_the_lock_of_a_dead_one_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = textwrap.dedent(f"""
        import sys, time; sys.path.insert(0, {str(ROOT)!r}); import start, pathlib, os
        with start.one_at_a_time(pathlib.Path({str(lock)!r})):
            print("in", flush=True); sys.stdin.readline()
            os._exit(9)
    """)
    first = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdin is not None
    assert first.stdout.readline() == "in\n"
    with lock.open("a+b") as file:
        assert not start.locked(file.fileno())
    first.communicate("end\n")
    assert first.returncode == 9
    with lock.open("a+b") as file:
        assert start.locked(file.fileno())


def test_an_environment_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(start.SetupError, match=r"not made by start\.py"):
        start.set_up("lab", start.parse(["--env", str(tmp_path)]))
    assert (tmp_path / "precious").exists()


def test_an_old_python_is_told_which_one_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start.shutil, "which", lambda name: None)
    assert start.with_another_python() == 2
    assert "mitonb needs Python 3.11, 3.12, 3.13 or 3.14" in capsys.readouterr().err


def declared() -> dict[str, list[str]]:
    """Return the requirements of pyproject.toml: those of every installation as "base", then those of each choice."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"base": project["dependencies"], **project["optional-dependencies"]}


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=! ]", requirement)[0].lower().replace("_", "-")


def test_every_declared_library_is_pinned_with_hashes() -> None:
    pinned = {}
    for extra in declared():
        text = (ROOT / "requirements" / f"{extra}.txt").read_text(encoding="utf-8")
        assert "://" not in text, "where packages come from is the business of the machine that installs them"
        blocks = re.findall(r"^[a-z].*(?:\n[ ].*)*", text, re.MULTILINE)
        assert blocks
        assert all("==" in block and "--hash=sha256:" in block for block in blocks)
        pinned[extra] = {name_of(block) for block in blocks}
    for extra, needs in declared().items():
        wanted = {name_of(need) for need in needs} - {"torch", "mitonb"}
        assert wanted <= pinned[extra] | pinned["base"], "run requirements/refresh.py"
    assert "torch" not in set().union(*pinned.values()), "which build of PyTorch fits is for start.py to find out"
    assert not any(name.startswith(("nvidia", "cuda", "triton")) for name in set().union(*pinned.values()))


def pins_of_a_tiny_wheel(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> Path:
    """Let start.py see one pin and one wheel, and no package index; return its log."""
    with zipfile.ZipFile(folder / "mnbtiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mnbtiny.py", "")
        wheel.writestr("mnbtiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: mnbtiny\nVersion: 1\n")
        wheel.writestr("mnbtiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("mnbtiny-1.dist-info/RECORD", "")
    (folder / "base.txt").write_text(line)
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(start, "PINS", folder)
    monkeypatch.setattr(start, "ROOT", folder / "no project")
    return folder / "log"


def test_a_package_that_is_not_what_was_tested_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = pins_of_a_tiny_wheel(tmp_path, monkeypatch, f"mnbtiny==1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(start.SetupError, match="not the one that was tested"):
        start.install(Path(sys.executable), log, [], pinned=True)
    assert "--editable" not in log.read_text()


def test_pins_that_cannot_be_had_do_not_stop_the_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = pins_of_a_tiny_wheel(tmp_path, monkeypatch, f"mnbtiny==2 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(start.SetupError, match="pip install failed"):  # there is no project to go on with
        start.install(Path(sys.executable), log, [], pinned=True)
    assert "taking the newest that should work" in capsys.readouterr().out
    assert "--editable" in log.read_text()


def test_cuda_takes_the_place_of_a_cpu_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wheel(name: str, version: str, needs: str = "") -> None:
        stem = f"{name.replace('-', '_')}-{version}"
        with zipfile.ZipFile(tmp_path / f"{stem}-py3-none-any.whl", "w") as file:
            where = f"{stem}.dist-info"
            file.writestr(f"{where}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
            file.writestr(f"{where}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            file.writestr(f"{where}/RECORD", "")

    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    log, env = tmp_path / "log", tmp_path / "env"
    python = env / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    start.make_env(env, python, log)
    wheel("torch", "2.10+cpu")
    start.pip(python, log, "install", "torch")
    (tmp_path / "torch-2.10+cpu-py3-none-any.whl").unlink()
    wheel("torch", "2.10", "Requires-Dist: nvidia-tiny\n")
    wheel("nvidia-tiny", "1")
    assert start.install_torch(python, log, start.parse([])) == "cpu"
    assert start.install_torch(python, log, start.parse(["--cuda"])) == "cuda"
    assert "nvidia-tiny" in start.capture([str(python), "-m", "pip", "list"])
    assert start.install_torch(python, log, start.parse(["--cuda"])) == "cuda"


def test_sudo_is_never_used_where_nobody_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = tmp_path / "called"
    for name in ("sudo", "apt-get"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {name} >> {called}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(start, "is_root", lambda: False)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))  # a pipe is nobody
    assert not start.apt_install("chromium", tmp_path / "log")
    assert not called.exists()


def test_every_library_that_mitonb_imports_is_declared() -> None:
    names = {line.partition(">=")[0].partition("[")[0] for found in declared().values() for line in found}
    called = {
        "scikit-image": "skimage",
        "pillow": "PIL",
        "PyYAML": "yaml",
        "pyyaml": "yaml",
        "connected-components-3d": "cc3d",
        "ipython": "IPython",
        "ipython-genutils": "ipython_genutils",
    }
    known = {called.get(name, name) for name in names} | set(sys.stdlib_module_names)
    used = set()
    for path in (ROOT / "mitonb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                used.add(node.module.partition(".")[0])
    assert used - known == set()
