"""Checks of the lessons: a wrong answer gets its own sentence, then hints in three steps; no screen, no network."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mitonb.errors import InputError
from mitonb.lessons.judges import JUDGES, QUESTIONS, Verdict

_tries: Counter[str] = Counter()
_kept: dict[str, Any] = {}


@dataclass(frozen=True)
class Result:
    """What `check` says.

    Attributes
    ----------
    passed : bool
        Whether the answer is right.
    text : str
        For the student.
    why : str
        Which of the usual mistakes it was: a key of the question's "wrong", "other", "error", or "" where there is
        none.
    """

    passed: bool
    text: str
    why: str = ""

    def __repr__(self) -> str:
        return self.text


def check(number: str, answer: Any = None, *, hint: int | None = None) -> Result:
    """Check an answer; after each wrong one the hint gets clearer.

    Parameters
    ----------
    number : str
        Of the question, such as "2.1".
    answer : object, optional
        A number, a word, an array, a function or a session, as the question asks. None asks for the question.
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
    >>> check("2.3", (4, 2)).passed
    True
    """
    if number not in QUESTIONS:
        raise InputError(f"There is no question {number!r}. There are {', '.join(QUESTIONS)}.")
    question = QUESTIONS[number]
    if hint is not None:
        if hint not in (1, 2, 3):
            raise InputError(f"There are hints 1, 2 and 3, got {hint!r}.")
        _note(number, why="hint", hint=hint)
        return Result(False, f"Hint {hint} for {number}: {question['hints'][hint - 1]}", "hint")
    why, facts = _judged(number, answer)
    if why is None:
        return Result(False, f"{number} is not answered yet: {question['text']}")
    _note(number, passed=not why, why=why)
    if not why:
        _tries[number] = 0
        return Result(True, f"✓ {number} is right. {question['praise']}")
    _tries[number] = step = min(3, _tries[number] + 1)
    said = {"error": "it failed with {error}.", "other": "that is not it: {answer}."} | question["wrong"]
    wrong = said[why].format_map({"answer": str(answer)[:60], **facts})
    return Result(False, f"✗ {number}: {wrong}\n  Hint {step} of 3: {question['hints'][step - 1]}", why)


def keep(path: str | Path = "checks.jsonl", *, student: str = "") -> str:
    """Note what the checks of this kernel say, a line each, in a file beside the notebook; nothing is sent anywhere.

    Parameters
    ----------
    path : path
        Lines are added to it. `mitonb class` makes a table of the files of many students.
    student : str
        A name for that table; without one, that of the folder or file counts.
    """
    _kept.update(path=Path(path), student=student)
    return f"What the checks say is noted in {path}, beside this notebook. Nothing is sent anywhere."


def _judged(number: str, answer: Any) -> tuple[str | None, Mapping[str, Any]]:
    """Return "" for right, None for no answer yet, else what is wrong, with what its sentence tells."""
    if answer is None or answer is ... or (isinstance(answer, tuple | list) and any(part is ... for part in answer)):
        return None, {}
    try:
        found = JUDGES[number](answer) if number in JUDGES else _told(QUESTIONS[number], answer)
    except Exception as error:  # a student's function may fail in any way, and that is an answer too
        return "error", {"error": f"{type(error).__name__}: {error}"}
    return found if isinstance(found, tuple) else (found, {})


def _told(question: Mapping[str, Any], answer: Any) -> Verdict:
    """Compare an answer with the right one and with the usual wrong ones, words or numbers."""
    right = question["right"]
    if isinstance(right, str):
        said = str(answer).strip().lower()
        return "" if said == right else said if said in question["wrong"] else "other"
    got, near = np.asarray(answer, float), question.get("near", 1e-9)
    numbers = {key: json.loads(key) for key in question["wrong"] if key[0] in "-0123456789["}
    for key, value in ("", right), *(numbers | question.get("values", {})).items():
        if got.shape == np.shape(value) and np.allclose(got, value, rtol=0, atol=near):
            return key
    return ("shape", {"shape": got.shape}) if got.shape != np.shape(right) and "shape" in question["wrong"] else "other"


def _note(number: str, **what: Any) -> None:
    if _kept:
        row = {"time": round(time.time(), 1), "student": _kept["student"], "number": number, **what}
        with open(_kept["path"], "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
