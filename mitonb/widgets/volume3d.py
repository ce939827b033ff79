"""Objects in 3D through ipyvolume, which is used nowhere else; where it cannot draw, by mitonb, or as a picture."""

from __future__ import annotations

import math
import sys
import warnings
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as ipw
import numpy as np
import numpy.typing as npt
import traitlets

from mitonb.colors import coloring_of
from mitonb.errors import InputError
from mitonb.io.movies import as_image, bar_length
from mitonb.levels import window
from mitonb.mesh import Mesh, picture
from mitonb.session import Session
from mitonb.stack import AXES
from mitonb.widgets import style
from mitonb.widgets.packs import TRIANGLES, meshes_of, present
from mitonb.widgets.scene import Scene, measures_of, object_colors, range_of, save3d, shaded
from mitonb.widgets.style import button, count_text, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mitonb.labels import Labels

_MOST_MESHES = 150  # each object is several models of the browser; of more, mitonb's own drawing is faster
_MOST_TEXTURE = 1024  # pixels of a plane of the image on a side
ENGINES = ("auto", "ipyvolume", "mitonb")
# Where the camera stands at first, in the figure's own units: from a corner, so that depth can be seen.
_EYE = (0.8, 0.7, 1.7)
_MOST_OF_THE_VOLUME = 0.7  # objects that reach over so much of each side of the volume are shown with all of its edges
_FOV = 45.0  # degrees that the camera sees from bottom to top
_FILLED = 0.92  # how much of the picture the objects take, in the direction in which they are larger
_MOST_PIXELS = 480  # of a still picture
_TOOLBAR = 34  # pixels that ipyvolume's own buttons and margins take above its picture


class Probe(anywidget.AnyWidget):
    """Asks the browser: `webgl` is "unknown", "yes", or a sentence that says why not."""

    _esm = style.JS / "probe.js"
    webgl = traitlets.Unicode("unknown").tag(sync=True)
    width = traitlets.Int(630).tag(sync=True)
    background = traitlets.Unicode("#ffffff").tag(sync=True)


