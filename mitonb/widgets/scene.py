"""Objects in 3-D that mitonb draws itself: a widget, pages that need neither kernel nor network, pictures, films."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import traitlets as t

from mitonb.colors import MAPS, map_colors
from mitonb.errors import InputError, MitonbError
from mitonb.io.movies import KINDS, bar_length, with_bar, write_movie
from mitonb.io.saving import target_path
from mitonb.levels import window
from mitonb.measurements import COLUMNS, measure
from mitonb.mesh import picture
from mitonb.session import Session
from mitonb.widgets.packs import TRIANGLES, Packed, meshes_of, pack, pack_meshes, present
from mitonb.widgets.style import STATIC, Latest, count_text, follow, gray, page, write_page

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from mitonb.stack import Stack

RAMP = MAPS["distance"].stops
"""From low to high values of a measure: blue, green, yellow."""
_LOOK = ("selected", "hidden", "isolated", "color_by", "only", "planes", "cut", "place")
_FRAMES = 36  # of a film
_MOST_SIDE = 256  # voxels of the image on a side, of which planes are shown among objects
_NOT_MEASURES = ("id", "z", "y", "x")


class Scene(Packed):
    """Surfaces of objects, drawn by mitonb's own WebGL: where ipyvolume cannot draw, and in marimo.

    Parameters
    ----------
    session : Session
        Whose labels are shown; a click selects there, and what is selected there is bright here.
    ids : sequence of int, optional
        Show only these.
    lazy : bool
        Build nothing before `refresh` is called.

    Attributes
    ----------
    color_by, only, planes, cut, place : traits
        What is seen: the column of the table that the colours show ("" is the objects' own), whether the selected
        objects alone, which planes of the image ("", "z", "y", "x" or "xyz"), whether what lies before them is cut
        away, and the voxel (z, y, x) that they go through.
    measured : callable
        Returns the table of objects, as `mn.measure` does, by which they can be coloured.
    """

    _esm = STATIC / "scene.js"
    _css = STATIC / "scene.css"
    selected = t.List(t.Int()).tag(sync=True)
    hidden = t.List(t.Int()).tag(sync=True)
    isolated = t.List(t.Int()).tag(sync=True)
    color_by = t.Unicode().tag(sync=True)
    only = t.Bool(False).tag(sync=True)
    planes = t.Enum(["", "z", "y", "x", "xyz"], "").tag(sync=True)
    cut = t.Bool(False).tag(sync=True)
    place = t.List(t.Int()).tag(sync=True)
    height = t.Int(420).tag(sync=True)
    note = t.Unicode().tag(sync=True)

    def __init__(
        self, session: Session, ids: Sequence[int] | None = None, *, lazy: bool = False, **traits: Any
    ) -> None:
        self.session, self.ids = session, ids
        super().__init__(**{"selected": [*session.selection], "place": [*session.position], **traits})
        self.measured: Callable[[], Any] = lambda: measure(session.labels)
        self._worker = Latest(self._build, failed=self._fail)
        follow(self, session.selected, lambda ids: setattr(self, "selected", [*ids]))
        follow(self, session.moved, lambda place: setattr(self, "place", [*place]))
        follow(self, session.edited, lambda _: setattr(self, "note", _CHANGED))
        if not lazy:
            self.refresh()

    def refresh(self) -> None:
        """Build the surfaces again, in a thread."""
        self.note = "building surfaces …"
        self._worker.ask()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the surfaces are built; return whether they are."""
        return self._worker.wait(timeout)

    def shows(self, id: int) -> bool:
        """Return whether an object is to be seen: not hidden, and one of those that are looked at alone, if any are."""
        only = self.selected if self.only else []
        return id not in self.hidden and id in (self.isolated or [id]) and id in (only or [id])

    def _build(self) -> None:
        version = self.session.version
        self.packs.pop("table", None)
        self.packs["objects"] = pack_objects(self.session, self.ids)
        self.note = "" if self.session.version == version else _CHANGED
        self._tell("objects")
        # To measure takes as long as to build: the picture is there meanwhile.
        self.packs["table"] = pack_table(self.session, self.ids, self.measured())
        self._tell("table")

    def _on_message(self, message: dict[str, Any]) -> None:
        kind = message.get("kind")
        try:
            if kind == "pick":
                self.session.select(*map(int, message["ids"]))
                self.session.move_to(*message["point"])
            elif kind == "build":
                self.refresh()
            elif kind == "image" and self.session.stack is not None:
                self.packs["image"] = self.packs.get("image") or pack_image(self.session.stack)
                self._tell("image")
            else:
                super()._on_message(message)
        except Exception as error:  # a click has no caller
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.note = str(error) if isinstance(error, MitonbError) else f"{type(error).__name__}: {error}"


_CHANGED = "The labels have changed: refresh to see it here."


def pack_objects(session: Session, ids: Sequence[int] | None) -> bytes:
    """Return surfaces and colours of objects, packed; all that there are where no ids are given."""
    found = meshes_of(session, ids)
    rgb = np.rint(session.colors.rgb([m.id for m in found]) * 255).astype(np.uint8)
    head = {"shape": session.shape, "size": session.voxel_size, "ramp": RAMP, "has_image": session.stack is not None}
    return pack_meshes(found, head, colors=rgb)


def pack_table(session: Session, ids: Sequence[int] | None, table: Any) -> bytes:
    """Return the measures of objects by which these can be coloured, packed."""
    wanted, shown = session.ids() if ids is None else ids, measures_of(table)
    values = table.set_index("id").reindex(wanted)[[c.name for c in shown]].to_numpy(np.float32).T
    told = [(c.name, c.title, c.digits, c.factor, range_of(table[c.name])) for c in shown]
    head = {"measures": [dict(zip(("name", "label", "digits", "scale", "range"), one, strict=True)) for one in told]}
    shades = np.array([shades_of(table, c.name, wanted) for c in shown]) * 255
    return pack(head, ids=np.array(wanted, np.uint32), table=values, shades=np.rint(shades).astype(np.uint8))


def pack_image(stack: Stack) -> bytes:
    """Return an image, thinned to at most 256 voxels on a side, with its contrast, packed."""
    depth, h, w = stack.shape
    steps = [math.ceil(depth / _MOST_SIDE), *[1 << max(0, math.ceil(math.log2(max(h, w) / _MOST_SIDE)))] * 2]
    places = range(steps[0] // 2, depth, steps[0])
    planes = [window(stack, "xy", z, slice(0, h), slice(0, w), steps[1]) for z in places]
    image = shaded(np.stack(planes), stack)
    return pack({"image_shape": image.shape, "image_steps": steps}, image=image)


def shaded(image: npt.NDArray[Any], stack: Stack) -> npt.NDArray[np.uint8]:
    """Return a part of an image in grey, with the contrast of its stack; of one shade where that has only one."""
    low, high = stack.contrast
    return gray(image, low, high if high > low else low + 1)


def measures_of(table: Any) -> list[Any]:
    """Return the columns of a table of objects by which these can be coloured or drawn as points."""
    numbers = (c for c in COLUMNS if c.title and c.kind == "number" and c.name in table)
    return [c for c in numbers if c.name not in _NOT_MEASURES]


def range_of(values: npt.ArrayLike) -> tuple[float, float]:
    """Return what of a measure is blue and what is yellow: the ends of the middle 96 % of the values."""
    given = np.asarray(values, np.float64)
    known = np.sort(given[np.isfinite(given)])
    low, high = (float(known[round(part * (len(known) - 1))]) if len(known) else 0.0 for part in (0.02, 0.98))
    return low, high


def object_colors(scene: Scene, ids: list[int], table: Any) -> npt.NDArray[np.float32]:
    """Return the colours of objects in a scene, (n, 3), 0..1: their own, or those of what it is coloured by."""
    if not scene.color_by or scene.color_by not in table:
        return scene.session.colors.rgb(np.array(ids, np.int64))
    return shades_of(table, scene.color_by, ids)


def shades_of(table: Any, name: str, ids: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return the colours of a measure of objects, (n, 3), 0..1; grey of those that have none."""
    given = table.set_index("id").reindex(ids)[name].to_numpy(np.float64)
    low, high = range_of(table[name])
    part = np.clip((np.nan_to_num(given) - low) / ((high - low) or 1), 0, 1)
    return np.where(np.isfinite(given)[:, None], map_colors("distance", part)[:, :3], np.float32(136 / 255))


def save3d(
    source: Any, path: str | os.PathLike[str], ids: Sequence[int] | None = None, *, overwrite: bool = False, **look: Any
) -> Path:
    """Save objects in 3-D as a page, a picture or a film in which they turn once; no browser is needed for it.

    Parameters
    ----------
    source : Session, Labels, (z, y, x) integer array, or a widget that shows a session
        What to show.
    path : path
        ``.html``: one file to turn, click on, colour and cut, in any browser, without a network, with the image if
        there is one. ``.png``: a picture of the objects. ``.gif``, or with ffmpeg ``.mp4``: they turn.
    ids : sequence of int, optional
        Show only these.
    overwrite : bool
        Replace what is there.
    **look
        The traits of `Scene`: `color_by` (a column of `mn.measure`), `only` and `selected`, and of pages `planes`,
        `cut` and `place`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the ending is another one, there is no such column, the file cannot be written, or it is there and
        `overwrite` is not set.
    """
    target = target_path(path, overwrite=overwrite)
    if target.suffix.lower() not in (".html", *KINDS):
        raise InputError(f"Objects in 3-D are saved as .html, {', '.join(KINDS)}; got {target.name!r}.")
    if isinstance(source, Scene):
        return _save(source, target)
    with contextlib.closing(_scene_of(source, ids, look)) as scene:
        return _save(scene, target)


def _save(scene: Scene, target: Path) -> Path:
    session, table = scene.session, scene.measured()
    if lost := [id for id in scene.ids or () if not session.voxels(id)]:
        raise InputError(f"The labels have no object {lost[0]}; they have {count_text(len(session.ids()))}.")
    if scene.color_by and scene.color_by not in table:
        known = ", ".join(c.name for c in measures_of(table))
        raise InputError(f"There is no measure {scene.color_by!r} to colour by. Measures: {known}.")
    if target.suffix.lower() == ".html":
        return _write_page(scene, target, table)
    found = meshes_of(session, [id for id in present(session, scene.ids) if scene.shows(id)], budget=TRIANGLES // 2)
    colors = object_colors(scene, [m.id for m in found], table)
    count, size = (1, 800) if target.suffix.lower() == ".png" else (_FRAMES, 400)
    frames = []
    for turn in np.linspace(0, 2 * np.pi, count, endpoint=False):
        rgba, scale = picture(found, colors, yaw=turn - 0.5, size=size)
        length, text = bar_length(120 * scale, nm=bool(session.voxel_size))
        frames.append(with_bar(rgba, length / scale, text))
    return write_movie(frames, target)


def _scene_of(source: Any, ids: Sequence[int] | None, look: dict[str, Any]) -> Scene:
    if unknown := set(look) - set(_LOOK):
        raise InputError(f"What can be chosen is {', '.join(_LOOK)}; got {sorted(unknown)[0]!r}.")
    source = getattr(source, "session", source)  # of a viewer, a workbench, a view
    try:
        return Scene(source if isinstance(source, Session) else Session(labels=source), ids, lazy=True, **look)
    except t.TraitError as error:
        raise InputError(f"{error} See mitonb.widgets.scene.Scene for what can be chosen.") from None


def _write_page(scene: Scene, target: Path, table: Any) -> Path:
    session = scene.session
    # What was built may be older than the labels.
    scene.packs |= {"objects": pack_objects(session, scene.ids), "table": pack_table(session, scene.ids, table)}
    if session.stack is not None:
        scene.packs["image"] = scene.packs.get("image") or pack_image(session.stack)
    state = {**{name: getattr(scene, name) for name in _LOOK}, "height": 0, "note": ""}
    data = " ".join(base64.b64encode(zlib.compress(one, 6)).decode() for one in scene.packs.values())
    name = session.labels.name if session.stack is None else session.stack.name
    about = count_text(len(session.ids()))
    return write_page(target, page("scene", title=name or "Objects", about=about, state=json.dumps(state), data=data))
