"""A table of a class, from the files in which the checks of each student were noted."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from mitonb.errors import InputError
from mitonb.lessons.judges import QUESTIONS


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
