"""Pictures of a training: patches as it sees them, and what was held out, before and after it on a curtain."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as ipw
import numpy as np
import traitlets

from mitonb.colors import overlay
from mitonb.widgets.style import JS, button, note, png, row, thinned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mitonb.learn.data import Source
    from mitonb.learn.scoring import Judged

KINDS = {1: ("right", "#56b4e9"), 2: ("drawn, not in the truth", "#e69f00"), 3: ("missed", "#cc79a7")}
"""What `mitonb.learn.scoring` says of a pixel, in colours that colour-blind people tell apart, too."""
_MOST_LISTED = 6


class Slide(anywidget.AnyWidget):
    """The browser's half of the curtain: two PNG pictures, their names, and the handle between them."""

    _esm = JS / "curtain.js"
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    left = traitlets.Bytes().tag(sync=True)
    right = traitlets.Bytes().tag(sync=True)


class Curtain(ipw.VBox):
    """Held-out patches, the most changed first: what was found before left of a handle, what is found now right of it.

    Parameters
    ----------
    patches : sequence of Source
        What was held out.
    before, after : Judged
        What was found on them; without a before the truth is on the left.

    Attributes
    ----------
    at : int
        Patch on screen, in the order of change.
    """

    def __init__(self, patches: Sequence[Source], before: Judged | None, after: Judged) -> None:
        self.patches, self.before, self.after, self.at = patches, before, after, 0
        old = [np.where(p.truth > 0, 1, 0) for p in patches] if before is None else before.kinds
        changed = [np.count_nonzero(a != b) for a, b in zip(old, after.kinds, strict=True)]
        self._old, self._order = old, np.argsort(changed, kind="stable")[::-1].tolist()
        self.slide = Slide(layout={"width": "100%"})
        self.previous = button(icon="chevron-left", tip="Previous patch")
        self.next = button(icon="chevron-right", tip="Next patch")
        self.place, self.objects = ipw.HTML(), ipw.HTML()
        legend = " ".join(f'<span class="mnb-kind" style="--kind:{c}">{said}</span>' for said, c in KINDS.values())
        head = row(self.previous, self.next, self.place).add_class("mnb-spaced")
        beside = ipw.VBox([head, ipw.HTML(legend), self.objects], layout={"flex": "1 1 240px"})
        slide = ipw.VBox([self.slide], layout={"flex": "0 1 min(512px, 58vh)", "min_width": "240px"})
        super().__init__([row(slide, beside, align_items="flex-start").add_class("mnb-spaced")])
        for step, pressed in ((-1, self.previous), (1, self.next)):
            pressed.on_click(lambda _, step=step: self.show((self.at + step) % len(self.patches)))
            pressed.layout.display = None if len(patches) > 1 else "none"
        self.show(0)

    def show(self, at: int) -> None:
        """Show a patch by its place in the order of change."""
        self.at, k = at, self._order[at]
        patch, names = self.patches[k], ["truth" if self.before is None else "before", "now"]
        z = int((patch.truth > 0).sum((1, 2)).argmax())
        self.place.value = note(f"Held-out patch {at + 1} of {len(self.patches)}: {patch.name}", "plain")
        self.objects.value = _fates(patch, k, self.before, self.after)
        left, right = (_painted(patch, z, kinds[k]) for kinds in (self._old, self.after.kinds))
        with self.slide.hold_sync():
            self.slide.names, self.slide.left, self.slide.right = names, left, right

    def state(self) -> str:
        """Return what is shown beside the pictures, as text."""
        return f"{self.place.value}\n{self.objects.value}"


def _painted(patch: Source, z: int, kinds: Any) -> bytes:
    rgb = overlay(patch.image[z], contrast=patch.contrast)
    for kind, (_, colour) in KINDS.items():
        there = kinds[z] == kind
        rgb[there] += 0.5 * (np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]) - rgb[there])
    return png(thinned(rgb, 512))


def _fates(patch: Source, k: int, before: Judged | None, after: Judged) -> str:
    """Return the objects of a patch that were won and lost as a list, with their places."""
    from mitonb.learn.scoring import places_of

    places = places_of(patch)
    old, new = ({id for patch, id in judged.found if patch == k} if judged else set() for judged in (before, after))
    fates = {"missed": set(places) - new} if before is None else {"won": new - old, "lost": old - new}
    said = f"{len(new)} of {len(places)} {after.what} found" + ("" if before is None else f", {len(old)} before")
    parts = [f"<div>{said}.</div>"]
    for fate, ids in fates.items():
        rows = sorted((places[id] for id in ids), reverse=True)
        unit, deep = ("px", False) if len(patch.truth) == 1 else ("vx", True)
        lines = [
            f"<li>{size:,} {unit} at x {x}, y {y}{f', z {z}' if deep else ''}</li>"
            for size, z, y, x in rows[:_MOST_LISTED]
        ]
        more = f"<li>and {len(rows) - _MOST_LISTED} more</li>" if len(rows) > _MOST_LISTED else ""
        parts.append(f"<b>{len(rows)} {fate}</b>" + (f"<ul>{''.join(lines)}{more}</ul>" if rows else "<br>"))
    return "".join(parts)


def patch_grid(images: Any, ids: Any) -> str:
    """Return patches to learn from as HTML: objects outlined, what is unknown darkened.

    Parameters
    ----------
    images : (n, h, w) float array
        Grey values, black at 0 and white at 1.
    ids : (n, h, w) int array
        Ids of objects; below 0 where nothing is known.
    """
    parts = []
    for k, (image, truth) in enumerate(zip(images, ids, strict=True)):
        rgb = overlay(image, np.maximum(truth, 0).astype(np.uint32), outline=True, contrast=(0.0, 1.0))
        rgb[truth < 0] *= 0.4
        data = base64.b64encode(png(thinned(rgb, 256))).decode()
        parts.append(f'<img alt="patch {k + 1}" src="data:image/png;base64,{data}">')
    said = html.escape(
        "Patches of your data as a training sees them: turned, zoomed, and disturbed as microscopes do, other ones at "
        "each step. Do the outlines fit what you see? Dark parts are unknown."
    )
    return f'<div>{said}</div><div class="mnb-grid">{"".join(parts)}</div>'
