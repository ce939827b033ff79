"""Take the pictures of docs/gallery.md from the running program, small, and record a correction as a short GIF.

    python -m benchmarks.gallery [--out docs/images]

The workbench opens the sample `medulla` (docs/images/SOURCES.md) with labels of the bundled network; two objects are
made one, and split again by a seed in each: what is seen is what the keys and clicks do.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser.lab import Lab, Notebook

ROOT = "document.querySelector('.mnb-app .mitonb-viewer')"
READY = f"{ROOT}?.dataset.state === 'ready' && {ROOT}.dataset.pending === '0'"
CELL = """
import numpy as np, mitonb as mn
stack = mn.sample("medulla")
box = mn.Box((20, 0, 0), (44, 224, 224))
labels = mn.segment(stack, roi=box, show=False)
part = mn.Stack(stack.read()[box.slices], stack.voxel_size, "medulla")
app = mn.explore(part, mn.Labels(labels.data[box.slices].copy(), stack.voxel_size), height=520)
session, viewer = app.session, app.viewer
app
"""
PAIR = """
from itertools import combinations
middles = {}
for id in session.ids():
    area = [(session.labels.data[z] == id).sum() for z in range(24)]
    z = 12
    if area[z] > 150:
        rows, columns = np.nonzero(session.labels.data[z] == id)
        k = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
        middles[id] = int(rows[k]), int(columns[k])
apart = lambda pair: np.hypot(*np.subtract(*(middles[id] for id in pair)))
first, second = min(combinations(middles, 2), key=apart)
viewer.index = 12
print([[*middles[first]], [*middles[second]]])
"""
WIDTH, COLORS, LARGEST = 640, 128, 400_000


def small(path: Path, png: bytes) -> None:
    """Write a picture as WebP."""
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=82, method=6)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


class Film:
    """Frames of a part of the page, and how long each is seen."""

    def __init__(self, book: Notebook, selector: str) -> None:
        self.book, self.selector = book, selector
        self.frames: list[tuple[Image.Image, int]] = []

    def take(self, ms: int = 700) -> None:
        """Take a frame that is seen for so many milliseconds."""
        png = self.book.page.locator(self.selector).first.screenshot()
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        size = WIDTH, WIDTH * picture.height // picture.width
        self.frames.append((picture.resize(size, Image.Resampling.LANCZOS), ms))

    def save(self, path: Path) -> None:
        """Write the frames as a GIF with one palette."""
        palette = self.frames[0][0].quantize(COLORS)
        shown = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame, _ in self.frames]
        times = [ms for _, ms in self.frames]
        shown[0].save(path, save_all=True, append_images=shown[1:], duration=times, loop=0, optimize=True)
        size = path.stat().st_size
        print(f"{path.name}: {size / 1e3:.0f} kB, {len(shown)} frames")
        if size > LARGEST:
            raise SystemExit(f"{path.name} is too large to keep: fewer frames, or a smaller WIDTH.")


def press(book: Notebook, key: str) -> None:
    """Press a key in the viewer."""
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    book.page.keyboard.press(key)


def correct(book: Notebook, film: Film) -> None:
    """Merge two neighbours, see that it was wrong, and split them by two seeds."""
    view = f"{ROOT}.mitonb"
    book.add(PAIR)
    first, second = json.loads(book.text(1))

    def at(place: list[int]) -> tuple[float, float]:
        box = book.js(f"(b => [b.x, b.y])({ROOT}.querySelector('.mitonb-stage').getBoundingClientRect())")
        x, y = book.js(f"{view}.picture.screen({place[1]}, {place[0]})")
        return box[0] + x, box[1] + y

    def click(place: list[int]) -> None:
        book.page.mouse.move(*at(place), steps=4)
        film.take(350)
        book.page.mouse.click(*at(place))
        book.wait(READY)

    book.wait(f"{ROOT}.dataset.plane === 'xy/12' && {READY}")
    film.take(1200)
    press(book, "j")
    click(first)
    click(second)
    book.wait(f"{view}.store.state.can_undo")
    film.take(1500)
    press(book, "s")
    said = f"{ROOT}.querySelector('.mitonb-split [role=status]').textContent"
    # What was merged is selected, and so it is what is split.
    for place, hint in ((first, "Now a seed in another"), (second, "2 parts")):
        click(place)
        book.wait(f"{said}.startsWith('{hint}')")
        film.take(700)
    book.wait(f"{view}.entry('proposal') && !{view}.entry('proposal').stale")
    film.take(1500)
    press(book, "Enter")
    book.wait(f"!{view}.store.proposal && {READY}")
    film.take(1500)


def main() -> int:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Lab(folder) as lab:
        book = lab.notebook([CELL], width=1280, height=900)
        book.run(timeout=600)
        book.wait(READY, 120)
        film = Film(book, ".mnb-app .mitonb-viewer")
        try:
            correct(book, film)
        finally:  # where it stopped is seen, too
            film.save(out / "correction.gif")
        press(book, "z")
        press(book, "4")
        for name, theme in (("panes", "light"), ("panes-dark", "dark")):
            book.theme(theme)
            book.wait(f"{READY} && {ROOT}.mitonb.panes.on", 60)
            # Surfaces come a moment after the planes.
            book.wait(f"{ROOT}.mitonb.panes.space?.surfaces?.parts.length > 0", 60)
            small(out / f"{name}.webp", book.page.locator(".mnb-app .mitonb-viewer").first.screenshot())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
