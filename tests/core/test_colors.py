"""Colours: the hash that Python and the shader share, a palette of unlike colours, and neighbours that differ."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from mitonb.box import Box
from mitonb.colors import MAPS, PALETTE, Coloring, map_colors, neighbors, overlay, slots
from mitonb.labels import Labels
from mitonb.session import Session


def test_the_hash_is_what_its_docstring_says() -> None:
    ids = [1, 2, 3, 77, 2**31, 2**32 - 1]
    plain = [((((i * 0x9E3779B1) % 2**32) >> 16) * 32) >> 16 for i in ids]
    assert slots(ids).tolist() == plain


def test_any_21_successive_ids_have_colours_of_their_own() -> None:
    colours = [tuple(rgb) for rgb in Coloring().rgb(np.arange(1, 3000)).tolist()]
    assert all(len(set(colours[i : i + 21])) == 21 for i in range(len(colours) - 21))


def test_background_is_black_and_shape_is_kept() -> None:
    rgb = Coloring().rgb(np.array([[0, 5], [9, 0]], np.uint32))
    assert rgb.shape == (2, 2, 3)
    assert rgb.dtype == np.float32
    assert (rgb[[0, 1], [0, 1]] == 0).all()
    assert rgb.min() >= 0
    assert rgb.max() <= 1


def test_wide_ids_count_by_their_lower_32_bits() -> None:
    assert slots(np.array([2**40 + 7], np.uint64)).tolist() == slots([7]).tolist()


def test_all_colours_occur_about_equally_often() -> None:
    counts = np.bincount(slots(np.arange(1, 32001)), minlength=32)
    assert counts.min() > 990
    assert counts.max() < 1010


def test_no_object_has_the_grey_of_the_image_nor_is_too_dark_to_see() -> None:
    rgb = Coloring().rgb(np.arange(1, 200))
    assert (rgb.max(axis=-1) - rgb.min(axis=-1)).min() > 0.2
    assert rgb.max(axis=-1).min() > 0.4


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB 0..1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    xyz = linear @ np.array(to_xyz).T / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def de76(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.sqrt(((one - other) ** 2).sum(-1))


def de2000(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """CIEDE2000, after Sharma, Wu and Dalal (2005)."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    dh = (h2 - h1 + 180) % 360 - 180
    hue = np.where(np.abs(h1 - h2) <= 180, (h1 + h2) / 2, (h1 + h2 + 360) / 2 % 360)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * np.cos(np.radians(hue - 30)) + 0.24 * np.cos(np.radians(2 * hue))
    t += 0.32 * np.cos(np.radians(3 * hue + 6)) - 0.2 * np.cos(np.radians(4 * hue - 63))
    sl = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    sc = (c2 - c1) / (1 + 0.045 * chroma)
    sh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh / 2)) / (1 + 0.015 * chroma * t)
    turn = 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return np.sqrt(np.maximum(sl**2 + sc**2 + sh**2 - turn * sc * sh, 0))


def test_any_two_colours_differ_by_ten_over_every_grey_and_from_it() -> None:
    greys, own = np.arange(256)[:, None, None] / 255, np.array(PALETTE) / 255
    filled = np.rint((0.55 * greys + 0.45 * own) * 255) / 255  # as the screen rounds it
    seen = lab(np.concatenate([filled, np.broadcast_to(greys, (256, 1, 3))], axis=1))
    for distance in (de76, de2000):
        apart = distance(seen[:, :, None], seen[:, None]).min(0)
        assert apart[~np.eye(len(apart), dtype=bool)].min() >= 10


def nearest(ids: np.ndarray, coloring: Coloring) -> float:
    """Return the least CIE dE, at fill opacity over mid grey, of any two objects that touch; by brute force."""
    pairs = set()
    for axis in range(3):
        n = ids.shape[axis]
        one, other = np.take(ids, range(n - 1), axis), np.take(ids, range(1, n), axis)
        found = (one != other) & (one > 0) & (other > 0)
        pairs |= set(map(tuple, np.unique(np.stack([one[found], other[found]], 1), axis=0).tolist()))
    first, second = (lab(0.55 * 0.5 + 0.45 * coloring.rgb([p[k] for p in pairs]).astype(float)) for k in (0, 1))
    return float(np.minimum(de76(first, second), de2000(first, second)).min())


def crowded() -> np.ndarray:
    """120 touching cells (the nearest of random points, in space), all with ids of one slot of the hash."""
    rng = np.random.default_rng(3)
    points = rng.uniform(0, 1, (120, 3)) * (24, 96, 96)
    voxels = np.indices((24, 96, 96)).reshape(3, -1).T
    cell = cKDTree(points).query(voxels)[1].reshape(24, 96, 96)
    same = np.flatnonzero(slots(np.arange(1, 8000)) == 5)[:120] + 1
    return same.astype(np.uint32)[cell]


