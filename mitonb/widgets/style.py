"""The look that all plain widgets share: one style sheet in JupyterLab's own variables, and safe little texts."""

from __future__ import annotations

import html
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import anywidget
import ipywidgets as ipw

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TIMES", "error_html", "note", "row", "sheet", "size_text"]

TIMES = "×"  # noqa: RUF001  what people write between sizes

# Every rule lives under .mnb, and every colour is a JupyterLab variable with a fallback for hosts that have none.
CSS = """
.mnb { --jp-widgets-inline-height: 26px; --jp-widgets-margin: 1px; --jp-widgets-font-size: 12px;
  --jp-widgets-inline-label-width: 122px; --jp-widgets-inline-margin: 4px;
  color: var(--jp-ui-font-color1, #222); font-family: var(--jp-ui-font-family, sans-serif); font-size: 12px;
  line-height: 1.35; box-sizing: border-box; overflow: visible; }
.mnb .widget-html, .mnb .widget-html-content { line-height: 1.35; }
.mnb .widget-html, .mnb .widget-html-content, .mnb .widget-label { color: inherit; font-size: 12px; }
.mnb .widget-html { height: auto; } .mnb .widget-html-content { white-space: normal; overflow-wrap: anywhere; }
.mnb-sheet { display: none; }
.mnb.jupyter-widgets-disconnected::before, .mnb .jupyter-widgets-disconnected::before { content: none; }
.mnb .mnb-title { font-weight: 600; letter-spacing: .04em; font-size: 11px; text-transform: uppercase;
  color: var(--jp-ui-font-color2, #666); }
.mnb .mnb-dim, .mnb .mnb-dim .widget-html-content { color: var(--jp-ui-font-color2, #666); }
.mnb .mnb-error { color: var(--jp-error-color0, #b71c1c); }
body[data-jp-theme-light="false"] .mnb .mnb-error { color: var(--md-red-300, #e57373); }
.mnb .mnb-good { color: var(--jp-success-color0, #1b5e20); }
body[data-jp-theme-light="false"] .mnb .mnb-good { color: var(--md-green-300, #81c784); }
.mnb .mnb-warn { color: var(--jp-warn-color0, #b26a00); }
body[data-jp-theme-light="false"] .mnb .mnb-warn { color: var(--md-orange-300, #ffb74d); }
.mnb details summary { cursor: pointer; color: var(--jp-ui-font-color2, #666); }
.mnb details pre { max-height: 140px; overflow: auto; margin: 2px 0; padding: 4px; font-size: 11px;
  white-space: pre-wrap; color: var(--jp-ui-font-color1, #222); background: var(--jp-layout-color2, #eee);
  border-radius: 3px; }
.mnb code { font-family: var(--jp-code-font-family, monospace); font-size: 11.5px; background: none;
  color: var(--jp-ui-font-color1, #222); padding: 0; }
.mnb .jupyter-button { border-radius: 3px; font-size: 12px; padding: 0 5px; box-shadow: none; overflow: hidden;
  text-overflow: ellipsis; line-height: 26px; }
.mnb .jupyter-button:not(.mod-primary) { background: var(--jp-layout-color2, #eee);
  color: var(--jp-ui-font-color1, #222); }
.mnb .jupyter-button:not(.mod-primary):hover:enabled { background: var(--jp-layout-color3, #ddd); }
.mnb .jupyter-button.mod-primary { background: var(--jp-brand-color1, #1976d2); color: #fff; }
.mnb .jupyter-button.mod-active { background: var(--jp-brand-color2, #64b5f6); color: #fff; }
.mnb .jupyter-button:disabled { opacity: .45; }
.mnb :focus-visible:not(.mitonb-viewer) { outline: 2px solid var(--jp-brand-color1, #1976d2) !important;
  outline-offset: 1px; }
.mnb:focus-visible { outline: none; }
.mnb .mnb-link { background: none !important; color: var(--jp-content-link-color, #1976d2) !important; padding: 0 4px; }
.mnb .mnb-link:disabled { color: var(--jp-ui-font-color2, #666) !important; opacity: 1; }
.mnb input, .mnb select, .mnb textarea { font-size: 12px !important; }
.mnb .widget-readout { font-size: 12px; min-width: 34px; max-width: 44px; text-align: right; }
.mnb .jupyter-widgets.widget-inline-hbox, .mnb .mnb-field { align-items: center; }
.mnb .mnb-field > .widget-label { color: var(--jp-ui-font-color2, #666); font-size: 11px; }
.mnb .mnb-changed .widget-label, .mnb .mnb-changed .widget-label-basic > span {
  color: var(--jp-brand-color1, #1976d2); }
.mnb .mnb-field { border-left: 2px solid transparent; }
.mnb .mnb-changed { border-left-color: var(--jp-brand-color1, #1976d2); }
.mnb .mnb-pill { display: inline-block; padding: 0 8px; border-radius: 9px; border: 1px solid currentColor;
  line-height: 17px; white-space: nowrap; }
.mnb .mnb-panel { border: 1px solid var(--jp-border-color2, #ccc); border-radius: 3px; padding: 6px 8px;
  background: var(--jp-layout-color1, #fff); }
.mnb .widget-hprogress .progress { background: var(--jp-layout-color3, #ddd); border-radius: 2px; overflow: hidden; }
.mnb .widget-hprogress { height: 8px; padding: 0; } .mnb .widget-hprogress > .progress { margin: 0; height: 8px; }
.mnb .mnb-run > .widget-hbox, .mnb .mnb-spaced { gap: 0 8px; } .mnb .mnb-run .jupyter-button { padding: 0 10px; }
.mnb .mnb-run .mnb-stop { padding: 0; flex: none; } .mnb .mnb-run .widget-checkbox label { line-height: 26px; }
.mnb .mnb-run .widget-checkbox input { margin: 0 6px 0 2px; vertical-align: middle; }
.mnb .mnb-news { flex: 1 1 300px; min-width: 0; min-height: 30px; justify-content: center; overflow: visible; }
.mnb .mnb-news > .widget-hbox { gap: 8px; }
.mnb [inert], .mnb-save[inert] { opacity: .45; }
.mnb-run.jupyter-widgets-disconnected .mnb-news > * { display: none; }
.mnb-run.jupyter-widgets-disconnected .mnb-news::after { content: "The kernel was restarted: run this cell again.";
  color: var(--jp-error-color0, #b71c1c); }
body[data-jp-theme-light="false"] .mnb-run.jupyter-widgets-disconnected .mnb-news::after {
  color: var(--md-red-300, #e57373); }
.mnb-stage .ipyvolume-toolicon { color: var(--jp-ui-font-color1, #222); }
.mnb-stage .ipyvolume-toolicon:has(> .fa-pencil-square-o, > .fa-search-plus, > .fa-cut, > .fa-cog) { display: none; }
.mnb .mnb-ellipsis .widget-html-content { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
"""


