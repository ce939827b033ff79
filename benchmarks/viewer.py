"""How fast the viewer is, in a real JupyterLab in Chromium on this machine: bar B6.

    python benchmarks/viewer.py [--planes 64] [--side 1024] [--json results/viewer.json]

Everything is measured inside the page: Playwright only starts it. Planes count as shown when they have been drawn;
a stroke's time runs from the pointer event to the end of drawing, the graphics' own work included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser.lab import Lab

ROOT = "document.querySelector('.mitonb-viewer')"
CELL = """
import numpy as np, mitonb as mn
from mitonb.stack import Stack
rng = np.random.default_rng(0)
noise = rng.integers(0, 256, ({side}, {side}), dtype=np.uint8)
y, x = np.ogrid[: {side}, : {side}]
blobs = np.where(np.sin(x / 29) * np.cos(y / 31) > 0.6, 1 + x // 91 + 12 * (y // 97), 0).astype(np.uint32)
image = np.stack([np.roll(noise, 7 * z, 1) for z in range({planes})])
labels = np.stack([np.roll(blobs, z, 0) for z in range({planes})])
viewer = mn.view(Stack(image, (30.0, 5.0, 5.0)), labels, index=0)
viewer
"""
FORGET = """(() => {
    const {store, picture} = ROOT.mitonb;
    store.cache.forEach((_, key) => store.cache.delete(key));
    picture.shown = {axis: '', index: -1};
    store.direction = 1;
    store.emit('changed', {});
})()""".replace("ROOT", ROOT)
SCROLL = """async ({rate, count}) => {
    const view = ROOT.mitonb;
    const {counters} = view.picture;
    counters.force = true;
    const first = counters.shownAt.length;
    const began = performance.now();
    for (let i = 1; i <= count; i++) {
        const due = began + i * 1000 / rate;
        await new Promise((done) => setTimeout(done, Math.max(0, due - performance.now())));
        view.go(view.get('index') + 1);
    }
    await new Promise((done) => setTimeout(done, 300));
    const shown = counters.shownAt.slice(first).filter(([index]) => index > 0);
    const last = shown.at(-1)?.[1] ?? began;
    counters.force = false;
    return {asked: count, shown: shown.length, seconds: (last - began) / 1000, draw_ms: counters.drawMs.slice(-count)};
}""".replace("ROOT", ROOT)
PAINT = """async ({count}) => {
    const view = ROOT.mitonb;
    const {picture} = view;
    view.set('tool', 'paint');
    picture.counters.force = true;
    const stage = ROOT.querySelector('.mitonb-stage');
    const box = stage.getBoundingClientRect();
    const send = (type, x, y) => {
        const began = performance.now();
        stage.dispatchEvent(new PointerEvent(type, {
            bubbles: true, cancelable: true, pointerId: 1, clientX: box.left + x, clientY: box.top + y,
            button: 0, buttons: 1,
        }));
        return performance.now() - began;
    };
    stage.setPointerCapture = () => {};
    const times = [];
    send('pointerdown', 200, 200);
    for (let i = 0; i < count; i++) {
        await new Promise((done) => requestAnimationFrame(done));
        times.push(send('pointermove', 200 + 150 * Math.sin(i / 9), 200 + 100 * Math.cos(i / 7)));
    }
    send('pointerup', 200, 200);
    picture.counters.force = false;
    return times;
}""".replace("ROOT", ROOT)


def measure(planes: int, side: int) -> dict[str, Any]:
    """Start JupyterLab, scroll, paint, and return the figures."""
    with tempfile.TemporaryDirectory() as folder, Lab(folder) as lab:
        book = lab.notebook([CELL.format(planes=planes, side=side)], timeout=300)
        book.run(timeout=300)
        print("the stack is open", file=sys.stderr)
        book.wait(f"{ROOT}?.dataset.state === 'ready'", 120)
        result: dict[str, Any] = {"load": os.getloadavg()[0], "planes": planes, "side": side}
        for rate in (12, 15, 20):
            book.js(f"{ROOT}.mitonb.go(0)")
            book.wait(f"{ROOT}.dataset.plane === 'xy/0'", 60)
            # A cold cache: only what is prefetched on the way may help.
            book.js(FORGET)
            book.wait(f"{ROOT}.dataset.state === 'ready' && {ROOT}.mitonb.entry('labels') !== null", 60)
            run = book.js(SCROLL, {"rate": rate, "count": planes - 2})
            result[f"scroll_{rate}"] = {
                "asked_per_s": rate, "shown": run["shown"], "of": run["asked"],
                "shown_per_s": round(run["shown"] / run["seconds"], 1),
                "draw_ms_median": round(statistics.median(run["draw_ms"]), 1),
            }  # fmt: skip
            print(f"scrolled at {rate} planes/s: {result[f'scroll_{rate}']}", file=sys.stderr)
        times = sorted(book.js(PAINT, {"count": 150}))
        book.wait(f"{ROOT}.dataset.pending === '0'", 60)
        result["paint_ms"] = {
            "median": round(statistics.median(times), 2), "p95": round(times[int(0.95 * len(times))], 2),
            "max": round(times[-1], 1),
        }  # fmt: skip
        counters = book.js(f"{ROOT}.mitonb.store.counters")
        result["largest_message_to_browser"] = counters["largestIn"]
        result["largest_message_to_kernel"] = counters["largestOut"]
        result["requests_outside"] = lab.outside
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planes", type=int, default=64)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    args = parser.parse_args()
    figures = measure(args.planes, args.side)
    print(json.dumps(figures, indent=1))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
