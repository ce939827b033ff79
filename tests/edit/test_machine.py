"""Any sequence of verbs, reopenings and crashes does to a session what it does to plain copies of an array.

`MITONB_EXAMPLES=1000 MITONB_STEPS=200` looks longer.
"""

import contextlib
import itertools
import os
import shutil
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from scipy import ndimage

from mitonb.box import Box
from mitonb.edit import marks
from mitonb.edit.verbs import VERBS
from mitonb.errors import InputError
from mitonb.session import Session

SHAPE = (3, 9, 10)
IDS_BY_HAND = (1, 2, 3, 300, 2**32 - 1)
IDS = st.sampled_from(IDS_BY_HAND)
AXES = {"xy": 0, "xz": 1, "yz": 2}
axes = st.sampled_from(sorted(AXES))
inner = st.integers(-3, 12)
voxel = st.tuples(*(st.integers(0, n - 1) for n in SHAPE))
# Nothing of the disk is tried here, and a disk takes ten times as long.
FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None


def centers_of(line):
    """Return the voxels of a polyline."""
    centers = [line[0]]
    for a, b in itertools.pairwise(line):
        n = max(abs(p - q) for p, q in zip(a, b, strict=True))
        centers += [
            [p + int(np.floor((q - p) * (k / n) + 0.5)) for p, q in zip(a, b, strict=True)] for k in range(1, n + 1)
        ]
    return centers


def balled(line, radius, size):
    """Return the voxels that a ball covers along a line, one by one; the radius is in the smallest side of a voxel."""
    sides = np.array(size or (1, 1, 1)) / min(size or (1, 1, 1))
    away = (np.indices(SHAPE)[None] - np.array(centers_of(line))[:, :, None, None, None]) * sides[:, None, None, None]
    return ((away**2).sum(axis=1) <= radius**2).any(axis=0)


def brushed(line, radius, axis):
    """Return the voxels of a stroke the slow way: every disk along every segment, pixel by pixel."""
    kept = AXES[axis]
    mask = np.zeros(SHAPE, bool)
    plane = np.moveaxis(mask, kept, 0)[line[0][kept]]
    centers = [[v for i, v in enumerate(point) if i != kept] for point in centers_of(line)]
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            plane[row, column] = any((row - r) ** 2 + (column - c) ** 2 <= radius**2 for r, c in centers)
    return mask


def enclosed(line, axis):
    """Return the voxels that a closed line encloses the slow way: crossings counted pixel by pixel, and the line."""
    kept = AXES[axis]
    mask = brushed([*line, line[0]], 0, axis)
    plane = np.moveaxis(mask, kept, 0)[line[0][kept]]
    ring = [[v for i, v in enumerate(point) if i != kept] for point in [*line, line[0]]]
    for row, column in np.ndindex(plane.shape):
        crossed = sum(
            min(a[0], b[0]) <= row < max(a[0], b[0]) and column > a[1] + (row - a[0]) * (b[1] - a[1]) / (b[0] - a[0])
            for a, b in itertools.pairwise(ring)
        )
        plane[row, column] |= crossed % 2 == 1
    return mask


def lies_in(box, other):
    """Return whether all voxels of a box are in another, the slow way."""
    mask = np.zeros(SHAPE, bool)
    mask[other.slices] = True
    return mask[box.slices].all()


def patch(plane, row, column):
    """Return the connected patch of equal ids the slow way."""
    seen, todo = {(row, column)}, [(row, column)]
    while todo:
        r, c = todo.pop()
        for at in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
            if (
                0 <= at[0] < plane.shape[0]
                and 0 <= at[1] < plane.shape[1]
                and at not in seen
                and plane[at] == plane[r, c]
            ):
                seen.add(at)
                todo.append(at)
    return seen