class Sheet(anywidget.AnyWidget):
    """The style sheet, and what keeps the keys and the mouse from the notebook around the part that holds it."""

    _esm = Path(__file__).parent / "js" / "guard.js"
    _css = CSS


_sheet: Sheet | None = None


def sheet() -> Sheet:
    """Return the invisible widget that carries look and guard; each part that works alone holds it."""
    global _sheet
    if _sheet is None or _sheet.comm is None:  # closed with all others, by Widget.close_all()
        _sheet = Sheet()
        _sheet.add_class("mnb-sheet")
    return _sheet


def note(text: str = "", kind: str = "dim") -> str:
    """Return one escaped sentence as HTML; `kind` is dim, good, warn or error."""
    return f'<span class="mnb-{kind}">{html.escape(text)}</span>' if text else ""


def error_html(error: BaseException, before: str = "") -> str:
    """Return an error as a sentence, with its traceback behind "details" when it was not raised on purpose."""
    from mitonb.errors import MitonbError

    said = str(error).strip() or type(error).__name__
    if isinstance(error, MitonbError):
        return note(before + said, "error")
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return note(before + (f"{error.strerror or said}: {error.filename}" if error.filename else said), "error")
    sentence = note(f"{before}Something went wrong ({type(error).__name__}): {said}", "error")
    trace = html.escape("".join(traceback.format_exception(error))[-6000:])
    return f"{sentence}<details><summary>details</summary><pre>{trace}</pre></details>"


def size_text(shape: Sequence[int], voxel_size: Sequence[float] | None) -> str:
    """Return shape and voxel size, both z, y, x, in the order in which files and papers give them."""
    size = f" {TIMES} ".join(map(str, shape))
    return f"{size} vx" if voxel_size is None else f"{size} vx · {f' {TIMES} '.join(f'{v:g}' for v in voxel_size)} nm"


def row(*children: ipw.Widget, **layout: str) -> ipw.HBox:
    """Return children side by side that wrap when there is no room."""
    settings = {"flex_flow": "row wrap", "align_items": "center", "overflow": "visible"} | layout
    return ipw.HBox(list(children), layout=ipw.Layout(**settings))
