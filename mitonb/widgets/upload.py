"""Files from the browser to the kernel, in pieces that no message limit drops."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any, BinaryIO

import anywidget
import traitlets
from psygnal import Signal

from mitonb.errors import InputError
from mitonb.widgets.style import JS

_RESERVE = 200_000_000  # bytes of disk that stay free: a full disk loses notebooks


class Upload(anywidget.AnyWidget):
    """A place to drop a file on; it lands in a folder beside the notebook.

    Parameters
    ----------
    folder : path
        Where files go; it is made when the first file comes. If it cannot be made, a temporary folder is taken.
    limit : int
        Largest file in bytes.

    Attributes
    ----------
    received : Signal(Path)
        A file has arrived whole.
    refused : Signal(Exception)
        A file was not taken.
    """

    _esm = JS / "upload.js"
    label = traitlets.Unicode("drop a file here, or click to choose").tag(sync=True)

    received = Signal(Path)
    refused = Signal(Exception)

    def __init__(self, folder: str | Path = "mitonb-uploads", *, limit: int = 1_000_000_000, **options: Any) -> None:
        super().__init__(**options)
        self.folder, self.limit = Path(folder), limit
        self._lock = threading.Lock()
        self._id, self._size, self._target = "", 0, Path()
        self._file: BinaryIO | None = None
        self.on_msg(self._on_message)

    def _on_message(self, _widget: Any, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Answer one message; whatever goes wrong ends this upload, with a sentence."""
        with self._lock:
            try:
                arrived = self._take(message, buffers)
            except (InputError, OSError) as error:
                self._drop()
                self.send({"kind": "refused", "id": message.get("id")})
                self.refused.emit(error)
                return
        if arrived is not None:
            self.received.emit(arrived)

    def _take(self, message: dict[str, Any], buffers: list[memoryview]) -> Path | None:
        """Take one message; return the file when it is whole."""
        kind, key = message.get("kind"), str(message.get("id"))
        if kind == "begin":
            self._begin(key, str(message["name"]), int(message["size"]))
        file = self._file
        if key != self._id or file is None:
            raise InputError("This upload was cancelled; choose the file again.")
        if kind == "broken":
            said = message.get("text")
            raise InputError(f"The browser could not read the file: {said}. Is it a folder? Give its path.")
        # A piece that comes twice (the socket was reconnected) is answered again, but not written again.
        if kind == "piece" and int(message["offset"]) == file.tell():
            file.write(buffers[0])
        if file.tell() < self._size:
            self.send({"kind": "next", "id": key, "offset": file.tell()})
            return None
        file.close()
        self._file = None
        Path(file.name).rename(self._target)
        self.send({"kind": "done", "id": key})
        return self._target

    def _begin(self, key: str, name: str, size: int) -> None:
        self._drop()
        if size == 0:
            raise InputError(f"{name} is empty, or a folder, and a folder cannot be dropped: give its path instead.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError:
            self.folder = Path(tempfile.mkdtemp(prefix="mitonb-uploads-"))
        most = max(0, min(self.limit, shutil.disk_usage(self.folder).free - _RESERVE))
        if size > most:
            raise InputError(
                f"{name} has {size / 1e6:.0f} MB; through the browser at most {most / 1e6:.0f} MB can come. Copy it "
                "to this computer with JupyterLab's file browser or scp, and give its path."
            )
        self._id, self._size, self._target = key, size, _free_name(self.folder, name)
        self._file = self._target.with_name(self._target.name + ".part").open("wb")

    def _drop(self) -> None:
        """Forget an upload that did not come to its end."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None


def _free_name(folder: Path, name: str) -> Path:
    """Return a path in the folder that does not exist yet; a browser's file name may hold anything."""
    plain = re.sub(r"[^\w.+ -]+", "_", name.replace("\\", "/").rsplit("/", 1)[-1]).lstrip(".") or "file"
    stem, dot, end = plain.partition(".")
    tries = (folder / (plain if k == 1 else f"{stem}-{k}{dot}{end}") for k in range(1, 10_000))
    return next(path for path in tries if not path.exists())
