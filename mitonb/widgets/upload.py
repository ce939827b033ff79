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

__all__ = ["Upload"]

_CSS = """
.mnb-drop { position: relative; display: block; padding: 4px 10px; border: 1px dashed var(--jp-border-color1, #999);
  border-radius: 3px; color: var(--jp-ui-font-color2, #666); font-size: 12px; line-height: 18px; cursor: pointer;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.mnb-drop input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.mnb-drop:hover, .mnb-drop.over, .mnb-drop:focus-within { border-color: var(--jp-brand-color1, #1976d2);
  color: var(--jp-ui-font-color1, #222); }
.mnb-drop.over { background: var(--jp-layout-color2, #eee); }
.mnb-drop i { position: absolute; left: 0; bottom: 0; height: 3px; background: var(--jp-brand-color1, #1976d2); }
"""
_RESERVE = 200_000_000
"""Bytes of disk that stay free: a full disk loses notebooks."""


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

    _esm = Path(__file__).parent / "js" / "upload.js"
    _css = _CSS
    label = traitlets.Unicode("drop a file here, or click to choose").tag(sync=True)

    received = Signal(Path)
    refused = Signal(Exception)

    def __init__(self, folder: str | Path = "mitonb-uploads", *, limit: int = 1_000_000_000, **options: Any) -> None:
        super().__init__(**options)
        self.folder = Path(folder)
        self.limit = limit
        self._lock = threading.Lock()
        self._id = ""
        self._file: BinaryIO | None = None
        self._target = Path()
        self._size = 0
        self.on_msg(self._on_message)

    def _on_message(self, _widget: Any, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Answer one message; whatever goes wrong ends this upload, with a sentence."""
        arrived = None
        with self._lock:
            try:
                arrived = self._take(message, buffers)
            except (InputError, OSError) as error:
                self._drop()
                self.send({"kind": "refused", "id": message.get("id")})
                self.refused.emit(error)
        if arrived is not None:
            self.received.emit(arrived)

    def _take(self, message: dict[str, Any], buffers: list[memoryview]) -> Path | None:
        kind, key = message.get("kind"), str(message.get("id"))
        if kind == "begin":
            self._begin(key, str(message["name"]), int(message["size"]))
        elif key != self._id or self._file is None:
            raise InputError("This upload was cancelled; choose the file again.")
        elif kind == "broken":
            raise InputError(
                f"The browser could not read the file: {message.get('text')}. Is it a folder? Give its path."
            )
        elif int(message["offset"]) == self._file.tell():
            # A piece that comes twice (the socket was reconnected) is answered again, but not written again.
            self._file.write(buffers[0])
        done = self._file.tell() if self._file else 0
        if done < self._size:
            self.send({"kind": "next", "id": key, "offset": done})
            return None
        return self._finish(key)

    def _begin(self, key: str, name: str, size: int) -> None:
        self._drop()
        if size == 0:
            raise InputError(
                f"{name} is empty, or a folder. An OME-Zarr folder cannot be dropped: give its path instead."
            )
        folder = self._writable()
        room = shutil.disk_usage(folder).free - _RESERVE
        if size > min(self.limit, room):
            most = f"{max(0, min(self.limit, room)) / 1e6:.0f} MB"
            raise InputError(
                f"{name} has {size / 1e6:.0f} MB; through the browser at most {most} can come. Copy it to this "
                "computer with JupyterLab's file browser or scp, and give its path."
            )
        self._target = _free_name(folder, name)
        self._id, self._size = key, size
        self._file = self._target.with_name(self._target.name + ".part").open("wb")

    def _writable(self) -> Path:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                return self.folder
        except OSError:
            self.folder = Path(tempfile.mkdtemp(prefix="mitonb-uploads-"))
            return self.folder

    def _finish(self, key: str) -> Path:
        if self._file is None:
            raise InputError("This upload was cancelled; choose the file again.")
        part = Path(self._file.name)
        self._file.close()
        self._file = None
        part.rename(self._target)
        self.send({"kind": "done", "id": key})
        return self._target

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
