"""Small images and labels, and projects with a few edits, for the tests of sessions and projects."""

import numpy as np

from mitonb.edit.verbs import VERBS
from mitonb.errors import InputError
from mitonb.session import Session
from mitonb.stack import Stack

SHAPE = (3, 8, 9)
PAINTED = (3, 40, 50)


def image(seed=0, **more):
    return Stack(np.random.default_rng(seed).integers(0, 255, SHAPE, np.uint8), **more)


def labels():
    data = np.zeros(SHAPE, np.uint32)
    data[0, 1:3, 1:3] = 1
    data[1, 4:6, 4:8] = 2
    return data


def painted(path, count=6, **more):
    """Return a session with a few edits of every kind."""
    session = Session(labels=np.zeros(PAINTED, np.uint32), path=path, **more)
    for k in range(count):
        session.paint([[k % 3, 5 + k, 5], [k % 3, 10, 20 + k]], id=k + 1, radius=3, client=("test", k))
    session.merge(1, 2)
    session.undo()
    session.set_voxel_size(8)
    return session


def whole(path):
    """Return all that a project holds, for comparison."""
    with Session.open(path, read_only=True) as session:
        return session.labels.data.copy(), [(e.seq, e.time, e.text, e.code, e.undone) for e in session.history()]


def random_voxel(session, rng):
    return tuple(int(rng.integers(n)) for n in session.shape)


def _line(session, rng, axis):
    """Return a line on a plane."""
    along, points = "xy xz yz".split().index(axis), [random_voxel(session, rng) for _ in range(rng.integers(1, 4))]
    return [[points[0][i] if i == along else v for i, v in enumerate(point)] for point in points]


def _do(session, rng, verb):
    """Do a verb with arguments drawn at random; one that cannot be done so is an InputError."""
    axis = str(rng.choice(["xy", "xz", "yz"]))
    along = "xy xz yz".split().index(axis)
    ids = session.ids() or [1]
    id, at, index = int(rng.choice(ids)), random_voxel(session, rng), int(rng.integers(session.shape[along]))
    some = [int(i) for i in rng.choice(ids, min(3, len(ids)), replace=False)]
    blocks = np.kron(rng.integers(0, 6, (2, 4, 4)) * rng.integers(0, 2, (2, 4, 4)), np.ones((3, 4, 4), int))
    found = blocks[tuple(slice(n) for n in session.shape)]
    plane = np.moveaxis(found, along, 0)[0]
    line, radius = _line(session, rng, axis), float(rng.choice([0, 1, 2.5]))
    room = [min(4, n - v) for n, v in zip(session.shape, at, strict=True)]
    own = np.argwhere(session.labels.data == id)
    new = None if rng.random() < 0.5 else int(rng.integers(1, 9))
    across = own[rng.integers(len(own))] if len(own) else np.zeros(3, int)
    given = {
        "paint": {"points": line, "id": new, "radius": radius, "axis": axis, "preserve": bool(rng.integers(2)),
                  "ball": bool(rng.integers(2))},
        "erase": {"points": line, "radius": radius, "axis": axis, "only": new, "ball": bool(rng.integers(2))},
        "lasso": {"points": line, "id": new, "axis": axis, "subtract": bool(rng.integers(2))},
        "fill": {"point": at, "id": new, "axis": axis, "within": plane > 0 if rng.integers(2) else None},
        "merge": {"keep": some[0], "gone": some[1:]},
        "split": {"id": id, "seeds": [tuple(p) for p in rng.permutation(own)[:2].tolist()]},
        "cut": {"id": id, "line": [(*across[:2].tolist(), -1), (*across[:2].tolist(), 99)]},
        "split_at_necks": {"id": id},
        "merge_on_plane": {"ids": some, "axis": axis, "index": index},
        "delete_on_plane": {"ids": some, "axis": axis, "index": index},
        "relabel": {"id": id, "to": new},
        "extrude": {"ids": some[:1], "axis": axis, "index": index, "by": int(rng.integers(-2, 3))},
        "interpolate": {"ids": some, "axis": axis},
        "dismiss": {"point": at},
        "note": {"text": str(rng.choice(["", "odd", "look again"])), "ids": some[:1]},
        "mark_reviewed": {"start": at, "stop": [v + 1 for v in at], "reviewed": bool(rng.integers(2))},
        "teach_mito": {"points": line, "radius": radius, "axis": axis},
        "teach_not": {"points": line, "radius": radius, "axis": axis},
        "use_model": {"model": "mine", "instead": "mito-mini", "strokes": 3},
        "put_object": {"start": at, "mask": rng.random(room) < 0.5, "id": new},
        "put_plane": {"ids": plane, "axis": axis, "index": index, "fresh": bool(rng.integers(2))},
        "adopt_plane": {"ids": plane, "axis": axis, "index": index, "replace_corrected": rng.random() < 0.2},
        "adopt": {"labels": found, "replace_corrected": bool(rng.integers(2))},
        "set_voxel_size": {"nm": [(8, 8, 8), (30, 10, 10)][rng.integers(2)]},
        "undo": {}, "redo": {},
    }.get(verb, {"ids": some[: 1 + (verb != "delete")]})  # fmt: skip
    if verb == "adopt":
        session.adopt(**given)
    else:
        session.do(verb, **given)


def work_at_random(session, rng, count):
    """Do a number of verbs that change something; each is as likely as any other, but what takes back is likelier."""
    names, end = [*VERBS, "undo", "undo", "redo", "redo", "unlock", "unlock"], session.version + count
    while session.version < end:
        verb = str(rng.choice(names))
        try:
            _do(session, rng, verb)
        except InputError as error:
            if verb.startswith("adopt") and "locked" in str(error):  # runs lie around what is locked
                raise
