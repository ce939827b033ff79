"""A proofreading trial: a scripted user, who knows the truth, mends what the review queue leads to.

    python -m benchmarks.proofreading [--epfl] [--order doubt|random]      (MITONB_DATA_DIR=... for --epfl)

He does what a person can do with keys and mouse, through the methods that these call: goes to the next doubt, says that
it is right, or merges, splits by a seed in each part, deletes, takes what the network sees, or draws around the object
plane by plane. One action is a step, a verdict, a suggestion that is taken, a click or a line. F1@75 is told after each
fifth of the queue.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

import mitonb as mn
from benchmarks.reviewing import drawn_case, real_case
from mitonb.post.tables import overlaps
from mitonb.session.review import shuffled

GOOD = 0.75


class User:
    """Knows the truth, and mends one object at a time."""

    def __init__(self, session: mn.Session, truth: np.ndarray) -> None:
        self.session, self.truth = session, truth
        self.sizes = np.bincount(truth.ravel())
        self.actions: Counter[str] = Counter()

    def partners(self, id: int) -> dict[int, int]:
        """Return the true objects of which an object holds a good part, and how many voxels."""
        box = self.session.box(id)
        assert box
        there = self.truth[box.slices][self.session.labels.data[box.slices] == id]
        counts = np.bincount(there)
        return {t: int(n) for t, n in enumerate(counts) if t and n > 0.25 * self.sizes[t]}

    def iou(self, id: int) -> float:
        """Return the overlap with the true object that fits best."""
        size = self.session.voxels(id)
        return max((n / (size + self.sizes[t] - n) for t, n in self.partners(id).items()), default=0.0)

    def review(self) -> None:
        """Judge or mend what is looked at."""
        doubt = self.session.doubt
        assert doubt
        if not doubt.id:
            self.place(doubt)
        elif self.iou(doubt.id) >= GOOD and len(self.partners(doubt.id)) == 1:
            self.act("verdict", self.session.mark_right, doubt.id)
        else:
            self.mend(doubt.id)
            if self.session.voxels(doubt.id):
                self.act("verdict", self.session.mark_right, doubt.id)

    def place(self, doubt: mn.Doubt) -> None:
        true = int(self.truth[doubt.at])
        if not true or not doubt.fix:
            self.act("verdict", self.session.dismiss, doubt.at)
            return
        self.act("suggestion", self.session.put_object, **doubt.fix[1])
        if new := self.session.pick(*doubt.at):
            self.mend(new)
        else:
            self.act("verdict", self.session.dismiss, doubt.at)

    def mend(self, id: int) -> None:
        """Merge, split, delete or draw until the object is right."""
        session = self.session
        parts = self.partners(id)
        if len(parts) > 1:
            seeds = [self.inside(id, true) for true in parts]
            new = self.act("seeds", session.split, id, *seeds, times=len(seeds) + 2).new
            for one in (id, *new):
                if len(self.partners(one)) < 2:
                    self.mend(one)
            return
        true = max(parts, key=lambda t: parts[t]) if parts else self.crumb_of(id)
        if not true:
            self.act("delete", session.delete, id)
            return
        box = ndimage.find_objects((self.truth == true).astype(np.uint8))[0]
        table = overlaps(session.labels.data[box].copy(), (self.truth[box] == true).astype(np.uint32)).tolist()
        others = [a for a, _, n in table if a != id and n > 0.5 * session.voxels(a)]
        for other in others:
            self.act("merge", session.merge, id, other, times=2)
        if self.iou(id) < GOOD:
            self.draw(id, true)

    def crumb_of(self, id: int) -> int:
        """Return the true object in which more than half of an object lies; 0 for none."""
        box = self.session.box(id)
        assert box
        there = self.truth[box.slices][self.session.labels.data[box.slices] == id]
        counts = np.bincount(there)
        best = int(counts.argmax())
        return best if 2 * counts[best] > len(there) else 0

    def inside(self, id: int, true: int) -> tuple[int, ...]:
        """Return a point deep in what an object has of a true one."""
        box = self.session.box(id)
        assert box
        mask = (self.session.labels.data[box.slices] == id) & (self.truth[box.slices] == true)
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
        return tuple(int(v) for v in np.add(np.unravel_index(depth.argmax(), mask.shape), box.start))

    def draw(self, id: int, true: int) -> None:
        """Draw around the object on the planes on which it is not right, both ways."""
        for z in np.flatnonzero((self.truth == true).any((1, 2)) | (self.session.labels.data == id).any((1, 2))):
            wanted, there = self.truth[z] == true, self.session.labels.data[z] == id
            for mask, away in ((there & ~wanted, True), (wanted & ~there, False)):
                if np.count_nonzero(mask) > 0.1 * max(wanted.sum(), 1):
                    for line in find_contours(np.pad(wanted if not away else mask, 1).astype(float), 0.5):
                        points = [(int(z), *(int(v) for v in np.round(p - 1))) for p in line]
                        self.act("line", self.session.lasso, points, id=id, subtract=away, preserve=not away)

    def act(self, kind: str, do: object, *given: object, times: int = 1, **more: object) -> object:
        self.actions[kind] += times
        return do(*given, **more)  # type: ignore[operator]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epfl", action="store_true", help="the real volume instead of the drawn one")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--order", choices=("doubt", "random"), default="doubt")
    options = parser.parse_args()
    stack, labels, truth, maps = (real_case() if options.epfl else drawn_case(options.seed))[:4]
    session = mn.Session(stack, labels)
    doubts = mn.find_doubts(session.labels, maps=maps)
    session.review(doubts if options.order == "doubt" else shuffled(doubts))
    user, count, f1 = User(session, truth), 0, []
    before = mn.score(session.labels, mn.Labels(truth)).at(GOOD).f1
    while session.open_doubts():
        session.step_object(1)
        user.actions["step"] += 1
        user.review()
        count += 1
        if count % -(-len(doubts) // 5) == 0:
            f1.append(mn.score(session.labels, mn.Labels(truth)).at(GOOD).f1)
    end = mn.score(session.labels, mn.Labels(truth)).at(GOOD).f1
    print(f"{options.order}: F1@75 {before:.3f} -> {', '.join(f'{v:.3f}' for v in f1)} -> {end:.3f}; {count} doubts")
    print(f"  {sum(user.actions.values())} actions: {dict(user.actions.most_common())}")


if __name__ == "__main__":
    main()
