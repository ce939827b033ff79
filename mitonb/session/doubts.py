"""Doubts: what to look at first. Objects, and places without one, by how likely something is wrong, with the reason."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cc3d
import fastremap
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.box import Box
from mitonb.edit.splitting import neck_of
from mitonb.errors import AxesError
from mitonb.labels import AnyLabels, Labels, integers
from mitonb.memory import require
from mitonb.post.tables import as_ids, pairs
from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mitonb.maps import Maps
    from mitonb.stack import Axis, VoxelSize

    _Maps = Callable[[int], Maps | None]


_UNSURE = 64
"""Of 255: where the semantic map is nearer to its threshold, the network is unsure."""
_BELOW = 40
"""Of 255: so far below the threshold a mitochondrion that was missed is looked for, too."""
_FEW = 8
"""Objects smaller than the median by this factor are very small."""
_FEWER = 30
"""Places smaller than the median object by this factor are none."""
_BYTES = 16
"""Of memory for each voxel, beside the labels."""
_ADVICE = {
    "": "", "merge": "merge {0} into {keep}", "split_at_necks": "split it at the neck",
    "interpolate": "fill the planes between", "delete": "delete it", "put_object": "take what the network sees",
}  # fmt: skip
_APART = 0.15
"""Shares of an object that the network sees in two directions differ by more where these disagree."""
_BESIDE = 3
"""Voxels from a border to where the objects beside it are measured."""


@dataclass(frozen=True)
class Doubt:
    """Something to look at.

    Attributes
    ----------
    id : int
        The object; 0 for a place where one may be missing.
    score : float
        How likely something is wrong, 0..1, for an order; it is no probability.
    reasons : tuple of str
        Why, the weightiest first; empty where nothing is known against it.
    at : tuple of int
        Where to look, (z, y, x).
    fix : tuple of str and dict, or None
        A verb and its arguments that would mend it, to be looked at before.
    """

    id: int
    score: float
    reasons: tuple[str, ...]
    at: tuple[int, int, int]
    fix: tuple[str, Mapping[str, Any]] | None = field(default=None, compare=False, repr=False)

    @property
    def advice(self) -> str:
        """What the fix does, for people; "" where there is none."""
        verb, given = self.fix or ("", {})
        return _ADVICE.get(verb, verb.replace("_", " ")).format(*given.get("gone", ()), **given)

    def renamed(self, was: int, to: int) -> Doubt:
        """Return the same doubt after an object has got another id."""

        def now(ids: Any) -> Any:
            return [*map(now, ids)] if isinstance(ids, list) else to if ids == was else ids

        verb, given = self.fix or ("", {})
        fix = {name: now(value) if name in ("id", "keep", "ids", "gone") else value for name, value in given.items()}
        # Other objects are named in reasons.
        reasons = tuple(re.sub(rf"\b(as|meets|touches) {was}\b", rf"\1 {to}", text) for text in self.reasons)
        return replace(self, id=now(self.id), reasons=reasons, fix=self.fix and (verb, fix))

    def holds(self, point: Sequence[int]) -> bool:
        """Return whether a voxel belongs to what may be missing in a place without an object."""
        _, given = self.fix or ("", {})
        if tuple(point) == self.at or "mask" not in given:
            return tuple(point) == self.at
        inside = np.subtract(point, given["start"])
        return bool((inside >= 0).all() and (inside < given["mask"].shape).all() and given["mask"][tuple(inside)])

    def __str__(self) -> str:
        what = f"Object {self.id}" if self.id else f"Plane {self.at[0]}, y {self.at[1]}, x {self.at[2]}"
        return f"{what}: {'; '.join(self.reasons) or 'nothing is known against it'}"


def find_doubts(
    labels: AnyLabels, *, maps: _Maps | None = None, across: Mapping[Axis, _Maps] | None = None, threshold: float = 0.5
) -> list[Doubt]:
    """Rank all objects by how likely something is wrong with them, and places where one may be missing.

    An object is doubtful where it is not there on planes between others, ends inside of the tissue although the
    network sees more or another one begins, touches another one along a long border, has a neck, changes its area
    abruptly, is very small, where the network is unsure, or sees it in one direction of planes and not in another.
    Scores of several reasons are joined as if they were independent; `benchmarks/reviewing.py` measures what the order
    is worth.

    Parameters
    ----------
    labels : Labels or (z, y, x) integer array
        0 is background.
    maps : callable, optional
        Returns the maps of an xy plane, or None where the net has not run; without, only shapes are judged.
    across : dict of {"xz", "yz"} to callable, optional
        The same of planes of other directions.
    threshold : float
        Of the semantic map, 0..1.

    Returns
    -------
    doubts : list of Doubt
        All objects, and places; the most doubtful first.

    Raises
    ------
    AxesError, TooLargeError
        If the labels are no volume, or memory does not suffice.

    Examples
    --------
    >>> ids = np.zeros((7, 9, 9), np.uint32)
    >>> ids[:3, 2:6, 2:6], ids[4:, 2:6, 2:6] = 5, 5
    >>> doubt = find_doubts(ids)[0]
    >>> doubt.id, doubt.reasons, doubt.fix
    (5, ('is not there on plane 3, between others',), ('interpolate', {'ids': [5]}))
    """
    volume, size = integers(labels, "labels"), labels.voxel_size if isinstance(labels, Labels) else None
    if volume.ndim != 3:
        raise AxesError(f"Labels need 3 axes (z, y, x), got shape {volume.shape}. For one plane pass ids[None].")
    if not volume.size:
        return []
    needed = volume.size * (_BYTES if maps else _BYTES // 2)
    require(needed, "Looking for what is doubtful", "Look at a part: find_doubts(labels.data[:100]).")
    facts = _Facts(volume, maps, across or {}, round(255 * threshold), size)
    found: dict[int, list[_Reason]] = defaultdict(list)
    for number, planes in facts.area.items():
        for look in (_gap, _ends, _neck, _jump, _small, _unsure, _disagree):
            found[number] += look(facts, number, planes)
    for number, reason in (*_going_on(facts), *_borders(facts)):
        found[number].append(reason)
    doubts = [facts.doubt(number, found[number]) for number in range(1, len(facts.ids))]
    return sorted([*doubts, *_missing(facts)], key=lambda doubt: (-doubt.score, doubt.id))


@dataclass(frozen=True)
class _Reason:
    score: float
    text: str
    plane: int
    fix: tuple[str, Mapping[str, Any]] | None = None


class _Facts:
    """What is known of n objects, numbered from 1, and of their profiles on xy planes.

    Attributes
    ----------
    ids : (n + 1,) int64 array
        Id of each number.
    area : dict of int to dict of int to int
        Pixels of each object on each of its planes.
    links : list of (plane, number, other, pixels)
        What lies on what, on a plane and the next one.
    heard : dict of axis to (4, n + 1) array
        What the network says of each object on planes of a direction: voxels on those that it has seen, the sum of the
        semantic map over these, 0..255 each, how many are near the threshold, and how many above it.
    judged, light, doubtful : (n + 1,) array
        The first three of xy planes.
    free : uint8 array
        Foreground that is nobody's, as the network sees it.
    """

    def __init__(
        self, volume: npt.NDArray[Any], maps: _Maps | None, across: Mapping[Axis, _Maps], threshold: int,
        size: VoxelSize | None,
    ) -> None:  # fmt: skip
        small, names = fastremap.renumber(volume, preserve_zero=True, in_place=False)
        self.small, self.voxel_size, self.threshold = as_ids(small), size, threshold
        self.ids = np.array([0, *(id for id, number in sorted(names.items(), key=lambda pair: pair[1]) if number)])
        self.area: dict[int, dict[int, int]] = defaultdict(dict)
        self.links: list[tuple[int, int, int, int]] = []
        for z, plane in enumerate(self.small):
            for number, count in enumerate(np.bincount(plane.ravel()).tolist()):
                if number and count:
                    self.area[number][z] = count
            if z:
                over = zip(*(column.tolist() for column in pairs(self.small[z - 1], plane)), strict=True)
                self.links += [(z - 1, a, b, count) for a, b, count in over if a and b and a != b]
        self.voxels = np.bincount(self.small.ravel(), minlength=len(self.ids))
        self.median = float(np.median(self.voxels[1:])) if len(self.ids) > 1 else 1.0
        self.boxes = {
            number: Box((z.start, y.start, x.start), (z.stop, y.stop, x.stop))
            for number, (z, y, x) in enumerate(ndimage.find_objects(self.small), 1)
        }
        self.free = np.zeros(volume.shape if maps else (0, 0, 0), np.uint8)
        self.heard = {axis: self._listen(axis, one) for axis, one in {"xy": maps, **across}.items()}
        self.judged, self.light, self.doubtful, _ = self.heard["xy"]

    def _listen(self, axis: Axis, maps: _Maps | None) -> npt.NDArray[np.float64]:
        """Sum up over planes what the network says: voxels, semantic map, how many are unsure, and foreground."""
        sums = np.zeros((4, len(self.ids)))
        for k, plane in enumerate(np.moveaxis(self.small, AXES[axis], 0) if maps else ()):
            if maps is not None and (found := maps(k)) is not None:
                said = found.kept().semantic.max(axis=0)
                near = np.abs(said.astype(np.int16) - self.threshold) < _UNSURE
                for total, what in zip(sums, (said >= 0, said, near, said >= self.threshold), strict=True):
                    total += np.bincount(plane.ravel(), what.ravel(), len(total))
                if axis == "xy":
                    self.free[k] = np.where((plane == 0) & (said >= self.threshold - _BELOW), said, 0)
        return sums

    def beyond(self, number: int, end: int, beyond: int) -> float:
        """Return the share of a profile at an end, on whose next plane the network sees what is nobody's."""
        _, y, x = self.boxes[number].slices
        profile = self.small[end, y, x] == number
        return float((self.free[beyond, y, x][profile] >= self.threshold).mean()) if self.free.size else 0.0

    def id(self, number: int) -> int:
        return int(self.ids[number])

    def widest(self, number: int) -> int:
        """Return the plane on which an object is largest."""
        planes = self.area[number]
        return max(planes, key=lambda z: planes[z])

    def doubt(self, number: int, reasons: list[_Reason]) -> Doubt:
        """Join the reasons; what nothing is known against is ranked by how sure the network is."""
        reasons = sorted(reasons, key=lambda one: -one.score)
        quiet = 0.2 * self.doubtful[number] / max(self.judged[number], 1)
        score = 1 - float(np.prod([1 - one.score for one in reasons])) * (1 - quiet)
        plane = reasons[0].plane if reasons else self.widest(number)
        fix = next((one.fix for one in reasons if one.fix), None)
        there = plane if plane in self.area[number] else self.widest(number)
        _, y, x = self.boxes[number].slices
        rows, columns = np.nonzero(self.small[there, y, x] == number)
        at = plane, y.start + round(rows.mean()), x.start + round(columns.mean())
        return Doubt(self.id(number), float(score), tuple(one.text for one in reasons[:3]), at, fix)


