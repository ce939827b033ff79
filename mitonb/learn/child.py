"""A training run in a process of its own: the notebook stays alive, and what is cancelled ends at once.

The sources lie in one file that both processes map, and all else passes as lines of JSON: no code, and no `if __name__`
in the scripts of users. The child ends when its standard input does, so that it never outlives its notebook.
"""

import _thread
import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

import mitonb.errors
from mitonb.errors import JobError
from mitonb.job import Progress
from mitonb.learn.data import Source
from mitonb.learn.loop import Settings, fitting, join, leave

_TICK = 0.3  # seconds after which the caller may cancel, however long a step takes
_GRACE = 1.2  # seconds in which the child may still write down where it was


def fitting_apart(
    sources: Sequence[Source], *, out: Path, settings: Settings, **more: Any
) -> Generator[Progress, None, Path]:
    """Do what `mitonb.learn.loop.fitting` does in a process of its own; cancelled within two seconds.

    Raises
    ------
    MitonbError
        As `fitting`, and JobError if the process dies.
    """
    with tempfile.TemporaryDirectory(prefix="mitonb-", ignore_cleanup_errors=True) as folder:
        task = {"out": str(out), "settings": dataclasses.asdict(settings), **more}
        task["sources"] = _write_sources(sources, Path(folder))
        (Path(folder) / "task.json").write_text(json.dumps(task, default=str), encoding="utf-8")
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        with subprocess.Popen(
            [sys.executable, "-m", "mitonb.learn.child", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, encoding="utf-8", env={**os.environ, "PYTHONPATH": path},
        ) as child:  # fmt: skip
            try:
                yield from _follow(child)
            finally:
                _end(child)
    return Path(out)


def _follow(child: subprocess.Popen[str]) -> Generator[Progress, None, None]:
    """Yield what the child says, and the last of it again while it says nothing."""
    lines: queue.Queue[str | None] = queue.Queue()
    errors: queue.Queue[str | None] = queue.Queue()
    for pipe, into in ((child.stdout, lines), (child.stderr, errors)):
        threading.Thread(target=_read, args=(pipe, into), daemon=True).start()
    step = Progress("start", 0, 1)
    while True:
        try:
            line = lines.get(timeout=_TICK)
        except queue.Empty:
            yield step
            continue
        if line is None:
            last = [f"exit code {child.wait()}", *filter(str.strip, iter(errors.get, None))][-1]
            raise JobError(
                f"The process of the training ended by itself ({last.strip()}). If the memory was full, take a "
                "smaller batch or patch. Started again, it goes on from its last picture."
            )
        said = json.loads(line)
        if "error" in said:
            raise getattr(mitonb.errors, said["error"], JobError)(said["text"])
        if "ended" in said:
            return
        step = Progress(**said)
        yield step


def _read(pipe: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in pipe:
        lines.put(line)
    lines.put(None)


def _end(child: subprocess.Popen[str]) -> None:
    """Ask the child to end, and end it."""
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()


def _write_sources(sources: Sequence[Source], folder: Path) -> list[dict[str, Any]]:
    """Write the voxels of each source into files of their own; return what else there is to know of them."""
    rows = []
    for k, source in enumerate(sources):
        row = {f.name: getattr(source, f.name) for f in dataclasses.fields(Source) if f.init}
        for name in ("image", "labels"):
            np.save(folder / f"{k}.{name}.npy", row.pop(name))
        rows.append(row)
    return rows


def _read_sources(rows: Sequence[dict[str, Any]], folder: Path) -> list[Source]:
    sources = []
    for k, row in enumerate(rows):
        image, labels = (np.load(folder / f"{k}.{name}.npy", mmap_mode="r") for name in ("image", "labels"))
        told: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
        sources.append(Source(image=np.asarray(image), labels=np.asarray(labels), **told))
    return sources


def _main(folder: Path, rank: int = 0) -> None:
    """Do the task that lies in a folder, and say how it goes; what is printed otherwise goes to standard error."""
    said, sys.stdout = sys.stdout, sys.stderr
    threading.Thread(target=_wait_for_end, args=(rank,), daemon=True).start()

    def tell(**what: Any) -> None:
        if rank and "error" not in what:  # the first of several tells how it goes
            return
        said.write(json.dumps(what, default=float) + "\n")
        said.flush()

    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    sources = _read_sources(task.pop("sources"), folder)
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in task.pop("settings").items()}
    settings = Settings(**given)
    with contextlib.ExitStack() as others:
        try:
            if settings.devices > 1:
                for k in range(1, settings.devices) if rank == 0 else ():
                    command = [sys.executable, "-m", "mitonb.learn.child", str(folder), str(k)]
                    other = others.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE))
                    threading.Thread(target=_watch, args=(other, k, tell), daemon=True).start()
                join(folder, rank, settings.devices)
            for step in fitting(sources, settings=settings, **task):
                tell(**dataclasses.asdict(step))
            leave()
            tell(ended=True)
        except Exception as error:  # whatever it is, the caller raises it
            tell(error=type(error).__name__, text=str(error))


def _watch(other: subprocess.Popen[bytes], rank: int, tell: Callable[..., None]) -> None:
    """Tell when a process of another device dies: this one may wait for it."""
    if code := other.wait():
        text = f"The process of device {rank} ended by itself (exit code {code})."
        tell(error="JobError", text=f"{text} If the memory was full, take a smaller batch or patch.")


def _wait_for_end(rank: int) -> None:
    while os.read(0, 4096):  # the lock of sys.stdin would still be held when the child ends
        pass
    if rank:  # it may wait for one that is gone
        os._exit(1)
    _thread.interrupt_main()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
