"""What is right, and which of the usual mistakes an answer is; the words stand in `questions.json`.

A judge takes an answer and returns "" if it is right, None if it is none yet, else the key of what is wrong in the
question's "wrong", alone or with what its sentence tells. Questions with a "right" of their own need no judge.
"""

import json
import math
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.accuracy import score
from mitonb.lessons import material
from mitonb.post.contours import ContourSettings, decode_contours
from mitonb.post.decoding import decode
from mitonb.post.tuning import tune
from mitonb.recipe import PRESETS, Recipe
from mitonb.session.session import Session

Verdict = str | None | tuple[str, dict[str, Any]]

QUESTIONS: dict[str, Any] = json.loads(Path(__file__).with_name("questions.json").read_text("utf-8"))
"""By number: what is asked ("text"), three "hints" from a nudge to nearly the solution, what the right answer teaches
("praise"), what is said of the usual "wrong" answers, and, where one value is right, the "right" one, how "near" to
it is right, too, and which "values" are wrong in which way, where the keys of "wrong" are not those themselves."""

_QUICK = 600
"""Seconds for the race of lesson 6."""


def _whole(answer: Any) -> int | None:
    value = np.asarray(answer)
    plain = value.shape == () and value.dtype.kind in "iuf" and float(value) == int(value)
    return int(value) if plain else None


# ------------------------------------------------------------------------------------------------ 1 what EM shows


def _place(point: npt.NDArray[np.float64]) -> tuple[str, int]:
    """Return what lies at a point (y, x) of the islet, by the eye of the course's authors, and which one."""
    for kind, which, y, x, radius in QUESTIONS["1.2"]["seen"]:
        if math.dist(point, (y, x)) <= radius:
            return kind, which
    return "", 0


def _judge_points(answer: Any) -> Verdict:
    points = np.asarray(answer, float)
    if points.shape != (3, 2):
        return "shape", {"shape": points.shape}
    found = [_place(point) for point in points]
    for point, (kind, _) in zip(points, found, strict=True):
        if kind != "mitochondrion":
            turned = _place(point[::-1])[0] == "mitochondrion"
            return "turned" if turned else kind or "unclear", {"point": tuple(point.astype(int).tolist())}
    return "" if len(set(found)) == 3 else "same"


# --------------------------------------------------------------------------------------- 2 what the network sees


def _truth() -> npt.NDArray[np.uint32]:
    return material.example().labels.data[material.PLANE]


def _count(ids: npt.NDArray[Any]) -> int:
    return len(np.unique(ids[ids > 0]))


def _judge_pieces(answer: Any) -> Verdict:
    mask = material.ideal().semantic[0] > 0.5
    right = {ndimage.label(mask)[1], ndimage.label(mask, np.ones((3, 3)))[1]}
    got = _whole(answer)
    return "whole" if got is None else "" if got in right else "objects" if got == _count(_truth()) else "other"


def _judge_centers(answer: Any) -> Verdict:
    right, got = _count(_truth()), _whole(answer)
    return "whole" if got is None else "" if got == right else "many" if got > right else "few"


def _judge_nearest(answer: Any) -> Verdict:
    if not callable(answer):
        return "function", {"type": type(answer).__name__}
    centers = [(10.0, 10.0), (10.0, 30.0), (30.0, 10.0)]
    # (y, x, dy, dx): the third lies beside the first center, but points at the second one; the fifth at the third.
    probes = [(10, 12, 0, -2), (14, 22, -4, 8), (10, 18, 0, 11), (2, 22, 8, -11), (18, 10, 11, 0), (22, 4, -11, 6),
              (22, 10, 8, 0)]  # fmt: skip
    got = [answer(*probe, list(centers)) for probe in probes]
    if any(one is ... or one is None for one in got):
        return None  # a function that was left as it came

    def nearest(place: tuple[float, float]) -> int:
        return min(range(3), key=lambda i: math.dist(place, centers[i]))

    # What comes out if dy and dx are added (1), left out (0) or taken away (-1): another list for each of the nine.
    said = {(a, b): [nearest((y + a * dy, x + b * dx)) for y, x, dy, dx in probes]
            for a, b in product((1, 0, -1), repeat=2)}  # fmt: skip
    right = said.pop((1, 1))
    if got == right:
        return ""
    k = next(k for k, one in enumerate(got) if one != right[k])
    facts = {"pixel": probes[k][:2], "offset": probes[k][2:], "right": right[k], "got": got[k]}
    way = next((way for way, ids in said.items() if ids == got), None)
    return {None: "wrong", (0, 0): "pixel", (-1, -1): "back"}.get(way, "half"), facts


