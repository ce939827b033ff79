"""Small images and labels, and projects with a few edits, for the tests of sessions and projects."""

import numpy as np

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
