"""What hours of correcting leave in memory: thousands of operations in a real page, growth of kernel and page.

    python -m benchmarks.soak [--operations 28800]

Strokes by the pointer, undo, redo, merges, deletions and walks through the planes, at random, at most twenty ahead of
their answers. Sizes are read forty times: the page's after its garbage was collected, the kernel's as the machine
counts it (resident), the least within two seconds: the table that follows edits takes and gives back 80 MB. What grows
in the first tenth is taken for what fills once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.viewer import ROOT, Page
from tests.browser.lab import IDLE, Lab

CELL = """
import numpy as np, mitonb as mn
from mitonb.stack import Stack
rng = np.random.default_rng(0)
y, x = np.ogrid[:256, :256]
blobs = np.where(np.sin(x / 19) * np.cos(y / 21) > 0.6, 1 + x // 61 + 12 * (y // 67), 0).astype(np.uint32)
image = rng.integers(0, 256, (24, 256, 256), dtype=np.uint8)
app = mn.explore(Stack(image, (30.0, 5.0, 5.0)), np.stack([blobs] * 24), path="soak.mitonb")
app
"""
WORK = """async ({count, seed}) => {
    const root = ROOT, view = root.mitonb, stage = root.querySelector('.mitonb-stage');
    const box = stage.getBoundingClientRect();
    stage.setPointerCapture = () => {};
    let state = seed;
    const chance = (n) => { state = (state * 1103515245 + 12345) % 2147483648; return Math.floor(state / 65536) % n; };
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const send = (type, x, y) => stage.dispatchEvent(new PointerEvent(type, {bubbles: true, cancelable: true,
        pointerId: 1, clientX: box.left + x, clientY: box.top + y, button: 0, buttons: 1}));
    const ids = () => [...new Set(view.entry('labels')?.data ?? [])].filter(Boolean);
    for (let i = 0; i < count; i++) {
        const what = chance(20), known = ids();
        if (what < 11) {
            if (what === 0) view.commands.run('new-label');
            view.set('tool', what < 8 ? 'paint' : 'erase');
            let x = 60 + chance(box.width - 120), y = 60 + chance(box.height - 120);
            send('pointerdown', x, y);
            for (let k = 0; k < 4; k++) send('pointermove', x += chance(60) - 30, y += chance(60) - 30);
            send('pointerup', x, y);
        } else if (what < 14) view.store.edit({op: 'undo'});
        else if (what < 16) view.store.edit({op: 'redo'});
        else if (what === 16 && known.length > 20) view.store.edit({op: 'delete', ids: [known[chance(known.length)]]});
        else if (what === 17 && known.length > 20)
            view.store.edit({op: 'merge', keep: known[0], gone: [known[1 + chance(known.length - 1)]]});
        else view.go(chance(24));
        await frame();
        const most = i % 20 ? 20 : 0;
        for (let k = 0; k < 2000 && Number(root.dataset.pending) > most; k++) await frame();
        if (Number(root.dataset.pending) > most) throw new Error('edits were never answered');
    }
    return view.store.counters.strokes;
}""".replace("ROOT", ROOT)


def sizes(page: Page, kernel: psutil.Process) -> tuple[float, float]:
    """Return the sizes of kernel and page, in MB."""
    page.call("HeapProfiler.collectGarbage")
    least = kernel.memory_info().rss
    for _ in range(20):
        time.sleep(0.1)
        least = min(least, kernel.memory_info().rss)
    return least / 1e6, page.call("Runtime.getHeapUsage")["usedSize"] / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=28_800)
    count = parser.parse_args().operations // 40
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Lab(folder) as lab:
        lab.write([CELL], "soak.ipynb")
        page = Page(Path(folder) / "chromium", lab.address("soak.ipynb"))
        try:
            page.wait(f"{IDLE} === 'idle' && !document.getElementById('jupyterlab-splash')")
            page.js("void jupyterapp.commands.execute('notebook:run-all-cells')")
            page.wait(f"{ROOT}?.dataset.state === 'ready'")
            kernel = max(psutil.Process(lab.pid).children(recursive=True), key=lambda one: one.memory_info().rss)
            began, seen = time.monotonic(), []
            for k in range(40):
                for part in range(12):  # a debugging socket does not wait for minutes
                    strokes = page.js(f"({WORK})({{count: {count // 12}, seed: {12 * k + part + 1}}})")
                seen.append(sizes(page, kernel))
                text = "kernel {:.0f} MB, page {:.1f} MB".format(*seen[-1])
                print(
                    f"{(k + 1) * count:,} operations, {strokes:,} strokes, {time.monotonic() - began:.0f} s: {text}",
                    flush=True,
                )
        finally:
            page.close()
    kernel_grew, page_grew = (after - before for before, after in zip(seen[3], seen[-1], strict=True))
    print(f"since the first tenth: kernel {kernel_grew:+.0f} MB, page {page_grew:+.1f} MB")


if __name__ == "__main__":
    main()
