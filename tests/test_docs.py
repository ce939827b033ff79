"""The pages of docs/ and the README are true: their code runs, their commands are ones, their links lead somewhere.

The blocks of a page run in their order, in a folder with the files that they name. A block that cannot run here says
why in a comment above it, which readers do not see: `<!-- not run: asks a server -->`; its commands are read still.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mitonb import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "mitonb" / "weights").glob("*.md"))]
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]+?) -->\n+)?^```(?P<kind>[\w{}-]*)[^\n]*\n(?P<code>.*?)^```$", re.M | re.S
)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
# What stands on a reader's disk before the first line of any page: a drawn volume, small, under many names.
FILES = """
import numpy as np, mitonb as mn
stack, truth = mn.phantom((44, 64, 96), objects=4, seed=1)
labels, recipe = truth, mn.Recipe()
for name in ("cell.tif", "cell.ome.zarr", "raw.tif", "other.tif", "huge.ome.zarr"):
    mn.save(stack, name)
for name in ("labels.tif", "cell_labels.tif", "truth.tif"):
    mn.save(truth, name)
checks = Path("collected/anna/checks.jsonl")
checks.parent.mkdir(parents=True)
checks.write_text('{"time": 1.0, "number": "4.2", "passed": true}\\n')
"""
# ... and what the text of a page has made before its first block.
BEFORE = {
    "README.md": "",
    "correcting.md": """
session = mn.Session(stack, truth)
session.paint([(20, 30, 40)], id=session.new_id(), radius=1)
app = mn.explore(session)
""",
    "contours.md": """
from mitonb.post.contours import find_seeds
maps = mn.contour_targets(truth.data)
semantic, contour = maps[:2]
seen = mn.Maps({"semantic": semantic[20:21], "contour": contour[20:21]})
""",
    "planes.md": "maps = mn.targets(truth.data[20])",
    "scores.md": "labels = mn.Labels(np.where(truth.data == 2, 0, truth.data), stack.voxel_size)",
    "volumes.md": """
stack, truth = mn.phantom((10, 256, 256), objects=12, seed=2)
other, session = stack, mn.Session(stack, truth)
session.mark_right(1, 2, 3)
session.mark_false(4, 5, 6)
""",
}


@dataclass(frozen=True)
class Block:
    """A block of code: where it begins, its language, its text, and why it is not run, or ""."""

    line: int
    kind: str
    code: str
    why: str


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    found = BLOCK.finditer(text)
    return [Block(text.count("\n", 0, b.start("code")), b["kind"], b["code"], b["why"] or "") for b in found]


def commands_in(code: str) -> list[list[str]]:
    """Return the words of each line that calls mitonb, without what is said behind it."""
    lines = re.findall(r"^mitonb .*", code.replace("\\\n", " "), re.M)
    return [shlex.split(line, comments=True)[1:] for line in lines]


RAN: list[list[str]] = []
WITH_PYTHON = [page for page in PAGES if any(b.kind == "python" and not b.why for b in blocks_of(page))]
WITH_COMMANDS = [page for page in PAGES if any(commands_in(b.code) for b in blocks_of(page))]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return names for a page to begin with; the files that pages name are in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MITONB_MODEL_DIR", str(tmp_path / "models"))
    names: dict[str, Any] = {"__name__": "page", "Path": Path}
    exec(FILES, names)
    return names


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs_as_it_stands(page: Path, desk: dict[str, Any]) -> None:
    exec(BEFORE.get(page.name, ""), desk)
    for block in blocks_of(page):
        if block.kind == "python" and not block.why:
            code = compile("\n" * block.line + block.code, str(page), "exec")
            exec(code, desk)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_ones(page: Path, desk: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    for block in blocks_of(page):
        for words in commands_in(block.code):
            said = f"{page.name}:{block.line}: mitonb {shlex.join(words)}"
            options = cli.build_parser().parse_args(cli.values_last(words))  # a wrong option ends it here
            # One that opens a browser is only read; what another page has run need not run again.
            if block.why or options.run is cli._RUNS["lab"] or words in RAN:
                continue
            RAN.append(words)
            assert cli.main(words) == 0, said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_are_of_kinds_that_are_checked(page: Path) -> None:
    known = {"python", "bash", "json", "yaml", "text", "{toctree}", "{raw}", "{eval-rst}"}
    for block in blocks_of(page):
        assert block.kind in known, f"{page.name}:{block.line}: say what is in this block, one of {known}"
        if block.kind == "json":
            json.loads(block.code)
        if block.kind == "python":
            compile(block.code, str(page), "exec")


def slug(heading: str) -> str:
    """Return the anchor that GitHub, and the site, give a heading."""
    kept = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings_that_there_are(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(prose):
        if re.match(r"[a-z]+:", target):
            continue  # elsewhere: `make links` asks there
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", path.read_text(encoding="utf-8")), re.M)
            assert anchor in map(slug, headings), f"{page.name} links to {target}; {path.name} has no such heading"