def _judge_ids(answer: Any) -> Verdict:
    got: npt.NDArray[Any] = np.asarray(answer)
    if got.shape != _truth().shape:
        return "shape", {"shape": got.shape}
    count, right = _count(got), _count(_truth())
    if count == right and score(got, _truth()).at(0.5).f1 < 1:
        return "places"
    return "" if count == right else "few" if count < right else "many", {"count": count, "right": right}


# ------------------------------------------------------------------------------- 3 a U-Net by hand, and the leak hunt


def _judge_net(net: Any) -> Verdict:
    if not hasattr(net, "parameters"):
        return "class"
    probe = next(iter(net.parameters())).new_empty((1, 1, 32, 32)).normal_()
    said = net(probe)
    if said is ... or said is None:
        return None
    if tuple(said.shape) != (1, 1, 32, 32):
        return "shape", {"shape": tuple(said.shape)}
    # Without what comes from below a net still sees detail; without the skip it then sees nothing.
    handle = net.deep.register_forward_hook(lambda _net, _given, out: out * 0)
    try:
        alone = net(probe)
    finally:
        handle.remove()
    return "blind" if bool((alone == alone[..., :1, :1]).all()) else "shallow" if bool((alone == said).all()) else ""


def _judge_split(answer: Any, count: int, planes: int) -> Verdict:
    """Judge planes that are learned from, (chosen on,) and scored on: so many blocks with gaps, of planes from 0."""
    parts = [np.unique(np.asarray(list(part), int)) for part in answer]
    if len(parts) != count:
        return "parts", {"count": len(parts)}
    if min(map(len, parts)) == 0:
        return "empty"
    if beyond := [int(plane) for part in parts for plane in part if not 0 <= plane < planes]:
        return "beyond", {"plane": beyond[0]}
    pairs = [(one, two) for k, one in enumerate(parts) for two in parts[k + 1 :]]
    gap = min(int(np.abs(one[:, None] - two).min()) for one, two in pairs)
    ways = sum(int((np.abs(one[:, None] - two).min(axis=0) == 1).sum()) for one, two in pairs)
    if gap < 5:
        return "both" if gap == 0 else "scattered" if ways > 4 else "near", {"gap": gap - 1}
    return "" if min(map(len, parts)) >= 6 else "few"


# ------------------------------------------------------------------------------------------- 4 metrics that lie


def _judge_dice(answer: Any) -> Verdict:
    if not callable(answer):
        return "function"
    # 4 and 5 of 12 pixels, of which 2 are both.
    one, two, none = np.arange(12) < 4, (np.arange(12) >= 2) & (np.arange(12) < 7), np.zeros(12, bool)
    got = answer(one, two)
    if got is None or got is ...:
        return None
    named = {"": 4 / 9, "iou": 2 / 7, "accuracy": 7 / 12, "recall": 2 / 5, "precision": 1 / 2, "half": 2 / 9}
    why = next((name for name, value in named.items() if math.isclose(got, value, abs_tol=1e-9)), "other")
    if why:
        return why, {"got": got}
    try:
        with np.errstate(all="raise"):  # 0 / 0 gives nan, too, but nobody has thought of it then
            empty = answer(none, none)
    except ArithmeticError:
        empty = "0 / 0"
    return "" if empty != "0 / 0" and (empty == 1 or math.isnan(empty)) else ("empty", {"got": empty})


def _judge_liar(answer: Any) -> Verdict:
    truth, got = material.block().labels.data, np.asarray(answer)
    if got.shape != truth.shape:
        return "shape", {"shape": got.shape, "truth": truth.shape}
    scores = score(got, truth)
    dice, f1 = scores.dice, scores.at(0.5).f1
    return "dice" if dice < 0.95 else "" if f1 <= 0.5 else "f1", {"dice": f"{dice:.2f}", "f1": f"{f1:.2f}"}


# ------------------------------------------------------------------------------------------- 5 seeds and thresholds


def _judge_thresholds(answer: Any) -> Verdict:
    seed, contour = (float(value) for value in answer)
    maps = material.network_maps()
    settings = ContourSettings(seed=seed, contour=contour, foreground=0.5, min_seed=16, min_size=64)
    at = score(decode_contours(*maps[:2], settings=settings), maps.truth).at(0.75)
    facts = {"f1": f"{at.f1:.2f}", "found": at.found + at.false, "truth": at.found + at.missed}
    if at.f1 >= 0.9:
        return ""
    return "strict" if seed > 0.8 else "merged" if contour > 0.35 else "crumbs", facts


def _judge_clicks(answer: Any) -> Verdict:
    clicks = list(answer)
    if untrue := [click for click in clicks if not click.meets(_truth())]:
        return "untrue", {"click": untrue[0]}
    if not any(click.says == "split" for click in clicks):
        return "split"
    found = tune(material.ideal(), clicks, Recipe(center_distance=60))
    count, right = _count(decode(material.ideal(), found.recipe)), _count(_truth())
    return "" if count == right else "more", {"count": count, "right": right}


