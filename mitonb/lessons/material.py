"""What the lessons are about: small drawn volumes, whose truth is exact, and what a network would say of them."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.draw import ellipse

from mitonb.labels import Labels
from mitonb.maps import Maps
from mitonb.phantoms import Phantom, phantom
from mitonb.post.targets import contour_targets, targets
from mitonb.session.session import Session

PLANE = 2
SPOT = (1, 3)
"""A pixel of the tiny map in question 2.3, (y, x)."""
MERGED, CUT, FALSE, MISSED = (8, 11), 2, 41, 10
"""What is wrong in lesson 6: ids of the truth of `block`, but `FALSE`, which is none."""
PIECE = 40
"""The second id of the object that is in two pieces."""


class NetworkMaps(NamedTuple):
    """Maps of a network that draws contours, (4, 192, 192) float32 from 0 to 1, and the true ids."""

    semantic: npt.NDArray[np.float32]
    contour: npt.NDArray[np.float32]
    truth: npt.NDArray[np.uint32]


@cache
def example() -> Phantom:
    """Return the volume of lesson 2: 4 x 256 x 256 voxels with 10 mitochondria, some of them touching."""
    return phantom((4, 256, 256), seed=1, objects=10, touching=0.6)


def ideal() -> Maps:
    """Return what a perfect network would say about plane 2 of the example."""
    return targets(example().labels.data[PLANE])


def tiny() -> Maps:
    """Return the maps of question 2.3: one object of 7 x 3 pixels around (4, 2), drawn on 8 x 8."""
    ids = np.zeros((8, 8), np.uint32)
    ids[1:8, 1:4] = 1
    return targets(ids, sigma=1.5)


@cache
def block() -> Phantom:
    """Return a block of 10 x 128 x 128 voxels of 16 nm with 15 mitochondria, some touching, some branching."""
    return phantom((10, 128, 128), 6, voxel_size=(16, 16, 16), objects=16, touching=0.6, branching=0.9)


def whole_forward(net: Any, image: Any) -> Any:
    """Do what question 3.2 asks for, for those who go on without: takes and returns tensors, (n, channels, y, x)."""
    fine = net.first(image)
    down = fine.unfold(2, 4, 4).unfold(3, 4, 4).flatten(-2).max(-1).values
    up = net.deep(down).repeat_interleave(4, 2).repeat_interleave(4, 3)
    both = fine.new_zeros(len(fine), fine.shape[1] + up.shape[1], *fine.shape[2:])
    both[:, : fine.shape[1]], both[:, fine.shape[1] :] = fine, up
    return net.last(both)


@cache
def network_maps(which: str = "tuning") -> NetworkMaps:
    """Return what a usual network says, blurred and in places wrong, of a block "tuning" or of another one, "fresh"."""
    seed = {"tuning": 21, "fresh": 22}[which]
    truth = phantom((4, 192, 192), seed, voxel_size=(16, 16, 16), objects=24, touching=0.9).labels.data
    rng, said = np.random.default_rng(seed), list[npt.NDArray[np.float32]]()
    for drawn, blur, size in zip(contour_targets(truth)[:2], (1.5, 1.2), (5, 3), strict=True):
        doubt = ndimage.gaussian_filter(rng.standard_normal(truth.shape), (0.7, size, size))
        seen = ndimage.gaussian_filter(drawn, (0, blur, blur)) + 0.16 * doubt / doubt.std()
        said.append(np.clip(seen, 0, 1).astype(np.float32))
    return NetworkMaps(said[0], said[1], truth)


def proofreading(path: str | None = None) -> Session:
    """Return a session of the block of lesson 6 with four planted mistakes: merged, cut, missed and false objects."""
    stack, truth = block()
    ids = truth.data.copy()
    ids[ids == MERGED[1]] = MERGED[0]
    far = np.indices(ids.shape)[2] > np.nonzero(ids == CUT)[2].mean()
    ids[(ids == CUT) & far] = PIECE
    ids[ids == MISSED] = 0
    room = ndimage.distance_transform_edt(truth.data == 0)
    z, y, x = np.unravel_index(room.argmax(), room.shape)
    ball = np.linalg.norm(np.indices(ids.shape) - np.reshape((z, y, x), (3, 1, 1, 1)), axis=0) < min(room.max(), 7)
    ids[ball] = FALSE
    return Session(stack, Labels(ids, stack.voxel_size), path)


@cache
def animals() -> dict[str, Labels]:
    """Return the labels of lesson 8: one section of 400 x 400 pixels of 10 nm of each of six animals."""
    profiles = {"control 1": (13, 70), "control 2": (18, 24), "control 3": (15, 30),
                "treated 1": (19, 22), "treated 2": (15, 40), "treated 3": (21, 60)}  # fmt: skip
    sections = {}
    for seed, (name, (radius, count)) in enumerate(profiles.items()):
        rng, ids = np.random.default_rng(seed), np.zeros((1, 400, 400), np.uint32)
        for id in range(1, count + 1):
            (y, x), size = rng.uniform(0, 400, 2), rng.lognormal(np.log(radius), 0.3)
            shape = {"r_radius": size, "c_radius": size * rng.uniform(0.5, 1), "rotation": rng.uniform(0, np.pi)}
            profile = (0, *ellipse(y, x, shape=(400, 400), **shape))  # type: ignore[no-untyped-call]
            if not ids[profile].any():  # no two overlap
                ids[profile] = id
        sections[name] = Labels(ids, (50, 10, 10), name)
    return sections
