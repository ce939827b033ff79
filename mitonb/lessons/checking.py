"""Checks: a wrong answer gets its own sentence, then hints in three steps, without a network; a class as a table."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

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
    if why is None or why == "untouched":  # a notebook that is run before the work begins is no try
        before = f" {question['wrong']['untouched'].capitalize()}" if why else ""
        return Result(False, f"{number} is not answered yet: {question['text']}{before}", why or "")
    _note(number, passed=not why, why=why)
    if not why:
        _tries[number] = 0
        return Result(True, f"✓ {number} is right. {question['praise']}")
    _tries[number] = step = min(3, _tries[number] + 1)
    said = {
        "error": "it failed with {error}.", "other": "that is not it: {answer}.",
        "word": "a number is asked for, with a decimal point and without its unit, such as 2.5; got {answer}.",
    } | question["wrong"]  # fmt: skip
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


def class_table(folder: str | Path) -> pd.DataFrame:
    """Return how far each student is, from the files that `keep` wrote.

    Parameters
    ----------
    folder : path
        With one file or one folder a student, at any depth; everything that ends in .jsonl is read.

    Returns
    -------
    pandas.DataFrame
        A row a student: ``student``, ``right`` (questions solved), ``minutes`` (with a check less than ten minutes
        after another), and a column a question that anybody tried: the number of tries until it was right, negative
        while it is not; then ``stuck``, the last wrong answers in words. A line ``(class)`` at the end tells the part
        of those who tried that got it right. ``attrs["left_out"]`` lists what could not be read, in words: files, and
        lines that are no check of ours.

    Raises
    ------
    InputError
        If there is no such file, or no check in any of them.
    """
    files = sorted(Path(folder).expanduser().rglob("*.jsonl"))
    if not files:
        raise InputError(f"There is no checks.jsonl in {folder}. Collect those of the students there, a folder each.")
    found, left_out = dict[str, list[dict[str, Any]]](), list[str]()
    for file in files:
        who = file.stem if file.stem != "checks" else file.parent.name
        try:
            lines = file.read_bytes().splitlines()
        except OSError as error:
            left_out.append(f"{file}: {error.strerror}")
            continue
        bad: list[int] = []
        for count, line in enumerate(lines, 1):
            try:
                if line.strip() and QUESTIONS[(row := dict(json.loads(line)))["number"]]:
                    row["time"] = float(row["time"])
                    found.setdefault(str(row.get("student") or who), []).append(row)
            except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
                bad.append(count)
        if bad:
            left_out.append(f"{file}: {len(bad)} of {len(lines)} lines are no checks, the first is line {bad[0]}")
    if not found:
        raise InputError(f"There is no check in {folder}. {'; '.join(left_out[:5])}")
    table = pd.DataFrame([{"student": who, **_summary(rows)} for who, rows in sorted(found.items())])
    numbers = [number for number in QUESTIONS if number in table]
    tried = table[numbers].notna().sum()
    share = ((table[numbers] > 0).sum() / tried).round(2)
    last = pd.DataFrame([{"student": "(class)", "right": table["right"].mean().round(1), **share}])
    table = pd.concat([table, last], ignore_index=True)[["student", "right", "minutes", *numbers, "stuck"]]
    table.attrs["left_out"] = left_out
    return table


def _judged(number: str, answer: Any) -> tuple[str | None, Mapping[str, Any]]:
    """Return "" for right, None for no answer yet, else what is wrong, with what its sentence tells."""
    if answer is None or answer is ... or (isinstance(answer, tuple | list) and any(part is ... for part in answer)):
        return None, {}
    try:
        found = JUDGES[number](answer) if number in JUDGES else _told(QUESTIONS[number], answer)
    except Exception as error:  # a student's function may fail in any way, and that is an answer too
        if isinstance(error, ValueError) and number not in JUDGES and isinstance(answer, str):
            return "word", {}
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


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a student's line: tries of each question until it was right, negative while it is not."""
    rows = sorted(rows, key=lambda row: row["time"])
    times = pd.Series([row["time"] for row in rows]).diff()
    tries, wrong = dict[str, int](), dict[str, str]()
    for row in rows:
        number, count = row["number"], tries.get(row["number"], 0)
        if "passed" in row and count <= 0:
            tries[number] = 1 - count if row["passed"] else count - 1
            wrong[number] = "" if row["passed"] else str(row.get("why", ""))
    stuck = "; ".join(f"{number} {why}" for number, why in wrong.items() if why)
    right = sum(count > 0 for count in tries.values())
    return {"right": right, "minutes": round(times[times < 600].sum() / 60, 1), **tries, "stuck": stuck}
