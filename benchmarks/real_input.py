"""The quickstart on real data, in a real browser (bar B4).

    MITONB_DATA_DIR=/path/to/data python -m benchmarks.real_input [--only vnc epfl medulla] [--limit 4e9]

The quickstart's one line that opens the data is pointed at each file; then all cells run, a plane is segmented, planes
are scrolled, an object is painted and taken back, labels are saved and the project is opened again in a new kernel.
Reports seconds and peak memory of server and kernel; leaves a picture of each state under artifacts/real, of the
workbench and the surfaces at 1280 and 1920 pixels, in JupyterLab's light and dark theme.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import mitonb as mn
from benchmarks.watching import Watch
from mitonb.cli import pointed_at
from mitonb.io.opening import open_labels
from tests.browser.lab import Lab, Theme, poll
from tests.browser.steps import Quickstart, colourful

PICTURES = Path(__file__).resolve().parents[1] / "artifacts" / "real"
# name -> image, voxel size (z, y, x) in nm that its README states, truth
SETS: dict[str, tuple[str, float | tuple[float, ...], str | None]] = {
    "vnc": ("vnc_sstem/raw.tif", (45.0, 4.6, 4.6), "vnc_sstem/mito_instances.tif"),
    "epfl": ("epfl_hippocampus/raw_10nm.tif", 10.0, "epfl_hippocampus/mito_instances_10nm.tif"),
    "medulla": ("medulla_fibsem_unlabelled/raw.tif", 10.0, None),
}

CELLS = ("mn.open(", "show_maps(", "mn.segment(", "mn.explore(", "session.merge(", "show3d(", "mn.measure(")


def walk(name: str, data: Path, limit: float) -> None:
    """Walk through the quickstart with one data set."""
    image, voxel_size, truth = SETS[name]
    with tempfile.TemporaryDirectory() as folder, Lab(folder) as lab, Watch(lab.pid, limit=limit) as watch:
        book_path = lab.files / f"{name}.ipynb"
        book = pointed_at(str(data / image), name=name, voxel_size=voxel_size)
        book_path.write_text(json.dumps(book), encoding="utf-8")
        user = Quickstart(lab.open(book_path.name, width=1440, height=1000), PICTURES / name, timeout=1800)
        start = time.monotonic()
        for part in CELLS:
            user.run(part)
            here = f".jp-Cell:nth-of-type({user.cell(part) + 1})"
            user.show(here)
            if part == "show3d(":  # surfaces come a moment after their frame
                scene = f"{here} .mnb-stage"
                poll(lambda at=scene: len(colourful(user.look(at))) > 3000, "the surfaces do not appear", 300, 1)
                looks(user, "surfaces", here)
            user.shot(part.strip("(").replace(".", "-"))
        user.focus()
        looks(user, "workbench", ".mnb-app")
        user.scroll(2)
        user.press("Segment this plane")
        user.wait_for_run()
        user.focus()
        user.shot("plane-segmented")
        user.keys("p", "m")
        _, h, w = user.ask("app.session.shape")
        version = user.version()
        user.drag((h // 3, w // 3), (h // 3, w // 3 + 20))
        user.wait_for_picture()
        assert user.version() > version, "the stroke did not arrive"
        user.shot("painted")
        user.keys("Control+z")
        user.wait_for_picture()
        user.run("mn.measure(")
        digest = user.digest()
        user.book.restart_kernel()
        user.book.js("() => jupyterapp.commands.execute('notebook:clear-all-cell-outputs').then(() => null)")
        user.run("mn.open(")
        user.book.add("app = mn.explore(session)\napp", timeout=600)
        user.show()
        user.wait_for_picture()
        user.shot("reopened")
        assert user.digest() == digest, "other labels came back"
        seconds = time.monotonic() - start
        labels = open_labels(lab.files / f"{name}-labels.ome.tif")
        print(f"\n### {name}: {seconds:.0f} s in all, {watch}; {len(labels.ids())} objects; cells {user.seconds}")
        print(f"    requests that left the machine: {len(lab.outside)}")
        if truth is not None:
            print(mn.score(labels, open_labels(data / truth)))


def looks(user: Quickstart, name: str, selector: str) -> None:
    """Keep a picture of a state in narrow and wide windows, light and dark."""
    themes: tuple[Theme, ...] = ("dark", "light")
    for theme in themes:
        user.book.theme(theme)
        for width in (1280, 1920):
            user.book.resize(width, 1000)
            user.show(selector)
            user.wait_for_picture()
            user.shot(f"{name}-{width}-{theme}")
    user.book.resize(1440, 1000)
    user.wait_for_picture()


def main() -> int:
    """Walk through the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--limit", type=float, default=4e9, help="bytes above which everything is killed")
    options = parser.parse_args()
    data = os.environ.get("MITONB_DATA_DIR")
    if not data:
        parser.error("MITONB_DATA_DIR must name the folder with the real data sets")
    for name in options.only:
        walk(name, Path(data), options.limit)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
