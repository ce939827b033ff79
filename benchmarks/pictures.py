"""Take the pictures of the README from the running quickstart: they never show anything but what is there.

    MITONB_DATA_DIR=/path/to/data python -m benchmarks.pictures [--out docs/images]

The quickstart opens a part of the FIB-SEM volume of `medulla_fibsem_unlabelled` (docs/images/SOURCES.md).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from PIL import Image

import mitonb as mn
from mitonb.cli import write_quickstart
from tests.browser.lab import Lab, poll
from tests.browser.steps import Quickstart, colourful

LARGEST = 300_000


def small(path: Path) -> None:
    """Bring a picture below the size that is kept in git, by fewer colours."""
    if path.stat().st_size > LARGEST:
        with Image.open(path) as picture:
            fewer = picture.convert("RGB").quantize(200, dither=Image.Dither.FLOYDSTEINBERG)
        fewer.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def sample(folder: Path) -> Path:
    """Save the part of the volume that is shown, (140, 250, 250) voxels of 10 nm."""
    whole = mn.open(Path(os.environ["MITONB_DATA_DIR"]) / "medulla_fibsem_unlabelled" / "raw.tif", voxel_size=10)
    part = mn.Stack(whole.read()[110:], voxel_size=(10, 10, 10), name="fly-medulla")
    return mn.save(part, folder / "fly-medulla.ome.tif")


def main() -> int:
    """Run the quickstart and take its pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder, Lab(folder) as lab:
        notebook, _ = write_quickstart(Path(folder), str(sample(Path(folder))))
        # The workbench follows the window and has its tabs below: of this height it is seen as a whole.
        text = notebook.read_text(encoding="utf-8")
        assert "recipe=recipe)" in text
        notebook.write_text(text.replace("recipe=recipe)", "recipe=recipe, height=540)"), encoding="utf-8")
        book = lab.notebook(notebook, width=1440, height=1000)
        user = Quickstart(book, out, timeout=900)
        book.run(timeout=900)
        out.mkdir(parents=True, exist_ok=True)
        for name, part in (("maps", "show_maps("), ("volume", "show3d(")):
            output = f".jp-Cell:nth-of-type({user.cell(part) + 1}) .jp-OutputArea-output"
            user.show(output)
            # Surfaces come a moment after their frame.
            poll(lambda at=output: len(colourful(user.look(at))) > 9000, f"{name} stays empty", 180, 1)
            (out / f"{name}.png").write_bytes(user.look(output))
        user.focus()
        user.press("Segment this plane")
        user.wait_for_run()
        user.focus()
        user.show(".mnb-app")
        (out / "workbench.png").write_bytes(user.look(".mnb-app"))
    for path in sorted(out.glob("*.png")):
        small(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
