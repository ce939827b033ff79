"""The notebooks of the course, written for students: sources hold the solutions, students get gaps."""

import ast
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from mitonb.errors import InputError

Form = Literal["student", "solved", "otter", "nbgrader"]

_ONE_LINE = re.compile(r"^(\s*)(return |.+? = )(.+?)  # SOLUTION$", re.MULTILINE)
_LINES = re.compile(r"^([ \t]*)# BEGIN SOLUTION\n(.*?)^[ \t]*# END SOLUTION$", re.MULTILINE | re.DOTALL)


def sources() -> list[Path]:
    """Return the notebooks that ask questions, of this installation or beside it in a checkout."""
    here = Path(__file__).parents[1]
    found = [p for at in (here, here.parent) for p in sorted((at / "notebooks").glob("*.ipynb"))]
    return [path for path in found if "mn.check(" in path.read_text("utf-8")]


def write_course(folder: str | Path, form: Form = "student") -> list[Path]:
    """Write the notebooks of the course into a folder; what is there already is somebody's work and stays.

    Parameters
    ----------
    folder : path
        Made if need be.
    form : {"student", "solved", "otter", "nbgrader"}
        Gaps for the answers; or with the solutions; or gaps and, in tests/, a file a question for otter-grader; or as
        the sources that nbgrader makes its release version of.

    Returns
    -------
    list of Path
        Notebooks that were written now.

    Raises
    ------
    InputError
        If there is no such form.
    """
    if form not in get_args(Form):
        raise InputError(f"Notebooks are written as one of {', '.join(get_args(Form))}, got {form!r}.")
    place, written = Path(folder).expanduser(), []
    place.mkdir(parents=True, exist_ok=True)
    for source in sources():
        target = place / source.name
        if target.exists():
            continue
        if form == "solved":
            shutil.copyfile(source, target)
        else:
            book = json.loads(source.read_text("utf-8"))
            book["cells"] = [new for cell in book["cells"] for new in _cells(cell, form)]
            target.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if form == "otter":
            _write_tests(source, place / "tests")
        written.append(target)
    return written


def without_solution(code: str) -> str:
    """Return a cell with gaps: after `# SOLUTION` at an end of line, and from `# BEGIN` to `# END SOLUTION`."""
    return _ONE_LINE.sub(r"\1\2...", _LINES.sub(r"\1...  # your lines", code))


def asked(code: str) -> Iterator[tuple[str, str]]:
    """Yield number and answer, as code, of each `mn.check(number, answer)` in a cell."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "mn.check" and len(node.args) == 2:
            yield ast.literal_eval(node.args[0]), ast.unparse(node.args[1])


def _cells(cell: dict[str, Any], form: Form) -> Iterator[dict[str, Any]]:
    code = "".join(cell["source"])
    questions = list(asked(code)) if cell["cell_type"] == "code" and "mn.check(" in code else []
    if not questions or form != "nbgrader":
        yield {**cell, "source": without_solution(code).splitlines(keepends=True)} if questions else cell
        return
    marked = _ONE_LINE.sub(r"\1### BEGIN SOLUTION\n\1\2\3\n\1### END SOLUTION", code)
    marked = re.sub(r"(?<!#)# (BEGIN|END) SOLUTION", r"### \1 SOLUTION", marked)
    name = "-".join(number.replace(".", "-") for number, _ in questions)
    fixed = {"schema_version": 3, "task": False}
    answer = {**fixed, "grade_id": f"answer-{name}", "solution": True, "grade": False, "locked": False}
    test = {**fixed, "grade_id": f"check-{name}", "solution": False, "grade": True, "locked": True}
    yield {**cell, "source": marked.splitlines(keepends=True), "metadata": {"nbgrader": answer}}
    asserts = [f'assert mn.check("{number}", {given}).passed\n' for number, given in questions]
    metadata = {"nbgrader": {**test, "points": len(questions)}}
    yield {**cell, "id": f"check-{name}", "source": asserts, "metadata": metadata}


def _write_tests(source: Path, folder: Path) -> None:
    """Write a file for each question, as otter-grader reads them (OK format)."""
    folder.mkdir(exist_ok=True)
    for cell in json.loads(source.read_text("utf-8"))["cells"]:
        code = "".join(cell["source"])
        for number, given in asked(code) if cell["cell_type"] == "code" and "mn.check(" in code else ():
            case = {"code": f'>>> mn.check("{number}", {given}).passed\nTrue', "hidden": False, "locked": False}
            suite = {"cases": [case], "scored": True, "setup": "", "teardown": "", "type": "doctest"}
            test = {"name": f"q{number.replace('.', '_')}", "points": 1, "suites": [suite]}
            (folder / f"{test['name']}.py").write_text(f"OK_FORMAT = True\n\ntest = {test!r}\n", encoding="utf-8")
