"""Lessons: questions that check themselves, with hints in three steps; works without a screen and without a network."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.phantoms import Phantom, phantom
from mitonb.post.targets import targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitonb.maps import Maps

__all__ = ["Result", "check", "example"]

PLANE = 12
SPOT = (1, 3)
"""A pixel of the tiny map in question 1.3, (y, x)."""


@dataclass(frozen=True)
class Result:
    """What `check` says.

    Attributes
    ----------
    passed : bool
        Whether the answer is right.
    text : str
        For the student.
    """

    passed: bool
    text: str

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Question:
    """A question of a lesson.

    Attributes
    ----------
    text : str
        What is asked.
    judge : callable
        Takes the answer; returns "" if it is right, else what is wrong with it.
    hints : three texts
        From a nudge to nearly the solution.
    praise : str
        What the right answer teaches.
    """

    text: str
    judge: Callable[[Any], str]
    hints: tuple[str, str, str]
    praise: str


_tries: Counter[str] = Counter()


class _NotYetError(Exception):
    """The student has not begun."""


def check(number: str, answer: Any = None, *, hint: int | None = None) -> Result:
    """Check an answer; after each wrong one the hint gets clearer.

    Parameters
    ----------
    number : str
        Of the question, such as "1.1".
    answer : object, optional
        A number, a tuple, an array or a function, as the question asks. None asks for the question.
    hint : {1, 2, 3}, optional
        Show that hint at once.

    Returns
    -------
    Result
        Prints as text; `.passed` for programs. A wrong answer is never an exception.

    Raises
    ------
    InputError
        If there is no such question or hint.

    Examples
    --------
    >>> check("1.3", (4, 2)).passed
    True
    """
    if number not in QUESTIONS:
        raise InputError(f"There is no question {number!r}. There are {', '.join(QUESTIONS)}.")
    question = QUESTIONS[number]
    if hint is not None:
        if hint not in (1, 2, 3):
            raise InputError(f"There are hints 1, 2 and 3, got {hint!r}.")
        return Result(False, f"Hint {hint} for {number}: {question.hints[hint - 1]}")
    if answer is None or answer is ...:
        return Result(False, f"{number} is not answered yet: {question.text}")
    try:
        wrong = question.judge(answer)
    except _NotYetError:  # a function that was left as it came
        return Result(False, f"{number} is not answered yet: {question.text}")
    except Exception as error:  # a student's function may fail in any way, and that is an answer too
        wrong = f"it failed with {type(error).__name__}: {error}."
    if not wrong:
        _tries[number] = 0
        return Result(True, f"✓ {number} is right. {question.praise}")
    _tries[number] = min(3, _tries[number] + 1)
    step = _tries[number]
    return Result(False, f"✗ {number}: {wrong}\n  Hint {step} of 3: {question.hints[step - 1]}")


@cache
def example() -> Phantom:
    """Return the volume of lesson 1: 24 x 256 x 256 voxels with 10 mitochondria, some of them touching."""
    return phantom((24, 256, 256), seed=1, objects=10, touching=0.6)


def ideal() -> Maps:
    """Return what a perfect network would say about plane 12 of the example."""
    return targets(example().labels.data[PLANE])


def tiny() -> Maps:
    """Return the maps of question 1.3: one object of 7 x 3 pixels around (4, 2), drawn on 8 x 8."""
    ids = np.zeros((8, 8), np.uint32)
    ids[1:8, 1:4] = 1
    return targets(ids, sigma=1.5)


# ----------------------------------------------------------------------------------------------------- judges


def _number(answer: Any) -> int:
    value = np.asarray(answer)
    if value.shape != () or value.dtype.kind not in "iuf" or float(value) != int(value):
        raise TypeError(f"the answer is one whole number, got {answer!r}")
    return int(value)


def _judge_components(answer: Any) -> str:
    from scipy import ndimage

    mask = ideal().semantic[0] > 0.5
    right = {ndimage.label(mask)[1], ndimage.label(mask, np.ones((3, 3)))[1]}
    got = _number(answer)
    profiles = len(np.unique(example().labels.data[PLANE])) - 1
    if got == profiles:
        return f"{got} is the number of mitochondria; the question is how many pieces the semantic map alone shows."
    return "" if got in right else f"there are not {got} connected pieces."


def _judge_centers(answer: Any) -> str:
    right = len(np.unique(example().labels.data[PLANE])) - 1
    got = _number(answer)
    return "" if got == right else f"there are {'fewer' if got > right else 'more'} than {got} peaks."


def _judge_spot(answer: Any) -> str:
    right = np.add(SPOT, tiny().offsets[:, SPOT[0], SPOT[1]])
    got = np.asarray(answer, float)
    if got.shape != (2,):
        return f"the answer is a pair (y, x), got shape {got.shape}."
    if np.allclose(got, right, atol=0.01):
        return ""
    if np.allclose(got, right[::-1], atol=0.01):
        return "nearly: rows come first here, (y, x)."
    if np.allclose(got, 2 * np.array(SPOT) - right, atol=0.01):
        return "that is the wrong way: offsets lead from the pixel to its center."
    return f"the center is not at {tuple(got.tolist())}."


def _judge_nearest(answer: Any) -> str:
    if not callable(answer):
        return f"the answer is a function nearest(y, x, dy, dx, centers), got {type(answer).__name__}."
    two = [(10.0, 10.0), (10.0, 30.0)]
    # (y, x, dy, dx, right): the second lies beside the first center, but points at the other one.
    cases = [(10, 12, 0, -2, 0), (10, 18, 0, 11, 1), (14, 26, -4, 4, 1), (2, 22, 8, -11, 0)]
    for y, x, dy, dx, right in cases:
        got = answer(y, x, dy, dx, two)
        if got is ... or got is None:
            raise _NotYetError
        if got != right:
            alone = min(range(2), key=lambda i: math.dist((y, x), two[i]))
            why = " It seems to look from the pixel, not from where the offset leads." if got == alone else ""
            return f"pixel ({y}, {x}) with offset ({dy}, {dx}) belongs to center {right}, got {got!r}.{why}"
    return ""


def _judge_ids(answer: Any) -> str:
    got: npt.NDArray[Any] = np.asarray(answer)
    truth = example().labels.data[PLANE]
    if got.shape != truth.shape:
        return f"the ids are an array of shape {truth.shape}, got {got.shape}."
    count, right = len(np.unique(got[got > 0])), len(np.unique(truth)) - 1
    return "" if count == right else f"these ids hold {count} objects; the plane has {right}."


QUESTIONS: dict[str, Question] = {
    "1.1": Question(
        "how many connected pieces does the ideal semantic map show?",
        _judge_components,
        (
            "The semantic map knows only 'mitochondrion or not': touching ones are one piece.",
            "Make a mask first, ideal.semantic[0] > 0.5, then count its connected pieces.",
            "skimage.measure.label(ideal.semantic[0] > 0.5).max()",
        ),
        "Fewer pieces than mitochondria: those that touch cannot be told apart by the semantic map alone.",
    ),
    "1.2": Question(
        "how many peaks does the ideal center map have?",
        _judge_centers,
        (
            "Each mitochondrion has one peak, however close its neighbours are.",
            "A peak is a local maximum above a threshold, say 0.5.",
            "len(skimage.feature.peak_local_max(ideal.center, 5, 0.5, exclude_border=False))",
        ),
        "One peak for each object: centers tell touching objects apart.",
    ),
    "1.3": Question(
        f"at pixel (y, x) = {SPOT} of the tiny map, where do the offsets lead?",
        _judge_spot,
        (
            "The offsets of a pixel are a step (dy, dx) in pixels, from the pixel to the center of its object.",
            f"Read both offsets at row {SPOT[0]}, column {SPOT[1]}, and add each to its coordinate.",
            f"y, x = {SPOT}; dy, dx = tiny.offsets[:, y, x]; the answer is (y + dy, x + dx)",
        ),
        "Every pixel of an object points at the same place.",
    ),
    "1.4": Question(
        "write nearest(y, x, dy, dx, centers): the number of the center that this pixel belongs to.",
        _judge_nearest,
        (
            "Follow the offset first; only then look for the nearest center.",
            "Compute the distance from (y + dy, x + dx) to each center, and return the position of the smallest.",
            "return min(range(len(centers)), key=lambda i: math.dist((y + dy, x + dx), centers[i]))",
        ),
        "This line, for all foreground pixels at once, is mn.decode.",
    ),
    "1.5": Question(
        "decode the ideal maps into ids, (256, 256), so that every mitochondrion has its own.",
        _judge_ids,
        (
            "mn.decode takes maps and a recipe, and gives ids.",
            "If there are too few objects, centers were missed: lower center_threshold or center_distance.",
            "mn.decode(ideal, mn.Recipe())",
        ),
        "Semantic says where, centers say how many, offsets say which pixel is whose.",
    ),
}
