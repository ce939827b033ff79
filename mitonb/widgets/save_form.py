"""Save labels or the table of objects: a format, a path, and what became of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw

from mitonb.errors import InputError, MitonbError
from mitonb.widgets.style import error_html, note, row, sheet

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FORMATS", "SaveForm"]

FORMATS = {
    "labels · OME-Zarr": ".ome.zarr",
    "labels · TIFF": ".tif",
    "labels · OME-TIFF": ".ome.tif",
    "labels · NumPy": ".npz",
    "table of objects · CSV": ".csv",
}
"""What the form offers, and the ending of each."""


class SaveForm(ipw.VBox):
    """Choose a format and a path, and save.

    Parameters
    ----------
    write : callable
        Takes a path and `overwrite`, returns where the result is; its errors are shown as sentences.
    stem : str
        Name of the file at first, without ending.
    """

    def __init__(self, write: Callable[..., Path], stem: str = "labels", **options: Any) -> None:
        self._write = write
        self.format = ipw.Dropdown(options=list(FORMATS), layout={"width": "190px"}, tooltip="What to write")
        self.path = ipw.Text(f"{stem}{FORMATS[self.format.value]}", layout={"flex": "1 1 260px", "width": "auto"},
                             tooltip="Where to; relative to the folder of the notebook")  # fmt: skip
        self.overwrite = ipw.Checkbox(value=False, description="replace", indent=False, layout={"width": "76px"},
                                      tooltip="Write over a file that is already there")  # fmt: skip
        self.button = ipw.Button(description="Save", icon="download", layout={"width": "auto"})
        self.message = ipw.HTML(layout={"min_height": "18px"})
        top = row(self.format, self.path, self.overwrite, self.button)
        super().__init__(
            [sheet(), top, self.message], layout={"max_width": "860px"} | options.pop("layout", {}), **options
        )
        self.add_class("mnb").add_class("mnb-save")
        self.format.observe(lambda _: self._on_format(), "value")
        # Writing a large volume takes a while, and the handlers of all widgets share one thread.
        self.button.on_click(lambda _: threading.Thread(target=self.save, name="mitonb save", daemon=True).start())

    def save(self, path: str | Path | None = None) -> Path | None:
        """Save as if the button had been pressed; return where, or None with a sentence on screen."""
        if path is not None:
            self.path.value = str(path)
        self.button.disabled = True
        self.message.value = note("saving …")
        try:
            path = Path(self.path.value).expanduser()
            if not self.overwrite.value and self.path.value.strip() and os.path.lexists(path):
                raise InputError(f"{path.name} already exists. Tick replace, or choose another name.")
            done = self._write(self.path.value, overwrite=self.overwrite.value)
        except (MitonbError, OSError) as error:
            self.message.value = error_html(error)
            return None
        except Exception as error:  # a failed export must never look like a saved one
            self.message.value = error_html(error, "Not saved. ")
            return None
        finally:
            self.button.disabled = False
        checked = "" if done.suffix == ".csv" else " It was read back and is the same."
        self.message.value = note(f"Saved {done}.{checked}", "good")
        return done

    def _on_format(self) -> None:
        stem = self.path.value
        for ending in sorted(FORMATS.values(), key=len, reverse=True):
            if stem.endswith(ending):
                stem = stem[: -len(ending)]
                break
        self.path.value = stem + FORMATS[self.format.value]
