"""What a notebook keeps of a widget for a reader without a kernel: a small picture, or a table, and a sentence."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.stack import AXES
from mitonb.widgets.png import gray, png

if TYPE_CHECKING:
    from mitonb.maps import Ids
    from mitonb.session import Session
    from mitonb.stack import Axis

__all__ = ["Saved", "as_png", "plane_picture", "thinned"]

_log = logging.getLogger(__name__)
_MOST = 420
"""Pixels of the longer side: a notebook must stay small enough to be mailed and to be shown on the web."""


class Saved:
    """Put this before a widget's class: its output then also holds `saved()`, as it is when the cell runs.

    JupyterLab shows the widget; what shows notebooks without a kernel (GitHub, nbviewer, a printed hand-in) shows the
    picture or the table, and what knows only text shows the sentence.
    """

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return a sentence that says what is shown, and MIME types with their contents."""
        raise NotImplementedError

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
        text = f"{sentence}. Run this cell to see it live."
        return {**data, **contents, "text/plain": text}, facts


def as_png(rgb: npt.NDArray[np.uint8]) -> dict[str, str]:
    """Return a picture as what an output holds."""
    return {"image/png": base64.b64encode(png(np.ascontiguousarray(rgb))).decode()}


def thinned(picture: npt.NDArray[Any], most: int = _MOST) -> npt.NDArray[np.uint8]:
    """Return a picture, floats 0..1 or bytes, at most `most` pixels wide and high, with 32 levels of each colour."""
    step = max(1, -(-max(picture.shape[:2]) // most))
    h, w = (n // step * step for n in picture.shape[:2])
    blocks = picture[:h, :w].reshape(h // step, step, w // step, step, picture.shape[2])
    mean = blocks.mean((1, 3), dtype=np.float32) * (1 if picture.dtype == np.uint8 else 255)
    # Noise makes most of the bytes, and the eye does not see the lowest three bits of it.
    return np.asarray(np.clip(mean, 0, 255).astype(np.uint8) & 0xF8)


def plane_picture(session: Session, axis: Axis, index: int) -> npt.NDArray[np.uint8]:
    """Return a plane of a session with its objects in colour, as small as a notebook should keep it."""
    ids: Ids = np.take(session.labels.data, index, AXES[axis])
    if session.stack is None:
        picture = np.zeros((*ids.shape, 3), np.uint8)
    else:
        plane = session.stack.plane(index, axis)
        low, high = plane.contrast or plane.intensity
        picture = gray(np.asarray(plane), low, max(high, low + 1e-6))
    inside = ids > 0
    picture[inside] = (0.55 * picture[inside] + 0.45 * 255 * session.colors.rgb(ids[inside])).astype(np.uint8)
    return thinned(picture)
