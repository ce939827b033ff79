"""The doctor: what this machine can do, what is missing, and what to do about it."""

import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Literal, NamedTuple

from mitonb.memory import memory_budget

Verdict = Literal["ok", "note", "bad"]
MARKS: dict[Verdict, str] = {"ok": "ok  ", "note": "note", "bad": "BAD "}
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
    """Look at versions, memory, network engine, browser and notebook; change nothing.

    Each library is tried in a process of its own: one that is broken cannot take the doctor down with it, and none of
    them is loaded here.

    Returns
    -------
    Report
        Shown as a table; `.healthy` says whether anything stops work.
    """
    webgl = "the browser that shows the notebook decides; the viewer says so if it has no WebGL 2"
    browser = Finding("WebGL", "note", webgl)
    return Report((_versions(), _memory(), _torch(), _gpu(), browser, _subshells(), _ipyvolume()))


def _versions() -> Finding:
    known = [f"{name} {_version(name)}" for name in SHOWN if _version(name)]
    text = f"mitonb {_version('mitonb') or 'from a checkout'}, Python {platform.python_version()}, {', '.join(known)}"
    return Finding("versions", "ok", text)


def _memory() -> Finding:
    budget = memory_budget()
    text = f"limit {budget.limit / 1e9:.1f} GB, set by {budget.source}; {budget.bytes / 1e9:.1f} GB for one job"
    if budget.limit < 1.5e9:
        return Finding("memory", "note", text, "That is little: close other kernels, and keep to small stacks.")
    return Finding("memory", "ok", text)


def _torch() -> Finding:
    name = "network engine"
    if not _version("torch"):
        text = "PyTorch is not installed: looking and correcting work, segmenting does not."
        return Finding(name, "bad", text, "pip install torch --index-url https://download.pytorch.org/whl/cpu")
    code = "import torch; print(torch.__version__, torch.cuda.is_available() * 'with CUDA' or 'without CUDA', sep=', ')"
    said = _run([sys.executable, "-c", code]).strip()
    if not said:
        advice = "Install it again; `python -c 'import torch'` shows the error."
        return Finding(name, "bad", "PyTorch is installed, but cannot be imported.", advice)
    return Finding(name, "ok", f"PyTorch {said}")


def _gpu() -> Finding:
    cards = re.findall(r"GPU \d+: ([^(\n]+)", _run(["nvidia-smi", "-L"]))
    if not cards:
        return Finding("GPU", "note", "no NVIDIA GPU; the network runs on the CPU")
    return Finding("GPU", "ok", ", ".join(card.strip() for card in cards))


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
