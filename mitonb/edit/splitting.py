"""Splitting: one object becomes two or more, from seeds, along a line, or where it is narrow; pure functions.

The parts meet where the object is narrowest between them: a watershed on the distance to its surface, in nm where the
voxel size is known. Each part is in one piece with its seed; the largest keeps the id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.box import Box
from mitonb.edit import ops
from mitonb.edit.edits import Edit, Mask, Volume, part_of
from mitonb.errors import InputError
from mitonb.memory import require
from mitonb.stack import AXES, Axis, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mitonb.edit.ops import Line
    from mitonb.stack import VoxelSize

Parts = npt.NDArray[np.uint32]
"""Numbers of parts, 1 and on; 0 stays as it is."""
Heights = npt.NDArray[np.float64]

MOST_PARTS = 1000
# Distances and floods are looked for among so many voxels: of larger objects each stands for a block. A preview of an
# object of 100 x 200 x 200 then takes a tenth of a second, and a border is exact to three voxels.
_LOOKED_AT = 250_000
_BYTES = 100  # that distances and floods take for each of these
# A neck counts where the smaller side is so much thicker: by this share of its own radius, and by so many voxels (or
# blocks). By less than the last, thickness goes up and down in a plain tube, too.
_NECK, _CLEAR, _NOISE = 0.3, 1.5, 0.75


def split(
    labels: Volume,
    id: int,
    seeds: Sequence[Any],
    boxes: Mapping[int, Box],
    new_ids: Callable[[int], list[int]],
    voxel_size: VoxelSize | None = None,
) -> Edit:
    """Split an object into one part for each seed.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        Not changed.
    id : int
        The object.
    seeds : sequence
        Two or more; each is a point (z, y, x) in voxels, a scribble (points that lines join), or a list of scribbles.
        What a scribble has outside of the object does not count.
    boxes : mapping of int to Box
        A box around every object; it may be larger than needed.
    new_ids : callable
        Returns so many ids that were never used.
    voxel_size : tuple of float, optional
        (z, y, x) in nm: distances along z, y and x are as long as they are.

    Raises
    ------
    InputError
        If there is no such object, or a seed lies outside of it.
    """
    if len(seeds) < 2:
        raise InputError(f"A split takes two or more seeds, got {len(seeds)}: one in each part.")
    if len(seeds) > MOST_PARTS:
        raise InputError(f"A split makes at most {MOST_PARTS} parts at once, got {len(seeds)} seeds.")
    shape = _Shape.of(labels, id, boxes, voxel_size)
    marks = dict[tuple[int, ...], int]()
    packed = []
    for number, seed in enumerate(seeds, 1):
        several = _several(seed)
        lines = [_line(labels, one) for one in (seed if several else [seed])]
        inside = shape.inside(np.concatenate(lines))
        if not len(inside):
            z, y, x = lines[0][0].tolist()
            there = f"object {labels[z, y, x]}" if labels[z, y, x] else "background"
            raise InputError(f"Seed {number} at {(z, y, x)} (z, y, x) is outside of object {id}: it lies in {there}.")
        for voxel in map(tuple, inside.tolist()):
            if marks.setdefault(voxel, number) != number:
                raise InputError(
                    f"Seeds {marks[voxel]} and {number} lie on the same voxel. Move one of them into another part."
                )
        packed.append([_packed(line) for line in lines] if several else _packed(lines[0]))
    return _edit("split", labels, shape, _flooded(shape, marks), new_ids, {"id": shape.id, "seeds": packed})


def split_at_necks(
    labels: Volume,
    id: int,
    boxes: Mapping[int, Box],
    new_ids: Callable[[int], list[int]],
    voxel_size: VoxelSize | None = None,
    parts: int | None = None,
) -> Edit:
    """Split an object where it is narrow between thick parts; arguments as in `split`.

    Parameters
    ----------
    parts : int, optional
        So many; None takes every neck that is clearly thinner than both of its sides, and the clearest at least.

    Raises
    ------
    InputError
        If there is no such object, or it has not so many necks.
    """
    wanted = None if parts is None else whole_number(parts)
    if parts is not None and (wanted is None or not 2 <= wanted <= MOST_PARTS):
        raise InputError(f"The number of parts is from 2 to {MOST_PARTS}, got {parts!r:.60}.")
    shape = _Shape.of(labels, id, boxes, voxel_size)
    steps = _steps(shape)
    mask, heights = blocks = _blocks(shape, steps)
    _, points, depths = _basins(heights, mask, 0.0)
    side = np.min(shape.spacing * steps)
    clear = depths >= np.maximum(_NECK * heights[tuple(points.T)], _CLEAR * side)
    points = points[np.lexsort((-depths, ~clear))][: np.count_nonzero(depths >= _NOISE * side)]
    count = max(2, int(np.count_nonzero(clear))) if wanted is None else wanted
    if len(points) < count:
        has = f"{len(points) - 1} neck{'s' * (len(points) != 2)}" if len(points) > 1 else "no neck"
        raise InputError(
            f"Object {id} has {has}: {count} parts cannot be told by its shape. Click a seed in each part."
        )
    marks = dict[tuple[int, ...], int]()
    for number, corner in enumerate(points[:count] * steps, 1):
        block = shape.mask[tuple(slice(a, a + n) for a, n in zip(corner, steps, strict=True))]
        marks[tuple((corner + np.argwhere(block)[np.count_nonzero(block) // 2]).tolist())] = number
    intent = {"id": shape.id} | ({} if parts is None else {"parts": count})
    return _edit("split_at_necks", labels, shape, _flooded(shape, marks, blocks), new_ids, intent)


def neck_of(labels: Volume, id: int, boxes: Mapping[int, Box], voxel_size: VoxelSize | None) -> tuple[float, int]:
    """Return how much thinner an object is at its clearest neck than on the thinner side of it, and its plane there.

    The first is 0 without a neck and near 1 where a bridge is thin; it counts less where that side is thin, too.
    """
    shape = _Shape.of(labels, id, boxes, voxel_size)
    steps = _steps(shape)
    mask, heights = _blocks(shape, steps)
    _, points, depths = _basins(heights, mask, 0.0)
    own = heights[tuple(points.T)]
    share = np.where(depths < own, depths / own * np.minimum(1, 1.4 * own / own.max()), 0)
    share[own <= 2 * np.min(shape.spacing * steps)] = 0
    k = int(share.argmax())
    return float(share[k]), shape.box.start[0] + int(points[k, 0] * steps[0])


def cut(
    labels: Volume,
    id: int,
    line: npt.ArrayLike,
    boxes: Mapping[int, Box],
    new_ids: Callable[[int], list[int]],
    *,
    axis: Axis = "xy",
    through: bool = True,
) -> Edit:
    """Cut an object along a line on one plane; arguments as in `split`.

    Parameters
    ----------
    line : (n, 3) array
        (z, y, x) in voxels, all on one plane of `axis`; it begins and ends outside of the object.
    axis : {"xy", "xz", "yz"}
        Direction of the plane.
    through : bool
        Cut through all planes of the object; False cuts on this plane alone.

    Raises
    ------
    InputError
        If there is no such object, or the line does not part it.
    """
    corners = ops.on_plane(labels, line, axis)
    along, plane = AXES[axis], int(corners[0, AXES[axis]])
    shape = _Shape.of(labels, id, boxes, None)
    intent = {"id": shape.id, **ops.packed_line(corners, axis)} | ({} if through else {"through": False})
    depth = plane - shape.box.start[along]
    if not 0 <= depth < shape.mask.shape[along]:
        raise InputError(f"Object {id} is not on {axis} plane {plane}: cut it on a plane where it is.")
    profile = np.moveaxis(shape.mask, along, 0)[depth]
    wall = _wall(np.delete(corners - shape.box.start, along, axis=1), profile.shape)
    sides = _sides(profile, wall)
    if sides.max() < 2:
        raise InputError(
            f"The line does not part object {id} on this plane: draw it right across, from outside to outside."
        )
    parts = np.zeros(shape.mask.shape, np.uint32)
    planes = np.moveaxis(parts, along, 0)
    if not through:
        planes[depth] = _walled(sides, wall & profile)
        return _edit("cut", labels, shape, parts, new_ids, intent)
    # The same line on all planes: what lies beside it there belongs to the side that it hangs together with.
    shadow: Mask = np.asarray(shape.mask.any(axis=along))
    swept = _walled(_watershed(np.zeros(shadow.shape), sides, shadow & ~wall), wall & shadow)
    planes[...] = np.where(np.moveaxis(shape.mask, along, 0), swept, 0)
    marks = tuple(np.insert(np.argwhere(sides), along, depth, axis=1).T)
    return _edit("cut", labels, shape, _joined(parts, marks, sides[sides > 0]), new_ids, intent)


def split_pieces(labels: Volume, id: int, boxes: Mapping[int, Box], new_ids: Callable[[int], list[int]]) -> Edit:
    """Let each piece of an object be an object of its own; arguments as in `split`. One in one piece stays as it is."""
    shape = _Shape.of(labels, id, boxes, None)
    # As numbers: for masks of one voxel across cc3d has a path of its own that fails.
    pieces = np.asarray(cc3d.connected_components(shape.mask.view(np.uint8), connectivity=26), np.uint32)
    return _edit("split_pieces", labels, shape, pieces, new_ids, {"id": id})


def unpacked(seed: Sequence[Any]) -> Any:
    """Return a seed of the journal: a point, a list of points, or a list of such lists.

    Examples
    --------
    >>> unpacked([3, 40, 50]), unpacked([3, 40, 50, 0, 2, -1])
    ((3, 40, 50), [(3, 40, 50), (3, 42, 49)])
    >>> unpacked([[3, 40, 50], [3, 40, 50, 0, 2, -1]])
    [[(3, 40, 50)], [(3, 40, 50), (3, 42, 49)]]
    """
    if np.ndim(seed[0]):
        return [one if isinstance(one, list) else [one] for one in map(unpacked, seed)]
    points = [tuple(point) for point in np.cumsum(np.reshape(seed, (-1, 3)), axis=0).tolist()]
    return points[0] if len(points) == 1 else points


# --- the object, and what it becomes --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shape:
    """An object by itself: its smallest box, its voxels there, and how far these are apart.

    `open` says of each side of each axis that the volume goes on there, so that the object really ends.
    """

    id: int
    box: Box
    mask: Mask
    spacing: Heights
    open: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, labels: Volume, id: int, boxes: Mapping[int, Box], voxel_size: VoxelSize | None) -> _Shape:
        (id,) = ops.existing([id], boxes)
        box = ops.smallest_box(labels, id, boxes[id])
        mask = labels[box.slices] == id
        nm = np.array(voxel_size or (1.0, 1.0, 1.0))
        ends = np.array([np.greater(box.start, 0), np.less(box.stop, labels.shape)]).T
        # What has a single plane is as thick as it looks there.
        return cls(id, box, mask, nm / nm.min(), ends & (np.array(box.shape) > 1)[:, None])

    def inside(self, line: Line) -> Line:
        """Return those points of a line that lie in the object, as counted in its box."""
        held: Line = line[((line >= self.box.start) & (line < self.box.stop)).all(axis=1)] - self.box.start
        found: Line = held[self.mask[tuple(held.T)]]
        return found


def _edit(
    kind: str, labels: Volume, shape: _Shape, parts: Parts, new_ids: Callable[[int], list[int]], intent: dict[str, Any]
) -> Edit:
    """Return the edit that gives all parts but the largest ids of their own."""
    table = cc3d.statistics(parts)
    sizes = table["voxel_counts"].astype(np.int64)
    sizes[0] = 0
    others = [n for n in np.flatnonzero(sizes).tolist() if n != sizes.argmax()]
    new = new_ids(len(others))
    changes = []
    for number, name in zip(others, new, strict=True):
        offset, at = np.array(shape.box.start), table["bounding_boxes"][number]
        start, stop = (offset + [getattr(part, end) for part in at] for end in ("start", "stop"))
        for piece in ops.pieces(Box((*start.tolist(),), (*stop.tolist(),))):
            inside = tuple(slice(a, b) for a, b in zip(piece.start - offset, piece.stop - offset, strict=True))
            changes.append(part_of(labels, piece, name, where=parts[inside] == number))
    return Edit.of(kind, changes, {**intent, "new": new})


def _several(seed: Any) -> bool:
    """Return whether a seed is a list of scribbles."""
    try:
        return np.ndim(seed[0]) == 2
    except (TypeError, ValueError, LookupError):
        return False


def _line(labels: Volume, seed: Any) -> Line:
    """Return the voxels of a seed, (n, 3): a point, or a line through several."""
    try:
        points = np.asarray(seed, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    points = points[None] if points.ndim == 1 else points
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise InputError(
            f"A seed is a point (z, y, x) in voxels, or a list of points or of such lists, got {seed!r:.60}."
        )
    for point in points:
        ops.inside(labels.shape, point.tolist())
    return ops.trail(points)


def _packed(line: Line) -> list[int]:
    """Return the corners of a line as the first and the moves from there: a journal keeps many."""
    moves = np.diff(line, axis=0)
    turns = np.ones(len(line), bool)
    turns[1:-1] = (moves[1:] != moves[:-1]).any(axis=1)
    corners = line[turns]
    packed: list[int] = np.diff(corners, axis=0, prepend=np.zeros((1, 3), np.int64)).ravel().tolist()
    return packed


# --- floods ---------------------------------------------------------------------------------------------------------


def _flooded(shape: _Shape, marks: Mapping[tuple[int, ...], int], blocks: tuple[Mask, Heights] | None = None) -> Parts:
    """Return the part of each voxel that hangs together with a marked one; `blocks` are those of `_steps`."""
    steps = _steps(shape)
    at, numbers = np.array([*marks]), np.array([*marks.values()], np.uint32)
    while len(np.unique(np.column_stack([at // steps, numbers]), axis=0)) > len(np.unique(at // steps, axis=0)):
        steps, blocks = np.maximum(1, steps // 2), None  # two seeds in one block
        needed = _BYTES * int(np.prod(-(-np.array(shape.mask.shape) // steps)))
        require(needed, f"Parting object {shape.id} by seeds so close together", "Set the seeds further apart.")
    mask, heights = blocks or _blocks(shape, steps)
    sides = shape.spacing * steps
    basins, _, _ = _basins(heights, mask, _NOISE * sides.min())
    seeded = np.zeros(mask.shape, np.uint32)
    seeded[tuple((at // steps).T)] = numbers
    basins = _shared(basins, seeded, sides)
    names = np.zeros(int(basins.max()) + 1, np.uint32)
    names[basins[seeded > 0]] = seeded[seeded > 0]
    # The widest passages first: two basins come together unless each has a seed of its own.
    root = [*range(len(names))]
    for _, a, b in _passages(basins, heights):
        a, b = _root(root, a), _root(root, b)
        if a != b and (not names[a] or not names[b] or names[a] == names[b]):
            root[a], names[b] = b, names[a] or names[b]
    found = names[[_root(root, n) for n in root]][basins]
    return _joined(_enlarged(found, steps, shape.mask), tuple(at.T), numbers)


def _steps(shape: _Shape) -> Line:
    """Return the sides of the blocks that stand for voxels: about as long in all directions."""
    steps, sides = np.ones(3, np.int64), np.array(shape.mask.shape)
    while np.prod(-(-sides // steps)) > _LOOKED_AT:
        steps[np.argmin(np.where(steps < sides, steps * shape.spacing, np.inf))] += 1
    return steps


def _blocks(shape: _Shape, steps: Line) -> tuple[Mask, Heights]:
    """Return which blocks have a voxel of an object, and how far each lies from its surface.

    Distances are in the smallest side of a voxel.
    """
    mask = np.pad(shape.mask, [(0, -n % step) for n, step in zip(shape.mask.shape, steps.tolist(), strict=True)])
    for axis, step in enumerate(steps.tolist()):
        along = np.moveaxis(mask, axis, 0)
        mask = np.moveaxis(np.logical_or.reduce([along[k::step] for k in range(step)]), 0, axis)
    ends = shape.open.astype(int) if shape.open.any() or not mask.all() else np.ones((3, 2), int)
    depth = ndimage.distance_transform_edt(np.pad(mask, ends), sampling=shape.spacing * steps)
    heights: Heights = depth[tuple(slice(a, a + n) for (a, _), n in zip(ends, mask.shape, strict=True))]
    return mask, heights


def _enlarged(parts: Parts, steps: Line, mask: Mask) -> Parts:
    """Return the parts of blocks as those of the voxels in them."""
    for axis, step in enumerate(steps.tolist()):
        if step > 1:
            parts = np.repeat(parts, step, axis=axis)
    z, y, x = mask.shape
    return np.where(mask, parts[:z, :y, :x], 0)


def _watershed(heights: Heights, marks: Parts, mask: Mask) -> Parts:
    """Flood a mask from marks, also across corners."""
    from skimage.segmentation import watershed  # late: looking needs none of it

    found = watershed(heights, marks, mask=mask, connectivity=heights.ndim)  # type: ignore[no-untyped-call]
    return np.asarray(found, np.uint32)


def _joined(parts: Parts, marks: tuple[Line, ...], numbers: Parts) -> Parts:
    """Return parts of which each piece has a mark; other pieces go to the part that they touch most.

    What hangs together with no mark stays as it is (0).
    """
    pieces = cc3d.connected_components(parts, connectivity=26)
    owner = np.zeros(int(pieces.max()) + 1, np.uint32)
    owner[pieces[marks]] = numbers
    if owner[1:].all():
        return parts
    lost = (owner[pieces] == 0) & (pieces > 0)
    around = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in ndimage.find_objects(lost.astype(np.uint8))[0])
    touching = sorted(cc3d.contacts(pieces[around], connectivity=26).items(), key=lambda pair: -pair[1])
    pending = True
    while pending:
        pending = False
        for (a, b), _ in touching:
            if bool(owner[a]) != bool(owner[b]):
                owner[a] = owner[b] = owner[a] or owner[b]
                pending = True
    joined: Parts = owner[pieces]
    return joined


# --- where to part ------------------------------------------------------------------------------------------------


def _basins(heights: Heights, mask: Mask, least: float) -> tuple[Parts, Line, Heights]:
    """Return the basins of an object: its parts around each thick place.

    Parameters
    ----------
    least : float
        What is thicker than the passage to a thicker basin by less than this belongs to that.

    Returns
    -------
    basins : uint32 array
        Their numbers, with gaps.
    points : (n, 3) int array
        The thickest place of each number.
    depths : (n,) float array
        How much it is thicker than the passage to a thicker one; where there is none, how thick it is.
    """
    tops, count = ndimage.label((ndimage.maximum_filter(heights, size=3) == heights) & mask, np.ones((3, 3, 3)))
    basins = _watershed(-heights, tops.astype(np.uint32), mask)
    points = np.array(ndimage.maximum_position(heights, tops, range(1, count + 1)), np.int64).reshape(-1, 3)
    own = [0.0, *heights[tuple(points.T)].tolist()]
    root, depths, merged = [*range(count + 1)], np.array(own), [*range(count + 1)]
    for height, a, b in _passages(basins, heights):
        lower, higher = sorted((_root(root, a), _root(root, b)), key=lambda n: (own[n], -n))
        if lower != higher:
            root[lower], depths[lower] = higher, own[lower] - height
            if depths[lower] < least:
                merged[lower] = higher
    return np.array([_root(merged, n) for n in merged], np.uint32)[basins], points, depths[1:]


def _passages(basins: Parts, heights: Heights) -> list[tuple[float, int, int]]:
    """Return the widest passage between each two basins that touch, (height, a, b), the widest first."""
    pairs, widths = [], []
    for axis in range(3):
        here, there = (np.moveaxis(basins, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        meet = (here != there) & (here > 0) & (there > 0)
        pairs.append(np.sort(np.stack([here[meet], there[meet]]), axis=0))
        width = np.moveaxis(heights, axis, 0)
        widths.append(np.minimum(width[:-1][meet], width[1:][meet]))
    (a, b), width = np.concatenate(pairs, axis=1).astype(np.int64), np.concatenate(widths)
    order = np.lexsort((-width, b, a))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(a[order]) != 0) | (np.diff(b[order]) != 0)
    kept = order[first]
    return sorted(zip(width[kept].tolist(), a[kept].tolist(), b[kept].tolist(), strict=True), key=lambda one: -one[0])


def _shared(basins: Parts, seeded: Parts, sides: Heights) -> Parts:
    """Divide basins in which there are several seeds half-way between these, in nm or voxels."""
    where = np.argwhere(seeded)
    owners = np.unique(np.column_stack([basins[tuple(where.T)], seeded[tuple(where.T)]]), axis=0)
    crowded, counts = np.unique(owners[:, 0], return_counts=True)
    boxes = ndimage.find_objects(basins.astype(np.int32)) if (counts > 1).any() else []
    for basin in crowded[counts > 1].tolist():
        box = boxes[basin - 1]
        mask = basins[box] == basin
        own = np.where(mask, seeded[box], 0)
        parts = _watershed(ndimage.distance_transform_edt(own == 0, sampling=sides), own, mask)
        basins[box] = np.where(parts, basins.max() + parts, basins[box])
    return basins


def _root(root: list[int], one: int) -> int:
    while root[one] != one:
        root[one] = one = root[root[one]]
    return one


def _wall(corners: Line, shape: tuple[int, ...]) -> Mask:
    """Return the pixels of a line on a plane, without gaps at its corners; it may reach beyond."""
    line = ops.trail(corners)
    between = np.column_stack([line[1:, 0], line[:-1, 1]])
    line = np.concatenate([line, between])
    line = line[((line >= 0) & (line < shape)).all(axis=1)]
    wall = np.zeros(shape, bool)
    wall[tuple(line.T)] = True
    return wall


def _sides(profile: Mask, wall: Mask) -> Parts:
    """Return what a wall makes of those pieces of a profile that it parts, numbered; the others are 0."""
    (before, _), (after, count) = (ndimage.label(mask, np.ones((3, 3))) for mask in (profile, profile & ~wall))
    was = np.zeros(count + 1, np.int64)
    was[after] = before
    was[0] = 0
    parted = np.bincount(was[1:], minlength=1)[was] > 1
    sides: Parts = (np.cumsum(parted) * parted).astype(np.uint32)[after]
    return sides


def _walled(sides: Parts, wall: Mask) -> Parts:
    """Give the pixels of a wall to the first side that they lie at."""
    for number in range(1, int(sides.max()) + 1):
        own = sides == number
        sides = np.where(ndimage.binary_propagation(own, np.ones((3, 3)), own | (wall & (sides == 0))), number, sides)
    return sides.astype(np.uint32)
