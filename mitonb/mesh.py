"""Surfaces of objects as triangle meshes in nm, small enough for a browser."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cc3d
import fastremap
import numpy as np
import numpy.typing as npt
import zmesh
from scipy.sparse import coo_matrix, diags

from mitonb.box import Box, around_of
from mitonb.errors import AxesError, InputError
from mitonb.labels import AnyLabels, Labels, integers

_LARGEST = 1 << 21  # voxels of a box that is meshed at full resolution; larger ones are thinned first
_FLOOR = 60  # triangles that even the smallest object gets, where the budget allows


@dataclass(frozen=True)
class Mesh:
    """The closed surface of one object.

    Attributes
    ----------
    id : int
        The object.
    vertices : (n, 3) float32 array
        (z, y, x) in nm, or in voxels when the voxel size is unknown; the centre of voxel (0, 0, 0) is the origin.
    triangles : (m, 3) uint32 array
        Indices of vertices, counter-clockwise seen from outside when plotted as (x, y, z).
    """

    id: int
    vertices: npt.NDArray[np.float32]
    triangles: npt.NDArray[np.uint32]

    @property
    def volume(self) -> float:
        """Volume inside the surface, in cubed units of the vertices."""
        x, y, z = (self.vertices[:, k].astype(np.float64) for k in (2, 1, 0))
        points = np.stack([x - x.mean(), y - y.mean(), z - z.mean()], axis=1)
        a, b, c = (points[self.triangles[:, k]] for k in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def surfaces(
    labels: AnyLabels, ids: Iterable[int] | None = None, *, budget: int = 250_000,
    voxel_size: tuple[float, float, float] | None = None, smooth: int = 6,
    known: Mapping[int, tuple[Box, int]] | None = None,
) -> list[Mesh]:  # fmt: skip
    """Return the surfaces of some or all objects within a budget of triangles for all of them together.

    Each object gets a share by its size; what one does not need is not given to others.

    Parameters
    ----------
    labels : Labels or (z, y, x) integer array
    ids : iterable of int, optional
        Which objects, in which order; by default all, by id.
    budget : int
        Most triangles of all meshes together, at least 12 per object.
    voxel_size : tuple of float, optional
        (z, y, x) in nm; by default that of the labels.
    smooth : int
        Rounds of smoothing that take the steps of the voxels away; 0 keeps them.
    known : mapping, optional
        A box around each object and the number of its voxels, by id; by default the volume is searched for them.

    Returns
    -------
    list of Mesh
        Closed also where an object is cut off by the border of the volume.

    Raises
    ------
    AxesError
        If the labels are not a volume.
    InputError
        If an id does not occur, or the budget is too small for the number of objects.
    """
    data = integers(labels, "labels")
    if data.ndim != 3:
        raise AxesError(f"Labels need 3 axes (z, y, x), got shape {data.shape}. For one plane pass ids[None].")
    own = labels.voxel_size if isinstance(labels, Labels) else None
    unit = np.array(voxel_size or own or (1.0, 1.0, 1.0))
    there = _boxes(data) if known is None else known
    wanted = sorted(there) if ids is None else [int(i) for i in ids]
    if lost := [i for i in wanted if i not in there]:
        raise InputError(f"The labels have no object {lost[0]}; they have {len(there)} objects.")
    if not wanted:
        return []
    if budget < 12 * len(wanted):
        raise InputError(
            f"{len(wanted)} objects need {12 * len(wanted)} triangles, got {budget}. Raise it or choose fewer."
        )
    area = np.array([there[i][1] for i in wanted]) ** (2 / 3)
    floor = min(_FLOOR, budget // len(wanted))
    shares = floor + area * ((budget - floor * len(wanted)) / area.sum())
    return [_mesh(data, i, there[i][0], unit, int(share), smooth) for i, share in zip(wanted, shares, strict=True)]


def joined(meshes: list[Mesh]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint32]]:
    """Return some surfaces as one: its vertices, (n, 3), as x, y, z, and its triangles, (m, 3)."""
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes)], dtype=np.uint32)
    points = [m.vertices[:, ::-1] for m in meshes]
    triangles = [m.triangles + start for m, start in zip(meshes, starts, strict=False)]
    return (np.concatenate([np.zeros((0, 3), np.float32), *points]),
            np.concatenate([np.zeros((0, 3), np.uint32), *triangles]))  # fmt: skip


def picture(
    meshes: list[Mesh], colors: npt.ArrayLike, *, yaw: float = -0.5, pitch: float = 0.35, size: int = 480
) -> tuple[npt.NDArray[np.uint8], float]:
    """Draw surfaces with numpy alone: where there is no WebGL, in a script, on a cluster.

    Parameters
    ----------
    meshes : list of Mesh
    colors : (n, 3) array
        Red, green, blue, 0..1, of each mesh.
    yaw, pitch : float
        Radians by which the objects are turned about their upright axis, and then towards the viewer. At (0, 0) one
        looks along z, as at a plane of the stack.
    size : int
        Pixels on a side. Objects that are turned about their upright axis fill it and stay in it.

    Returns
    -------
    rgba : (size, size, 4) uint8 array
        Transparent where nothing is.
    scale : float
        Units of the vertices (nm or voxels) in a pixel; it is the same everywhere, for parallel lines stay parallel.
    """
    side = 2 * size  # four points to a pixel: else edges are stairs
    flat, faces = joined(meshes)
    if not len(faces):
        return np.zeros((size, size, 4), np.uint8), 1.0
    points = flat.astype(np.float64) - (flat.min(axis=0) + flat.max(axis=0)) / 2
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    # What of x, y, z goes right, up and to the viewer, as in js/solid.js.
    turn = np.array([[cy, 0, -sy], [sp * sy, -cp, sp * cy], [-cp * sy, -sp, -cp * cy]])
    around, tall = np.hypot(points[:, 0], points[:, 2]).max(), np.abs(points[:, 1]).max()
    scale = 2 * max(around, tall * abs(cp) + around * abs(sp), 1e-9) / (0.92 * side)
    a, b, c = (points[faces[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    normals = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, k], 3), len(points)) for k in range(3)], axis=1)
    normals = normals @ turn.T
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    lit = 0.42 + 0.58 * np.clip(normals @ (np.array([-0.35, 0.5, 0.8]) / np.sqrt(1.0125)), 0, 1)
    right, up, near = (points @ turn.T).T
    seen = np.stack([side / 2 + right / scale, side / 2 - up / scale, near, lit], axis=1).astype(np.float32)
    owner = np.repeat(np.arange(len(meshes)), [len(m.triangles) for m in meshes])
    front = across @ turn[2] > 0  # the far sides of closed surfaces are hidden by the near ones
    faces, owner = faces[front], owner[front]
    # Triangles are so small that points on them, less than a pixel apart, fill them.
    corners = seen[faces]
    longest = np.ceil(np.abs(corners - np.roll(corners, 1, axis=1))[..., :2].max(axis=(1, 2)) / 0.9).astype(int)
    found, owners = [], []
    for n in np.unique(longest).tolist():
        which = np.flatnonzero(longest == n)
        i, j = np.nonzero(np.add.outer(np.arange(n + 1), np.arange(n + 1)) <= n)
        weights = np.stack([i, j, n - i - j], axis=1) / max(n, 1) if n else np.array([[1.0, 0, 0]])
        found.append((weights.astype(np.float32) @ corners[which]).reshape(-1, 4))
        owners.append(np.repeat(owner[which], len(weights)))
    drops, owner = np.concatenate(found), np.concatenate(owners)
    place = np.clip(drops[:, 1].astype(int), 0, side - 1) * side + np.clip(drops[:, 0].astype(int), 0, side - 1)
    last = np.argsort(drops[:, 2], kind="stable")  # what is nearest is written last
    out = np.zeros((side * side, 4), np.float32)
    winner = np.full(side * side, -1)
    winner[place[last]] = last
    covered = winner >= 0
    first = winner[covered]
    out[covered, :3] = np.asarray(colors, np.float32)[owner[first]] * drops[first, 3:]
    out[covered, 3] = 1
    mean = out.reshape(size, 2, size, 2, 4).mean(axis=(1, 3))
    mean[..., :3] /= np.maximum(mean[..., 3:], 0.25)
    return np.rint(np.clip(mean, 0, 1) * 255).astype(np.uint8), 2 * scale


def _boxes(data: npt.NDArray[Any]) -> dict[int, tuple[Box, int]]:
    """Return the box and the number of voxels of every object."""
    around = around_of(data).slices  # of a huge volume only what lies around its objects is searched
    numbers, names = fastremap.renumber(data[around], in_place=False)
    table, found = cc3d.statistics(numbers), {}
    for value, number in ((int(v), int(n)) for v, n in names.items() if v):
        ends = zip(around, table["bounding_boxes"][number], strict=True)
        z, y, x = ((whole.start + part.start, whole.start + part.stop) for whole, part in ends)
        box = Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))
        found[value] = box, int(table["voxel_counts"][number])
    return found


def _mesh(data: npt.NDArray[Any], id: int, box: Box, unit: npt.NDArray[np.float64], most: int, smooth: int) -> Mesh:
    """Mesh one object out of its box."""
    mask = data[box.slices] == id
    if not mask.any():  # it was deleted meanwhile
        return Mesh(id, np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint32))
    factor = max(1, math.ceil((mask.size / _LARGEST) ** (1 / 3)))
    # Triangles that will go again need not be made: a rounded body of n voxels has about 12 n^(2/3) of them.
    spare = math.ceil(math.sqrt(12 * np.count_nonzero(mask) ** (2 / 3) / (2 * most)))
    factor = max(factor, min(spare, min(mask.shape) // 8))
    mask = _thinned(mask, factor) if factor > 1 else mask
    mesher = zmesh.Mesher((1.0, 1.0, 1.0))
    mesher.mesh(np.pad(mask, 1).astype(np.uint8))
    raw = mesher.get(1, reduction_factor=0)
    vertices = _smoothed(raw.vertices.astype(np.float64), raw.faces, smooth)
    # Voxel k of the thinned mask covers voxels k * factor ... of the box; its centre lies in their middle.
    vertices = (vertices - 1) * factor + (factor - 1) / 2 + np.array(box.start)
    corner = vertices.min(axis=0) * unit
    vertices = vertices * unit - corner
    faces = raw.faces
    if len(faces) > most:
        # The simplifier counts in float32 and 20 bits: it gets coordinates near 0, of a size near 1.
        scale = 1000 / max(float(vertices.max()), 1e-9)
        raw.vertices = (vertices * scale).astype(np.float32)
        raw = mesher.simplify(raw, reduction_factor=-(-len(faces) // most), max_error=1e6, min_error=0)
        vertices, faces = raw.vertices.astype(np.float64) / scale, raw.faces
    out = (vertices + corner).astype(np.float32)
    mesh = Mesh(id, out, np.ascontiguousarray(faces, dtype=np.uint32))
    return mesh if mesh.volume >= 0 else Mesh(id, out, np.ascontiguousarray(mesh.triangles[:, ::-1]))


def _thinned(mask: npt.NDArray[np.bool_], factor: int) -> npt.NDArray[np.bool_]:
    """Bin a mask by blocks: a block is set when half of it is, or, should nothing be left, any of it."""
    padded = np.pad(mask, [(0, -n % factor) for n in mask.shape])
    z, y, x = (n // factor for n in padded.shape)
    blocks = padded.reshape(z, factor, y, factor, x, factor)
    most = blocks.mean(axis=(1, 3, 5)) >= 0.5
    return np.asarray(most if most.any() else blocks.any(axis=(1, 3, 5)))


def _smoothed(vertices: npt.NDArray[np.float64], faces: npt.NDArray[np.uint32], rounds: int) -> npt.NDArray[np.float64]:
    """Move vertices towards their neighbours and, to keep the volume, nearly as far back (Taubin 1995)."""
    if rounds == 0:
        return vertices
    n = len(vertices)
    a, b = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    # Every edge of a closed surface belongs to two triangles, which run along it in opposite directions.
    near = coo_matrix((np.ones(len(a)), (a, b)), shape=(n, n)).tocsr()
    degree = np.maximum(np.asarray(near.sum(axis=1)).ravel(), 1)
    near = diags(1 / degree) @ near
    for _ in range(rounds):
        for step in (0.5, -0.53):
            vertices = vertices + step * (near @ vertices - vertices)
    return vertices
