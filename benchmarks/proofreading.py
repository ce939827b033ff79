"""A proofreading trial: a scripted user, who knows the truth, mends what the review queue leads to.

    python -m benchmarks.proofreading [--epfl] [--order doubt|random] [--browser]      (MITONB_DATA_DIR=... for --epfl)

He goes to the next doubt, says that it is right, or merges, splits by a seed in each part, deletes, takes what is
suggested, or draws around the object plane by plane; at the end he leafs through all planes once, and draws what no
object holds. With --browser he has nothing but mouse and keys, in the workbench in a real JupyterLab: what to do is
decided from truth and labels, done is all of it on the screen, and an action is a key, a click or a line that is drawn.
Without, the session's methods are called, and an action is what each of these is. F1@75 is told after each fifth of the
queue and at the end. A volume is kept in a file with --kept (and taken from it, if it is there).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

import mitonb as mn
from benchmarks.reviewing import drawn_case, real_case
from mitonb.post.tables import overlaps
from mitonb.session.review import judge, shuffled

GOOD = 0.75

Gesture = tuple[Any, ...]
Plan = Generator[Gesture, None, None]


class User:
    """Knows the truth, and says what to do next; whoever does it, mends the labels of the session.

    Parameters
    ----------
    session : Session
        In a review, or before one.
    truth : (z, y, x) integer array
        The labels as they should be.
    """

    def __init__(self, session: mn.Session, truth: np.ndarray) -> None:
        self.session, self.truth = session, truth
        self.sizes = np.bincount(truth.ravel())
        self.boxes = dict(enumerate(ndimage.find_objects(truth), 1))
        self.plane, self.count, self.f1 = session.position[0], 0, list[float]()
        self.work = self.proofread()

    def next(self) -> Gesture:
        """Return what to do next; ("done",) at the end. Asked again once the labels are as they are by it."""
        return next(self.work, ("done",))

    def score(self) -> float:
        """Return the F1@75 of the labels as they are."""
        return float(mn.score(self.session.labels, mn.Labels(self.truth)).at(GOOD).f1)

    def proofread(self) -> Plan:
        """Go through the queue, then through the planes."""
        session, handled, fifth = self.session, None, -(-len(self.session.queue) // 5)
        while session.open_doubts():
            if session.doubt is None or session.doubt is handled:
                yield ("next",)
            handled = session.doubt
            assert handled
            self.plane = handled.at[0]
            yield from self.review(handled)
            self.count += 1
            if self.count % fifth == 0:
                self.f1.append(round(self.score(), 3))
        for plane in range(len(self.truth)):
            yield "plane", plane
            yield from self.look(plane)

    def review(self, doubt: mn.Doubt) -> Plan:
        """Judge or mend what is looked at."""
        if not doubt.id:
            true = int(self.truth[doubt.at])
            if true and doubt.fix and self.best(true)[1] < GOOD:
                yield ("suggestion",)
                yield from self.mend(self.session.pick(*doubt.at))
            else:
                yield "right", doubt.at
        elif self.iou(doubt.id) >= GOOD and len(self.partners(doubt.id)) == 1:
            yield "right", doubt.id
        else:
            verb, given = doubt.fix or ("", {})
            if verb == "merge" and len({self.owner(id) for id in (given["keep"], *given["gone"])} - {0}) == 1:
                yield ("suggestion",)
            if self.session.voxels(doubt.id):
                yield from self.mend(doubt.id)
            if any(one is doubt for one in self.session.open_doubts()):  # nothing had to be changed
                yield "right", doubt.id

    def look(self, plane: int) -> Plan:
        """Draw or mend what is seen not to be right on a plane."""
        for true in np.unique(self.truth[plane]).tolist():
            id, iou = self.best(true) if true else (0, 1.0)
            if iou < GOOD and id and self.owner(id) == true:
                yield from self.mend(id)
            elif iou < GOOD:
                yield from self.draw(0, true)

    def mend(self, id: int) -> Plan:
        """Merge, split, delete or draw until the object is right."""
        session, parts = self.session, self.partners(id)
        if len(parts) > 1:
            seeds, before = [self.inside(id, true) for true in parts], {*session.ids()}
            yield "split", id, self.spot(id), seeds
            for one in (id, *sorted({*session.ids()} - before)):
                if len(self.partners(one)) < 2:
                    yield from self.mend(one)
            return
        true = max(parts, key=lambda t: parts[t]) if parts else self.owner(id)
        if not true:
            yield "delete", id, self.spot(id)
            return
        table = overlaps(session.labels.data[self.boxes[true]].copy(), self.mask(true).astype(np.uint32)).tolist()
        for other in [a for a, _, n in table if a != id and n > 0.5 * session.voxels(a)]:
            yield "merge", id, self.spot(id), other, self.spot(other)
        if self.iou(id) < GOOD:
            yield from self.draw(id, true)

    def draw(self, id: int, true: int) -> Plan:
        """Draw around a true object on the planes on which it is not right, both ways; 0 is a new object."""
        own = self.session.labels.data == id if id else np.zeros(self.truth.shape, bool)
        for z in np.flatnonzero((self.truth == true).any((1, 2)) | own.any((1, 2))).tolist():
            wanted, there = self.truth[z] == true, self.session.labels.data[z] == id if id else own[z]
            for mask, away in ((there & ~wanted, True), (wanted & ~there, False)):
                if np.count_nonzero(mask) > 0.1 * max(wanted.sum(), 1):
                    for line in find_contours(np.pad(wanted if not away else mask, 1).astype(float), 0.5):
                        points = [(z, *(int(v) for v in np.round(p - 1))) for p in approximate_polygon(line, 0.6)]
                        before = {*self.session.ids()}
                        yield "lasso", id, self.spot(id) if id else None, points, away
                        id = id or next(iter({*self.session.ids()} - before), 0)

    # What he sees.

    def mask(self, true: int) -> np.ndarray:
        """Return the true object in its box."""
        mask: np.ndarray = self.truth[self.boxes[true]] == true
        return mask

    def there(self, id: int) -> np.ndarray:
        """Return the true ids under an object, (n,)."""
        box = self.session.box(id)
        assert box
        ids: np.ndarray = self.truth[box.slices][self.session.labels.data[box.slices] == id]
        return ids

    def partners(self, id: int) -> dict[int, int]:
        """Return the true objects of which an object holds a good part, and how many voxels."""
        counts = np.bincount(self.there(id))
        return {t: int(n) for t, n in enumerate(counts) if t and n > 0.25 * self.sizes[t]}

    def iou(self, id: int) -> float:
        """Return the overlap with the true object that fits best."""
        size = self.session.voxels(id)
        return max((n / (size + self.sizes[t] - n) for t, n in self.partners(id).items()), default=0.0)

    def owner(self, id: int) -> int:
        """Return the true object in which more than half of an object lies; 0 for none."""
        counts = np.bincount(self.there(id))
        return int(counts.argmax()) if 2 * counts.max() > counts.sum() else 0

    def best(self, true: int) -> tuple[int, float]:
        """Return the object that fits a true one best, and their IoU; (0, 0.0) where none is there."""
        ids, counts = np.unique(self.session.labels.data[self.boxes[true]][self.mask(true)], return_counts=True)
        shared = zip(ids.tolist(), counts.tolist(), strict=True)
        found = [(n / (self.session.voxels(id) + self.sizes[true] - n), id) for id, n in shared if id]
        iou, id = max(found, default=(0.0, 0))
        return id, float(iou)

    def inside(self, id: int, true: int) -> tuple[int, ...]:
        """Return a point deep in what an object has of a true one."""
        box = self.session.box(id)
        assert box
        mask = (self.session.labels.data[box.slices] == id) & (self.truth[box.slices] == true)
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
        return tuple(int(v) for v in np.add(np.unravel_index(depth.argmax(), mask.shape), box.start))

    def spot(self, id: int) -> tuple[int, ...]:
        """Return where to click on an object: deep in it, on the nearest plane on which it is."""
        mask = self.session.labels.data == id
        z = min(np.flatnonzero(mask.any((1, 2))).tolist(), key=lambda z: abs(z - self.plane))
        depth = ndimage.distance_transform_edt(np.pad(mask[z], 1))[1:-1, 1:-1]
        return (z, *(int(v) for v in np.unravel_index(depth.argmax(), depth.shape)))


class Methods:
    """Does what is planned by the session's methods; what a person does besides, is counted roughly."""

    def __init__(self, session: mn.Session, user: User) -> None:
        self.session, self.user, self.actions = session, user, Counter[str]()

    def run(self) -> None:
        """Do all of it."""
        while (gesture := self.user.next())[0] != "done":
            self.do(*gesture)

    def do(self, kind: str, *given: Any) -> None:
        """Do one of it."""
        session = self.session
        self.actions[kind] += {"suggestion": 2, "merge": 2, "split": 4}.get(kind, 1)
        if kind == "next":
            session.step_object(1)
        elif kind == "right":
            session.select(*([given[0]] if isinstance(given[0], int) else []))
            judge(session, "mark_right")
        elif kind == "suggestion":
            assert session.doubt
            assert session.doubt.fix
            session.do(session.doubt.fix[0], **session.doubt.fix[1])
        elif kind == "split":
            session.split(given[0], *given[2])
        elif kind == "merge":
            session.merge(given[0], given[2])
        elif kind == "delete":
            session.delete(given[0])
        elif kind == "lasso":
            id, _, points, away = given
            session.lasso(points, id=id or None, subtract=away, preserve=not away)