class Correcting(RuleBasedStateMachine):
    done: ClassVar = Counter[str]()

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=FOLDER))
        self.path = self.folder / "machine.mitonb"
        self.now = np.zeros(SHAPE, np.uint32)
        self.now[:, 1:6, 2:7] = 2
        self.now[1, 3, 4] = 0
        # What was said of objects, places and pixels, and the voxel size: changed with the copy, never in place.
        self.facts = {"size": None, "marks": {}, "reviewed": (), "dismissed": (), "strokes": (), "taught": None}
        self.facts |= {"locked": frozenset(), "notes": ()}
        # Each step is remembered with how it was before it: (copy, facts, kind).
        self.past, self.future, self.top = [], [], 2
        self.promised = set()
        self.session = Session(labels=self.now, path=self.path)

    def teardown(self):
        self.done.update(row.kind for row in self.session._project.rows)
        self.session.close()
        shutil.rmtree(self.folder)

    def locked(self, after):
        """Return which voxels of a locked object would change, or become one."""
        ids = list(self.facts["locked"])
        return (after != self.now) & (np.isin(self.now, ids) | np.isin(after, ids))

    def around(self, after, do):
        """Do what goes around locked objects, and expect it; it is refused where nothing is left of it."""
        touched = self.locked(after)
        grown = touched & np.isin(after, list(self.facts["locked"]))
        if touched.any() and (grown.any() or not ((after != self.now) & ~touched).any()):
            with pytest.raises(InputError, match="locked"):
                do()
        else:
            self.expect(np.where(touched, self.now, after), do())

    def about(self, after, do):
        """Do what is about objects, and expect it; it is refused if one of them is locked."""
        if self.locked(after).any():
            with pytest.raises(InputError, match="locked"):
                do()
        else:
            self.expect(after, do())

    def holds(self, id, do):
        """Return whether an object is locked; then see that what cannot be foreseen does not change it."""
        if id in self.facts["locked"]:
            with contextlib.suppress(InputError):
                assert do().what == "nothing"
        return id in self.facts["locked"]

    def expect(self, after, change, kind="by hand", **facts):
        """Remember the copy, as a notebook of full copies would; what is said anew (`facts`) is an edit, too."""
        if np.array_equal(after, self.now) and not facts and kind != "a run that replaces":
            assert change.what == "nothing"
            return
        assert change.what != "nothing"
        where = np.argwhere(after != self.now)
        assert (where >= change.box.start).all()
        assert (where < change.box.stop).all()
        self.past.append((self.now, self.facts, kind))
        self.future.clear()
        self.now, self.facts = after, {**self.facts, **facts}
        self.top = max(self.top, int(after.max()))
        assert not self.promised & set(np.unique(after).tolist()) - ({change.id, *change.new} | set(IDS_BY_HAND))

    def within(self, axis):
        """Return a mask of a plane, as an argument."""
        shape = [n for i, n in enumerate(SHAPE) if i != AXES[axis]]
        return {"within": np.random.default_rng(len(self.past)).random(shape) < 0.5}

    @staticmethod
    def spread(axis, given):
        return np.expand_dims(given["within"], AXES[axis]) if "within" in given else True

    def brush(self, line, radius, axis, ball):
        return balled(line, radius, self.facts["size"]) if ball else brushed(line, radius, axis)

    @rule(
        data=st.data(), id=IDS, radius=st.sampled_from([0, 1, 2.5]), axis=axes, preserve=st.booleans(),
        how=st.sampled_from(["", "ball", "within"]),
    )  # fmt: skip
    def paint(self, data, id, radius, axis, preserve, how):
        line = self.line(data, axis)
        mask = self.brush(line, radius, axis, how == "ball") & ((self.now == 0) if preserve else True)
        given = {"ball": True} if how == "ball" else self.within(axis) if how else {}
        do = partial(self.session.paint, line, id=id, radius=radius, axis=axis, preserve=preserve, **given)
        mask = mask & self.spread(axis, given)
        self.around(np.where(mask, np.uint32(id), self.now), do)

    @rule(data=st.data(), id=IDS, axis=axes, how=st.sampled_from(["", "preserve", "subtract"]))
    def lasso(self, data, id, axis, how):
        line = self.line(data, axis)
        mask = enclosed(line, axis) & {"": True, "preserve": self.now == 0, "subtract": self.now == id}[how]
        do = partial(self.session.lasso, line, id=id, axis=axis, **({how: True} if how else {}))
        self.around(np.where(mask, np.uint32(0 if how == "subtract" else id), self.now), do)

    @rule(data=st.data(), radius=st.sampled_from([0, 1, 2.5]), axis=axes, only=st.none() | IDS, ball=st.booleans())
    def erase(self, data, radius, axis, only, ball):
        line = self.line(data, axis)
        mask = self.brush(line, radius, axis, ball) & (True if only is None else self.now == only)
        do = partial(self.session.erase, line, radius=radius, axis=axis, only=only, ball=ball)
        self.around(np.where(mask, np.uint32(0), self.now), do)

    @rule(at=st.tuples(*(st.integers(0, n - 1) for n in SHAPE)), id=st.just(0) | IDS, axis=axes, masked=st.booleans())
    def fill(self, at, id, axis, masked):
        after = self.now.copy()
        plane = np.moveaxis(after, AXES[axis], 0)[at[AXES[axis]]]
        for pixel in patch(plane.copy(), *(v for i, v in enumerate(at) if i != AXES[axis])):
            plane[pixel] = id
        given = self.within(axis) if masked else {}
        after = np.where(self.spread(axis, given), after, self.now)
        self.around(after, partial(self.session.fill, at, id, axis, **given))

    @precondition(lambda self: len(self.there()) > 1)
    @rule(data=st.data())
    def merge(self, data):
        ids = self.there()
        keep, *gone = data.draw(st.lists(st.sampled_from(ids), min_size=2, max_size=3, unique=True))
        after = self.now.copy()
        after[np.isin(after, gone)] = keep
        self.about(after, partial(self.session.merge, keep, *gone))

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), how=st.sampled_from(["split", "split_at_necks"]))
    def split(self, data, how):
        self.part(data, how)

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), axis=axes, through=st.booleans())
    def cut(self, data, axis, through):
        self.part(data, "cut", axis, through)

    def part(self, data, how, axis="xy", through=True):
        id = data.draw(st.sampled_from(self.there()))
        own = self.now == id
        voxels = st.sampled_from(np.argwhere(own).tolist())
        seeds = data.draw(st.lists(voxels, min_size=2, max_size=3, unique_by=tuple)) if own.sum() > 2 else []
        given = {"seeds": seeds} if how == "split" else {}
        if how == "cut":
            given = {"line": self.across(data.draw(voxels), axis), "axis": axis, "through": through}
        ever = self.ever()
        if self.holds(id, partial(self.session.do, how, id=id, **given)):
            return
        try:
            change = self.session.do(how, id=id, **given)
        except InputError:
            assert how != "split" or not seeds, "an object is split by two voxels of it"
            return
        after = self.session.labels.data.copy()
        assert change.new
        assert not ever & set(change.new), "a part has an id that there was"
        parts = [id, *change.new]
        assert np.array_equal(np.isin(after, parts), own), "nothing outside of the object changes, and all of it stays"
        assert np.array_equal(after[~own], self.now[~own])
        assert all((after == part).any() for part in parts)
        if how == "split":
            assert len({int(after[tuple(seed)]) for seed in seeds}) == len(seeds)
        if how != "cut" or through:
            for part in change.new:
                assert ndimage.label(after == part, np.ones((3, 3, 3)))[1] <= max(1, len(seeds)), "a part in pieces"
        else:
            assert len(np.unique(np.nonzero(after != self.now)[AXES[axis]])) == 1
        self.expect(after, change)

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), how=st.sampled_from(["grow", "shrink", "smooth", "fill_holes"]))
    def shape(self, data, how):
        id = data.draw(st.sampled_from(self.there()))
        own, size = self.now == id, np.array(self.facts["size"] or (1, 1, 1))
        sides = size / size.min()
        # A step of one reaches the neighbours in those directions in which a voxel is shortest.
        near = ndimage.generate_binary_structure(3, 1)
        for along in np.flatnonzero(sides > 1):
            np.moveaxis(near, along, 0)[[0, 2]] = False
        if how == "grow":
            wanted = ndimage.binary_dilation(own, near)
        elif how == "shrink":
            wanted = ndimage.binary_erosion(own, near, border_value=1)
        elif how == "smooth":
            wanted = ndimage.gaussian_filter(own.astype(np.float32), 1 / sides, mode="nearest") > 0.5
        else:
            wanted = own.copy()
            for plane in wanted:
                outside = patch(np.pad(plane, 1), 0, 0)
                plane[...] = [[(r + 1, c + 1) not in outside for c in range(SHAPE[2])] for r in range(SHAPE[1])]
        by = {} if how == "fill_holes" else {"by": 1}
        if not wanted.any():
            with pytest.raises(InputError):
                self.session.do(how, ids=[id], **by)
            return
        after = np.where(own & ~wanted, np.uint32(0), self.now)
        after[wanted & (self.now == 0)] = id
        self.about(after, partial(self.session.do, how, ids=[id], **by))

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), axis=axes)
    def interpolate(self, data, axis):
        id = data.draw(st.sampled_from(self.there()))
        if self.holds(id, partial(self.session.interpolate, id, axis=axis)):
            return
        there = self.planes_of(id, axis)
        if len(there) > 2:  # a gap to fill
            after = self.now.copy()
            plane = np.moveaxis(after, AXES[axis], 0)[there[1]]
            plane[plane == id] = 0
            self.expect(after, self.session.delete_on_plane(id, axis=axis, index=int(there[1])))
            there = self.planes_of(id, axis)
        between = set(range(there[0], there[-1])) - set(there.tolist())
        try:
            change = self.session.interpolate(id, axis=axis)
        except InputError:  # none is missing, or what lies half-way belongs to others
            assert not between or (self.now > 0).any()
            return
        after = self.session.labels.data.copy()
        new = after != self.now
        assert not self.now[new].any()
        assert (after[new] == id).all(), "background becomes the object, and nothing else changes"
        assert set(np.nonzero(new)[AXES[axis]].tolist()) <= between
        self.expect(after, change)

    def planes_of(self, id, axis):
        """Return the planes on which an object is."""
        return np.flatnonzero(np.moveaxis(self.now == id, AXES[axis], 0).any(axis=(1, 2)))

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), splitting=st.booleans())
    def pieces(self, data, splitting):
        id = data.draw(st.sampled_from(self.there()))
        own, after, ever = self.now == id, self.now.copy(), self.ever()
        pieces, count = ndimage.label(own, np.ones((3, 3, 3)))
        if splitting and count == 1:
            with pytest.raises(InputError):
                self.session.split_pieces(id)
            return
        do = partial(self.session.split_pieces if splitting else self.session.keep_largest, id)
        if self.holds(id, do):
            return
        change = do()
        now = self.session.labels.data
        kept = np.unique(pieces[now == id]).tolist()
        assert len(kept) == 1
        assert (pieces == kept[0]).sum() == np.bincount(pieces[own]).max()
        names = {n: int(now[pieces == n][0]) for n in range(1, count + 1) if n != kept[0]}
        assert sorted(change.new) == (sorted(names.values()) if splitting else [])
        assert not ever & set(change.new)
        for n, name in names.items():
            after[pieces == n] = name
        self.expect(after, change)

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), axis=axes, merging=st.booleans())
    def on_plane(self, data, axis, merging):
        ids = self.there()
        chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True))
        index = data.draw(st.integers(0, SHAPE[AXES[axis]] - 1))
        if merging and len(chosen) < 2:
            return
        after = self.now.copy()
        plane = np.moveaxis(after, AXES[axis], 0)[index]
        plane[np.isin(plane, chosen)] = chosen[0] if merging else 0
        verb = self.session.merge_on_plane if merging else self.session.delete_on_plane
        self.about(after, partial(verb, *chosen, axis=axis, index=index))

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), axis=axes, by=st.sampled_from([-2, -1, 1, 3]))
    def extrude(self, data, axis, by):
        id = data.draw(st.sampled_from(self.there()))
        index = data.draw(st.sampled_from(self.planes_of(id, axis).tolist()))
        after = self.now.copy()
        planes = np.moveaxis(after, AXES[axis], 0)
        others = [k for k in range(len(planes)) if 0 < (k - index) * np.sign(by) <= abs(by)]
        for k in others:
            planes[k][(planes[index] == id) & (planes[k] == 0)] = id
        do = partial(self.session.extrude, id, axis=axis, index=index, by=by)
        if others:
            self.about(after, do)
        else:
            with pytest.raises(InputError, match="There is no"):
                do()

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), how=st.sampled_from(["delete", "drop_false"]))
    def delete(self, data, how):
        ids = data.draw(st.lists(st.sampled_from(self.there()), min_size=1, max_size=2))
        after = self.now.copy()
        if how == "drop_false" and {*ids} <= self.facts["locked"]:
            with pytest.raises(InputError):
                self.session.drop_false(*ids)
            return
        dropped = [id for id in ids if how == "delete" or id not in self.facts["locked"]]
        after[np.isin(after, dropped)] = 0
        self.about(after, partial(self.session.do, how, ids=ids))

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), how=st.sampled_from(["lock", "unlock"]))
    def lock(self, data, how):
        known, there = self.facts["locked"], self.there()
        some = [id for id in there if id in known] if how == "unlock" else []
        ids = data.draw(st.lists(st.sampled_from(some or there), min_size=1, max_size=2))
        after = known | {*ids} if how == "lock" else known - {*ids}
        self.expect(self.now, self.session.do(how, ids=ids), **({"locked": after} if after != known else {}))

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), how=st.sampled_from(list(marks.KINDS)))
    def mark(self, data, how):
        known, right, there = self.facts["marks"], marks.KINDS[how], self.there()
        some = [id for id in there if id in known] if how == "unmark" else []
        ids = data.draw(st.lists(st.sampled_from(some or there), min_size=1, max_size=2))
        said = {id: right for id in ids if right is not None}
        said = {id: known for id, known in known.items() if id not in ids} | said
        # Notes of a review are kept each time; a mark that an object has already is no news.
        news = how in ("mark_fix", "mark_unsure") or any(known.get(id) is not right for id in ids)
        self.expect(self.now, self.session.do(how, ids=ids), **({"marks": said} if news else {}))

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), to=st.sampled_from([None, 0, 2**32, *IDS_BY_HAND]))
    def relabel(self, data, to):
        id, ever = data.draw(st.sampled_from(self.there())), self.ever()
        do = partial(self.session.relabel, id, to)
        if to is not None and (to in self.there() or not 0 < to < 2**32):
            with pytest.raises(InputError, match=r"already|0 is background|whole number"):
                do()
            return
        new = self.session.free_ids(1)[0] if to is None else to
        after = np.where(self.now == id, np.uint32(new), self.now)
        if self.locked(after).any():
            self.about(after, do)
            return
        assert to is not None or new not in ever
        change = do()
        assert change.renamed == (id, new)
        notes = tuple((new if key == id else key, text) for key, text in self.facts["notes"] if key != new)
        said = {new if key == id else key: right for key, right in self.facts["marks"].items() if key != new}
        self.expect(after, change, "another id", marks=said, notes=notes)

    @rule(data=st.data(), text=st.sampled_from(["", "why?", "is this one?"]), point=voxel, here=st.booleans())
    def note(self, data, text, point, here):
        there = [] if here else self.there()
        about = [data.draw(st.sampled_from(there))] if there else []
        change = self.session.note(text, *about, **({} if about else {"point": point}))
        key = about[0] if about else point
        rest = tuple(one for one in self.facts["notes"] if one[0] != key)
        self.expect(self.now, change, notes=rest + ((key, text),) * bool(text))

    @precondition(lambda self: self.past or self.future)
    @rule(data=st.data())
    def undo_to(self, data):
        where = data.draw(st.integers(-len(self.past), len(self.future)))
        back = self.session._project.undoable
        ways = [0, *back, *self.session._project.redoable[::-1]]
        assert self.session.undo_to(ways[len(back) + where]) == abs(where)
        for _ in range(abs(where)):
            self.back(*((self.past, self.future) if where < 0 else (self.future, self.past)))

    @rule(point=voxel)
    def dismiss(self, point):
        change = self.session.dismiss(point)
        self.expect(self.now, change, dismissed=(*self.facts["dismissed"], point))

    @rule(one=voxel, other=voxel, reviewed=st.booleans())
    def mark_reviewed(self, one, other, reviewed):
        box = Box(tuple(map(min, one, other)), tuple(max(a, b) + 1 for a, b in zip(one, other, strict=True)))
        known = self.facts["reviewed"]
        inside = [other for other in known if lies_in(other, box)]
        news = not any(lies_in(box, other) for other in known) if reviewed else bool(inside)
        left = tuple(b for b in known if b not in inside) + (box,) * reviewed
        change = self.session.mark_reviewed(box.start, box.stop, reviewed=reviewed)
        self.expect(self.now, change, **({"reviewed": left} if news else {}))

    @rule(data=st.data(), radius=st.sampled_from([0, 1, 2.5]), axis=axes, mito=st.booleans())
    def teach(self, data, radius, axis, mito):
        line = self.line(data, axis)
        verb = self.session.teach_mito if mito else self.session.teach_not
        if not brushed(line, radius, axis).any():
            with pytest.raises(InputError):
                verb(line, radius=radius, axis=axis)
            return
        change = verb(line, radius=radius, axis=axis)
        strokes = (*self.facts["strokes"], (mito, axis, line[0][AXES[axis]], radius))
        self.expect(self.now, change, strokes=strokes)

    @rule(name=st.sampled_from(["a", "b"]))
    def use_model(self, name):
        change = self.session.use_model(name, instead="c", strokes=len(self.facts["strokes"]))
        self.expect(self.now, change, taught=(name, "c"))

    @rule(size=st.sampled_from([(8, 8, 8), (30, 10, 10), (10, 20, 10)]))
    def set_voxel_size(self, size):
        change = self.session.set_voxel_size(*size)
        self.expect(self.now, change, **({"size": size} if self.facts["size"] != size else {}))

    @rule(start=voxel, seed=st.integers(0, 9), id=st.none() | IDS)
    def put_object(self, start, seed, id):
        room = [min(3, n - at) for n, at in zip(SHAPE, start, strict=True)]
        mask = np.random.default_rng(seed).random(room) < 0.5
        free, ever = np.zeros(SHAPE, bool), self.ever()
        free[tuple(slice(at, at + n) for at, n in zip(start, room, strict=True))] = mask
        free &= self.now == 0
        if id in self.facts["locked"]:
            self.about(np.where(free, np.uint32(id), self.now), partial(self.session.put_object, start, mask, id))
            return
        change = self.session.put_object(start, mask, id)
        assert id is not None or change.id not in ever
        self.expect(np.where(free, np.uint32(change.id), self.now), change)

    @rule(data=st.data(), axis=axes, seed=st.integers(0, 9), fresh=st.booleans())
    def put_plane(self, data, axis, seed, fresh):
        index = data.draw(st.integers(0, SHAPE[AXES[axis]] - 1))
        shape = [n for i, n in enumerate(SHAPE) if i != AXES[axis]]
        ids = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint32)
        given = self.ever()
        after = self.now.copy()
        np.moveaxis(after, AXES[axis], 0)[index] = ids
        if not fresh:
            self.around(after, partial(self.session.put_plane, ids, axis, index))
            return
        if self.facts["locked"]:  # its ids cannot be foreseen
            return
        change = self.session.put_plane(ids, axis, index, fresh=True)
        put = np.moveaxis(self.session.labels.data, AXES[axis], 0)[index]
        assert len({*zip(ids.ravel().tolist(), put.ravel().tolist(), strict=True)}) == len(np.unique(ids))
        assert not given & set(put[put > 0].tolist()), "an id that there was is given again"
        np.moveaxis(after, AXES[axis], 0)[index] = put
        self.expect(after, change)

    @rule(seed=st.integers(0, 3), corrected=st.booleans())
    def adopt(self, seed, corrected):
        new = np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint32)
        keep, touched = self.kept(corrected)
        change = self.session.adopt(new, replace_corrected=corrected)
        after = self.session.labels.data.copy()
        assert np.array_equal(after[keep], self.now[keep])
        names = self.names(new, after, keep, touched)
        assert len(set(names.values())) == len(names), "two objects of a run are two objects"
        for id in (1, 2):
            here = new == id
            out = 2 * (here & keep).sum() >= here.sum()
            put = np.unique(after[here & ~keep])
            assert len(put) <= 1, "an object of a run is one object"
            if len(put) and not out:
                assert put[0] not in touched, "what was found is no part of what was corrected, and never was"
            assert not (out and put.any())
        assert not after[(new == 0) & ~keep].any()
        more = {"dismissed": ()} if corrected or not np.array_equal(after, self.now) else {}
        more |= {"reviewed": ()} if corrected else {}
        self.expect(after, change, "a run that replaces" if corrected else "a run", **more)

    def names(self, new, after, keep, touched):
        """Return the ids that the objects of a run were given: those of the objects that they are, or free ones."""
        found, given = {}, self.ever()
        old = {int(b): self.now == b for b in np.unique(self.now[self.now > 0])}
        for id in (1, 2):
            here = new == id
            put = after[here & ~keep]
            if put.any():
                name = found[id] = int(put[0])
                shared = {b: int((here & there).sum()) for b, there in old.items()}
                if name in old:
                    assert 2 * shared[name] >= old[name].sum(), "it has the id of another object"
                else:
                    assert name == id or name not in given
                for b, there in old.items():
                    if b not in touched and 2 * shared[b] > there.sum():
                        assert shared.get(name, 0) >= shared[b], "an object has lost its id"
        return found

    def kept(self, replaced=False):
        """Return the voxels that a run leaves alone and the ids touched by hand or locked, from the copies alone."""
        fixed = self.facts["locked"]
        if replaced:
            return np.isin(self.now, list(fixed)), {*fixed}
        steps = zip(self.past, [*(step[0] for step in self.past), self.now][1:], strict=True)
        touched, ids = np.zeros(SHAPE, bool), set()
        for (before, _, kind), after in steps:
            if kind == "a run that replaces":
                touched[:], ids = False, set()
            elif kind == "by hand":
                where = before != after
                touched |= where
                ids |= {*before[where].tolist(), *after[where].tolist()}
            elif kind == "another id":
                ((was, to),) = {*zip(before[before != after].tolist(), after[before != after].tolist(), strict=True)}
                ids = {to if id == was else id for id in ids - {to}}
        ids |= fixed
        keep = (touched & (self.now == 0)) | np.isin(self.now, list(ids - {0}))
        for box in self.facts["reviewed"]:
            keep[box.slices] = True
        return keep, ids - {0}

    @rule(data=st.data(), axis=axes, seed=st.integers(0, 3))
    def adopt_plane(self, data, axis, seed):
        index = data.draw(st.integers(0, SHAPE[AXES[axis]] - 1))
        shape = [n for i, n in enumerate(SHAPE) if i != AXES[axis]]
        ids = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint32)
        keep, touched = self.kept()
        keep, before = (np.moveaxis(volume, AXES[axis], 0)[index] for volume in (keep, self.now))
        given = self.ever()
        told = self.session.plane_with(ids, axis, index)
        change = self.session.adopt_plane(ids, axis, index)
        after = self.now.copy()
        np.moveaxis(after, AXES[axis], 0)[index] = told
        assert np.array_equal(told[keep], before[keep])
        assert not told[(ids == 0) & ~keep].any()
        names = [set(told[(ids == id) & ~keep].tolist()) - {0} for id in (1, 2)]
        assert all(len(name) <= 1 for name in names), "a profile of a run is one object"
        assert not names[0] & names[1]
        for id, name in zip((1, 2), names, strict=True):
            assert not name & touched & set(before[keep].tolist()), "a profile is no part of what was corrected here"
            assert name <= set(np.unique(self.now).tolist()) or not name & given
            assert not name or 2 * (keep & (ids == id)).sum() < (ids == id).sum()
        self.expect(after, change, "a run")

    def there(self):
        """Return the ids of all objects."""
        return [id for id in np.unique(self.now).tolist() if id]

    def ever(self):
        """Return all ids that there were or that were promised."""
        copies = [self.now, *(step[0] for step in [*self.past, *self.future])]
        return {*np.unique(copies).tolist(), *self.promised} - {0}

    @rule()
    def promise(self):
        given = self.ever()
        id = self.session.new_id()
        assert 0 < id < 2**32 - 1
        assert id not in given
        self.promised.add(id)

    @precondition(lambda self: self.promised)
    @rule(data=st.data(), axis=axes)
    def paint_new(self, data, axis):
        given = self.ever()
        line = self.line(data, axis)
        do = partial(self.session.paint, line, id=None, radius=1, axis=axis)
        (id,) = self.session.free_ids(1)
        assert id not in given
        self.around(np.where(brushed(line, 1, axis), np.uint32(id), self.now), do)

    def back(self, source, target):
        """Take a step of undo or redo in the copies."""
        copy, facts, kind = source.pop()
        target.append((self.now, self.facts, kind))
        self.now, self.facts = copy, facts

    @precondition(lambda self: self.past)
    @rule(times=st.integers(1, 4))
    def undo(self, times):
        for _ in range(min(times, len(self.past))):
            self.session.undo()
            self.back(self.past, self.future)

    @precondition(lambda self: self.past)
    @rule(back=st.integers(0, 3))
    def undo_one(self, back):
        """Undo an edit that is named: only the last one that stands can be."""
        standing = self.session._project.undoable
        of = standing[max(0, len(standing) - 1 - back)]
        if of == standing[-1]:
            self.session.undo(of=of)
            self.back(self.past, self.future)
        else:
            with pytest.raises(InputError):
                self.session.undo(of=of)

    @precondition(lambda self: self.future)
    @rule(times=st.integers(1, 4))
    def redo(self, times):
        for _ in range(min(times, len(self.future))):
            self.session.redo()
            self.back(self.future, self.past)

    @rule()
    def reopen(self):
        self.session.close()
        self.session = Session.open(self.path)

    @rule()
    def crash(self):
        self.session._project.store._db.close()
        self.session = Session.open(self.path)

    @rule()
    def snapshot(self):
        self.session._project._snapshot()

    @rule()
    def compact(self):
        before = self.session.history()
        self.session.compact()
        assert self.session.history() == before

    @rule()
    def copy(self):
        place = self.folder / "copy.mitonb"
        self.session.save_copy(place)
        with Session.open(place) as other:
            assert other.new_id() not in self.ever()
        place.unlink()

    @staticmethod
    def across(voxel, axis):
        """Return the line that goes through a voxel across its plane."""
        along = 2 - (axis == "yz")
        return [[end if i == along else v for i, v in enumerate(voxel)] for end in (-1, SHAPE[along])]

    def line(self, data, axis):
        """Draw a polyline on a plane, partly beyond its edge."""
        index = data.draw(st.integers(0, SHAPE[AXES[axis]] - 1))
        line = data.draw(st.lists(st.tuples(inner, inner, inner), min_size=1, max_size=3))
        return [[index if i == AXES[axis] else v for i, v in enumerate(point)] for point in line]

    @invariant()
    def labels_are_the_copy(self):
        assert np.array_equal(self.session.labels.data, self.now)

    @invariant()
    def what_was_said_is_known(self):
        session, facts = self.session, self.facts
        there = set(np.unique(self.now).tolist())
        assert session.voxel_size == facts["size"]
        assert session.marks == {id: right for id, right in facts["marks"].items() if id in there}
        notes = [(key, text) for key, text in facts["notes"] if isinstance(key, tuple) or key in there]
        assert [(one.point or one.id, one.text) for one in session.noted] == notes
        assert session.locked == sorted(facts["locked"])
        assert session.reviewed == [*facts["reviewed"]]
        assert marks.dismissed(session._project) == [*facts["dismissed"]]
        assert [(s.mito, s.axis, s.plane, s.radius) for s in session.strokes] == [*facts["strokes"]]
        assert session.taught == facts["taught"]

    @invariant()
    def undo_and_redo_go_as_far_as_the_copies(self):
        assert len(self.session._project.undoable) == len(self.past)
        assert len(self.session._project.redoable) == len(self.future)

    @invariant()
    def the_object_table_is_true(self):
        ids, counts = np.unique(self.now, return_counts=True)
        assert self.session._project.table.counts == {
            i: n for i, n in zip(ids.tolist(), counts.tolist(), strict=True) if i
        }
        for i in self.session.ids():
            box = self.session.box(i)
            assert (self.now[box.slices] == i).sum() == self.session.voxels(i)

    @invariant()
    def no_id_comes_back(self):
        assert not set(self.session._project.free_ids(3)) & self.ever()


def test_every_verb_does_to_a_session_what_it_does_to_a_copy():
    examples = int(os.environ.get("MITONB_EXAMPLES", "200"))
    run_state_machine_as_test(
        Correcting,
        settings=settings(
            max_examples=examples,
            stateful_step_count=int(os.environ.get("MITONB_STEPS", "50")),
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    # Which are drawn is chance: a rare one may be missing.
    assert examples < 200 or len(set(VERBS) - set(Correcting.done)) < 3, "verbs that are never tried"
