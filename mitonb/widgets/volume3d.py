"""Objects in 3D through ipyvolume, which is used nowhere else; a still picture where it cannot draw."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as ipw
import numpy as np
import numpy.typing as npt
import traitlets

from mitonb.colors import coloring_of
from mitonb.errors import InputError
from mitonb.mesh import Mesh, surfaces
from mitonb.session import Session
from mitonb.widgets.objects_table import LookedAt
from mitonb.widgets.style import (
    JS,
    Latest,
    Saved,
    as_png,
    button,
    count_text,
    error_html,
    note,
    png,
    row,
    sheet,
    thinned,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mitonb.labels import Labels

__all__ = ["View3D", "show3d", "still"]

_MOST_TRIANGLES = 250_000  # what software GL still turns at ten pictures a second
_MOST_PICKABLE = 150  # each pickable object is several browser-side models; the smaller objects share one mesh
# Where the camera stands at first, in the figure's own units: from a corner, so that depth can be seen.
_EYE = (0.8, 0.7, 1.7)
_MOST_OF_THE_VOLUME = 0.7  # objects that reach over so much of each side of the volume are shown with all of its edges
_FOV = 45.0  # degrees that the camera sees from bottom to top
_FILLED = 0.92  # how much of the picture the objects take, in the direction in which they are larger
_TOOLBAR = 34  # pixels that ipyvolume's own buttons and margins take above its picture


class Probe(anywidget.AnyWidget):
    """Asks the browser: `webgl` is "unknown", "yes", or a sentence that says why not."""

    _esm = JS / "probe.js"
    webgl = traitlets.Unicode("unknown").tag(sync=True)
    width = traitlets.Int(630).tag(sync=True)
    background = traitlets.Unicode("#ffffff").tag(sync=True)


class View3D(Saved, ipw.VBox):
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

    Attributes
    ----------
    meshes : dict of int to ipyvolume Mesh
        The objects that can be clicked.
    """

    def __init__(
        self, source: Any, ids: Sequence[int] | None = None, *, lazy: bool = False, height: int = 420, **options: Any
    ) -> None:
        self.source = source if isinstance(source, Session | LookedAt) else LookedAt(source)
        self.ids = None if ids is None else [int(i) for i in ids]
        self.meshes: dict[int, Any] = {}
        self.built = False
        self._edits = 0
        self._height = height
        self._points: npt.NDArray[Any] = np.zeros((0, 3))
        self._voxel_size: tuple[float, float, float] | None = None
        self._worker = Latest(self._build, failed=self._fail)
        self.probe = Probe()
        self.only = button("selected only", "filter", "Show the selected objects alone", kind=ipw.ToggleButton)
        self.again = button("refresh", "refresh", "Build the surfaces again from the labels as they are now")
        self.status = ipw.HTML(note("press refresh to build the surfaces"))
        self.stage = ipw.Box(layout={"height": f"{height}px", "overflow": "hidden", "justify_content": "center"})
        self.stage.add_class("mnb-stage")
        head = row(self.only, self.again, self.status).add_class("mnb-spaced")
        super().__init__([sheet(), self.probe, head, self.stage], **options)
        self.add_class("mnb")
        self._connect()
        if not lazy:
            self.refresh()

    def _connect(self) -> None:
        self.again.on_click(lambda _: self.refresh())
        self.only.observe(lambda _: self._on_selected(self.source.selection), "value")
        self.probe.observe(lambda _: self._on_probe(), "webgl")
        self.probe.observe(lambda _: self._on_page(), ["width", "background"])
        self.source.edited.connect(self._on_edited)
        self.source.selected.connect(self._on_selected)

    @property
    def labels(self) -> Labels:
        """What is shown, as it is now."""
        return self.source.labels

    def refresh(self) -> None:
        """Build the surfaces in a thread."""
        self.status.value = note("building surfaces …")
        self._worker.ask()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the surfaces stand; return whether they do."""
        return self._worker.wait(timeout)

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return a still picture, seen along z, for readers without a kernel."""
        rgba = still(self.labels, self.ids, colors=self.source)
        white = np.where(rgba[..., 3:] > 0, rgba[..., :3], np.uint8(255))
        return "mitonb objects in 3D, seen along z", as_png(thinned(white))

    def state(self) -> str:
        """Return what is shown, as text."""
        visible = sorted(i for i, mesh in self.meshes.items() if mesh.visible)
        return f"{type(self.stage.children[0]).__name__ if self.stage.children else 'nothing'}: {visible}"

    def _build(self) -> None:
        edits, labels = self._edits, self.labels
        self._voxel_size = labels.voxel_size
        ids = self.ids if self.ids is not None else [int(i) for i in labels.ids()]
        self.meshes = {}
        self.built = bool(ids)
        ipv, reason = self._means()
        shown: Any
        if not ids:
            shown = ipw.HTML(note("No objects yet: segment a plane or the volume, or paint, then refresh."))
            self.status.value = ""
        elif reason:
            picture = still(labels, self.ids, colors=self.source)
            shown = ipw.Image(value=png(picture), layout={"max_height": "100%", "object_fit": "contain"})
            self.status.value = note(f"{reason} This is a still picture, seen along z.", "warn")
        else:
            shown = self._figure(ipv, labels, ids)
        self.stage.children = (shown,)
        self._on_selected(self.source.selection)
        if self._edits != edits:  # while the surfaces were built
            self._tell_changed()

    def _means(self) -> tuple[Any, str]:
        """Return ipyvolume, or why it cannot draw here."""
        if self.probe.webgl not in ("unknown", "yes"):
            return None, self.probe.webgl
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its imports use names that numpy and traitlets are about to drop
                import ipyvolume  # late: it costs seconds
        except ImportError as error:
            return None, f"ipyvolume cannot be used here ({error}). Install it with: pip install mitonb"
        return ipyvolume, ""

    def _figure(self, ipv: Any, labels: Labels, ids: list[int]) -> Any:
        """Return the surfaces as a figure of ipyvolume."""
        found = surfaces(labels, ids, budget=_MOST_TRIANGLES)
        found = sorted((m for m in found if len(m.triangles)), key=lambda m: -len(m.triangles))
        colors = self.source.colors.rgb([m.id for m in found])
        draw = _Drawing(ipv)
        for m, color in zip(found[:_MOST_PICKABLE], colors, strict=False):
            self.meshes[m.id] = mesh = draw.surface(m.vertices, m.triangles, _css(color))
            mesh.observe(lambda change, key=m.id: self._on_click(key, change["new"]), "clicked")
        rest = found[_MOST_PICKABLE:]
        crowd = [draw.crowd(rest, colors[_MOST_PICKABLE:])] if rest else []
        edges = draw.edges((np.asarray(labels.shape) - 1) * np.asarray(labels.voxel_size or (1.0, 1.0, 1.0)))
        figure = ipv.Figure(
            width=self.probe.width - 10, height=self._height - _TOOLBAR, meshes=[*self.meshes.values(), *crowd, edges],
            style=_style(self.probe.background), camera_control="trackball", camera_fov=_FOV, lights=draw.lights,
        )  # fmt: skip
        figure.camera.position = _EYE
        unit = "nm" if labels.voxel_size else "vx"
        figure.xlabel, figure.ylabel, figure.zlabel = (f"{axis} {unit}" for axis in "xyz")
        self._points = np.concatenate([m.vertices[:, ::-1] for m in found]) * (1, -1, 1)
        box = np.stack([edges.x, edges.y, edges.z], axis=1)
        if (np.ptp(self._points, axis=0) >= _MOST_OF_THE_VOLUME * np.ptp(box, axis=0)).all():
            self._points = box
        _frame(figure, self._points)
        count = count_text(sum(len(mesh.triangles) for mesh in found), "triangle")
        self.status.value = note(f"{count_text(len(ids))}, {count}; drag turns, the wheel zooms, a click selects")
        return figure

    def _on_click(self, key: int, clicked: bool) -> None:
        if not clicked:
            return
        # ipyvolume sets True on every click, and an unchanged trait tells nobody: only the first would count.
        self.meshes[key].clicked = False
        if self.source.voxels(key):  # else the mesh is of an object that has just gone
            self.source.go_to(key)

    def _on_selected(self, ids: tuple[int, ...]) -> None:
        """Brighten what is selected; when asked, hide the rest instead."""
        for key, mesh in self.meshes.items():
            on = key in ids
            color = self.source.colors.rgb([key])[0]
            mesh.color = _css(0.4 * color + 0.6 if on and not self.only.value else color)
            mesh.visible = on or not (self.only.value and ids)

    def _on_edited(self, _change: Any) -> None:
        self._edits += 1
        if self.built:
            self._on_selected(self.source.selection)  # a neighbour may have got another colour
            self._tell_changed()
            if self.labels.voxel_size != self._voxel_size:  # everything here has another form
                self.refresh()

    def _tell_changed(self) -> None:
        self.status.value = note("The labels have changed: refresh to see it here.", "warn")

    def _on_probe(self) -> None:
        if self.probe.webgl not in ("unknown", "yes") and self.built:
            self.refresh()

    def _on_page(self) -> None:
        """Follow the width and the theme of the page."""
        for figure in self.stage.children:
            if hasattr(figure, "meshes"):
                figure.width, figure.style = self.probe.width - 10, _style(self.probe.background)
                _frame(figure, self._points)

    def _fail(self, error: BaseException) -> None:
        self.status.value = error_html(error)