# ---------------------------------------------------------------------------------------------------- 6 proofreading


def _found(session: Session, iou: float = 0.75) -> set[int]:
    truth = material.block().labels
    return {match.truth for match in score(session.labels, truth).matches(iou)}


def _on(session: Session, truth: int) -> list[int]:
    """Return the ids that lie on an object of the truth, the largest overlap first, without specks."""
    ids, count = np.unique(session.labels.data[material.block().labels.data == truth], return_counts=True)
    order = [k for k in np.argsort(-count) if ids[k] and count[k] >= 30]
    return [int(ids[k]) for k in order]


def _on_others(session: Session, truth: int) -> set[int]:
    """Return the ids that lie on any other object of the truth."""
    return {one for id in material.block().labels.ids().tolist() if id != truth for one in _on(session, id)}


def _after_work(judge: Callable[[Session], Verdict], session: Any) -> Verdict:
    """Judge a session in which something was done, and is still there."""
    if not isinstance(session, Session):
        return "session"
    entries = session.history()
    if not any(entry.stands for entry in entries):
        return "undone" if entries else "untouched"
    return judge(session)


def _judge_unmerged(session: Session) -> Verdict:
    if set(material.MERGED) <= _found(session):
        return ""
    first, second = (_on(session, id) for id in material.MERGED)
    if not first or not second:
        return "deleted"
    return "still" if first == second and len(first) == 1 else "place"


def _judge_joined(session: Session) -> Verdict:
    here = _on(session, material.CUT)
    half = (session.labels.data == 0)[material.block().labels.data == material.CUT].mean()
    if set(here) & _on_others(session, material.CUT):
        return "others"
    return "" if material.CUT in _found(session) else "deleted" if half > 0.2 else "still"


def _judge_false(session: Session) -> Verdict:
    if any(not _on(session, id) for id in material.block().labels.ids().tolist() if id != material.MISSED):
        return "real"
    where = material.proofreading().labels.data == material.FALSE
    left = int((session.labels.data[where] > 0).sum())
    marked = session.marks.get(material.FALSE) is False
    return "" if not left else "marked" if marked else "part" if left < where.sum() else "still"


def _judge_missed(session: Session) -> Verdict:
    if material.MISSED in _found(session, 0.5):
        return ""
    here = _on(session, material.MISSED)
    planes = np.isin(session.labels.data, here).any(axis=(1, 2)).sum() if here else 0
    if set(here) & _on_others(session, material.MISSED):
        return "neighbour"
    return "still" if not here else "planes" if planes < 5 else "rough"


def _judge_race(session: Session) -> Verdict:
    entries = session.history()
    if any("session.adopt(" in entry.code or "put_plane(" in entry.code for entry in entries):
        return "copied"
    seconds, f1 = entries[-1].time - entries[0].time, score(session.labels, material.block().labels).at(0.75).f1
    # One of fifteen objects may be wrong at this F1, but none of the four that this is about.
    left = [number for number in ("6.2", "6.3", "6.4", "6.5") if JUDGES[number](session)]
    facts = {"minutes": f"{seconds / 60:.1f}", "f1": f"{f1:.2f}", "left": ", ".join(left)}
    return "left" if left else "errors" if f1 < 0.95 else "slow" if seconds > _QUICK else "", facts


# ------------------------------------------------------------------------------------------- 20 from empanada-napari


def _judge_from_empanada(answer: Any) -> Verdict:
    if not isinstance(answer, Recipe):
        return "recipe"
    if answer.rules != "published":
        return "rules"
    wanted = PRESETS["empanada"].replace(semantic_threshold=0.3, min_size=2000)
    missing = [name for name in wanted.changes() if getattr(answer, name) != getattr(wanted, name)]
    return "defaults" if len(missing) > 2 else "settings" if missing else "", {"names": ", ".join(missing)}


JUDGES: dict[str, Callable[[Any], Verdict]] = {
    "1.2": _judge_points,
    "2.1": _judge_pieces, "2.2": _judge_centers, "2.4": _judge_nearest, "2.5": _judge_ids,
    "3.2": _judge_net, "3.4": partial(_judge_split, count=2, planes=60),
    "4.2": _judge_dice, "4.5": _judge_liar,
    "5.2": _judge_thresholds, "5.4": _judge_clicks,
    "6.2": partial(_after_work, _judge_unmerged), "6.3": partial(_after_work, _judge_joined),
    "6.4": partial(_after_work, _judge_false), "6.5": partial(_after_work, _judge_missed),
    "6.6": partial(_after_work, _judge_race),
    "7.3": partial(_judge_split, count=3, planes=100),
    "20.1": _judge_from_empanada,
}  # fmt: skip
"""The judge of each question that has no one right value."""
