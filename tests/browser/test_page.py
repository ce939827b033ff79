"""The workbench as a page: axe-core finds nothing serious, and no text that comes into it is ever more than text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from tests.browser.lab import ROOT, Lab, Notebook, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/page"))
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
VIEWER = "document.querySelector('.mitonb-viewer')"
VIEW = f"{VIEWER}.mitonb"
READY = f"{VIEWER}?.dataset.state === 'ready' && {VIEWER}.dataset.pending === '0'"
RUN = "window.__ran_evil = (window.__ran_evil ?? 0) + 1"
TAGS = [
    f"<script>{RUN}</script>", f"<img src=x onerror='{RUN}'>", f"<svg onload='{RUN}'>", f"<body onload='{RUN}'>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>", f"<details open ontoggle='{RUN}'>",
    f"<input autofocus onfocus='{RUN}'>", f"<video><source onerror='{RUN}'></video>", f"<math><mi onclick='{RUN}'>",
    f'"><script>{RUN}</script>', f"'><img src=x onerror={RUN!r}>", f"</title><script>{RUN}</script>",
    f"</textarea><script>{RUN}</script>", f"--><script>{RUN}</script>", f"]]><script>{RUN}</script>",
    f"<scr<script>ipt>{RUN}</script>", "<SCRIPT SRC='/evil.js'></SCRIPT>", "<link rel=stylesheet href='/evil.css'>",
    "<img src='https://evil.example/a.png'>", "<iframe src='https://evil.example'></iframe>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>", "<base href='https://evil.example/'>",
    "<form action='https://evil.example'><button>", "<object data='/evil.swf'>", "<style>@import '/evil.css';</style>",
    "<a href='javascript:alert(1)'>a</a>", "javascript:alert(1)", "data:text/html,<script>alert(1)</script>",
]  # fmt: skip
OTHERS = [
    "{{constructor.constructor('alert(1)')()}}", "${alert(1)}", "#{7*7}", "<%= 7 * 7 %>", "{% raw %}", "%s%n{0}{name}",
    "__proto__", "constructor", "toString", "[object Object]", "null", "NaN", "1e999", "-1", "0x10", "4294967296",
    "9" * 400, "\u202egnp.exe", "\u200b\u2066\u2069", "\ufeff", "\x00\x01\x1b[31m", "a\nb\r\nc\td", "\u2028\u2029",
    "Z\u0334\u0321\u035d" * 40, "\U0001f469\u200d\U0001f52c", "x" * 9_000, "'; DROP TABLE edits; --",
    "../../../../etc/passwd", "\\\\evil\\share", "url(https://evil.example)", "*{display:none!important}",
    "red;background:url(/evil)", "&lt;b&gt;&#60;script&#62;", "\\u003cscript\\u003e", "$(alert)(1)", "`touch evil`",
]  # fmt: skip
HOSTILE = TAGS + OTHERS
SET_UP = f"""
import contextlib, numpy as np, mitonb as mn
from mitonb.infer.kept import KeptMaps
HOSTILE = {HOSTILE!r}
drawn = np.zeros((120, 200), np.uint32)
drawn[20:60, 20:50], drawn[20:60, 50:90], drawn[75:105, 120:160], drawn[10:16, 150:156] = 1, 2, 3, 4
maps = mn.targets(drawn)
semantic = np.where(drawn == 3, 0.57, maps.semantic[0])[None].astype(np.float32)
image = np.where(drawn > 0, 80, 160).astype(np.uint8)[None].repeat(2, 0)
stack, path = mn.Stack(image, (20.0, 10.0, 10.0), HOSTILE[1]), f"{{HOSTILE[3]}}.mitonb"
session = mn.Session(stack, drawn[None].repeat(2, 0), path)
app = mn.explore(session)
app.runs.kept = KeptMaps((2, 120, 200), "memory")
app.runs.kept.put("xy", 0, maps.replace(semantic=semantic))
app.viewer.index = 0
app
"""


@pytest.fixture(scope="module")
def book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], height=800, timeout=180)
    book.page.on("request", lambda request: asked.append(request.url))
    book.page.on("dialog", lambda dialog: (opened.append(dialog.message), dialog.dismiss()))
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


asked: list[str] = []
opened: list[str] = []


def focus(book: Notebook) -> None:
    book.js(f"{VIEWER}.focus({{preventScroll: true}})")


def press(book: Notebook, key: str) -> None:
    focus(book)
    book.page.keyboard.press(key)


def tab(book: Notebook, name: str) -> None:
    book.page.locator(".mnb-app .lm-TabBar-tab", has_text=name).click()


def serious(book: Notebook) -> list[str]:
    """Return what axe-core calls serious or critical in the workbench: rule, impact, element, and what it says."""
    found: list[Any] = book.js(
        """async () => {
            const {violations} = await axe.run('.mnb-app', {resultTypes: ['violations']});
            return violations.filter(v => ['serious', 'critical'].includes(v.impact)).flatMap(v => v.nodes.map(n =>
                [v.id, v.impact, n.target.join(' '), n.html.slice(0, 160), n.failureSummary].join(' | ')));
        }"""
    )
    return found


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: npm ci --ignore-scripts")
def test_axe_finds_nothing_serious_in_any_state_of_the_workbench(book: Notebook) -> None:
    book.page.add_script_tag(path=AXE)
    found: dict[str, list[str]] = {}

    def look(state: str) -> None:
        # Colours come from the theme: a few states show them all, and each change of it takes seconds.
        for theme in ("light", "dark") if state in ("objects", "menu", "help") else ("light",):
            book.theme(theme)  # type: ignore[arg-type]
            book.wait(READY)
            book.shot(SHOTS / f"axe-{state}-{theme}.png")
            if issues := serious(book):
                found[f"{state}, {theme}"] = issues

    tab(book, "Objects")
    look("objects")
    book.ask("app.session.select(1)")
    press(book, "o")
    look("menu")
    press(book, "Escape")
    press(book, "Shift+M")
    look("note")
    book.page.keyboard.press("Escape")
    press(book, "?")
    look("help")
    press(book, "Escape")
    book.page.locator(".mnb-review button", has_text="What to check").click()
    book.wait("document.querySelector('.mnb-review').textContent.includes('of 4 seen')", 60)
    press(book, "n")
    look("review")
    press(book, "4")
    book.wait(f"{VIEW}.panes.on")
    look("panes")
    press(book, "4")
    press(book, "p")
    book.page.locator(".mnb-run button", has_text="Tune").click()
    book.wait(f"{VIEW}.asking")
    look("tune")
    press(book, "Escape")
    for name in ("History", "Save", "Train"):
        tab(book, name)
        look(name.lower())
    tab(book, "Objects")
    press(book, "Escape")
    book.theme("light")
    assert not found, "\n".join(f"{state}: {issue}" for state, issues in found.items() for issue in issues)


def test_no_text_from_files_people_or_python_is_more_than_text(lab: Lab, book: Notebook) -> None:
    assert len(HOSTILE) >= 60
    digest = "hash(session.labels.data.tobytes())"
    before = book.ask(f"({digest}, session.ids(), app.form.recipe)")
    # What Python says of names, files and errors.
    book.add("""
