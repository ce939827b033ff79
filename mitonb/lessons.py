"""Lessons: questions that check themselves, with hints in three steps; works without a screen and without a network."""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.maps import Maps
from mitonb.phantoms import Phantom, phantom
from mitonb.post.targets import targets

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


_tries: Counter[str] = Counter()


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
        return Result(False, f"Hint {hint} for {number}: {question['hints'][hint - 1]}")
    try:
        wrong = None if answer is None or answer is ... else _JUDGES[number](answer)
    except Exception as error:  # a student's function may fail in any way, and that is an answer too
        wrong = f"it failed with {type(error).__name__}: {error}."
    if wrong is None:
        return Result(False, f"{number} is not answered yet: {question['text']}")
    if not wrong:
        _tries[number] = 0
        return Result(True, f"✓ {number} is right. {question['praise']}")
    _tries[number] = min(3, _tries[number] + 1)
    step = _tries[number]
    return Result(False, f"✗ {number}: {wrong}\n  Hint {step} of 3: {question['hints'][step - 1]}")


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


def _judge_nearest(answer: Any) -> str | None:
    if not callable(answer):
        return f"the answer is a function nearest(y, x, dy, dx, centers), got {type(answer).__name__}."
    two = [(10.0, 10.0), (10.0, 30.0)]
    # (y, x, dy, dx, right): the second lies beside the first center, but points at the other one.
    cases = [(10, 12, 0, -2, 0), (10, 18, 0, 11, 1), (14, 26, -4, 4, 1), (2, 22, 8, -11, 0)]
    for y, x, dy, dx, right in cases:
        got = answer(y, x, dy, dx, two)
        if got is ... or got is None:
            return None  # a function that was left as it came
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


QUESTIONS: dict[str, Any] = json.loads(Path(__file__).with_name("questions.json").read_text("utf-8"))
"""By number: what is asked, three hints from a nudge to nearly the solution, and what the right answer teaches."""

_JUDGES: dict[str, Callable[[Any], str | None]] = {
    "1.1": _judge_components, "1.2": _judge_centers, "1.3": _judge_spot, "1.4": _judge_nearest, "1.5": _judge_ids,
}  # fmt: skip
"""Each takes the answer to a question; returns "" if it is right, None if it is none yet, else what is wrong."""