def _gap(facts: _Facts, number: int, planes: dict[int, int]) -> Iterator[_Reason]:
    missing = sorted(set(range(min(planes), max(planes) + 1)) - planes.keys())
    if missing:
        where = f"plane {missing[0]}" if len(missing) == 1 else f"{len(missing)} planes from {missing[0]}"
        score = 0.3 + 0.5 * len(missing) / (max(planes) - min(planes) + 1)
        fix = "interpolate", {"ids": [facts.id(number)]}
        yield _Reason(score, f"is not there on {where}, between others", missing[0] - 1, fix)


def _ends(facts: _Facts, number: int, planes: dict[int, int]) -> Iterator[_Reason]:
    """Find ends inside of the volume where the network sees more, or the object is still wide."""
    for end, beyond in ((min(planes), min(planes) - 1), (max(planes), max(planes) + 1)):
        if not 0 <= beyond < len(facts.small):
            continue
        more, wide = facts.beyond(number, end, beyond), planes[end] / max(planes.values())
        if more > 0.3:
            yield _Reason(min(0.6, 0.25 + 0.4 * more), f"ends on plane {end}, where the network sees more", end)
        elif wide > 0.6 and len(planes) > 3:
            yield _Reason(0.1 + 0.3 * wide, f"ends abruptly on plane {end}", end)