def show3d(source: Any, ids: Sequence[int] | None = None, *, height: int = 420) -> View3D:
    """Show objects in 3D.

    Parameters
    ----------
    source : Session, Labels or (z, y, x) integer array
        What to show.
    ids : sequence of int, optional
        Show only these; default all.
    height : int
        Pixels.

    Raises
    ------
    InputError
        If an id does not occur.
    """
    view = View3D(source, lazy=True, height=height)
    if ids is not None:
        known = set(view.labels.ids().tolist())
        missing = [i for i in ids if int(i) not in known]
        if missing:
            raise InputError(f"There is no object {missing[0]} in these labels; they have {count_text(len(known))}.")
        view.ids = [int(i) for i in ids]
    view.refresh()
    return view


def still(
    labels: Labels, ids: Sequence[int] | None = None, *, most: int = 480, colors: Any = None
) -> npt.NDArray[np.uint8]:
    """Return objects seen along z as a shaded (h, w, 4) uint8 picture, at most `most` pixels wide and high.

    Each pixel shows the first object under it, darker the deeper it lies and the steeper its surface is.
    """
    thin = max(1, -(-max(labels.shape[1:]) // most))
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


class _Drawing:
    """Makes the meshes of a figure, which share a material that takes the normals of vertices, and light for it.

    ipyvolume's own shader takes the normal of each triangle, so that every facet is seen.
    """

    def __init__(self, ipv: Any) -> None:
        import pythreejs  # late, as ipyvolume

        self._ipv = ipv
        self._material = pythreejs.MeshLambertMaterial(side="DoubleSide")
        # From bright in front above to dim behind below: no side is black, however the objects are turned.
        self.lights = [
            pythreejs.HemisphereLight(color="#ffffff", groundColor="#404040", intensity=1, position=(-0.5, 1, 1.2))
        ]

    def surface(self, vertices: Any, triangles: Any, color: Any) -> Any:
        """Return one surface; in the image y runs down, in the figure up."""
        z, y, x = np.asarray(vertices, np.float32).T
        triangles = np.asarray(triangles, np.uint32)
        return self._ipv.Mesh(x=x, y=-y, z=z, triangles=triangles, color=color, material=self._material)

    def crowd(self, rest: list[Mesh], colors: npt.NDArray[Any]) -> Any:
        """Return many small objects as one mesh with a colour per vertex."""
        sizes = [len(m.vertices) for m in rest]
        starts = np.cumsum([0, *sizes])
        triangles = np.concatenate([m.triangles + start for m, start in zip(rest, starts, strict=False)])
        return self.surface(np.concatenate([m.vertices for m in rest]), triangles, np.repeat(colors, sizes, axis=0))

    def edges(self, size: npt.NDArray[Any]) -> Any:
        """Return the edges of the volume as thin lines: without them nobody knows where up is."""
        corners = np.array([(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)], np.float32)
        lines = [(i, j) for i in range(8) for j in range(i + 1, 8) if (corners[i] != corners[j]).sum() == 1]
        z, y, x = (corners * size).astype(np.float32).T
        return self._ipv.Mesh(x=x, y=-y, z=z, lines=np.asarray(lines, np.uint32), color="#808080")


def _css(rgb: npt.NDArray[np.float32]) -> str:
    """Return a colour as CSS text: three bare numbers would be drawn as white by ipyvolume."""
    red, green, blue = np.rint(np.asarray(rgb) * 255).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _frame(figure: Any, points: npt.NDArray[Any]) -> None:
    """Set the same scale on all three axes, so large that the camera just sees all points, (n, 3) x, y, z."""
    if not len(points):
        return
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
