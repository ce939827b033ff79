"""What all parts share: the look, small texts and buttons, pictures for saved notebooks, and a worker: newest wins."""

from __future__ import annotations

import base64
import html
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any

import anywidget
import imagecodecs
import ipywidgets as ipw
import numpy as np
import numpy.typing as npt

from mitonb.errors import MitonbError
from mitonb.files import atomic_write, explain_write
from mitonb.memory import give_back

JS = Path(__file__).parent / "js"
"""Where the browser's halves of the widgets are."""
STATIC = Path(__file__).parent / "static"
"""Where those are that were joined from several files."""
TIMES = "×"  # noqa: RUF001  what people write between sizes
# Pixels of the longer side of a saved picture: a notebook must stay small enough to be mailed and shown on the web.
_MOST = 420
_TRACE = 6000  # characters of a traceback that are shown

_log = logging.getLogger(__name__)

# --- look ------------------------------------------------------------------------------------------------------------


class Sheet(anywidget.AnyWidget):
    """The style sheet, and what keeps the keys and the mouse from the notebook around the part that holds it."""

    _esm = JS / "guard.js"
    _css = JS / "look.css"


_sheet: Sheet | None = None


def sheet() -> Sheet:
    """Return the invisible widget that carries look and guard; each part that works alone holds it."""
    global _sheet
    if _sheet is None or _sheet.comm is None:  # closed with all others, by Widget.close_all()
        _sheet = Sheet()
        _sheet.add_class("mnb-sheet")
    return _sheet


class Part(ipw.VBox):
    """A column of widgets that works alone: it brings the look; some follow what changes by a worker."""

    _worker: Latest

    def __init__(self, *children: ipw.Widget, **options: Any) -> None:
        super().__init__([sheet(), *children], **options)
        self.add_class("mnb")

    def close(self) -> None:
        """Leave what it follows, and close the widget with what is in it."""
        for part in [*_within(self)]:
            part.close()
        super().close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is shown is up to date; return whether it is."""
        worker: Latest | None = getattr(self, "_worker", None)
        return worker is None or worker.wait(timeout)


def _within(widget: ipw.Widget) -> Iterator[ipw.Widget]:
    """Yield what a widget consists of, without the sheet, which is of all."""
    for child in getattr(widget, "children", ()):
        if not isinstance(child, Sheet):
            yield from _within(child)
            yield child


def follow(widget: Any, signal: Any, slot: Callable[..., Any]) -> None:
    """Connect a slot for as long as a widget is open."""

    def stop(change: Any) -> None:
        if change["new"] is None:
            signal.disconnect(slot, missing_ok=True)

    signal.connect(slot)
    widget.observe(stop, "comm")


def row(*children: ipw.Widget, **layout: str) -> ipw.HBox:
    """Return children side by side that wrap when there is no room."""
    settings = {"flex_flow": "row wrap", "align_items": "center", "overflow": "visible"} | layout
    return ipw.HBox(list(children), layout=ipw.Layout(**settings))


def button(text: str = "", icon: str = "", tip: str = "", *, kind: Any = ipw.Button, css: str = "", **more: Any) -> Any:
    """Return a button, or a toggle (`kind`), as wide as its text; `css` is a class of the style sheet."""
    made = kind(description=text, icon=icon, tooltip=tip, layout={"width": "auto"}, **more)
    return made.add_class(css) if css else made


# --- pages -----------------------------------------------------------------------------------------------------------


def page(bundle: str, *, title: str, **parts: str) -> str:
    """Return a page that needs no kernel: a template of js/, with a bundle and what else stands in it, as it is."""
    css, js = ((STATIC / f"{bundle}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    js = js.replace("</script", "<\\/script")  # what ends a script ends it wherever it stands, also in a text
    template = Template((JS / f"{bundle}.html").read_text(encoding="utf-8"))
    return template.substitute(parts, title=html.escape(title), css=css, js=js)


def write_page(target: Path, text: str) -> Path:
    """Write a page, whole or not at all."""
    with explain_write(target), atomic_write(target) as hidden:
        hidden.write_text(text, encoding="utf-8")
    return target


# --- texts -----------------------------------------------------------------------------------------------------------


def note(text: str = "", kind: str = "dim") -> str:
    """Return one escaped sentence as HTML; `kind` is dim, good, warn or error."""
    return f'<span class="mnb-{kind}">{html.escape(text)}</span>' if text else ""


def error_html(error: BaseException, before: str = "") -> str:
    """Return an error as a sentence, with its traceback behind "details" when it was not raised on purpose."""
    said = str(error).strip() or type(error).__name__
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        said = f"{error.strerror or said}: {error.filename}" if error.filename else said
    elif not isinstance(error, MitonbError):
        sentence = note(f"{before}Something went wrong ({type(error).__name__}): {said}", "error")
        trace = html.escape("".join(traceback.format_exception(error))[-_TRACE:])
        return f"{sentence}<details><summary>details</summary><pre>{trace}</pre></details>"
    return note(before + said, "error")


def size_text(shape: Sequence[int], voxel_size: Sequence[float] | None) -> str:
    """Return shape and voxel size, both z, y, x, as files and papers give them; y, x alone of a single section."""
    first = 1 if len(shape) == 3 and shape[0] == 1 else 0
    size = f" {TIMES} ".join(map(str, shape[first:])) + (" px" if first else " vx")
    return size if voxel_size is None else f"{size} · {f' {TIMES} '.join(f'{v:g}' for v in voxel_size[first:])} nm"


def count_text(count: int, what: str = "object") -> str:
    """Return a number with its noun: "1 object", "311 objects"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


