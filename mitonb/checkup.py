"""The doctor: what this machine can do, what is missing, and what to do about it."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from mitonb.memory import memory_budget

Verdict = Literal["ok", "note", "bad"]
MARKS: dict[Verdict, str] = {"ok": "ok  ", "note": "note", "bad": "BAD "}
EXTRAS = {
    "fast": ("openvino",), "formats": ("h5py", "mrcfile", "nibabel", "pynrrd"), "cluster": ("distributed",),
    "exchange": ("onnx",),
}  # fmt: skip
"""What an installation may leave out, by the name that pip takes."""
FITTING = {"jupyterlab_widgets": "3", "anywidget": "0"}
"""Packages of the server that draw our widgets, and the major versions that fit ipywidgets 8 and anywidget 0."""
NETWORK = {"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph", "lustre", "beegfs"}
"""Kinds of disks that other machines write to as well."""
SHOWN = ("numpy", "torch", "jupyterlab", "ipykernel", "ipywidgets", "anywidget", "ipyvolume", "tensorstore", "numba")


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What was looked at.
    verdict : {"ok", "note", "bad"}
        "bad" is what stops work; "note" is good to know.
    text : str
        What was found.
    advice : str
        What to do, or "".
    """

    name: str
    verdict: Verdict
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Report:
    """All findings; prints as a table."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """True if nothing stops work."""
        return all(finding.verdict != "bad" for finding in self.findings)

    def __repr__(self) -> str:
        width = max(len(f.name) for f in self.findings)
        lines = [(f"{MARKS[f.verdict]}  {f.name:{width}}  {f.text}", f.advice) for f in self.findings]
        return "\n".join(text + f"\n{'':{width + 8}}{advice}" * bool(advice) for text, advice in lines)


def doctor() -> Report:
    """Look at versions, memory, network engine, folder, browser and notebook server; change nothing.

    Each library is tried in a process of its own: one that is broken cannot take the doctor down with it, and none of
    them is loaded here.

    Returns
    -------
    Report
        Shown as a table; `.healthy` says whether anything stops work.
    """
    cards = re.findall(r"GPU \d+: ([^(\n]+)", _run(["nvidia-smi", "-L"]))
    webgl = "the browser that shows the notebook decides; the viewer says so if it has no WebGL 2"
    advice = "Then switch hardware acceleration on in its settings; chrome://gpu or about:support tell more."
    return Report((
        _versions(), _extras(), _memory(), _folder(Path.cwd()), _torch(bool(cards)), _gpu(cards), _server(),
        Finding("WebGL", "note", webgl, advice), _subshells(), _ipyvolume(),
    ))  # fmt: skip


def _versions() -> Finding:
    known = [f"{name} {_version(name)}" for name in SHOWN if _version(name)]
    text = f"mitonb {_version('mitonb') or 'from a checkout'}, Python {platform.python_version()}, {', '.join(known)}"
    return Finding("versions", "ok", text)


def _extras() -> Finding:
    lacking = [extra for extra, packages in EXTRAS.items() if not all(map(_version, packages))]
    if not lacking:
        return Finding("extras", "ok", f"all of {', '.join(EXTRAS)}")
    text = f"{', '.join(lacking)} not (wholly) installed; without fast, the network is several times slower on a CPU"
    return Finding("extras", "note", text, f'pip install "mitonb[{",".join(lacking)}]", if you need them')


def _memory() -> Finding:
    budget = memory_budget()
    text = f"limit {budget.limit / 1e9:.1f} GB, set by {budget.source}; {budget.bytes / 1e9:.1f} GB for one job"
    if budget.limit < 1.5e9:
        advice = "That is little: close other kernels, keep to small stacks, or ask for a larger server."
        return Finding("memory", "note", text, advice)
    return Finding("memory", "ok", text)


# One process holds a database; another one must not get it.
_HOLD = """
import pathlib, sqlite3, subprocess, sys, tempfile
take = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
with tempfile.TemporaryDirectory(prefix=".mitonb-", dir=sys.argv[1]) as folder:
    path = str(pathlib.Path(folder) / "locks")
    held = sqlite3.connect(path)
    held.execute("CREATE TABLE locks (one)")
    held.execute("BEGIN IMMEDIATE")
    other = subprocess.run([sys.executable, "-c", take, path], capture_output=True, text=True)
    print("safe" if "locked" in other.stderr else "unsafe")
    held.close()
