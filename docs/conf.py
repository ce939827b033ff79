"""How the pages of this folder become a site: `make docs`, then open artifacts/docs/index.html. Nothing is fetched.

Notebooks, changes, model cards and the reference are written as pages into docs/generated first, so that nobody has to
list them. Links to what is no page lead to the repository, once CONTRIBUTING.md names its address (hatch_build.py).
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mitonb  # noqa: E402
from hatch_build import repository  # noqa: E402

ADDRESS = repository((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
GENERATED = ROOT / "docs" / "generated"
# Files elsewhere that become pages, and their names there.
PAGES = {
    ROOT / "CHANGELOG.md": "changes", ROOT / "CONTRIBUTING.md": "contributing",
    **{path: path.stem for path in sorted((ROOT / "mitonb" / "weights").glob("*.md"))},
    **{path: f"notebook-{path.stem}" for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))},
}  # fmt: skip
# Headings of the reference, and the rooms whose names stand there; what is in none of them comes last.
ROOMS = {
    "Open, fetch and save": ("io", "stack", "labels", "box", "phantoms"),
    "Segment": ("infer", "recipe", "models", "maps", "post", "job"),
    "Look and correct": ("widgets", "session", "plot"),
    "Measure and score": ("measurements", "summaries", "cohorts", "mistakes", "accuracy", "auditing", "mesh"),
    "Report and cite": ("reporting", "citing"),
    "Train": ("learn",),
    "Teach": ("lessons",),
}

project, author, copyright = "mitonb", "The mitonb authors", "the mitonb authors"
version = release = mitonb.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["generated/*.html"]
html_theme = "furo"
html_title = "mitonb"
html_extra_path = ["generated/medulla.html"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = (
    {"source_repository": f"{ADDRESS}/", "source_branch": "HEAD", "source_directory": "docs/"} if ADDRESS else {}
)
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
python_use_unqualified_type_names = True
# Lessons jump a level where it reads better; pictures of notebooks are attachments of their own.
suppress_warnings = ["myst.header", "myst.xref_ambiguous"]
linkcheck_ignore = [r"http://127\.0\.0\.1.*", r"http://localhost.*"]
linkcheck_timeout = 20


def relink(text: str, source: Path) -> str:
    """Return a page whose links to files of the repository lead to pages, or to the repository, or are plain text."""

    def link(found: re.Match[str]) -> str:
        mark, words, target, anchor = found.groups(default="")
        path = (source.parent / target).resolve()
        if "://" in target or target.startswith(("/", "mailto:", "#")) or not target:
            return found[0]
        if path in PAGES:
            return f"{mark}[{words}](/generated/{PAGES[path]}.md{anchor})"
        if path.is_relative_to(ROOT / "docs") and path.exists():
            return f"{mark}[{words}](/{path.relative_to(ROOT / 'docs').as_posix()}{anchor})"
        if path == ROOT / "README.md":
            return f"{mark}[{words}](/index.md)"
        return f"{mark}[{words}]({ADDRESS}/blob/HEAD/{path.relative_to(ROOT).as_posix()}{anchor})" if ADDRESS else words

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)", link, text)


def as_page(notebook: Path) -> str:
    """Return the cells of a notebook as a page, with the notebook to download, and to launch where that is possible."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    parts = [text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```" for cell in cells
             if (text := "".join(cell["source"]).strip())]  # fmt: skip
    relative = notebook.relative_to(ROOT).as_posix()
    offers = [f"{{download}}`the notebook </../{relative}>`"]
    if host := re.match(r"https://github\.com/(.+)", ADDRESS):
        offers.append(f"[on Binder](https://mybinder.org/v2/gh/{host[1]}/HEAD?urlpath=lab/tree/{relative})")
    head, _, rest = "\n\n".join(parts).partition("\n")
    return f"{head}\n\n*A lesson to run, cell by cell: {', '.join(offers)}.*\n{rest}\n"


def reference() -> dict[str, str]:
    """Return a page for each part of the front door, by its name."""
    homes = {name: mitonb._HOMES[name] for name in mitonb.__all__}
    named = {room: title for title, rooms in ROOMS.items() for room in rooms}
    found: dict[str, list[str]] = {title: [] for title in (*ROOMS, "More")}
    for name, home in homes.items():
        found[named.get(home.partition(".")[0], "More")].append(name)
    pages = {}
    for title, names in found.items():
        lines = [f"# {title}", "", "Names of `import mitonb as mn`."]
        for name in sorted(names, key=str.lower):
            value = getattr(importlib.import_module(f"mitonb.{homes[name]}"), name)
            kind = "class" if isinstance(value, type) else "function" if callable(value) else "data"
            where = f"mitonb.{homes[name]}" if kind == "data" else "mitonb"  # only there stands its docstring
            members = ["   :members:"] if kind == "class" and value.__doc__ else []
            lines += ["", f"## {name}", "", "```{eval-rst}", f".. auto{kind}:: {where}.{name}", *members, "```"]
        pages[f"reference-{title.lower().replace(' ', '-').replace(',', '')}"] = "\n".join(lines) + "\n"
    return pages


def write(name: str, text: str) -> None:
    """Write a generated page, if it is another one: what is the same is not read again."""
    path = GENERATED / f"{name}.md"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def snapshot(path: Path) -> None:
    """Make the snapshot that docs/snapshots.md shows, of real EM and labels of the bundled network."""
    stack, part = mitonb.sample("medulla"), mitonb.Box((20, 0, 0), (44, 224, 224))
    labels = mitonb.segment(stack, roi=part, show=False)
    mitonb.snapshot(stack, path, labels=labels, box=part)


def setup(app: Any) -> None:
    """Write the generated pages; have links of all others lead somewhere."""
    GENERATED.mkdir(exist_ok=True)
    if not (GENERATED / "medulla.html").exists():
        snapshot(GENERATED / "medulla.html")
    pages = reference()
    for path, name in PAGES.items():
        text = as_page(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
        pages[name] = relink(text, path)
    for old in GENERATED.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        write(name, text)

    def on_read(_: Any, name: str, text: list[str]) -> None:
        if not name.startswith("generated/"):
            text[0] = relink(text[0], ROOT / "docs" / f"{name}.md")

    def on_docstring(_: Any, what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
        # Of the attributes "y, x" the first word would be taken for the type.
        if what == "class":
            lines[:] = [re.sub(r"^\w+(, \w+)+(?= :)", lambda names: names[0].replace(" ", ""), line) for line in lines]

    app.connect("source-read", on_read)
    app.connect("autodoc-process-docstring", on_docstring, priority=400)  # before napoleon, at 500