# --- pictures --------------------------------------------------------------------------------------------------------


def png(rgb: npt.NDArray[np.uint8]) -> bytes:
    """Return an (h, w, 3) or (h, w, 4) uint8 picture as PNG bytes."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(rgb)))


def as_png(rgb: npt.NDArray[np.uint8]) -> dict[str, str]:
    """Return a picture as what an output of a notebook holds."""
    return {"image/png": base64.b64encode(png(rgb)).decode()}


def gray(image: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Map intensities of any shape to 0..255: `low` becomes 0, `high` becomes 255, NaN becomes 0."""
    if image.dtype == np.bool_:
        return image.astype(np.uint8) * np.uint8(255)
    # Black is taken away before large integers lose their last digits to float32.
    wide: npt.NDArray[np.floating[Any]] = image.astype(np.float32 if image.dtype.itemsize <= 2 else np.float64)
    values = np.nan_to_num((wide - low) * (255 / (high - low)), copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def thinned(picture: npt.NDArray[Any], most: int = _MOST) -> npt.NDArray[np.uint8]:
    """Return a picture, floats 0..1 or bytes, at most `most` pixels wide and high, with 32 levels of each colour."""
    step = max(1, -(-max(picture.shape[:2]) // most))
    h, w = (n // step * step for n in picture.shape[:2])
    blocks = picture[:h, :w].reshape(h // step, step, w // step, step, picture.shape[2])
    mean = blocks.mean((1, 3), dtype=np.float32) * (1 if picture.dtype == np.uint8 else 255)
    # Noise makes most of the bytes, and the eye does not see the lowest three bits of it.
    return np.asarray(np.clip(mean, 0, 255).astype(np.uint8) & 0xF8)


class Saved:
    """Put this before a widget's class: its output then also holds `saved()`, as it is when the cell runs.

    JupyterLab shows the widget; what shows notebooks without a kernel (GitHub, nbviewer, a printed hand-in) shows the
    picture or the table, and what knows only text shows the sentence.
    """

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return a sentence that says what is shown, and MIME types with their contents."""
        raise NotImplementedError(f"{type(self).__name__} must say what a notebook without a kernel shows of it.")

    def _repr_mimebundle_(self, **options: Any) -> Any:
        made = super()._repr_mimebundle_(**options)  # type: ignore[misc]
        data, facts = made if isinstance(made, tuple) else (made, {})
        if data is None:
            return made
        try:
            sentence, contents = self.saved()
        except Exception:  # a picture for later must not keep anybody from working now
            _log.exception("There is no picture of this widget for the saved notebook.")
            sentence, contents = "a mitonb widget", {}
        return {**data, **contents, "text/plain": f"{sentence}. Run this cell to see it live."}, facts


# --- work ------------------------------------------------------------------------------------------------------------


class Latest:
    """Run a function in a thread, and of all the calls that came meanwhile only the last one.

    A slider sends twenty values while one is worked on; nineteen of them are nobody's wish any more.

    Parameters
    ----------
    work : callable
        Called in a thread, one call at a time.
    failed : callable
        Gets the exception of a call that failed.
    delay : float
        Seconds to wait for a newer call before starting, and where there are any, as long after a call as that took:
        however many calls come, half of the time is left to what the user waits for.
    """

    def __init__(
        self, work: Callable[..., None], *, failed: Callable[[BaseException], None], delay: float = 0.0
    ) -> None:
        self._work, self._failed, self._delay = work, failed, delay
        self._asked: tuple[Any, ...] | None = None
        self._idle = threading.Condition()
        self._running, self._rested = False, 0.0

    def ask(self, *arguments: Any) -> None:
        """Ask for a call; it replaces one that has not begun."""
        with self._idle:
            self._asked = arguments
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name=f"mitonb {self._work.__name__}", daemon=True).start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is asked or running; return whether that came."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._running, timeout)

    def _run(self) -> None:
        while True:
            time.sleep(max(self._delay, self._rested - time.monotonic()) if self._delay else 0)
            with self._idle:
                arguments, self._asked = self._asked or (), None
            start = time.monotonic()
            try:
                self._work(*arguments)
            except Exception as error:  # the thread has no caller; whoever owns it tells the user
                self._failed(error)
            if self._delay:  # it comes after edits, thousands of times
                give_back()
            self._rested = 2 * time.monotonic() - start
            with self._idle:
                if self._asked is None:
                    self._running = False
                    self._idle.notify_all()
                    return