"""


def _folder(folder: Path) -> Finding:
    """Try whether two programs that write one project here would be kept apart."""
    import psutil

    mounts = [disk for disk in psutil.disk_partitions(all=True) if folder.is_relative_to(disk.mountpoint)]
    kind = max(mounts, key=lambda disk: len(disk.mountpoint)).fstype if mounts else ""
    text = f"{folder}" + (f", a network drive ({kind})" if kind in NETWORK else "")
    said = _run([sys.executable, "-c", _HOLD, str(folder)]).strip()
    if said == "safe":
        return Finding("folder", "ok", f"{text}: projects can be kept here")
    advice = "Keep projects in a folder of this machine: mn.explore(stack, path=...)."
    if said == "unsafe":
        return Finding("folder", "bad", f"{text}: locks do not work, two programs could spoil a project", advice)
    return Finding("folder", "note", f"{text}: no project can be written here", advice)


def _torch(has_gpu: bool) -> Finding:
    name, cpu = "network engine", "pip install torch --index-url https://download.pytorch.org/whl/cpu"
    if not _version("torch"):
        text = "PyTorch is not installed: looking and correcting work, segmenting does not."
        return Finding(name, "bad", text, cpu)
    said = _run([sys.executable, "-c", "import torch; print(torch.__version__, torch.version.cuda or '')"]).split()
    if not said:
        advice = "Install it again; `python -c 'import torch'` shows the error."
        return Finding(name, "bad", "PyTorch is installed, but cannot be imported.", advice)
    text = f"PyTorch {said[0]}, {f'for CUDA {said[1]}' if said[1:] else 'for CPUs'}"
    if said[1:] and not has_gpu:
        return Finding(name, "note", f"{text}, with 4 GB for a GPU that is not here", f"pip uninstall torch; {cpu}")
    if has_gpu and not said[1:]:
        return Finding(name, "note", f"{text}; the GPU is not used", "python3 start.py --cuda, or: pip install torch")
    return Finding(name, "ok", text)


def _gpu(cards: list[str]) -> Finding:
    if not cards:
        return Finding("GPU", "note", "no NVIDIA GPU; the network runs on the CPU")
    return Finding("GPU", "ok", ", ".join(card.strip() for card in cards))


def _server() -> Finding:
    """Compare with the Jupyter server that started this process: its half of the widgets is what the page draws."""
    import psutil

    try:
        above = [process.cmdline() for process in psutil.Process().parents()]
    except psutil.Error:
        above = []
    started = [words for words in above if any("jupyter" in Path(word).name for word in words[:3])]
    if not started:
        text = "no Jupyter server has started this process; in a notebook, mn.doctor() compares with its server"
        return Finding("server", "note", text)
    python = started[0][0]
    if Path(python).parent == Path(sys.executable).parent:
        return compare_server({name: _version(name) for name in FITTING}, "the environment of the kernel")
    code = f"""
import json
from importlib import metadata
have = {{one.metadata["Name"].lower().replace("-", "_"): one.version for one in metadata.distributions()}}
print(json.dumps({{name: have.get(name, "") for name in {list(FITTING)}}}))
"""
    said = _run([python, "-c", code])
    return compare_server(json.loads(said), python) if said else Finding("server", "note", f"{python} does not answer")


def compare_server(have: Mapping[str, str], where: str) -> Finding:
    """Say whether what a Jupyter server has can draw our widgets.

    Parameters
    ----------
    have : mapping of str to str
        Versions of the packages in `FITTING`, "" for none.
    where : str
        Its environment.
    """
    wrong = [f"{name} {have.get(name) or 'missing'}" for name, major in FITTING.items()
             if have.get(name, "").partition(".")[0] != major]  # fmt: skip
    if wrong:
        text = f"{where}: {', '.join(wrong)}; widgets stay empty, or look wrong"
        advice = "There: pip install 'ipywidgets>=8.1.5,<9' 'anywidget<1'; restart the server, reload the page."
        return Finding("server", "bad", text, advice)
    return Finding("server", "ok", f"{where}: {', '.join(f'{name} {have[name]}' for name in FITTING)}")


def _subshells() -> Finding:
    name, version = "busy kernel", _version("ipykernel")
    if not version:
        return Finding(name, "note", "no ipykernel here", "pip install ipykernel")
    if int(version.partition(".")[0]) < 7:
        text = f"ipykernel {version} has no subshells: while a cell runs, widgets wait."
        return Finding(name, "note", text, 'Use the run buttons (in a thread), or: pip install "ipykernel>=7"')
    return Finding(name, "ok", f"ipykernel {version} answers widgets in a subshell while a cell runs")


def _ipyvolume() -> Finding:
    code = "import warnings; warnings.simplefilter('ignore'); import ipyvolume as v; print(type(v.figure()).__name__)"
    if "Figure" in _run([sys.executable, "-c", code]):
        return Finding("3-D view", "ok", f"ipyvolume {_version('ipyvolume')} is alive")
    text = f"ipyvolume {_version('ipyvolume') or '(not installed)'} does not start"
    return Finding("3-D view", "bad", text, "pip install -U ipyvolume ipython-genutils")


def _version(package: str) -> str:
    """Return the installed version, or "" if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _run(command: list[str]) -> str:
    """Return what a process prints, or "" if it fails."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