def _neck(facts: _Facts, number: int, _: dict[int, int]) -> Iterator[_Reason]:
    if 2 * facts.voxels[number] > facts.median:
        depth, plane = neck_of(facts.small, number, facts.boxes, facts.voxel_size)
        if depth > 0.2:
            # Large objects are two more often than small ones.
            large = float(np.clip(np.sqrt(facts.voxels[number] / facts.median), 0.5, 1.5))
            fix = "split_at_necks", {"id": facts.id(number)}
            yield _Reason(min(0.9, 1.5 * (depth - 0.1) * large), "has a neck: it may be two", plane, fix)


def _jump(_: _Facts, number: int, planes: dict[int, int]) -> Iterator[_Reason]:
    """Find the plane on which the area changes abruptly, not at the ends."""
    order = sorted(planes)[1:-1]
    if len(order) > 3:
        area = np.array([planes[z] for z in order], np.float64)
        change = np.abs(np.diff(np.log(area)))
        k = int(change.argmax())
        if change[k] > 0.7 and min(area[k : k + 2]) > 0.2 * area.max():
            yield _Reason(min(0.8, 0.2 + 0.3 * change[k]), f"changes abruptly on plane {order[k + 1]}", order[k])


def _small(facts: _Facts, number: int, _: dict[int, int]) -> Iterator[_Reason]:
    least = facts.median / _FEW
    if facts.voxels[number] < least:
        score = 0.6 - 0.3 * facts.voxels[number] / least
        yield _Reason(score, "is very small", facts.widest(number), ("delete", {"ids": [facts.id(number)]}))


