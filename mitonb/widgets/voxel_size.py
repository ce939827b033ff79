"""The voxel size as three small fields, for stacks whose files do not tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
from psygnal import Signal

from mitonb.widgets.style import TIMES, note, row, sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["VoxelSizeField"]


class VoxelSizeField(ipw.HBox):
    """Three numbers (z, y, x) in nm and a button.

    Attributes
    ----------
    chosen : Signal(tuple)
        (z, y, x) in nm, when the user sets them.
    """

    chosen = Signal(tuple)

    def __init__(self, value: Sequence[float] | None = None, **options: Any) -> None:
        self.fields = [
            ipw.FloatText(value=v, step=1, layout={"width": "62px"}, tooltip=f"{axis} in nm")
            for axis, v in zip("zyx", value or (0, 0, 0), strict=True)
        ]
        self.button = ipw.Button(description="set", tooltip="Use this voxel size", layout={"width": "auto"})
        self.message = ipw.HTML()
        self.hint = ipw.HTML(note("" if value else f"voxel size unknown: set z {TIMES} y {TIMES} x", "warn"))
        parts = [self.hint, *self.fields, ipw.HTML("nm"), self.button, self.message]
        super().__init__([sheet(), row(*parts, flex_flow="row wrap").add_class("mnb-spaced")], **options)
        self.add_class("mnb")
        self.button.on_click(lambda _: self.choose())

    def choose(self) -> None:
        """Take the three numbers; one number alone counts for all three axes."""
        nm = [field.value for field in self.fields]
        if sum(v > 0 for v in nm) == 1:
            nm = [max(nm)] * 3
        if not all(v > 0 for v in nm):
            self.message.value = note("Give three sizes above 0, in nm.", "error")
            return
        for field, v in zip(self.fields, nm, strict=True):
            field.value = v
        self.message.value = ""
        self.chosen.emit(tuple(nm))