for text in HOSTILE:
    with contextlib.suppress(mn.MitonbError):
        session.note(text, 1)
    session.use_model(text, instead=text, strokes=1)
    app.viewer.compare(drawn[None].repeat(2, 0), name=text)
    app.viewer.say(text)
    app.viewer.ask(text, {"yes": text, "no": text}, [(5, 5)], "xy", 0)
    app.viewer.show_foreseen("xy", 0, text)
    app.run_bar.say(text)
    app.run_bar.fail(ValueError(text))
    app.table.grid.tell(text)
app.viewer.comparison = ""
""")
    book.wait(f"{VIEWER}.querySelector('.mitonb-notice').textContent.includes('`touch evil`')")
    # What people type: into the table, and as a place, a note or an id.
    tab(book, "Objects")
    search = book.page.get_by_label("Find objects")
    for text in HOSTILE:
        search.fill(text)
    search.fill("")
    book.page.keyboard.press("Escape")
    field = "document.activeElement.matches('.mitonb-goto')"
    book.ask("session.select(1)")
    for key in ("/", "Shift+M", "Shift+L"):
        for text in HOSTILE[("/", "Shift+M", "Shift+L").index(key) :: 3]:
            press(book, key)
            book.wait(field)
            book.page.keyboard.press("Control+a")
            book.page.keyboard.insert_text(text)
            book.page.keyboard.press("Enter")
            if book.js(field):  # in the picture it would end the selection
                book.page.keyboard.press("Escape")
    # Names in a second workbench, and in parts that stand alone.
    book.add("""
import ipywidgets
labels = mn.Labels(drawn[None].repeat(2, 0), None, HOSTILE[2])
ipywidgets.VBox([mn.view(mn.Stack(image, name=HOSTILE[0]), labels), mn.show_table(labels)])
""")
    book.wait(f"{READY} && document.querySelectorAll('.mitonb-viewer[data-state=ready]').length === 2", 60)
    for name in ("History", "Save", "Train", "Objects"):
        tab(book, name)
    book.shot(SHOTS / "hostile.png")
    assert book.js("window.__ran_evil ?? 0") == 0
    assert opened == []
    assert [url for url in asked if "evil" in url] == []
    assert lab.outside == []
    strange = ":is(script, iframe, object, embed, base, meta, form)"
    assert book.js(f"document.querySelectorAll('.mnb-app {strange}, .mitonb-viewer {strange}').length") == 0
    assert book.ask(f"({digest}, session.ids(), app.form.recipe)") == before
    assert book.ask("session.replay() == session.version") == "True"