def test_neighbours_never_have_colours_nearer_than_ten_also_under_edits() -> None:
    session = Session(labels=crowded())
    assert nearest(session.labels.data, session.colors) >= 10
    rng = np.random.default_rng(4)
    changed = 0
    for turn in range(24):
        before = {i: session.colors.slot(i) for i in session.ids()}
        one, other = rng.choice(session.ids(), 2, replace=False).tolist()
        if turn % 4 == 0:
            session.paint([[int(rng.integers(2, n - 2)) for n in session.shape]], id=session.new_id(), radius=9)
        elif turn % 4 == 1:
            session.merge(one, other)
        elif turn % 4 == 2:
            session.delete(one)
        else:
            session.undo()
        assert nearest(session.labels.data, session.colors) >= 10
        changed += sum(session.colors.slot(i) != slot for i, slot in before.items())
    assert changed < 24, "colours must stay while they can"


def test_the_same_volume_has_the_same_colours_in_every_view() -> None:
    ids = crowded()
    rgb = Session(labels=ids).colors.rgb(ids[5])
    assert (Coloring.of(ids).rgb(ids[5]) == rgb).all()
    for volume in (Session(labels=ids), Labels(ids), ids):
        assert np.allclose(overlay(np.zeros(ids[5].shape), ids[5], opacity=1, contrast=(0, 1), colors=volume), rgb)


def test_what_is_only_shown_takes_colours_and_gives_none_away() -> None:
    ids = crowded()
    coloring = Coloring.of(ids)
    before = coloring.rgb(ids)
    # Half of the cells of a plane under new names, all of the same slot.
    shown = np.where(ids[5:6] % 2 == 0, ids[5:6] + 2**20, ids[5:6])
    coloring.add(shown)
    assert (coloring.rgb(ids) == before).all()
    assert nearest(shown, coloring) >= 10
    # What was near is still known: an edit elsewhere parts from its neighbours, not from none.
    ids[20, 40:60, 40:60] = 77
    coloring.follow(ids, Box((20, 40, 40), (21, 60, 60)))
    assert nearest(ids, coloring) >= 10


def test_an_edit_that_comes_while_colours_are_chosen_gets_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(labels=np.zeros((1, 40, 40), np.uint32))
    session.paint([[0, 10, 10]], id=1, radius=3)

    def edited_meanwhile(ids: np.ndarray) -> np.ndarray:
        found = neighbors(ids)
        if session.voxels(22) == 0:
            session.paint([[0, 10, 18]], id=22, radius=3)  # of the same slot as 1
        return found

    monkeypatch.setattr("mitonb.colors.neighbors", edited_meanwhile)
    assert session.colors.slot(1) == session.colors.slot(1)
    assert session.colors.slot(1) != session.colors.slot(22)


@pytest.mark.once
def test_real_neurites_side_by_side_differ() -> None:
    folder = os.environ.get("MITONB_DATA_DIR")
    if not folder:
        pytest.skip("MITONB_DATA_DIR does not say where real data lies.")
    ids = np.load(Path(folder) / "connectomics_labels/connectomics_256crop.npz")["labels"].T[:96].astype(np.uint32)
    session = Session(labels=ids)
    assert nearest(ids, session.colors) >= 10
    rng = np.random.default_rng(5)
    for _ in range(4):
        session.merge(*rng.choice(session.ids(), 2, replace=False).tolist())
        session.paint([[60, *rng.integers(20, 230, 2)]], id=session.new_id(), radius=20)
        assert nearest(session.labels.data, session.colors) >= 10


def test_maps_are_mixed_between_the_stops_of_their_ramp_and_fade() -> None:
    violet, red, yellow = np.array(MAPS["semantic"].stops) / 255
    seen = map_colors("semantic", [0, 0.25, 0.5, 1, np.nan])
    assert seen.shape == (5, 4)
    assert np.allclose(seen[:4, :3], [violet, (violet + red) / 2, red, yellow], atol=1e-6)
    assert seen[[0, 2, 3, 4], 3].tolist() == [0, 1, 1, 0]
    assert 0 < seen[1, 3] < 1
    assert np.allclose(map_colors("center", [[0.0, 1.0]])[0, :, :3] * 255, MAPS["center"].stops, atol=1e-3)


def test_offsets_to_the_right_are_red_the_hues_go_clockwise_and_none_is_not_seen() -> None:
    offsets = np.array([[[0, 4, 0, -4, 0, 0]], [[4, 0, -4, 0, 0, 1.5]]], np.float32)
    seen = map_colors("offsets", offsets)[0]
    assert np.allclose(seen[0], [1, 64 / 255, 64 / 255, 1], atol=1e-6)
    assert np.allclose(seen[[1, 2, 3], :3] * 255, [MAPS["offsets"].stops[k] for k in (3, 6, 9)], atol=1e-3)
    assert seen[:, 3].tolist() == [1, 1, 1, 1, 0, 0.5]
