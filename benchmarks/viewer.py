"""How fast the viewer is, in a real JupyterLab in Chromium on this machine: bar B6.

    python benchmarks/viewer.py [--planes 64] [--side 1024] [--json results/viewer.json]

Everything is measured inside the page. Planes count as shown when a frame of their own has drawn
them; a stroke's time runs from the pointer event to the end of drawing, the graphics' own work included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import websocket  # comes with jupyter_server

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser.lab import CHROMIUM_FLAGS, IDLE, Lab, chromium, poll, why_not

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
    counters.shownAt.length = 0;
    view.store.counters.waitMs.length = 0;
    const began = performance.now();
    for (let i = 1; i <= count; i++) {
        const due = began + i * 1000 / rate;
        await new Promise((done) => setTimeout(done, Math.max(0, due - performance.now())));
        view.go(view.get('index') + 1);
    }
    await new Promise((done) => setTimeout(done, 300));
    const shown = counters.shownAt.filter(([index]) => index > 0);
    const last = shown.at(-1)?.[1] ?? began;
    return {asked: count, shown: shown.length, seconds: (last - began) / 1000, draw_ms: counters.drawMs.slice(-count),
        wait_ms: view.store.counters.waitMs};
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


class Page:
    """A Chromium page, driven through its own debugging socket.

    Playwright hears every websocket frame of the page, megabytes of pixels among them, and would be what is measured.
    """

    def __init__(self, folder: Path, url: str) -> None:
        program = chromium()
        if program is None:
            raise SystemExit(why_not())
        self._process = subprocess.Popen(
            [program, "--headless=new", *CHROMIUM_FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder}",
             "--remote-allow-origins=*", "--window-size=1280,900", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        place = folder / "DevToolsActivePort"
        port = poll(lambda: place.exists() and place.read_text().splitlines()[:1], "Chromium did not start.", 60)[0]
        listing = f"http://127.0.0.1:{port}/json/list"
        pages = json.loads(urllib.request.urlopen(listing, timeout=30).read())
        address = next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page")
        self._socket = websocket.create_connection(address, timeout=300)
        self._count = 0
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.call("Page.navigate", url=url)

    def call(self, method: str, **parameters: Any) -> Any:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._count:
                return answer.get("result", answer)

    def js(self, code: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"])[:2000])
        return answer.get("result", {}).get("value")

    def wait(self, condition: str, timeout: float = 300) -> None:
        poll(lambda: self.js(f"Boolean({condition})"), f"Waited in vain for {condition}", timeout)

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)


def measure(planes: int, side: int) -> dict[str, Any]:
    """Start JupyterLab, scroll, paint, and return the figures."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Lab(folder) as lab:
        lab.write([CELL.format(planes=planes, side=side)], "bench.ipynb")
        page = Page(Path(folder) / "chromium", lab.address("bench.ipynb"))
        try:
            page.wait(f"{IDLE} === 'idle' && !document.getElementById('jupyterlab-splash')")
            page.js("void jupyterapp.shell.collapseLeft(), void jupyterapp.shell.collapseRight()")
            page.js("void jupyterapp.commands.execute('notebook:run-all-cells')")
            page.wait(f"{ROOT}?.dataset.state === 'ready'")
            return figures_of(page, planes, side)
        finally:
            page.close()


def figures_of(page: Page, planes: int, side: int) -> dict[str, Any]:
    result: dict[str, Any] = {"load": os.getloadavg()[0], "planes": planes, "side": side}
    result["picture"] = page.js(f"[{ROOT}.mitonb.picture.canvas.width, {ROOT}.mitonb.picture.canvas.height]")
    for rate in (12, 15, 20):
        # A cold cache: only what is prefetched on the way may help.
        page.js(f"{ROOT}.mitonb.go(0)")
        page.js(FORGET)
        page.wait(f"{ROOT}.dataset.state === 'ready' && {ROOT}.dataset.plane === 'xy/0'")
        run = page.js(f"({SCROLL})({{rate: {rate}, count: {planes - 2}}})")
        result[f"scroll_{rate}"] = {
            "shown": run["shown"], "of": run["asked"], "shown_per_s": round(run["shown"] / run["seconds"], 1),
            "draw_ms_median": round(statistics.median(run["draw_ms"]), 1),
            "wait_ms_median": round(statistics.median(run["wait_ms"] or [0]), 1),
        }  # fmt: skip
        print(f"scrolled at {rate} planes/s: {result[f'scroll_{rate}']}", file=sys.stderr)
    page.wait(f"{ROOT}.mitonb.store.wants.flying.size === 0")
    times = sorted(page.js(f"({PAINT})({{count: 150}})"))
    page.wait(f"{ROOT}.dataset.pending === '0'")
    result["paint_ms"] = {
        "median": round(statistics.median(times), 2), "p95": round(times[int(0.95 * len(times))], 2),
        "max": round(times[-1], 1),
    }  # fmt: skip
    counters = page.js(f"{ROOT}.mitonb.store.counters")
    result["largest_message_to_browser"] = counters["largestIn"]
    result["largest_message_to_kernel"] = counters["largestOut"]
    requests = page.js("performance.getEntriesByType('resource').map((e) => e.name)")
    result["requests_outside"] = [r for r in requests if not r.startswith(("http://127.0.0.1", "blob:", "data:"))]
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
