"""The questions of the course: right answers pass, the usual wrong ones are told apart, and no answer is none."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.feature import peak_local_max
from skimage.measure import label

import mitonb as mn
from mitonb import lessons
from mitonb.errors import InputError
from mitonb.lessons import checking, material
from mitonb.measurements import measure

SEEN, TINY = lessons.ideal, lessons.tiny


def nearest(y: float, x: float, dy: float, dx: float, centers: list[tuple[float, float]]) -> int:
    return min(range(len(centers)), key=lambda i: math.dist((y + dy, x + dx), centers[i]))


def dice(a: Any, b: Any) -> float:
    total = a.sum() + b.sum()
    return 2 * (a & b).sum() / total if total else 1.0


def ids() -> Any:
    return mn.decode(SEEN(), mn.Recipe())


def truth() -> Any:
    return lessons.block().labels.data


def at(id: int, plane: int | None = None) -> tuple[int, int, int]:
    """Return the place deepest inside of an object of the block."""
    from scipy.ndimage import distance_transform_edt as depth

    mask = truth() == id
    if plane is not None:
        mask &= np.arange(len(mask))[:, None, None] == plane
    z, y, x = np.unravel_index(depth(np.pad(mask, 1))[1:-1, 1:-1, 1:-1].argmax(), mask.shape)
    return int(z), int(y), int(x)


def did(*steps: Callable[[mn.Session], Any]) -> mn.Session:
    session = lessons.proofreading()
    for step in steps:
        step(session)
    return session


def split(s: mn.Session) -> None:
    s.split(8, at(8), at(11))


def join(s: mn.Session) -> None:
    s.merge(2, 40)


def drop(s: mn.Session) -> None:
    s.delete(41)


def draw(s: mn.Session, *, by: int = 0) -> None:
    """Draw what was missed as a hand would: three outlines of a few points, and the planes between."""
    outlines = {
        0: [(26, 0), (33, 8), (40, 16), (49, 16), (56, 11), (56, 0)],
        5: [(24, 0), (28, 9), (36, 12), (40, 16), (50, 16), (56, 8), (54, 0)],
        9: [(24, 0), (31, 10), (40, 8), (46, 12), (52, 9), (54, 3), (52, 0)],
    }
    new = s.new_id()
    for z, line in outlines.items():
        s.lasso([(z, y, x + by) for y, x in line], id=new)
    s.interpolate(new)


def scribble(s: mn.Session) -> None:
    s.paint([(5, 41, 6), (5, 50, 8)], id=None, radius=6)


def undone(s: mn.Session) -> None:
    drop(s)
    s.undo()


def late(s: mn.Session, minutes: float = 11.0) -> None:
    """Make the journal one of somebody who was slow."""
    row = s._project.rows[0]
    object.__setattr__(row, "time", row.time - 60 * minutes)


@functools.cache
def areas(whole: bool = True, column: str = "area_um2") -> dict[str, Any]:
    tables = {name: measure(labels) for name, labels in lessons.animals().items()}
    return {name: (t[~t.truncated] if whole else t)[column] for name, t in tables.items()}


def groups(pooled: bool = False) -> list[float]:
    parts = [[v for name, v in areas().items() if name.startswith(g)] for g in ("treated", "control")]
    return [np.concatenate(p).mean() if pooled else np.mean([v.mean() for v in p]) for p in parts]


def net(way: str = "right") -> Any:
    torch = pytest.importorskip("torch")

    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.deep = (torch.nn.Conv2d(a, 8, 3, padding=1) for a in (1, 8))
            self.last = torch.nn.Conv2d(16, 1, 3, padding=1)

        def forward(self, image: Any) -> Any:
            fine = self.first(image)
            up = torch.nn.functional.interpolate(self.deep(torch.nn.functional.max_pool2d(fine, 2)), scale_factor=2)
            pair = {"blind": [up, up], "shallow": [fine, fine]}.get(way, [fine, up])
            said = self.last(fine + up if way == "error" else torch.cat(pair, dim=1))
            return said[..., ::2] if way == "shape" else said

    return Small()


def clicks(*pairs: tuple[int, int], says: Any = "split") -> list[mn.Click]:
    plane = lessons.example().labels.data[material.PLANE]
    found = []
    for pair in pairs:
        (a, b), (c, d) = (np.argwhere(plane == id)[len(np.argwhere(plane == id)) // 2].tolist() for id in pair)
        found.append(mn.Click(says, a, b, to=(c, d)))
    return found


def joined() -> list[tuple[int, int]]:
    """Return pairs of objects that the wrong recipe of lesson 5 takes for one."""
    plane, wrong = lessons.example().labels.data[material.PLANE], mn.decode(SEEN(), mn.Recipe(center_distance=60))
    sets = [np.unique(plane[(wrong == id) & (plane > 0)]).tolist() for id in np.unique(wrong[wrong > 0])]
    return [(some[0], other) for some in sets for other in some[1:]]


EMPANADA = mn.PRESETS["empanada"].replace(semantic_threshold=0.3, min_size=2000)
RIGHT: dict[str, Callable[[], Any]] = {
    "1.2": lambda: [(470, 400), (555, 405), (945, 450)],
    "2.1": lambda: label(SEEN().semantic[0] > 0.5).max(),
    "2.2": lambda: len(peak_local_max(SEEN().center, 5, 0.5, exclude_border=False)),
    "2.3": lambda: np.add(material.SPOT, TINY().offsets[:, material.SPOT[0], material.SPOT[1]]),
    "2.4": lambda: nearest,
    "2.5": ids,
    "3.2": net,
    "3.4": lambda: (range(44), range(50, 60)),
    "4.2": lambda: dice,
    "4.5": lambda: (truth() > 0).astype(np.uint32),
    "5.2": lambda: (0.7, 0.4),
    "5.4": lambda: clicks(*joined()),
    "6.2": lambda: did(split), "6.3": lambda: did(join), "6.4": lambda: did(drop), "6.5": lambda: did(draw),
    "6.6": lambda: did(split, join, drop, draw),
    "7.3": lambda: (range(60), range(66, 78), range(84, 100)),
    "8.2": lambda: areas()["control 1"].mean(),
    "8.3": lambda: groups()[0] - groups()[1],
    "20.1": lambda: EMPANADA,
}  # fmt: skip
"""What passes, for each question that does not say its one right value itself."""

IDLE = {"untouched": did, "undone": lambda: did(undone), "session": lambda: "done"}
WRONG: dict[str, dict[str, Callable[[], Any]]] = {
    "1.2": {
        "granule": lambda: [(470, 400), (135, 135), (945, 450)],
        "turned": lambda: [(400, 470), (555, 405), (945, 450)],
        "same": lambda: [(470, 400), (520, 560), (945, 450)],
        "shape": lambda: [(470, 400)],
        "unclear": lambda: [(470, 400), (555, 405), (300, 800)],
    },
    "2.1": {"objects": lambda: 10, "whole": lambda: "seven", "other": lambda: 99},
    "2.2": {"many": lambda: 99, "few": lambda: 2, "whole": lambda: 7.5},
    "2.3": {
        "turned": lambda: (2, 4),
        "back": lambda: (-2, 4),
        "step": lambda: (3, -1),
        "shape": lambda: (1, 2, 3),
        "other": lambda: (7, 7),
    },
    "2.4": {
        "function": lambda: 3,
        "wrong": lambda: lambda y, x, dy, dx, c: 5,
        "error": lambda: lambda y, x, dy, dx, c: 1 / 0,
        "pixel": lambda: lambda y, x, dy, dx, c: nearest(y, x, 0, 0, c),
        "back": lambda: lambda y, x, dy, dx, c: nearest(y, x, -dy, -dx, c),
        "half": lambda: lambda y, x, dy, dx, c: nearest(y, x, -dy, dx, c),
    },
    "2.5": {
        "few": lambda: np.zeros((256, 256)),
        "shape": lambda: np.zeros((3, 3)),
        "places": lambda: np.roll(ids(), 128, 0),
        "many": lambda: ids() + np.where(ids() > 0, 100 * (np.arange(256) % 2), 0),
    },
    "3.2": {
        "blind": lambda: net("blind"),
        "shallow": lambda: net("shallow"),
        "error": lambda: net("error"),
        "shape": lambda: net("shape"),
        "class": lambda: (1, 1, 32, 32),
    },
    "3.4": {
        "scattered": lambda: (range(0, 60, 2), range(1, 60, 2)),
        "near": lambda: (range(50), range(50, 60)),
        "both": lambda: (range(60), range(50, 60)),
        "empty": lambda: (range(60), []),
        "few": lambda: (range(40), [58]),
        "parts": lambda: (range(20), range(30, 40), range(50, 60)),
        "beyond": lambda: (range(1000, 1044), range(50, 60)),
    },
    "4.2": {
        "error": lambda: lambda a, b: a & b / 2,
        "iou": lambda: lambda a, b: (a & b).sum() / (a | b).sum(),
        "accuracy": lambda: lambda a, b: (a == b).mean(),
        "recall": lambda: lambda a, b: (a & b).sum() / b.sum(),
        "precision": lambda: lambda a, b: (a & b).sum() / a.sum(),
        "half": lambda: lambda a, b: (a & b).sum() / (a.sum() + b.sum()),
        "function": lambda: 0.5,
        "other": lambda: lambda a, b: 1,
        "empty": lambda: lambda a, b: 2 * (a & b).sum() / max(1, a.sum() + b.sum()),
    },
    "4.5": {"f1": lambda: truth(), "dice": lambda: np.zeros_like(truth()), "shape": lambda: truth()[0]},
    "5.2": {"merged": lambda: (0.7, 0.9), "strict": lambda: (0.95, 0.4), "crumbs": lambda: (0.7, 0.15)},
    "5.4": {
        "untrue": lambda: clicks(*joined(), says="merge"),
        "split": lambda: [mn.Click("yes", *map(int, np.argwhere(SEEN().semantic[0] > 0)[0]))],
        "more": lambda: clicks((1, 10)),
    },
    "6.2": {
        **IDLE,
        "still": lambda: did(drop),
        "deleted": lambda: did(lambda s: s.delete(8)),
        "place": lambda: did(lambda s: s.split(8, at(8), np.argwhere(truth() == 8)[0].tolist())),
    },
    "6.3": {
        **IDLE,
        "still": lambda: did(drop),
        "others": lambda: did(lambda s: s.merge(2, 1)),
        "deleted": lambda: did(lambda s: s.delete(40)),
    },
    "6.4": {
        **IDLE,
        "still": lambda: did(join),
        "real": lambda: did(drop, lambda s: s.delete(3)),
        "marked": lambda: did(lambda s: s.mark_false(41)),
        "part": lambda: did(lambda s: s.erase([np.argwhere(s.labels.data == 41).mean(0)], radius=3)),
    },
    "6.5": {
        **IDLE,
        "still": lambda: did(drop),
        "planes": lambda: did(scribble),
        "rough": lambda: did(lambda s: draw(s, by=9)),
        "neighbour": lambda: did(draw, lambda s: s.merge(1, s.ids()[-1])),
    },
    "6.6": {
        **IDLE,
        "left": lambda: did(split, join, drop),
        "errors": lambda: did(split, join, drop, draw, lambda s: s.shrink(3, by=2)),
        "slow": lambda: did(split, join, drop, draw, late),
        "copied": lambda: did(lambda s: s.adopt(truth())),
    },
    "7.3": {
        "both": lambda: (range(60), range(66, 100), range(84, 100)),
        "near": lambda: (range(60), range(62, 78), range(84, 100)),
        "error": lambda: 60,
        "few": lambda: (range(60), range(66, 68), range(84, 100)),
        "scattered": lambda: (range(0, 60, 2), range(1, 60, 2), range(84, 100)),
        "empty": lambda: (range(60), [], range(84, 100)),
        "parts": lambda: (range(60), range(66, 100)),
        "beyond": lambda: (range(60), range(66, 78), range(84, 101)),
    },
    "8.2": {
        "cut": lambda: areas(False)["control 1"].mean(),
        "pixels": lambda: areas(column="voxels")["control 1"].mean(),
        "sum": lambda: areas()["control 1"].sum(),
        "median": lambda: areas()["control 1"].median(),
    },
    "8.3": {
        "pooled": lambda: groups(True)[0] - groups(True)[1],
        "turned": lambda: groups()[1] - groups()[0],
        "ratio": lambda: groups()[0] / groups()[1],
    },
    "20.1": {
        "recipe": lambda: {"min_size": 2000},
        "rules": lambda: mn.Recipe(semantic_threshold=0.3),
        "settings": lambda: mn.PRESETS["empanada"],
        "defaults": lambda: mn.Recipe(rules="published"),
    },
}
"""What students answer otherwise, by the sentence that it gets; questions with one right value list theirs."""


@pytest.mark.parametrize("number", lessons.QUESTIONS)
def test_the_solution_passes(number: str) -> None:
    question = lessons.QUESTIONS[number]
    result = mn.check(number, RIGHT[number]() if number in RIGHT else question["right"])
    assert result.passed, result
    assert not result.why


@pytest.mark.parametrize("number", lessons.QUESTIONS)
def test_usual_wrong_answers_are_told_apart(number: str) -> None:
    wrong = lessons.QUESTIONS[number]["wrong"]
    own = {key: key if isinstance(lessons.QUESTIONS[number].get("right"), str) else json.loads(key) for key in wrong} \
        if number not in WRONG else {key: make() for key, make in WRONG[number].items()}  # fmt: skip
    assert len(own) >= 3
    said = set()
    for key, answer in own.items():
        result = mn.check(number, answer)
        assert not result.passed
        assert result.why == key, result
        said.add(result.text.splitlines()[0])
    assert len(said) == len(own)
    assert set(wrong) <= set(own), "a sentence that no answer gets"


@pytest.mark.parametrize("number", lessons.QUESTIONS)
def test_no_answer_yet_shows_the_question_and_costs_no_hint(number: str) -> None:
    for nothing in (None, ..., (..., ...)):
        result = mn.check(number, nothing)
        assert not result.passed
        assert "not answered yet" in result.text


def test_a_session_in_which_nothing_was_done_is_no_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_kept", {"path": tmp_path / "checks.jsonl", "student": ""})
    result = mn.check("6.5", lessons.proofreading())
    assert (result.passed, result.why) == (False, "untouched")
    assert "not answered yet" in result.text
    assert "Hint" not in result.text
    assert not (tmp_path / "checks.jsonl").exists()


@pytest.mark.parametrize("answer", ["11,1", "11 hours"])
def test_a_word_for_a_number_is_told_how_numbers_are_written(answer: str) -> None:
    result = mn.check("6.1", answer)
    assert (result.passed, result.why) == (False, "word")
    assert "decimal point" in result.text


def test_what_questions_say_is_right_is_what_the_volumes_show() -> None:
    plane = truth()[0]
    there = np.unique(plane[plane > 0])
    assert [sum(label(plane == id).max() for id in there), len(there)] == lessons.QUESTIONS["1.4"]["right"]
    assert len(np.unique(truth())) - 1 == 15
    assert RIGHT["2.1"]() < RIGHT["2.2"]() == 10


@pytest.mark.parametrize(("down", "across"), [(-1, 1), (0, 1), (1, 0), (1, -1)])
def test_an_offset_is_followed_along_both_axes(down: int, across: int) -> None:
    assert mn.check("2.4", lambda y, x, dy, dx, c: nearest(y, x, down * dy, across * dx, c)).why == "half"


def test_empty_masks_need_a_thought_not_one_answer() -> None:
    for thought in (1, math.nan):
        assert mn.check("4.2", lambda a, b, said=thought: dice(a, b) if a.any() else said).passed
    for divided in (float, int):
        result = mn.check("4.2", lambda a, b, kind=divided: 2 * (a & b).sum() / kind(a.sum() + b.sum()))
        assert result.why == "empty", result


def test_means_as_the_lesson_shows_them_give_the_right_difference() -> None:
    means = {name: values.mean().round(4) for name, values in areas().items()}
    treated, control = (np.mean([v for name, v in means.items() if name[0] == group]) for group in "tc")
    assert mn.check("8.3", treated - control).passed
    assert mn.check("8.3", round(treated - control, 4)).passed


def test_a_net_that_is_handed_out_does_what_the_exercise_asks_for() -> None:
    torch = pytest.importorskip("torch")
    functional, small, image = torch.nn.functional, net(), torch.rand(2, 1, 16, 16)
    fine = small.first(image)
    up = functional.interpolate(small.deep(functional.max_pool2d(fine, 4)), scale_factor=4)
    assert torch.equal(lessons.whole_forward(small, image), small.last(torch.cat([fine, up], dim=1)))


def test_a_function_left_as_it_came_is_no_wrong_answer() -> None:
    assert "not answered yet" in mn.check("2.4", lambda y, x, dy, dx, centers: ...).text
    assert "not answered yet" in mn.check("4.2", lambda a, b: ...).text


def test_hints_get_clearer_with_every_wrong_answer() -> None:
    lessons.checking._tries.clear()
    said = [mn.check("1.1", 99).text.splitlines()[-1] for _ in range(4)]
    assert [text.split()[1] for text in said] == ["1", "2", "3", "3"]
    assert mn.check("1.1", 200).passed
    assert "Hint 1 of 3" in mn.check("1.1", 99).text
    assert "5000 / 5" not in mn.check("1.1", hint=3).text
    with pytest.raises(InputError, match="hints 1, 2 and 3"):
        mn.check("2.2", hint=4)


def test_an_unknown_question_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"1\.1, 1\.2"):
        mn.check("9.9", 1)