def _unsure(facts: _Facts, number: int, _: dict[int, int]) -> Iterator[_Reason]:
    judged = facts.judged[number]
    if judged and facts.doubtful[number] > 0.25 * judged:
        mean = facts.light[number] / judged / 255
        score = min(0.9, 0.2 + 0.8 * facts.doubtful[number] / judged)
        yield _Reason(score, f"the network is unsure of it ({mean:.2f} on average)", facts.widest(number))


def _disagree(facts: _Facts, number: int, _: dict[int, int]) -> Iterator[_Reason]:
    """Find objects that the network sees in one direction of planes, and not in another."""
    heard = {axis: (judged[number], above[number]) for axis, (judged, *_, above) in facts.heard.items()}
    shares = sorted((part / all, axis) for axis, (all, part) in heard.items() if 2 * all >= facts.voxels[number])
    if shares and shares[-1][0] - shares[0][0] > _APART:
        (least, there), (most, axis) = shares[0], shares[-1]
        text = f"the directions disagree: {axis} planes show {most:.0%} of it, {there} planes {least:.0%}"
        # Little: the network may be mistaken where the labels are not.
        yield _Reason(0.3 * (most - least) ** 2, text, facts.widest(number))


def _going_on(facts: _Facts) -> Iterator[tuple[int, _Reason]]:
    """Find objects that end where another one begins."""
    for z, a, b, shared in facts.links:
        ends, begins = max(facts.area[a]) == z, min(facts.area[b]) == z + 1
        small, large = sorted((facts.area[a][z], facts.area[b][z + 1]))
        if (ends or begins) and shared > 0.3 * small:
            score = min(0.95, (0.45 if ends and begins else 0.2) + 0.5 * shared / large)
            keep, gone = sorted((a, b), key=lambda number: -facts.voxels[number])
            fix = "merge", {"keep": facts.id(keep), "gone": [facts.id(gone)]}
            yield a, _Reason(score, f"seems to go on as {facts.id(b)} on plane {z + 1}", z, fix)
            yield b, _Reason(score, f"seems to go on as {facts.id(a)} on plane {z}", z + 1, fix)


