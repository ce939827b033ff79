"""Who has a project open: enough to tell a live writer from one that died."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

__all__ = ["Owner"]


@dataclass(frozen=True)
class Owner:
    """The process that writes into a project.

    Attributes
    ----------
    host : str
        Name of the machine.
    pid : int
        Number of the process there.
    born : str
        When that process began, as its system counts; empty where the system does not say.
    since : str
        When it opened the project, local time, for people.
    """

    host: str
    pid: int
    born: str
    since: str

    @classmethod
    def me(cls) -> Owner:
        """Return this process."""
        return cls(platform.node(), os.getpid(), _born(os.getpid()), time.strftime("%Y-%m-%d %H:%M"))

    @classmethod
    def from_json(cls, text: str) -> Owner:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Return the owner as JSON text."""
        return json.dumps(asdict(self))

    @property
    def is_me(self) -> bool:
        """True in the process that this owner names."""
        return (self.host, self.pid, self.born) == (platform.node(), os.getpid(), _born(os.getpid()))

    @property
    def may_live(self) -> bool:
        """False when the process is surely gone; on another machine nobody can tell."""
        if self.host != platform.node():
            return True
        if not psutil.pid_exists(self.pid):
            return False
        # The system gives numbers of dead processes to new ones.
        return not self.born or _born(self.pid) == self.born

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


def _born(pid: int) -> str:
    """Return the start of a process; from /proc where there is one, because psutil's moves with the clock there."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {ticks}"
    except (OSError, IndexError):
        pass
    try:
        return "" if Path("/proc/self").exists() else f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""
