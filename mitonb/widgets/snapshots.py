"""Snapshots: planes with their labels in one page of HTML that scrolls, zooms and names objects without a kernel.

The page is the viewer itself. In the place of the kernel stands `js/standin.js`: it answers from what the page holds.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from mitonb.errors import InputError, TooLargeError
from mitonb.io.saving import target_path
from mitonb.labels import Labels
from mitonb.recipe import Recipe
from mitonb.session import Session
from mitonb.stack import AXES, Axis, read_part
from mitonb.widgets.protocol import encode
from mitonb.widgets.style import count_text, page, write_page
from mitonb.widgets.viewer import LAYERS, Viewer, session_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from mitonb.box import Box

_TRAITS = ("axis", "index", "layers", "selected", "hidden", "isolated", "marks", "strokes", "brush", "active_id")


@dataclass(frozen=True)
class Snapshot:
    """A page that shows planes without a kernel; at the end of a cell it is shown there, and kept with the notebook.

    Attributes
    ----------
    page : str
        The whole page, HTML with everything that it needs.
    title : str
        What it shows, in a sentence.
    still : dict
        The plane that was on screen, as MIME type and contents, for what shows no scripts.
    path : Path or None
        Where it was written.
    """

    page: str
    title: str
    still: dict[str, str]
    path: Path | None = None

    def __repr__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.title}, {len(self.page) / 1e6:.1f} MB"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        told = {"text/plain": repr(self)}
        if self.path is not None:  # a notebook need not hold once more what lies in a file
            return told
        # Where frames are not shown (GitHub, notebooks that are not trusted), the picture under it is seen.
        picture = f'<img alt="" style="width:100%" src="data:image/png;base64,{self.still.get("image/png", "")}">'
        over = "position:absolute;inset:0;width:100%;height:100%;border:0"
        title, page = html.escape(self.title), html.escape(self.page)
        frame = f'<iframe style="{over}" title="{title}" srcdoc="{page}"></iframe>'
        shown = f'<div style="position:relative;height:600px;overflow:hidden">{picture}{frame}</div>'
        return {**told, **self.still, "text/html": shown}


def snapshot(
    source: Any, path: str | os.PathLike[str] | None = None, *, labels: Any = None, box: Box | None = None,
    planes: Axis | Sequence[Axis] = "xy", quality: int = 85, max_mb: float = 20.0, overwrite: bool = False,
) -> Snapshot:  # fmt: skip
    """Keep planes, their labels and the maps that are shown as one page of HTML that needs no kernel and no network.

    In the page planes are scrolled and zoomed, objects selected, hidden and gone to, labels switched on and off, as in
    the viewer; nothing is changed in it. Ids are exact. Grey values are 8 bits through JPEG: for looking, not for
    measuring.

    Parameters
    ----------
    source : App, Viewer, Session, Stack, Labels, (z, y, x) array or path
        What to show. Of a workbench or a viewer the page begins as it looks now, with the maps that it has.
    path : path, optional
        An `.html` file to write. Without it, the result is shown in the cell.
    labels : Labels or (z, y, x) array of whole numbers, optional
        Shown on a stack.
    box : Box, optional
        Only this part, in voxels (z, y, x), without maps and notes; positions in the page count from its corner.
    planes : {"xy", "xz", "yz"} or several
        Directions of the planes; each takes as many bytes again.
    quality : int
        Of the JPEGs, 1 to 100.
    max_mb : float
        Most megabytes that the page may have.
    overwrite : bool
        Replace what is there.

    Returns
    -------
    Snapshot

    Raises
    ------
    TooLargeError
        If the page would be larger; the message says by how much.
    InputError
        If the path does not end in .html, something is there and `overwrite` is not set, the box lies outside, or the
        quality is none.

    Examples
    --------
    >>> kept = snapshot(np.zeros((3, 8, 8), np.uint8), labels=np.ones((3, 8, 8), np.uint32))
    >>> kept.title
    'stack: 3 xy planes, 1 object'
    """
    target = None if path is None else target_path(path, overwrite=overwrite)
    if target is not None and target.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"A snapshot is a page of HTML: give it a name that ends in .html, got {target.name!r}.")
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise InputError(f"The quality of JPEGs is a whole number from 1 to 100, got {quality!r:.60}.")
    axes = Recipe(planes=(planes,) if isinstance(planes, str) else tuple(planes)).planes
    given = getattr(source, "viewer", source)
    if isinstance(given, Viewer) and box is None:
        made, title, still = _page(given, axes, quality, max_mb)
    else:
        session = given.session if isinstance(given, Viewer) else session_of(given, labels)
        viewer = Viewer(session if box is None else _cropped(session, box))
        try:
            made, title, still = _page(viewer, axes, quality, max_mb)
        finally:
            viewer.close()
    if target is not None:
        write_page(target, made)
    return Snapshot(made, title, still, target)


def _cropped(session: Session, box: Box) -> Session:
    """Return a session in memory of a part of another one."""
    inside = box.clip(session.shape)
    if inside != box or not box.size:
        raise InputError(f"The box {box} does not lie inside of a volume of {session.shape} voxels.")
    stack = session.stack
    if stack is not None:
        data = read_part(stack.data, box.slices)
        stack = dataclasses.replace(stack, data=data, coarser=(), focus=None, opened=None)
    return Session(stack, Labels(session.labels.data[box.slices].copy(), session.voxel_size))


def _page(viewer: Viewer, axes: Sequence[Axis], quality: int, max_mb: float) -> tuple[str, str, dict[str, str]]:
    """Return the page of what a viewer shows, its title, and the plane on screen as a picture."""
    session, kept = viewer.session, _kept(viewer, axes)
    size = len(page("viewer", title="", kept="")) + len(json.dumps(kept))
    counts = {axis: session.shape[AXES[axis]] for axis in axes}
    todo = [(axis, index) for axis in axes for index in range(counts[axis])]
    part_of = "Take a part of it (box=mn.Box(...))"
    if any(viewer.planes.is_huge(axis) for axis in axes):
        raise TooLargeError(f"Planes of a volume of {session.shape} voxels are too large for a page. {part_of}.")
    for done, (axis, index) in enumerate(todo, 1):
        for name, part in _parts(viewer, axis, index, quality):
            kept["parts"][name] = part
            size += len(part["data"]) + 200
        if size > max_mb * 1e6:
            raise TooLargeError(
                f"A page of {len(todo)} planes of a volume of {session.shape} voxels would have about "
                f"{size * len(todo) / done / 1e6:,.1f} MB, more than max_mb={max_mb:g}. {part_of}, a quality below "
                f"{quality}, or a larger max_mb."
            )
    shown = ", ".join(count_text(n, f"{axis} plane") for axis, n in counts.items())
    title = f"{kept['hello']['info']['name']}: {shown}, {count_text(len(session.ids()))}"
    # In a script nothing but its end is special.
    data = json.dumps(kept).replace("<", "\\u003c")
    return page("viewer", title=title, kept=data), title, viewer.saved()[1]


def _kept(viewer: Viewer, axes: Sequence[Axis]) -> dict[str, Any]:
    """Return all but the pixels: what a kernel would say first, where the page begins, and where objects are."""
    session, told = viewer.session, viewer.introduce()
    told["info"] |= {"verbs": []}
    told |= {"save": {"kind": "snapshot", "text": "a snapshot"}, "read_only": True, "listens": False, "project": ""}
    told |= {"can_undo": False, "can_redo": False, "compared": ""}
    told["extras"] = [one for one in told["extras"] if not one.startswith("preview/") and one.split("/")[1] in axes]
    axis = viewer.axis if viewer.axis in axes else axes[0]
    traits = {name: getattr(viewer, name) for name in _TRAITS} | {"axis": axis, "tool": "look", "panes": 1}
    traits |= {"comparison": "", "height": None, "running": False, "preserve": False, "ball": False, "above": 0}
    if axis != viewer.axis:
        traits["index"] = session.shape[AXES[axis]] // 2
    boxes = ((id, session.box(id)) for id in session.ids())
    return {
        "traits": traits, "hello": told, "axes": axes, "parts": {},
        "objects": [(id, box.start, box.stop) for id, box in boxes if box],
        "colors": _packed(np.array(sorted(session.colors.moved.items()), "<u4").tobytes()),
    }  # fmt: skip


def _parts(viewer: Viewer, axis: Axis, index: int, quality: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what there is to show of a plane, by the names that the page asks for."""
    has_image = viewer.session.stack is not None
    for part in ("image", "labels", *(name for name in LAYERS if name not in ("em", "labels", "preview"))):
        found = viewer.planes.pixels(part, axis, index) if part != "image" or has_image else None
        if found is None:
            continue
        pixels: npt.NDArray[Any] = encode(part, found[0])
        is_grey = part == "image"
        data = imagecodecs.jpeg_encode(pixels, level=quality) if is_grey else zlib.compress(pixels.tobytes(), 9)
        yield f"{part}/{axis}/{index}", {
            **found[1], "h": pixels.shape[0], "w": pixels.shape[1], "coding": "jpeg" if is_grey else "zlib",
            "data": _packed(data),
        }  # fmt: skip


def _packed(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()