class View3D(style.Saved, style.Part):
    """Surfaces of objects; a click on one selects it.

    Parameters
    ----------
    source : Session, Labels or (z, y, x) integer array
        What to show. With a session, a click selects there, and edits are shown at the next refresh.
    ids : sequence of int, optional
        Show only these.
    lazy : bool
        Build nothing before `refresh` is called.
    height : int
        Pixels.
    engine : {"auto", "ipyvolume", "mitonb"}
        What draws: by default ipyvolume, and mitonb's own WebGL for more than 150 objects or where ipyvolume cannot be
        loaded.

    Attributes
    ----------
    meshes : dict of int to ipyvolume Mesh
        The objects, where ipyvolume draws.
    scene : Scene
        What is shown and how (`color_by`, `only`, `planes`, `cut`), whatever draws it.
    """

    def __init__(
        self, source: Any, ids: Sequence[int] | None = None, *, lazy: bool = False, height: int = 420,
        engine: str = "auto", **options: Any,
    ) -> None:  # fmt: skip
        self.session = source if isinstance(source, Session) else Session(labels=source)
        self.ids = None if ids is None else [int(i) for i in ids]
        there = set(self.session.ids())
        if missing := set(self.ids or ()) - there:
            raise InputError(f"There is no object {min(missing)} in these labels; they have {count_text(len(there))}.")
        if engine not in ENGINES:
            raise InputError(f"What draws is one of {', '.join(ENGINES)}; got {engine!r}.")
        self.meshes: dict[int, Any] = {}
        self.built = False
        self._engine, self._height = engine, height
        self._voxel_size: tuple[float, float, float] | None = None
        self._found: dict[int, Mesh] = {}
        self._table: Any = None
        self._worker = style.Latest(self._build, failed=self._fail)
        self._changed = style.Latest(self._show_changed, failed=self._fail)
        self._save = style.Latest(lambda: self.save(self.path.value, overwrite=self.replace.value), failed=self._fail)
        self.probe = Probe()
        self.scene = Scene(self.session, self.ids, lazy=True, height=height)
        self.color = ipw.Dropdown(options=[("colour: object", "")], layout={"width": "190px"})
        planes = [("no planes", ""), ("z plane", "z"), ("y plane", "y"), ("x plane", "x"), ("three planes", "xyz")]
        self.planes = ipw.Dropdown(options=planes, layout={"width": "120px"})
        self.color.tooltip, self.planes.tooltip = "What the colours say", "Planes of the image among the objects"
        self.planes.disabled = self.session.stack is None
        self.only = button("selected only", "filter", "Show the selected objects alone", kind=ipw.ToggleButton)
        self.cut = button("cut", "cut", "Cut away what lies before the planes", kind=ipw.ToggleButton)
        self.again = button("refresh", "refresh", "Build the surfaces again from the labels as they are now")
        self.path = ipw.Text("objects.html", layout={"width": "130px"})
        self.path.tooltip = "A page (.html), a picture (.png) or a film in which they turn (.gif, .mp4)"
        self.replace = ipw.Checkbox(description="replace", indent=False, layout={"width": "76px"})
        self.replace.tooltip = "Write over a file that is already there"
        self.to_save = button("save", "download", self.path.tooltip)
        self.status = ipw.HTML(note("press refresh to build the surfaces"))
        self.stage = ipw.Box(layout={"height": f"{height}px", "overflow": "hidden", "justify_content": "center"})
        self.stage.add_class("mnb-stage")
        self._own = style.row(self.color, self.only, self.planes, self.cut)
        saving = style.row(self.path, self.replace, self.to_save)
        head = style.row(self._own, self.again, saving, self.status).add_class("mnb-spaced")
        super().__init__(self.probe, head, self.stage, **options)
        controls = {"color_by": self.color, "only": self.only, "planes": self.planes, "cut": self.cut}
        for name, control in controls.items():
            traitlets.link((control, "value"), (self.scene, name))
        self.again.on_click(lambda _: self.refresh())
        self.to_save.on_click(lambda _: self._save.ask())
        self.scene.observe(lambda _: self._paint(), ["color_by", "only", "selected"])
        self.scene.observe(lambda _: self._say_range(), "color_by")
        self.scene.observe(self._on_planes, ["planes", "cut", "place"])
        self.probe.observe(lambda _: self._on_probe(), "webgl")
        self.probe.observe(lambda _: self._on_page(), ["width", "background"])
        style.follow(self, self.session.edited, self._on_edited)
        if not lazy:
            self.refresh()

    def close(self) -> None:
        """Leave the session and close the widget."""
        if hasattr(self, "scene"):  # else it was refused before it began
            self.scene.close()
        super().close()

    def refresh(self) -> None:
        """Build the surfaces in a thread."""
        self.status.value = note("building surfaces …")
        self._worker.ask()

    def hide(self, hidden: Iterable[int], isolated: Iterable[int] = ()) -> None:
        """Leave the hidden objects out of the picture, and all but the isolated ones where there are any."""
        self.scene.hidden, self.scene.isolated = [*hidden], [*isolated]
        self._paint()
        if self.built and not self.meshes:
            self.refresh()  # the still picture

    def save(self, path: Any, *, overwrite: bool = False) -> None:
        """Save what is shown, as `mn.save3d`: a page, a picture or a film."""
        self.status.value = note(f"saving {path} …")
        self.status.value = note(f"Saved: {save3d(self.scene, path, overwrite=overwrite)}", "good")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the surfaces are built, whoever draws them; return whether they are."""
        return self._worker.wait(timeout) and self.scene.wait(timeout) and self._changed.wait(timeout)

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return a still picture, seen along z, for readers without a kernel."""
        rgba = still(self.session.labels, self.ids, colors=self.session)
        white = np.where(rgba[..., 3:] > 0, rgba[..., :3], np.uint8(255))
        return "mitonb objects in 3D, seen along z", style.as_png(style.thinned(white))

    def _build(self) -> None:
        version, labels = self.session.version, self.session.labels
        ids = present(self.session, self.ids)
        self._voxel_size, self.meshes, self.built = labels.voxel_size, {}, bool(ids)
        self._own.layout.display = "none"
        shown = reason = None
        if self._engine != "mitonb":
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # its imports use names that numpy and traitlets are about to drop
                    import ipyvolume  # noqa: F401  late: it costs seconds
            except ImportError as error:
                reason = f"ipyvolume cannot be used here ({error}): mitonb draws the objects itself."
        if not ids:
            shown = ipw.HTML(note("No objects yet: segment a plane or the volume, or paint, then refresh."))
            self.status.value = ""
        elif self.probe.webgl not in ("unknown", "yes"):
            found = meshes_of(self.session, [id for id in ids if self.scene.shows(id)], budget=TRIANGLES // 2)
            still = style.png(picture(found, self.session.colors.rgb([m.id for m in found]))[0])
            shown = ipw.Image(value=still, layout={"max_height": "100%", "object_fit": "contain"})
            self.status.value = note(f"{self.probe.webgl} This is a still picture.", "warn")
        elif reason or self._engine == "mitonb" or (self._engine == "auto" and len(ids) > _MOST_MESHES):
            self.scene.refresh()
            shown = self.scene
            self.status.value = note(reason or "", "warn")
        else:
            shown = self._figure(labels, ids)
            self._own.layout.display = None
        self.stage.children = (shown,)
        self._paint()
        if self.meshes:
            self._table = self.scene.measured()
            options = [("colour: object", ""), *((f"colour: {c.title}", c.name) for c in measures_of(self._table))]
            if tuple(options) != self.color.options:
                self.color.options = options
        if self.session.version != version:  # edited while the surfaces were built
            self._tell_changed()

    def _figure(self, labels: Labels, ids: list[int]) -> Any:
        """Return the surfaces as a figure of ipyvolume."""
        import ipyvolume as ipv
        import pythreejs

        # ipyvolume's own shader takes the normal of each triangle, so that every facet is seen; this material takes
        # those of vertices. Its light is bright in front above, dim behind below: no side is black, however it turns.
        material = pythreejs.MeshLambertMaterial(side="DoubleSide")
        light = pythreejs.HemisphereLight(color="#ffffff", groundColor="#404040", intensity=1, position=(-0.5, 1, 1.2))

        def mesh(vertices: npt.NDArray[Any], color: Any, **shape: Any) -> Any:
            z, y, x = np.asarray(vertices, np.float32).T
            return ipv.Mesh(x=x, y=-y, z=z, color=color, **shape)  # in the image y runs down, in the figure up

        found = sorted(meshes_of(self.session, ids), key=lambda m: -len(m.triangles))
        shown = {}
        for m in found[:_MOST_MESHES]:
            shown[m.id] = one = mesh(m.vertices, "white", triangles=m.triangles, material=material)
            one.observe(lambda change, key=m.id: self._on_click(key, change["new"]), "clicked")
        # Whole at once: a click may paint them meanwhile.
        self._found, self.meshes = {m.id: m for m in found[:_MOST_MESHES]}, shown
        meshes = [*shown.values()]
        # The edges of the volume, as thin lines: without them nobody knows where up is.
        corners = _CORNERS * (np.array(labels.shape) - 1) * (labels.voxel_size or 1)
        lines = [(i, i + step) for step in (1, 2, 4) for i in range(8) if not i & step]
        # A bar along the lower edge.
        high = corners.max(axis=0)
        thick, (length, said) = high.max() / 150, bar_length(max(high[2] / 3, 1.0), nm=bool(labels.voxel_size))
        bar = _CORNERS * (thick, thick, length) + (high[0], high[1] + thick, 0)
        meshes += [mesh(bar, "#808080", triangles=_BOX), mesh(corners, "#808080", lines=np.array(lines, np.uint32))]
        figure = ipv.Figure(
            width=self.probe.width - 10, height=self._height - _TOOLBAR, meshes=meshes, camera_control="trackball",
            style=_style(self.probe.background), camera_fov=_FOV, lights=[light],
        )  # fmt: skip
        figure.camera.position = _EYE
        _frame(figure)
        left = f" (the {_MOST_MESHES} largest are shown)" if len(found) > _MOST_MESHES else ""
        said = f"the grey bar is {said} long; drag turns, the wheel zooms, a click selects"
        self.status.value = note(f"{count_text(len(ids))}{left}; {said}")
        return figure

    def _on_click(self, key: int, clicked: bool) -> None:
        if not clicked:
            return
        # ipyvolume sets True on every click, and an unchanged trait tells nobody: only the first would count.
        self.meshes[key].clicked = False
        if self.session.voxels(key):  # else the mesh is of an object that has just gone
            self.session.go_to(key)

    def _say_range(self) -> None:
        if self.scene.color_by and self._table is not None:
            column = next(c for c in measures_of(self._table) if c.name == self.scene.color_by)
            low, high = (v * column.factor for v in range_of(self._table[column.name]))
            said = f"{column.title} from {low:.3g} (blue) over green to {high:.3g} (yellow), and beyond"
            self.status.value = note(said)

    def _on_planes(self, change: Any) -> None:
        if self.meshes and (self.scene.planes or change["name"] == "planes"):
            self._changed.ask()

    def _show_changed(self) -> None:
        """Show what was chosen; the planes of the image are read for it."""
        if self.meshes and (figure := self.stage.children[0]).meshes:
            shown = [self._plane(letter) for letter in self.scene.planes if self.session.stack is not None]
            others = [one for one in figure.meshes if not one.texture]
            figure.meshes = [*others[:-1], *shown, others[-1]]
        self._paint()

    def _paint(self) -> None:
        """Give objects their colours, brighten what is selected, hide and cut away what is not to be seen."""
        scene, shown, found = self.scene, self.meshes, self._found
        colors = object_colors(scene, [*shown], self._table if self._table is not None else ())
        for (key, mesh), color in zip(shown.items(), colors, strict=True):
            triangles = found[key].triangles
            mesh.color = _css(0.4 * color + 0.6 if key in scene.selected and not scene.only else color)
            kept = triangles[self._before(found[key])]
            mesh.visible = bool(len(kept)) and scene.shows(key)
            if mesh.visible and not np.array_equal(kept, mesh.triangles):
                mesh.triangles = kept

    def _before(self, mesh: Mesh) -> Any:
        """Return which triangles are not cut away: those that do not lie beyond all planes, towards the camera."""
        axes = ["zyx".index(letter) for letter in self.scene.planes] if self.scene.cut else []
        if not axes:
            return slice(None)
        middle = mesh.vertices[mesh.triangles].mean(axis=1)
        at = np.array(self.session.position) * (self._voxel_size or 1)
        return ~np.all([(1, -1, 1)[k] * (middle[:, k] - at[k]) > 0 for k in axes], axis=0)

    def _plane(self, letter: str) -> Any:
        """Return a plane of the image through the place where the user works, as a mesh with a texture."""
        import ipyvolume as ipv

        stack, k = self.session.stack, "zyx".index(letter)
        assert stack is not None
        axis = next(a for a, along in AXES.items() if along == k)
        rows, columns = (n for i, n in enumerate(stack.shape) if i != k)
        step = 1 << max(0, math.ceil(math.log2(max(rows, columns) / _MOST_TEXTURE)))
        index = self.session.position[k]
        image = shaded(window(stack, axis, index, slice(0, rows), slice(0, columns), step), stack)
        corners = np.array([np.insert([r, c], k, index) for r in (-0.5, rows - 0.5) for c in (-0.5, columns - 0.5)])
        z, y, x = (corners * (self._voxel_size or 1)).T.astype(np.float32)
        return ipv.Mesh(
            x=x, y=-y, z=z, triangles=np.array([[0, 1, 2], [2, 1, 3]], np.uint32), texture=as_image(image),
            u=np.array([0.0, 1, 0, 1]), v=np.array([1.0, 1, 0, 0]), color="white",
        )  # fmt: skip

    def _on_edited(self, _change: Any) -> None:
        if self.built:
            self._paint()  # a neighbour may have got another colour
            self._tell_changed()
            if self.session.voxel_size != self._voxel_size:  # everything here has another form
                self.refresh()

    def _tell_changed(self) -> None:
        self.status.value = note("The labels have changed: refresh to see it here.", "warn")

    def _on_probe(self) -> None:
        if self.built and self.probe.webgl != "yes":
            self.refresh()

    def _on_page(self) -> None:
        """Follow the width and the theme of the page."""
        for figure in self.stage.children:
            if hasattr(figure, "meshes"):
                figure.width, figure.style = self.probe.width - 10, _style(self.probe.background)
                _frame(figure)

    def _fail(self, error: BaseException) -> None:
        self.status.value = style.error_html(error).replace("Pass overwrite=True to replace it", "Tick replace")


def show3d(source: Any, ids: Sequence[int] | None = None, *, height: int = 420, engine: str = "auto") -> Any:
    """Show objects in 3D: a click selects one, here, in the planes and in the table; colours can show any measure.

    Parameters
    ----------
    source : Session, Labels or (z, y, x) integer array
        What to show.
    ids : sequence of int, optional
        Show only these; default all.
    height : int
        Pixels.
    engine : {"auto", "ipyvolume", "mitonb"}
        What draws: by default ipyvolume, and mitonb's own WebGL for more than 150 objects, where ipyvolume cannot be
        loaded, and in marimo.

    Returns
    -------
    View3D, or in marimo `Scene`

    Raises
    ------
    InputError
        If an id does not occur.
    """
    marimo = sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():  # which shows no ipywidgets
        session = source if isinstance(source, Session) else Session(labels=source)
        return Scene(session, ids, height=height)
    return View3D(source, ids, height=height, engine=engine)


def still(labels: Labels, ids: Sequence[int] | None = None, *, colors: Any = None) -> npt.NDArray[np.uint8]:
    """Return objects seen along z as a shaded (h, w, 4) uint8 picture, at most 480 pixels wide and high.

    Each pixel shows the first object under it, darker the deeper it lies and the steeper its surface is.
    """
    thin = max(1, -(-max(labels.shape[1:]) // _MOST_PIXELS))
    data = labels.data[:, ::thin, ::thin]
    if ids is not None:
        data = np.where(np.isin(data, np.asarray(ids, np.uint32)), data, 0)
    hit = data > 0
    depth = hit.argmax(0)
    top = np.take_along_axis(data, depth[None], 0)[0]
    seen = top > 0
    dy, dx = np.gradient(np.where(seen, depth, depth.max() + 4).astype(np.float32))
    light = np.clip(1 / np.sqrt(1 + 0.15 * (dy**2 + dx**2)), 0.35, 1) * (1 - 0.55 * depth / max(1, data.shape[0]))
    rgb = coloring_of(labels if colors is None else colors).rgb(top) * light[..., None] * 255
    return np.dstack([rgb.astype(np.uint8), np.where(seen, 255, 0).astype(np.uint8)])


_CORNERS = np.indices((2, 2, 2)).reshape(3, 8).T
# Two triangles a side: the side where the first coordinate of three is low, and the one where it is high.
_SIDES = [side for a, b, c in ((1, 2, 4), (2, 4, 1), (4, 1, 2)) for side in ((0, b, c, b + c), (a, a + c, a + b, 7))]
_BOX = np.array([half for p, q, r, s in _SIDES for half in ((p, q, r), (r, q, s))], np.uint32)
"""A box, by its corners and its triangles, counter-clockwise from outside where y runs up, as in the figure."""


def _css(rgb: npt.NDArray[np.float32]) -> str:
    """Return a colour as CSS text: three bare numbers would be drawn as white by ipyvolume."""
    return "#{:02x}{:02x}{:02x}".format(*np.rint(np.asarray(rgb) * 255).astype(int))


def _frame(figure: Any) -> None:
    """Set the same scale on all three axes, so large that the camera just sees all objects.

    Where they reach over most of the volume, it sees the edges of that, too, which are the last mesh.
    """
    meshes = [mesh for mesh in figure.meshes if not mesh.texture]
    *objects, _bar, box = (np.stack([mesh.x, mesh.y, mesh.z], axis=1) for mesh in meshes)
    points = np.concatenate(objects or [box])
    if (np.ptp(points, axis=0) >= _MOST_OF_THE_VOLUME * np.ptp(box, axis=0)).all():
        points = box
    eye = np.asarray(_EYE)
    distance = np.linalg.norm(eye)
    back = eye / distance
    right = np.cross((0, 1, 0), back)
    right /= np.linalg.norm(right)
    camera = np.stack([right, np.cross(back, right), back])
    seen = points @ camera.T
    low, high = seen.min(axis=0), seen.max(axis=0)
    middle = (low + high) / 2
    across, up, near = np.abs(seen[:, 0] - middle[0]), np.abs(seen[:, 1] - middle[1]), seen[:, 2] - middle[2]
    # At a scale s, a point is seen at s * up above the middle and distance - s * near away from the camera.
    tall = _FILLED * np.tan(np.radians(_FOV / 2))
    wide = tall * figure.width / figure.height
    scale = distance / max((across / wide + near).max(), (up / tall + near).max(), 1e-6)
    x, y, z = middle @ camera
    figure.xlim, figure.ylim, figure.zlim = [(c - 0.5 / scale, c + 0.5 / scale) for c in (x, y, z)]


def _style(background: str) -> dict[str, Any]:
    """Return ipyvolume's style for the page's colour; it wants colours even for axes that it does not draw."""
    ink = {"color": "#808080"}
    axes = {"visible": False, **ink, "label": ink, "ticklabel": ink}
    return {"background-color": background, "axes": axes, "box": {"visible": False}}
