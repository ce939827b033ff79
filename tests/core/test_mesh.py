"""Surfaces: closed, in place, of the right volume, within their budget."""

from __future__ import annotations

import numpy as np
import pytest

from mitonb import mesh
from mitonb.errors import AxesError, InputError
from mitonb.labels import Labels
from mitonb.mesh import Mesh, surfaces
from mitonb.phantoms import phantom


def surface(labels: object, id: int, *, max_triangles: int = 20_000, **options: object) -> Mesh:
    return surfaces(labels, [id], budget=max_triangles, **options)[0]  # type: ignore[arg-type]


def ball(radius: int, margin: int = 3) -> np.ndarray:
    side = np.arange(-radius - margin, radius + margin + 1)
    z, y, x = np.meshgrid(side, side, side, indexing="ij")
    return (z**2 + y**2 + x**2 <= radius**2).astype(np.uint32)


def is_closed(m: Mesh) -> bool:
    """Whether each edge belongs to two triangles that run along it in opposite directions."""
    t = m.triangles.astype(np.int64)
    edges = np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
    there = {(int(a), int(b)) for a, b in edges}
    return len(there) == len(edges) and all((b, a) in there for a, b in there)


def test_a_ball_has_the_volume_of_its_voxels_and_faces_outwards() -> None:
    ids = ball(12)
    for smooth in (0, 6):
        m = surface(ids, 1, max_triangles=100_000, smooth=smooth)
        assert is_closed(m)
        assert m.volume == pytest.approx(ids.sum(), rel=0.02)


def test_vertices_are_in_nm_around_the_voxel_centres() -> None:
    ids = np.zeros((8, 12, 16), np.uint32)
    ids[2:4, 5:7, 9:14] = 3
    m = surface(Labels(ids, voxel_size=(40, 8, 10)), 3, smooth=0)
    assert m.vertices.min(axis=0).tolist() == [1.5 * 40, 4.5 * 8, 8.5 * 10]
    assert m.vertices.max(axis=0).tolist() == [3.5 * 40, 6.5 * 8, 13.5 * 10]
    assert surface(ids, 3, smooth=0).vertices.max(axis=0).tolist() == [3.5, 6.5, 13.5]


def test_an_object_at_the_border_is_closed_too() -> None:
    ids = np.full((4, 5, 6), 9, np.uint32)
    m = surface(ids, 9, smooth=0)
    assert is_closed(m)
    assert m.vertices.min() == -0.5


@pytest.mark.parametrize("most", [2000, 200])
def test_simplifying_keeps_to_its_budget_and_to_the_shape(most: int) -> None:
    ids = ball(20)
    m = surface(Labels(ids, voxel_size=(8, 8, 8)), 1, max_triangles=most)
    assert len(m.triangles) <= most
    assert is_closed(m)
    assert m.volume == pytest.approx(float(ids.sum()) * 512, rel=0.06)


def test_objects_of_a_phantom_fit_one_budget_and_stay_in_their_boxes() -> None:
    _, labels = phantom((24, 96, 96), seed=1)
    meshes = surfaces(labels, budget=4000)
    assert [m.id for m in meshes] == labels.ids().tolist()
    assert sum(len(m.triangles) for m in meshes) <= 4000
    for m in meshes:
        where = np.argwhere(labels.data == m.id) * 8
        assert (m.vertices.min(axis=0) >= where.min(axis=0) - 8).all()
        assert (m.vertices.max(axis=0) <= where.max(axis=0) + 8).all()


def test_chosen_objects_come_in_the_order_that_was_asked() -> None:
    ids = np.zeros((3, 3, 9), np.uint64)
    ids[1, 1, 1], ids[1, 1, 4], ids[1, 1, 7] = 5, 2**40, 6
    assert [m.id for m in surfaces(ids, [6, 2**40])] == [6, 2**40]
    assert surfaces(np.zeros((2, 2, 2), int)) == []


def test_a_very_large_object_is_thinned_and_keeps_place_and_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ball(20)
    monkeypatch.setattr(mesh, "_LARGEST", ids.size // 20)
    thin = surface(ids, 1)
    assert thin.volume == pytest.approx(ids.sum(), rel=0.05)
    np.testing.assert_allclose(thin.vertices.mean(axis=0), 23, atol=0.7)


def test_what_cannot_be_meshed_is_refused() -> None:
    with pytest.raises(InputError, match="no object 4"):
        surface(ball(3), 4)
    with pytest.raises(InputError, match="Raise it or choose fewer"):
        surfaces(ball(3), budget=5)
    with pytest.raises(AxesError, match="3 axes"):
        surfaces(np.zeros((3, 3), int))
