"""The course: what students get has gaps and runs, what teachers get fits their tools, and a class becomes a table."""

from __future__ import annotations

import ast
import doctest
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import mitonb as mn
from mitonb import lessons
from mitonb.cli import main
from mitonb.errors import InputError
from mitonb.lessons import checking
from mitonb.lessons.course import asked, sources, without_solution

BOOKS = [pytest.param(path, id=path.stem) for path in sources()]


def cells(path: Path) -> list[tuple[str, dict[str, Any]]]:
    book = json.loads(path.read_text("utf-8"))
    return [("".join(cell["source"]), cell) for cell in book["cells"] if cell["cell_type"] == "code"]


ASKED = [number for p in sources() for code, _ in cells(p) if "mn.check(" in code for number, _ in asked(code)]


def names(code: str, kind: type[ast.expr_context]) -> set[str]:
    return {n.id for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Name) and isinstance(n.ctx, kind)}


@pytest.fixture
def _own_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_kept", {})
    checking._tries.clear()


def test_every_question_stands_in_one_lesson() -> None:
    assert sorted(ASKED) == sorted(lessons.QUESTIONS)


@pytest.mark.parametrize("path", BOOKS)
def test_no_later_cell_needs_an_answer_that_a_student_may_not_have(path: Path) -> None:
    missing: set[str] = set()
    for code, _ in cells(path):
        student = without_solution(code) if "mn.check(" in code else code
        assert "SOLUTION" not in student
        compile(student, path.name, "exec")
        if "mn.check(" in code:
            lost = names(code, ast.Store) - names(student, ast.Store)
            lost |= {t.id for n in ast.walk(ast.parse(student)) if isinstance(n, ast.Assign)
                     and ast.unparse(n.value) == "..." for t in n.targets if isinstance(t, ast.Name)}  # fmt: skip
            needed = names(student, ast.Load) & (missing | lost) - {given for _, given in asked(code)}
            missing |= lost
        else:
            needed = names(code, ast.Load) & missing
            missing -= names(code, ast.Store)
        assert not needed, f"{needed} in: {student}"


def test_gaps_are_an_ellipsis_or_a_line_that_says_so() -> None:
    code = 'a = 3 * b  # SOLUTION\ndef f(x):\n    """Text."""\n    # BEGIN SOLUTION\n    y = x\n    return y\n'
    code += "    # END SOLUTION\n"
    left = 'a = ...\ndef f(x):\n    """Text."""\n    ...  # your lines\n'
    assert without_solution(code) == left
    assert without_solution("    return min(a, b)  # SOLUTION") == "    return ..."


@pytest.mark.parametrize("form", ["student", "solved", "otter", "nbgrader"])
def test_the_course_is_written_for_students_and_for_the_tools_of_teachers(tmp_path: Path, form: Any) -> None:
    nbformat = pytest.importorskip("nbformat")
    written = lessons.write_course(tmp_path / "new", form)
    assert [path.name for path in written] == [path.name for path in sources()]
    for path in written:
        nbformat.validate(nbformat.read(path, as_version=4))
        text = path.read_text("utf-8")
        assert ("SOLUTION" in text) == (form in ("solved", "nbgrader"))
        assert ("### BEGIN SOLUTION" in text) == (form == "nbgrader")
    if form == "nbgrader":
        marks = [cell["metadata"]["nbgrader"] for path in written for _, cell in cells(path) if cell["metadata"]]
        assert len({mark["grade_id"] for mark in marks}) == len(marks)
        assert sum(mark.get("points", 0) for mark in marks) == len(ASKED)
    written[0].write_text("mine")
    assert lessons.write_course(tmp_path / "new", form) == []
    assert written[0].read_text() == "mine"
    with pytest.raises(InputError, match="student, solved"):
        lessons.write_course(tmp_path, "pdf")  # type: ignore[arg-type]


