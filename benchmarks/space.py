"""How fast 200 objects of EPFL's labels are there in 3-D, how they turn, and whether clicks pick the right one: bar B2.

    MITONB_DATA_DIR=... python benchmarks/space.py [--engine mitonb|ipyvolume] [--json results/space.json]

The volume is the EPFL stack at 10 nm (38 objects), laid side by side six times; 200 of its objects are shown, in a
real JupyterLab in Chromium with software GL. The time runs from the start of the cell to the first picture. Then the
page that `mn.save3d` writes is opened from the disk with every request refused, and clicked on 20 times.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.sync_api import sync_playwright

from tests.browser.lab import CHROMIUM_FLAGS, Lab, chromium, poll

SETUP = """
import os, time, numpy as np, mitonb as mn
from pathlib import Path
from mitonb.labels import Labels
from mitonb.stack import Stack
folder = Path(os.environ["MITONB_DATA_DIR"]) / "epfl_hippocampus"
ids, raw = (np.asarray(mn.open(folder / f"{name}_10nm.tif").data[:]) for name in ("mito_instances", "raw"))
n = int(ids.max())
ids = np.block([[np.where(ids > 0, ids + n * (3 * i + j), 0) for j in range(3)] for i in range(2)]).astype(np.uint32)
session = mn.Session(Stack(np.tile(raw, (1, 2, 3)), (10.0, 10.0, 10.0), name="EPFL"), Labels(ids, (10.0, 10.0, 10.0)))
chosen = session.ids()[:200]
session.colors
import mitonb.widgets.volume3d, ipyvolume
"""
CALL = "view = mn.show3d(session, chosen, height=500, engine={engine!r})\nview"
SCENE = "document.querySelector('.mitonb-scene')"
# Where objects are on the screen by what is drawn, not by what computes a click: one is white, all others are black.
TARGETS = f"""(count) => {{
    const scene = {SCENE}.mitonb, {{ surfaces, node, canvas }} = scene, {{ gl }} = scene.solid;
    scene.draw();  // at its full size
    const pixels = new Uint8Array(4 * canvas.width * canvas.height), found = [];
    const step = Math.floor(surfaces.parts.length / (2 * count)) || 1;
    for (let i = 0; i < surfaces.parts.length && found.length < count; i += step) {{
        const {{ id }} = surfaces.parts[i];
        scene.solid.paint("objects", (other) => other === id ? [255, 255, 255] : [0, 0, 0]);
        scene.draw();
        gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
        const bright = (x, y) => pixels[4 * (y * canvas.width + x)] > 100;
        const inside = [];
        for (let y = 3; y < canvas.height - 3; y += 2) for (let x = 3; x < canvas.width - 3; x += 2) {{
            const around = [[0, 0], [-3, 0], [3, 0], [0, -3], [0, 3]];
            if (around.every(([dx, dy]) => bright(x + dx, y + dy))) inside.push([x, y]);
        }}
        const [x, y] = inside[Math.floor(inside.length / 2)] ?? [];
        const unit = canvas.width / node.clientWidth;
        if (x) found.push([id, x / unit, (canvas.height - y) / unit]);
    }}
    scene.follow();
    return found;
}}"""
TURN = f"""async (count) => {{
    const scene = {SCENE}.mitonb, gl = scene.solid.gl, pixel = new Uint8Array(4);
    const began = performance.now();
    for (let i = 0; i < count; i++) {{
        scene.camera.yaw += 0.1;
        scene.draw(true);
        gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
        await new Promise(requestAnimationFrame);
    }}
    return count / (performance.now() - began) * 1000;
}}"""


def in_lab(engine: str) -> dict[str, Any]:
    """Show the objects in JupyterLab; return how long it took, and the page that was saved."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        found = _in_lab(engine, folder)
        # A second driver may begin only when the first has ended.
        pages = [*Path(folder).rglob("objects.html")]
        return found | (in_page(pages[0]) if pages else {})


def _in_lab(engine: str, folder: str) -> dict[str, Any]:
    with Lab(folder) as lab:
        book = lab.notebook([SETUP, CALL.format(engine=engine)], timeout=240)
        book.run(0, timeout=240)
        began = time.perf_counter()
        book.start(1)
        drawn = (
            f"{SCENE}?.dataset.state === 'ready'"
            if engine == "mitonb"
            else "document.querySelector('.mnb-stage canvas')"
        )
        book.wait(drawn, 120)
        found = {"engine": engine, "seconds_to_picture": round(time.perf_counter() - began, 1)}
        if engine == "mitonb":
            found["frames_per_s"] = round(book.js(TURN, 20), 1)
            book.add("path = mn.save3d(view.scene, 'objects.html', overwrite=True)", timeout=240)
        return found


def in_page(path: Path) -> dict[str, Any]:
    """Open a page with every request refused; return how it turns and how many clicks hit."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        refused: list[str] = []
        context.route(lambda url: url.startswith(("http", "ws")), lambda route: (refused.append(route), route.abort()))
        page = context.new_page()
        began = time.perf_counter()
        page.goto(path.as_uri())
        poll(lambda: page.evaluate(f"{SCENE}?.dataset.state === 'ready'"), "The page shows nothing.", 120)
        found = {
            "page_MB": round(path.stat().st_size / 2**20, 1),
            "page_seconds": round(time.perf_counter() - began, 1),
        }
        found["page_frames_per_s"] = round(page.evaluate(TURN, 20), 1)
        box = page.locator(".mitonb-scene-view").bounding_box() or {}
        hits = 0
        targets = page.evaluate(TARGETS, 20)
        for id, x, y in targets:
            page.mouse.click(box["x"] + x, box["y"] + y)
            hits += page.evaluate(f"{SCENE}.mitonb.model.get('selected')") == [id]
        browser.close()
    return {**found, "clicks_right": f"{hits} of {len(targets)}", "requests": len(refused)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("mitonb", "ipyvolume"), default="mitonb")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    args = parser.parse_args()
    figures = {"load": os.getloadavg()[0], **in_lab(args.engine)}
    print(json.dumps(figures, indent=1))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
