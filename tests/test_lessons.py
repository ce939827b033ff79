"""The questions of the lessons: right answers pass, wrong ones teach."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.feature import peak_local_max
from skimage.measure import label

import mitonb as mn
from mitonb import lessons
from mitonb.errors import InputError

SEEN = lessons.ideal()


def nearest(y: float, x: float, dy: float, dx: float, centers: list[tuple[float, float]]) -> int:
    return min(range(len(centers)), key=lambda i: math.dist((y + dy, x + dx), centers[i]))


RIGHT = {
    "1.1": lambda: label(SEEN.semantic[0] > 0.5).max(),
    "1.2": lambda: len(peak_local_max(SEEN.center, 5, 0.5, exclude_border=False)),
    "1.3": lambda: np.add(lessons.SPOT, lessons.tiny().offsets[:, lessons.SPOT[0], lessons.SPOT[1]]),
    "1.4": lambda: nearest,
    "1.5": lambda: mn.decode(SEEN, mn.Recipe()),
}


@pytest.mark.parametrize("number", lessons.QUESTIONS)
def test_the_last_hint_is_a_right_answer(number: str) -> None:
    assert mn.check(number, RIGHT[number]()).passed, mn.check(number, RIGHT[number]())


def test_touching_mitochondria_make_lesson_one_worth_while() -> None:
    assert RIGHT["1.1"]() < RIGHT["1.2"]() == 10


@pytest.mark.parametrize("number", lessons.QUESTIONS)
def test_no_answer_yet_shows_the_question_and_costs_no_hint(number: str) -> None:
    for nothing in (None, ...):
        result = mn.check(number, nothing)
        assert not result.passed
        assert "not answered yet" in result.text


def test_a_function_left_as_it_came_is_no_wrong_answer() -> None:
    assert "not answered yet" in mn.check("1.4", lambda y, x, dy, dx, centers: ...).text


def test_hints_get_clearer_with_every_wrong_answer() -> None:
    lessons._tries.clear()
    said = [mn.check("1.1", 99).text.splitlines()[-1] for _ in range(4)]
    assert [text.split()[1] for text in said] == ["1", "2", "3", "3"]
    assert mn.check("1.1", RIGHT["1.1"]()).passed
    assert "Hint 1 of 3" in mn.check("1.1", 99).text


@pytest.mark.parametrize(
    ("number", "answer", "said"),
    [
        ("1.1", 10, "semantic map alone"),
        ("1.1", "seven", "whole number"),
        ("1.2", 99, "fewer than 99"),
        ("1.3", (2, 4), "rows come first"),
        ("1.3", (-2, 4), "wrong way"),
        ("1.3", (1, 2, 3), "pair"),
        ("1.4", 3, "a function"),
        ("1.4", lambda y, x, dy, dx, c: 1 / 0, "ZeroDivisionError"),
        ("1.4", lambda y, x, dy, dx, c: min(range(len(c)), key=lambda i: math.dist((y, x), c[i])), "where the offset"),
        ("1.5", np.zeros((256, 256)), "hold 0 objects"),
        ("1.5", np.zeros((3, 3)), "shape"),
    ],
)
def test_a_wrong_answer_is_explained_and_never_an_exception(number: str, answer: object, said: str) -> None:
    result = mn.check(number, answer)
    assert not result.passed
    assert said in result.text
    assert str(result) == repr(result) == result.text


def test_a_hint_can_be_asked_for() -> None:
    assert "peak_local_max" in mn.check("1.2", hint=3).text
    with pytest.raises(InputError, match="hints 1, 2 and 3"):
        mn.check("1.2", hint=4)


def test_an_unknown_question_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"1\.1, 1\.2"):
        mn.check("9.9", 1)
