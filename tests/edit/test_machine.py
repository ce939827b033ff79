"""Any sequence of verbs, reopenings and crashes does to a session what it does to plain copies of an array."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scipy import ndimage

from mitonb.errors import InputError
from mitonb.session import Session

SHAPE = (3, 9, 10)
IDS_BY_HAND = (1, 2, 3, 300, 2**32 - 1)
IDS = st.sampled_from(IDS_BY_HAND)
AXES = {"xy": 0, "xz": 1, "yz": 2}
axes = st.sampled_from(sorted(AXES))
inner = st.integers(-3, 12)


def brushed(line, radius, axis):
    """Return the voxels of a stroke the slow way: every disk along every segment, pixel by pixel."""
    kept = AXES[axis]
    mask = np.zeros(SHAPE, bool)
    plane = np.moveaxis(mask, kept, 0)[line[0][kept]]
    flat = [[v for i, v in enumerate(point) if i != kept] for point in line]
    centers = [flat[0]]
    for a, b in itertools.pairwise(flat):
        n = max(abs(a[0] - b[0]), abs(a[1] - b[1]))
        centers += [
            [p + int(np.floor((q - p) * (k / n) + 0.5)) for p, q in zip(a, b, strict=True)] for k in range(1, n + 1)
        ]
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
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "machine.mitonb"
        self.now = np.zeros(SHAPE, np.uint32)
        self.now[1, 2:6, 2:6] = 2
        # What each step did is remembered with the copy from before it: (copy, kind).
        self.past, self.future, self.top = [], [], 2
        self.promised = set()
        self.session = Session(labels=self.now, path=self.path)

    def teardown(self):
        self.session.close()
        shutil.rmtree(self.folder)

    def expect(self, after, change, kind="by hand"):
        """Remember the copy, as a notebook of full copies would."""
        if np.array_equal(after, self.now) and kind != "a run that replaces":
            assert change.what == "nothing"
            return
        where = np.argwhere(after != self.now)
        assert (where >= change.box.start).all()
        assert (where < change.box.stop).all()
        self.past.append((self.now, kind))
        self.future.clear()
        self.now = after
        self.top = max(self.top, int(after.max()))
        assert not self.promised & set(np.unique(after).tolist()) - ({change.id, *change.new} | set(IDS_BY_HAND))

    @rule(data=st.data(), id=IDS, radius=st.sampled_from([0, 1, 2.5]), axis=axes, preserve=st.booleans())
    def paint(self, data, id, radius, axis, preserve):
        line = self.line(data, axis)
        mask = brushed(line, radius, axis) & ((self.now == 0) if preserve else True)
        change = self.session.paint(line, id=id, radius=radius, axis=axis, preserve=preserve)
        self.expect(np.where(mask, np.uint32(id), self.now), change)

    @rule(data=st.data(), id=IDS, axis=axes, how=st.sampled_from(["", "preserve", "subtract"]))
    def lasso(self, data, id, axis, how):
        line = self.line(data, axis)
        mask = enclosed(line, axis) & {"": True, "preserve": self.now == 0, "subtract": self.now == id}[how]
        change = self.session.lasso(line, id=id, axis=axis, **({how: True} if how else {}))
        self.expect(np.where(mask, np.uint32(0 if how == "subtract" else id), self.now), change)

    @rule(data=st.data(), radius=st.sampled_from([0, 1, 2.5]), axis=axes, only=st.none() | IDS)
    def erase(self, data, radius, axis, only):
        line = self.line(data, axis)
        mask = brushed(line, radius, axis) & (True if only is None else self.now == only)
        self.expect(
            np.where(mask, np.uint32(0), self.now), self.session.erase(line, radius=radius, axis=axis, only=only)
        )

    @rule(at=st.tuples(*(st.integers(0, n - 1) for n in SHAPE)), id=st.just(0) | IDS, axis=axes)
    def fill(self, at, id, axis):
        after = self.now.copy()
        plane = np.moveaxis(after, AXES[axis], 0)[at[AXES[axis]]]
        for pixel in patch(plane.copy(), *(v for i, v in enumerate(at) if i != AXES[axis])):
            plane[pixel] = id
        self.expect(after, self.session.fill(at, id, axis))

    @precondition(lambda self: len(np.unique(self.now)) > 2)
    @rule(data=st.data())
    def merge(self, data):
        ids = np.unique(self.now)[1:].tolist()
        keep, *gone = data.draw(st.lists(st.sampled_from(ids), min_size=2, max_size=3, unique=True))
        after = self.now.copy()
        after[np.isin(after, gone)] = keep
        self.expect(after, self.session.merge(keep, *gone))

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), how=st.sampled_from(["split", "split_at_necks", "cut"]), axis=axes, through=st.booleans())
    def split(self, data, how, axis, through):
        id = data.draw(st.sampled_from(np.unique(self.now)[1:].tolist()))
        own = self.now == id
        voxels = st.sampled_from(np.argwhere(own).tolist())
        seeds = data.draw(st.lists(voxels, min_size=2, max_size=3, unique_by=tuple)) if own.sum() > 2 else []
        given = {"split": {"seeds": seeds}, "split_at_necks": {}}.get(how, {"line": self.line(data, axis)})
        words = {"axis": axis, "through": through} if how == "cut" else {}
        ever = self.ever()
        try:
            change = self.session.do(how, id=id, **given, **words)
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
    @rule(data=st.data(), how=st.sampled_from(["grow", "shrink", "keep_largest", "split_pieces"]))
    def shape(self, data, how):
        id = data.draw(st.sampled_from(np.unique(self.now)[1:].tolist()))
        own, after, ever = self.now == id, self.now.copy(), self.ever()
        pieces, count = ndimage.label(own, np.ones((3, 3, 3)))
        if how == "grow":
            after[ndimage.binary_dilation(own) & (self.now == 0)] = id
        elif how == "shrink":
            after[own & ~ndimage.binary_erosion(own, border_value=1)] = 0
        if (how == "shrink" and not (after == id).any()) or (how == "split_pieces" and count == 1):
            with pytest.raises(InputError):
                self.session.do(how, ids=[id])
            return
        change = self.session.do(how, ids=[id])
        if how in ("keep_largest", "split_pieces"):
            now = self.session.labels.data
            kept = np.unique(pieces[now == id]).tolist()
            assert len(kept) == 1
            assert (pieces == kept[0]).sum() == np.bincount(pieces[own]).max()
            names = {n: int(now[pieces == n][0]) for n in range(1, count + 1) if n != kept[0]}
            assert sorted(change.new) == (sorted(names.values()) if how == "split_pieces" else [])
            assert not ever & set(change.new)
            for n, name in names.items():
                after[pieces == n] = name
        self.expect(after, change)

    @precondition(lambda self: self.now.any())
    @rule(data=st.data(), axis=axes, merging=st.booleans())
    def on_plane(self, data, axis, merging):
        ids = np.unique(self.now)[1:].tolist()
        chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True))
        index = data.draw(st.integers(0, SHAPE[AXES[axis]] - 1))
        if merging and len(chosen) < 2:
            return
        after = self.now.copy()
        plane = np.moveaxis(after, AXES[axis], 0)[index]
        plane[np.isin(plane, chosen)] = chosen[0] if merging else 0
        verb = self.session.merge_on_plane if merging else self.session.delete_on_plane
        self.expect(after, verb(*chosen, axis=axis, index=index))

    @precondition(lambda self: self.now.any())
    @rule(data=st.data())
    def delete(self, data):
        ids = data.draw(st.lists(st.sampled_from(np.unique(self.now)[1:].tolist()), min_size=1, max_size=2))
        after = self.now.copy()
        after[np.isin(after, ids)] = 0
        self.expect(after, self.session.delete(*ids))

    @rule(data=st.data(), axis=axes, seed=st.integers(0, 9), fresh=st.booleans())
    def put_plane(self, data, axis, seed, fresh):
        index = data.draw(st.integers(0, SHAPE[AXES[axis]] - 1))
        shape = [n for i, n in enumerate(SHAPE) if i != AXES[axis]]
        ids = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint32)
        given = self.ever()
        change = self.session.put_plane(ids, axis, index, fresh=fresh)
        if fresh:
            put = np.moveaxis(self.session.labels.data, AXES[axis], 0)[index]
            assert len({*zip(ids.ravel().tolist(), put.ravel().tolist(), strict=True)}) == len(np.unique(ids))
            assert not given & set(put[put > 0].tolist()), "an id that there was is given again"
            ids = put.copy()
        after = self.now.copy()
        np.moveaxis(after, AXES[axis], 0)[index] = ids
        self.expect(after, change)

    @rule(seed=st.integers(0, 3), corrected=st.booleans())
    def adopt(self, seed, corrected):
        new = np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint32)
        keep, touched = (np.zeros(SHAPE, bool), set()) if corrected else self.kept()
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
        self.expect(after, change, "a run" if not corrected else "a run that replaces")

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

    def kept(self):
        """Return the voxels that a run leaves alone and the ids touched by hand, from the copies alone."""
        steps = zip(self.past, [*(p for p, _ in self.past), self.now][1:], strict=True)
        touched, ids = np.zeros(SHAPE, bool), set()
        for (before, kind), after in steps:
            if kind == "a run that replaces":
                touched[:], ids = False, set()
            elif kind == "by hand":
                where = before != after
                touched |= where
                ids |= {*before[where].tolist(), *after[where].tolist()}
        return (touched & (self.now == 0)) | np.isin(self.now, list(ids - {0})), ids - {0}

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

    def ever(self):
        """Return all ids that there were or that were promised."""
        copies = [self.now, *(p for p, _ in self.past), *(p for p, _ in self.future)]
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
        change = self.session.paint(line, id=None, radius=1, axis=axis)
        assert change.id not in given
        self.expect(np.where(brushed(line, 1, axis), np.uint32(change.id), self.now), change)

    @precondition(lambda self: self.past)
    @rule(times=st.integers(1, 4))
    def undo(self, times):
        for _ in range(min(times, len(self.past))):
            self.session.undo()
            before, kind = self.past.pop()
            self.future.append((self.now, kind))
            self.now = before

    @precondition(lambda self: self.past)
    @rule(back=st.integers(0, 3))
    def undo_one(self, back):
        """Undo an edit that is named: only the last one that stands can be."""
        standing = self.session._project.undoable
        of = standing[max(0, len(standing) - 1 - back)]
        if of == standing[-1]:
            self.session.undo(of=of)
            before, kind = self.past.pop()
            self.future.append((self.now, kind))
            self.now = before
        else:
            with pytest.raises(InputError):
                self.session.undo(of=of)

    @precondition(lambda self: self.future)
    @rule(times=st.integers(1, 4))
    def redo(self, times):
        for _ in range(min(times, len(self.future))):
            self.session.redo()
            after, kind = self.future.pop()
            self.past.append((self.now, kind))
            self.now = after

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
    def copy(self):
        place = self.folder / "copy.mitonb"
        self.session.save_copy(place)
        with Session.open(place) as other:
            assert other.new_id() not in self.ever()
        place.unlink()

    def line(self, data, axis):
        """Draw a polyline on a plane, partly beyond its edge."""
        index = data.draw(st.integers(0, SHAPE[AXES[axis]] - 1))
        line = data.draw(st.lists(st.tuples(inner, inner, inner), min_size=1, max_size=3))
        return [[index if i == AXES[axis] else v for i, v in enumerate(point)] for point in line]

    @invariant()
    def labels_are_the_copy(self):
        assert np.array_equal(self.session.labels.data, self.now)

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


Correcting.TestCase.settings = settings(
    max_examples=int(os.environ.get("MITONB_EXAMPLES", "25")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestCorrecting = Correcting.TestCase