def test_the_tests_for_otter_pass_with_the_answer_and_fail_with_a_gap(tmp_path: Path) -> None:
    lessons.write_course(tmp_path, "otter")
    files = sorted((tmp_path / "tests").glob("q*.py"))
    assert len(files) == len(ASKED)
    test = runpy.run_path(str(tmp_path / "tests" / "q4_3.py"))["test"]
    code = test["suites"][0]["cases"][0]["code"]
    for answer, failures in ((2 / 3, 0), (0.5, 1), (..., 1)):
        case = doctest.DocTestParser().get_doctest(code, {"mn": mn, "f1": answer}, test["name"], None, None)
        assert doctest.DocTestRunner(verbose=False).run(case, out=lambda _: None).failed == failures


@pytest.mark.usefixtures("_own_notes")
def test_a_class_becomes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for student, answers in {"Ada": [5000, 20, 200], "Ben": [5000], "": [200]}.items():
        folder = tmp_path / (student or "cem")
        folder.mkdir()
        lessons.keep(folder / "checks.jsonl", student=student)
        mn.check("1.1")  # only looked at
        for answer in answers:
            mn.check("1.1", answer)
    mn.check("4.1", "c")
    mn.check("4.1", hint=2)
    out = tmp_path / "table.csv"
    assert main(["class", str(tmp_path), "-o", str(out)]) == 0
    table = lessons.class_table(tmp_path).set_index("student")
    assert table["1.1"].tolist() == [3, -1, 1, 0.67]
    assert table.loc["cem", ["right", "4.1"]].tolist() == [2, 1]
    assert table.loc["Ben", "stuck"] == "1.1 5000"
    assert "Ben" in capsys.readouterr().out
    assert out.read_text().count("\n") == 5
    with pytest.raises(InputError, match=r"no checks\.jsonl"):
        lessons.class_table(tmp_path / "none")


def test_what_cannot_be_read_is_left_out_of_the_table_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"time": 1, "number": "1.1", "passed": True, "why": ""}
    good = json.dumps(row | {"student": "=HYPERLINK(1)"}).encode()
    broken = [b'{"time": 1, "number', b"{}", b"[1]", b'{"time": "x", "number": "1.1"}', b'{"time": 1, "number": "0.0"}']
    (tmp_path / "ann.jsonl").write_bytes(b"\n".join([good, b"", *broken, good, b""]))
    (tmp_path / "ben.jsonl").write_bytes(bytes(range(256)))
    (tmp_path / "cem.jsonl").write_bytes(b'{"student": "\xe4"}\n' + json.dumps(row).encode())
    (tmp_path / "dan.jsonl").mkdir()
    out = tmp_path / "table.csv"
    for _ in range(2):  # it is written anew
        assert main(["class", str(tmp_path), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "ann.jsonl: 5 of 8 lines are no checks, the first is line 3" in said
    assert "cem.jsonl: 1 of 2 lines" in said
    assert "dan.jsonl: Is a directory" in said or "dan.jsonl: Permission denied" in said
    names = [line.split(",")[0] for line in out.read_text("utf-8").splitlines()[1:]]
    assert names == ["'=HYPERLINK(1)", "cem", "(class)"]
    (tmp_path / "ann.jsonl").unlink()
    (tmp_path / "cem.jsonl").unlink()
    with pytest.raises(InputError, match=r"no check in .*ben\.jsonl"):
        lessons.class_table(tmp_path)


def test_a_class_is_written_as_a_workbook(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    (tmp_path / "a.jsonl").write_text(json.dumps({"time": 1, "number": "1.1", "passed": True, "student": "=A1"}))
    assert main(["class", str(tmp_path), "-o", str(tmp_path / "table.xlsx")]) == 0
    assert openpyxl.load_workbook(tmp_path / "table.xlsx").active["A2"].value == "'=A1"


def test_the_command_writes_the_course(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for said in (f"{len(sources())} notebooks in", f"0 notebooks in {tmp_path}, {len(sources())} were there and stay"):
        assert main(["course", str(tmp_path)]) == 0
        assert said in capsys.readouterr().out
