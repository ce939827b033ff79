"""A snapshot is a page of its own: it opens from a disk, without kernel and network, and shows what the viewer did."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright")

import mitonb as mn
from tests.browser.lab import poll, why_not

if TYPE_CHECKING:
    from tests.browser.lab import Lab

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/snapshot"))
ROOT = "document.querySelector('.mitonb-viewer')"
DRAWN = """() => {
    const {picture, entry, store} = ROOT.mitonb;
    const image = ROOT.mitonb.entry('image'), labels = ROOT.mitonb.entry('labels');
    return image && labels && [ROOT.dataset.plane, image.data.reduce((sum, v) => sum + v, 0) / image.data.length,
        [...new Set(labels.data)].sort((a, b) => a - b)];
}""".replace("ROOT", ROOT)

# What the page says when all is done that its help lists.
HELPED = """async () => {
    const {store, verbs, run} = ROOT.mitonb, said = [];
    store.addEventListener('notice', ({detail}) => said.push(detail.text));
    for (const {command} of verbs.help.flatMap((group) => group.keys)) if (command && command !== 'full') run(command);
    await new Promise((done) => setTimeout(done, 100));
    return said;
}""".replace("ROOT", ROOT)


def test_a_snapshot_opens_offline_scrolls_zooms_names_objects_and_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    stack, truth = mn.phantom((8, 96, 128), seed=5)
    app = mn.explore(mn.Stack(stack.data, stack.voxel_size, "</script><b>evil</b>"), truth)
    app.viewer.set_maps("xy", 4, mn.targets(truth.data[4]))
    mn.snapshot(app, tmp_path / "page.html", planes=("xy", "xz"))
    asked: list[str] = []
    context = lab.browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())

    def at(plane: str) -> None:
        poll(lambda: page.evaluate(f"{ROOT}?.dataset.plane === '{plane}' && {ROOT}.dataset.state === 'ready'"),
             f"{plane} never came: {errors}", 30)  # fmt: skip

    at("xy/4")
    _, mean, ids = page.evaluate(DRAWN)
    assert ids == sorted({0, *map(int, set(truth.data[4].ravel()))})
    assert mean == pytest.approx(stack.data[4].mean(), abs=1)  # JPEG
    assert page.evaluate(f"{ROOT}.mitonb.has('semantic')")
    assert page.locator(".mitonb-title").inner_text() == "</script><b>evil</b>"
    page.screenshot(path=_place("snapshot.png"))
    page.locator(".mitonb-viewer").focus()
    page.keyboard.press(".")
    at("xy/5")
    page.keyboard.press("2")
    poll(lambda: page.evaluate(f"{ROOT}.dataset.plane.startsWith('xz')"), "no xz plane", 30)
    page.keyboard.press("3")
    said = page.locator(".mitonb-notice")
    poll(lambda: "xy, xz alone" in said.inner_text(), "yz is not there, and nobody said so", 30)
    page.keyboard.press("n")
    first = min(truth.ids())
    poll(lambda: page.evaluate(f"{ROOT}.mitonb.get('selected')") == [first], "N goes to the first object", 30)
    page.keyboard.press("v")
    poll(lambda: page.evaluate(f"{ROOT}.mitonb.get('layers').labels.visible") is False, "V hides the labels", 30)
    offered = [one.inner_text() for one in page.locator(".mitonb-axes .mitonb-choice:visible").all()]
    assert offered == ["xy", "xz"]
    assert not page.get_by_text("compare", exact=True).is_visible()
    refused = [text for text in page.evaluate(HELPED) if "snapshot" in text]
    assert refused == [], "what the help lists can be done here"
    page.evaluate(f"{ROOT}.mitonb.run('do:delete')")  # not even what no key does here any more
    assert page.evaluate(f"{ROOT}.mitonb.store.waiting") == 0
    context.close()
    assert not errors
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def _place(name: str) -> Path:
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS / name