def _borders(facts: _Facts) -> Iterator[tuple[int, _Reason]]:
    """Find objects whose common border is about as wide as they are: one that was cut in two looks so."""
    for pair, faces in cc3d.contacts(facts.small, connectivity=6).items():
        small, large = sorted(map(int, pair), key=lambda number: float(facts.voxels[number]))
        if faces < 0.2 * facts.voxels[small] ** (2 / 3):
            continue
        share, plane = _border(facts, small, large)
        if share > 0.35:
            fix = "merge", {"keep": facts.id(large), "gone": [facts.id(small)]}
            for one, other in ((small, large), (large, small)):
                text = f"meets {facts.id(other)} in a border as wide as itself"
                if share < 0.6:
                    text = f"touches {facts.id(other)} along a long border"
                yield one, _Reason(min(0.9, share - 0.15), text, plane, fix)


def _border(facts: _Facts, small: int, large: int) -> tuple[float, int]:
    """Return how wide the border of two objects is as a share of the thinner one beside it, and a plane with it."""
    around = facts.boxes[small].grow(_BESIDE + 1)
    other = facts.boxes[large].grow(_BESIDE + 1)
    start = tuple(max(0, p, q) for p, q in zip(around.start, other.start, strict=True))
    view = facts.small[tuple(slice(a, min(p, q)) for a, p, q in zip(start, around.stop, other.stop, strict=True))]
    masks, faces, beside = [view == small, view == large], list[int](), list[int]()
    for mask, against in (masks, masks[::-1]):
        face = mask & ndimage.binary_dilation(against)
        away = ndimage.distance_transform_edt(~face)
        faces.append(int(np.count_nonzero(face)))
        beside.append(int(np.count_nonzero(mask & (away >= _BESIDE) & (away < _BESIDE + 1))))
    planes = (masks[0] & ndimage.binary_dilation(masks[1])).sum(axis=(1, 2))
    return min(faces) / max(1, min(beside)), start[0] + int(planes.argmax())


def _missing(facts: _Facts) -> Iterator[Doubt]:
    """Find foreground that no object holds; rims around objects are none."""
    if not facts.free.any():
        return
    inner = ndimage.binary_erosion(facts.free > 0, np.ones((1, 3, 3), bool))
    pieces = cc3d.connected_components(inner, connectivity=6)
    table = cc3d.statistics(pieces)
    for number in (np.flatnonzero(table["voxel_counts"][1:] >= max(20, facts.median / _FEWER)) + 1).tolist():
        box = table["bounding_boxes"][number]
        mask = pieces[box] == number
        sure = float((facts.free[box][mask] >= facts.threshold).mean())
        size = min(1.0, float(mask.sum()) / facts.median)
        plane = int(mask.sum(axis=(1, 2)).argmax())
        spots = np.argwhere(mask[plane])
        y, x = spots[((spots - spots.mean(0)) ** 2).sum(1).argmin()].tolist()
        at = box[0].start + plane, box[1].start + y, box[2].start + x
        text = "the network sees a mitochondrion here that no object holds"
        around = Box(*((s.start for s in box), (s.stop for s in box))).grow(1).clip(facts.free.shape)  # type: ignore[arg-type]
        piece = ndimage.binary_dilation(pieces[around.slices] == number, np.ones((1, 3, 3), bool))
        fix = "put_object", {"start": around.start, "mask": piece & (facts.free[around.slices] > 0)}
        yield Doubt(0, 0.2 + 0.5 * sure * (0.5 + 0.5 * size), (text,), at, fix)
