"""Open a stack on the screen: a path, the bundled sample, or a file from the browser."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
import traitlets
from psygnal import Signal

from mitonb.stack import Stack
from mitonb.widgets.style import error_html, note, row, sheet, size_text
from mitonb.widgets.upload import Upload
from mitonb.widgets.voxel_size import VoxelSizeField

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OpenForm", "open_form"]


class OpenForm(ipw.VBox):
    """A form that opens a stack.

    Attributes
    ----------
    stack : Stack or None
        What is open; `form.observe(..., "stack")` tells of a new stack and of a voxel size that was set.
    labels : Labels or None
        The truth that comes with the bundled sample.
    opened : Signal(Stack)
        A new stack was opened.
    """

    stack = traitlets.Instance(Stack, allow_none=True)
    opened = Signal(Stack)

    def __init__(self, path: str | Path = "", **options: Any) -> None:
        self.labels: Any = None
        self._lock = threading.Lock()
        self.path = ipw.Text(
            str(path), placeholder="path of a TIFF, OME-Zarr, folder of images, .npy …",
            layout={"flex": "1 1 260px", "width": "auto"}, tooltip="A file or folder on the computer of the kernel",
        )  # fmt: skip
        self.button = ipw.Button(
            description="Open", icon="folder-open", button_style="primary", layout={"width": "auto"}
        )
        self.sample = ipw.Button(
            description="Bundled sample", icon="flask", layout={"width": "auto"},
            tooltip="A drawn volume with its truth; nothing is downloaded",
        )  # fmt: skip
        self.upload = Upload(layout={"flex": "1 1 220px"})
        self.message = ipw.HTML(layout={"min_height": "18px"})
        self.about = ipw.HTML()
        self.voxel_size = VoxelSizeField(layout={"display": "none"})
        super().__init__(
            [
                sheet(), row(self.path, self.button),
                row(ipw.HTML(note("or")), self.sample, ipw.HTML(note("or")), self.upload),
                self.message, self.about, self.voxel_size,
            ],
            layout={"max_width": "760px"} | options.pop("layout", {}), **options,
        )  # fmt: skip
        self.add_class("mnb")
        self._connect()

    def _connect(self) -> None:
        self.button.on_click(lambda _: self._in_thread(lambda: self.open_path(self.path.value)))
        self.path.on_msg(self._on_key)
        self.sample.on_click(lambda _: self._in_thread(self.open_sample))
        self.upload.received.connect(lambda path: self._in_thread(lambda: self.open_path(path)))
        self.upload.refused.connect(lambda error: setattr(self.message, "value", error_html(error)))
        self.voxel_size.chosen.connect(self._on_voxel_size)
        self.observe(lambda _: self._describe(), "stack")

    def open_path(self, path: str | Path) -> Stack | None:
        """Open a path as if it had been typed; return the stack, or None with a sentence on screen."""
        self.path.value = str(path)
        if not str(path).strip():
            self.message.value = note("Type a path first, drop a file, or take the bundled sample.", "error")
            return None
        from mitonb.io.reading import open as open_stack

        return self._take(f"opening {Path(path).name} …", lambda: (open_stack(str(path).strip()), None))

    def open_sample(self) -> Stack | None:
        """Draw the bundled sample and open it, with its truth in `labels`."""
        from mitonb.phantoms import phantom

        return self._take("drawing the sample …", lambda: tuple(phantom()))

    def _take(self, doing: str, read: Callable[[], Any]) -> Stack | None:
        with self._lock:
            self.message.value = note(doing)
            try:
                stack, labels = read()
            except Exception as error:  # whatever a file does to its reader must become a sentence here
                self.message.value = error_html(error)
                return None
            self.labels = labels
            self.stack = stack
            self.message.value = ""
        self.opened.emit(stack)
        return self.stack

    def _on_key(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        if content.get("event") == "submit":
            self._in_thread(lambda: self.open_path(self.path.value))

    def _in_thread(self, do: Callable[[], Any]) -> None:
        # A slow disk must not keep other widgets waiting: all their messages share one thread.
        threading.Thread(target=do, name="mitonb open", daemon=True).start()

    def _on_voxel_size(self, nm: tuple[float, float, float]) -> None:
        if self.stack is not None:
            self.stack = self.stack.with_voxel_size(*nm)

    def _describe(self) -> None:
        stack = self.stack
        self.about.value = note() if stack is None else _about(stack)
        unknown = stack is not None and stack.voxel_size is None
        self.voxel_size.layout.display = "" if unknown else "none"

    def state(self) -> str:
        """Return what the form says, as text."""
        asks = "" if self.voxel_size.layout.display == "none" else " | asks for the voxel size"
        return f"{self.path.value or '(no path)'} | {self.stack!r}{asks}"


def _about(stack: Stack) -> str:
    notes = "".join(f"<br>{note(text)}" for text in stack.notes)
    known = note(f"{stack.name}: {size_text(stack.shape, stack.voxel_size)}, {stack.dtype}", "good")
    return f"{known}{notes}"


def open_form(path: str | Path = "") -> OpenForm:
    """Return a form that opens a stack: type a path, take the bundled sample, or drop a file.

    The result is in `form.stack`.

    Examples
    --------
    >>> form = open_form()
    >>> form.stack is None
    True
    """
    return OpenForm(path)