SET_UP = """
import numpy as np, mitonb as mn
from benchmarks.proofreading import User
case = np.load({path!r})
size, seen = tuple(case["voxel_size"].tolist()), case["semantic"]
app = mn.explore(mn.Stack(case["image"], size or None), case["labels"])
session = app.session
app.table.review.maps = lambda z: mn.Maps({{"semantic": seen[z][None]}}, output_stride=1)
user = User(session, case["truth"])
app
"""


def keep(path: Path, case: tuple[Any, ...]) -> None:
    """Write a volume with its labels, truth and semantic map."""
    stack, labels, truth, kept = case[:4]
    maps = kept.sections()
    seen = np.zeros(truth.shape, np.uint8)
    for z in range(len(truth)):
        if (one := maps(z)) is not None:
            seen[z] = one.kept().semantic.max(0)
    size = stack.voxel_size or ()
    np.savez_compressed(path, image=stack.read(), labels=labels, truth=truth, semantic=seen, voxel_size=size)


def by_methods(path: Path, order: str) -> tuple[User, Methods]:
    """Go through the trial by methods."""
    case = np.load(path)
    session = mn.Session(mn.Stack(case["image"], tuple(case["voxel_size"].tolist()) or None), case["labels"])
    seen = case["semantic"]
    doubts = mn.find_doubts(session.labels, maps=lambda z: mn.Maps({"semantic": seen[z][None]}, output_stride=1))
    session.review(doubts if order == "doubt" else shuffled(doubts))
    user = User(session, case["truth"])
    hands = Methods(session, user)
    hands.run()
    return user, hands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epfl", action="store_true", help="the real volume instead of the drawn one")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--order", choices=("doubt", "random"), default="doubt")
    parser.add_argument("--browser", action="store_true", help="by mouse and keys only")
    parser.add_argument("--kept", type=Path, help="file of the volume, written if it is not there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.kept or Path(folder) / "case.npz"
        if not path.exists():
            keep(path, real_case() if options.epfl else drawn_case(options.seed))
        began = time.monotonic()
        if options.browser:
            from tests.browser.lab import Lab
            from tests.browser.proofreader import proofread

            with Lab(Path(folder) / "lab") as lab:
                first, f1, end, actions = proofread(lab, path, options.order)
        else:
            case = np.load(path)
            first = mn.score(mn.Labels(case["labels"]), mn.Labels(case["truth"])).at(GOOD).f1
            user, hands = by_methods(path, options.order)
            f1, end, actions = user.f1, user.score(), hands.actions
    print(f"{options.order}: F1@75 {first:.3f} -> {', '.join(f'{v:.3f}' for v in f1)} -> {end:.3f}")
    print(f"  {sum(actions.values())} actions, {time.monotonic() - began:.0f} s: {dict(actions.most_common())}")


if __name__ == "__main__":
    main()
