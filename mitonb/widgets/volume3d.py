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
from mitonb.mesh import surfaces
from mitonb.session import Session
from mitonb.widgets import style
from mitonb.widgets.style import button, count_text, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mitonb.labels import Labels

_MOST_TRIANGLES = 250_000  # what software GL still turns at ten pictures a second
_MOST_PICKABLE = 150  # each pickable object is several browser-side models; the smaller objects share one mesh
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

    Attributes
    ----------
    meshes : dict of int to ipyvolume Mesh
        The objects that can be clicked.
    """

    def __init__(
        self, source: Any, ids: Sequence[int] | None = None, *, lazy: bool = False, height: int = 420, **options: Any
    ) -> None:
        self.session = source if isinstance(source, Session) else Session(labels=source)
        self.ids = None if ids is None else [int(i) for i in ids]
        there = set(self.session.ids())
        if missing := set(self.ids or ()) - there:
            raise InputError(f"There is no object {min(missing)} in these labels; they have {count_text(len(there))}.")
        self.meshes: dict[int, Any] = {}
        self.built = False
        self._hidden: frozenset[int] = frozenset()
        self._isolated: frozenset[int] = frozenset()
        self._rest: tuple[Any, npt.NDArray[np.uint32], npt.NDArray[np.int64]] | None = None
        self._height = height
        self._voxel_size: tuple[float, float, float] | None = None
        self._worker = style.Latest(self._build, failed=self._fail)
        self.probe = Probe()
        self.only = button("selected only", "filter", "Show the selected objects alone", kind=ipw.ToggleButton)
        self.again = button("refresh", "refresh", "Build the surfaces again from the labels as they are now")
        self.status = ipw.HTML(note("press refresh to build the surfaces"))
        self.stage = ipw.Box(layout={"height": f"{height}px", "overflow": "hidden", "justify_content": "center"})
        self.stage.add_class("mnb-stage")
        head = style.row(self.only, self.again, self.status).add_class("mnb-spaced")
        super().__init__(self.probe, head, self.stage, **options)
        self.again.on_click(lambda _: self.refresh())
        self.only.observe(lambda _: self._on_selected(self.session.selection), "value")
        self.probe.observe(lambda _: self._on_probe(), "webgl")
        self.probe.observe(lambda _: self._on_page(), ["width", "background"])
        self.session.edited.connect(self._on_edited)
        self.session.selected.connect(self._on_selected)
        if not lazy:
            self.refresh()

    def refresh(self) -> None:
        """Build the surfaces in a thread."""
        self.status.value = note("building surfaces …")
        self._worker.ask()

    def hide(self, hidden: Iterable[int], isolated: Iterable[int] = ()) -> None:
        """Leave the hidden objects out of the picture, and all but the isolated ones where there are any."""
        self._hidden, self._isolated = frozenset(hidden), frozenset(isolated)
        self._on_selected(self.session.selection)
        if self.built and not self.meshes:
            self.refresh()  # the still picture

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return a still picture, seen along z, for readers without a kernel."""
        rgba = still(self.session.labels, self.ids, colors=self.session)
        white = np.where(rgba[..., 3:] > 0, rgba[..., :3], np.uint8(255))
        return "mitonb objects in 3D, seen along z", style.as_png(style.thinned(white))

    def _build(self) -> None:
        version, labels = self.session.version, self.session.labels
        ids = self.session.ids() if self.ids is None else self.ids
        self._voxel_size, self.meshes, self._rest, self.built = labels.voxel_size, {}, None, bool(ids)
        shown: Any
        if not ids:
            shown = ipw.HTML(note("No objects yet: segment a plane or the volume, or paint, then refresh."))
            self.status.value = ""
        elif reason := self._reason():
            picture = style.png(still(labels, [id for id in ids if self._shows(id)], colors=self.session))
            shown = ipw.Image(value=picture, layout={"max_height": "100%", "object_fit": "contain"})
            self.status.value = note(f"{reason} This is a still picture, seen along z.", "warn")
        else:
            shown = self._figure(labels, ids)
        self.stage.children = (shown,)
        self._on_selected(self.session.selection)
        if self.session.version != version:  # edited while the surfaces were built
            self._tell_changed()

    def _reason(self) -> str:
        """Return why ipyvolume cannot draw here, if it cannot."""
        if self.probe.webgl not in ("unknown", "yes"):
            return str(self.probe.webgl)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its imports use names that numpy and traitlets are about to drop
                import ipyvolume  # noqa: F401  late: it costs seconds
        except ImportError as error:
            return f"ipyvolume cannot be used here ({error}). Install it with: pip install mitonb"
        return ""

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

        found = [m for m in surfaces(labels, ids, budget=_MOST_TRIANGLES) if len(m.triangles)]
        found.sort(key=lambda m: -len(m.triangles))
        colors = self.session.colors.rgb([m.id for m in found])
        for m, color in zip(found[:_MOST_PICKABLE], colors, strict=False):
            self.meshes[m.id] = one = mesh(m.vertices, _css(color), triangles=m.triangles, material=material)
            one.observe(lambda change, key=m.id: self._on_click(key, change["new"]), "clicked")
        meshes = [*self.meshes.values()]
        if rest := found[_MOST_PICKABLE:]:
            sizes = [len(m.vertices) for m in rest]
            starts = np.cumsum([0, *sizes[:-1]])
            triangles = np.concatenate([m.triangles + start for m, start in zip(rest, starts, strict=True)])
            vertices = np.concatenate([m.vertices for m in rest])
            color = np.repeat(colors[_MOST_PICKABLE:], sizes, axis=0)
            meshes.append(mesh(vertices, color, triangles=triangles, material=material))
            owners = np.repeat([m.id for m in rest], [len(m.triangles) for m in rest])
            self._rest = meshes[-1], triangles, owners
        # The edges of the volume, as thin lines: without them nobody knows where up is.
        corners = np.indices((2, 2, 2)).reshape(3, 8).T * (np.array(labels.shape) - 1) * (labels.voxel_size or 1)
        lines = [(i, i + step) for step in (1, 2, 4) for i in range(8) if not i & step]
        meshes.append(mesh(corners, "#808080", lines=np.array(lines, np.uint32)))
        figure = ipv.Figure(
            width=self.probe.width - 10, height=self._height - _TOOLBAR, meshes=meshes, camera_control="trackball",
            style=_style(self.probe.background), camera_fov=_FOV, lights=[light],
        )  # fmt: skip
        figure.camera.position = _EYE
        unit = "nm" if labels.voxel_size else "vx"
        figure.xlabel, figure.ylabel, figure.zlabel = (f"{axis} {unit}" for axis in "xyz")
        _frame(figure)
        count = count_text(sum(len(m.triangles) for m in found), "triangle")
        self.status.value = note(f"{count_text(len(ids))}, {count}; drag turns, the wheel zooms, a click selects")
        return figure

    def _on_click(self, key: int, clicked: bool) -> None:
        if not clicked:
            return
        # ipyvolume sets True on every click, and an unchanged trait tells nobody: only the first would count.
        self.meshes[key].clicked = False
        if self.session.voxels(key):  # else the mesh is of an object that has just gone
            self.session.go_to(key)

    def _on_selected(self, ids: tuple[int, ...]) -> None:
        """Brighten what is selected; when asked, hide the rest instead."""
        alone = self.only.value and ids

        def seen(key: int) -> bool:
            return self._shows(key) and (not alone or key in ids)

        for key, mesh in self.meshes.items():
            color = self.session.colors.rgb([key])[0]
            mesh.color = _css(0.4 * color + 0.6 if key in ids and not self.only.value else color)
            mesh.visible = seen(key)
        if self._rest is not None:
            rest, triangles, owners = self._rest
            kept = triangles[np.isin(owners, [key for key in np.unique(owners).tolist() if seen(key)])]
            rest.visible = len(kept) > 0
            if rest.visible and not np.array_equal(kept, rest.triangles):
                rest.triangles = kept

    def _shows(self, id: int) -> bool:
        return id not in self._hidden and (not self._isolated or id in self._isolated)

    def _on_edited(self, _change: Any) -> None:
        if self.built:
            self._on_selected(self.session.selection)  # a neighbour may have got another colour
            self._tell_changed()
            if self.session.voxel_size != self._voxel_size:  # everything here has another form
                self.refresh()

    def _tell_changed(self) -> None:
        self.status.value = note("The labels have changed: refresh to see it here.", "warn")

    def _on_probe(self) -> None:
        if self.built and self._reason():
            self.refresh()

    def _on_page(self) -> None:
        """Follow the width and the theme of the page."""
        for figure in self.stage.children:
            if hasattr(figure, "meshes"):
                figure.width, figure.style = self.probe.width - 10, _style(self.probe.background)
                _frame(figure)

    def _fail(self, error: BaseException) -> None:
        self.status.value = style.error_html(error)


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
    return View3D(source, ids, height=height)


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


def _css(rgb: npt.NDArray[np.float32]) -> str:
    """Return a colour as CSS text: three bare numbers would be drawn as white by ipyvolume."""
    red, green, blue = np.rint(np.asarray(rgb) * 255).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _frame(figure: Any) -> None:
    """Set the same scale on all three axes, so large that the camera just sees all objects.

    Where they reach over most of the volume, it sees the edges of that, too, which are the last mesh.
    """
    *objects, box = (np.stack([mesh.x, mesh.y, mesh.z], axis=1) for mesh in figure.meshes)
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
