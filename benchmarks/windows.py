"""How fast planes that are too large to come whole are looked at, in a real JupyterLab in Chromium on this machine.

    python benchmarks/windows.py [--depth 256] [--side 4096] [--json results/windows.json]

A pyramid of three levels lies on a server of files on this machine; the page pans at full resolution, turns planes and
zooms. A view counts when a frame has drawn image and labels of all that is seen, as sharply as its zoom asks for.
Then a sparse volume of 10^6 x 10^5 x 10^5 voxels is opened in a Python of its own, to its first plane.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.viewer import Page
from tests.browser.lab import IDLE, Lab
from tests.nouns.test_levels import huge
from tests.serving import serving

ROOT = "document.querySelector('.mitonb-viewer')"
BLOCK = (16, 256, 256)
CELL = """
import mitonb as mn
from mitonb.session import opening
opening.LARGEST_LABELS = 1 << 30  # looked at only: no file of 16 GiB for labels
viewer = mn.view(mn.open({address!r}))
viewer
"""
LOOK = """async ({kind, count}) => {
    const view = ROOT.mitonb;
    const {picture} = view;
    const {w, h} = view.sheet;
    const sharp = () => {
        const scope = picture.scope;
        return picture.current && ['image', 'labels'].every((part) => {
            const entry = view.entry(part), now = entry?.scope;
            return now && now.step <= scope.step
                && now.left <= Math.max(0, picture.camera.x - picture.size.w / 2 / picture.camera.scale)
                && now.top <= Math.max(0, picture.camera.y - picture.size.h / 2 / picture.camera.scale)
                && now.right >= Math.min(w, picture.camera.x + picture.size.w / 2 / picture.camera.scale)
                && now.bottom >= Math.min(h, picture.camera.y + picture.size.h / 2 / picture.camera.scale);
        });
    };
    const shown = async () => {
        const end = performance.now() + 20000;
        while (!sharp() && performance.now() < end) await new Promise((done) => setTimeout(done, 4));
        await new Promise((done) => requestAnimationFrame(done));
        picture.renderer.finish();
        return sharp();
    };
    const moves = {
        pan: (k) => picture.look({x: 800 + 60 * k, y: h / 3 + 30 * k, scale: 1}),
        planes: (k) => view.go(view.get('index') + 1),
        zoom: (k) => picture.look({x: w / 2, y: h / 2, scale: 0.15 * 1.15 ** (k < count / 2 ? k : count - k)}),
    };
    if (kind === 'planes') picture.look({x: w / 2, y: h / 2, scale: 1});
    await shown();
    const began = performance.now();
    let views = 0;
    for (let k = 1; k <= count; k++) { moves[kind](k); views += await shown(); }
    return {kind, views, asked: count, seconds: (performance.now() - began) / 1000};
}""".replace("ROOT", ROOT)
OPEN = """
import sys, time, resource
began = time.perf_counter()
import mitonb as mn
from mitonb.widgets.viewer import Planes
loaded, busy = time.perf_counter(), time.process_time()
session = mn.Session(mn.open(sys.argv[1]))
pixels, facts = Planes(session).pixels("image", "xy", 500_000, 128, (slice(0, 100_000), slice(0, 100_000)))
took, worked = time.perf_counter() - loaded, time.process_time() - busy
print(took, worked, loaded - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def draw(folder: Path, depth: int, side: int) -> Path:
    """Write a pyramid of three levels whose blocks are noise; many of them are one file under several names."""
    rng = np.random.default_rng(0)
    (folder / "noise").mkdir(parents=True)
    for k in range(16):
        (folder / "noise" / f"{k}").write_bytes(rng.integers(0, 256, BLOCK, np.uint8).tobytes())
    store, levels = folder / "cell.zarr", []
    for k in range(3):
        shape = (depth, side >> k, side >> k)
        (store / f"{k}").mkdir(parents=True)
        array = {"zarr_format": 2, "shape": shape, "chunks": BLOCK, "dtype": "|u1", "compressor": None, "order": "C",
                 "filters": None, "fill_value": 0, "dimension_separator": "."}  # fmt: skip
        (store / f"{k}" / ".zarray").write_text(json.dumps(array))
        for place in np.ndindex(*(-(-n // b) for n, b in zip(shape, BLOCK, strict=True))):
            os.link(folder / "noise" / f"{sum(place) % 16}", store / f"{k}" / ".".join(map(str, place)))
        scale = {"type": "scale", "scale": [30.0, 5.0 * 2**k, 5.0 * 2**k]}
        levels.append({"path": f"{k}", "coordinateTransformations": [scale]})
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    (store / ".zgroup").write_text('{"zarr_format": 2}')
    (store / ".zattrs").write_text(json.dumps({"multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}]}))
    return store


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=256)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        store = draw(folder / "served", options.depth, options.side)
        with serving(folder / "served") as server, Lab(folder) as lab:
            lab.write([CELL.format(address=f"{server.address}/{store.name}")], "windows.ipynb")
            page = Page(folder / "chromium", lab.address("windows.ipynb"))
            page.wait(f"{IDLE} === 'idle' && !document.getElementById('jupyterlab-splash')")
            page.js("void jupyterapp.shell.collapseLeft(), void jupyterapp.shell.collapseRight()")
            page.js("void jupyterapp.commands.execute('notebook:run-all-cells')")
            page.wait(f"{ROOT}?.dataset.state === 'ready'")
            found["picture"] = page.js(f"[{ROOT}.mitonb.picture.canvas.width, {ROOT}.mitonb.picture.canvas.height]")
            for kind in ("pan", "planes", "zoom"):
                one = page.js(f"({LOOK})({json.dumps({'kind': kind, 'count': options.count})})")
                found[kind] = one | {"views_per_second": one["views"] / one["seconds"]}
                print(f"{kind:7} {one['views']} of {one['asked']} views in {one['seconds']:.1f} s: "
                      f"{found[kind]['views_per_second']:.1f} a second")  # fmt: skip
            page.close()
        flat = huge(folder / "sparse", count=3)
        answer = subprocess.run(
            [sys.executable, "-c", OPEN, str(flat)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
        ).stdout.split()
        seconds, worked, imports, megabytes = map(float, answer)
        found["sparse"] = {"seconds": seconds, "cpu": worked, "imports": imports, "megabytes": megabytes}
        print(
            f"sparse  first plane after {seconds:.2f} s ({worked:.2f} of a processor; imports before: {imports:.2f} s)"
        )
        print(f"        the process then holds {megabytes:.0f} MB")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
