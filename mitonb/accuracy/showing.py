"""How scores are shown: a few lines of text, or a table in a notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["as_html", "as_text"]

_HEAD = ("at IoU", "F1", "accuracy", "precision", "recall", "PQ", "found", "false", "missed")


def as_text(figures: Mapping[str, Any]) -> str:
    """Return the figures of `Scores.as_dict` as text for a terminal."""
    first, *rest = _sentences(figures)
    table = [" ".join(f"{cell:>9}" for cell in row) for row in (_HEAD, *_rows(figures))]
    return "\n".join([f"Scores: {first}", *table, *rest])


def as_html(figures: Mapping[str, Any]) -> str:
    """Return the figures of `Scores.as_dict` as HTML for a notebook."""

    def line(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    first, *rest = (html.escape(sentence) for sentence in _sentences(figures))
    body = "".join(line(row, "td") for row in _rows(figures))
    table = f"<table><thead>{line(_HEAD, 'th')}</thead><tbody>{body}</tbody></table>"
    return f"<p>{first}</p>{table}<p>{'<br>'.join(rest)}</p>"


def _rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for d in figures["at"]:
        rates = (f"{d[name]:.3f}" for name in ("f1", "accuracy", "precision", "recall", "pq"))
        yield (f"{d['iou']:g}", *rates, str(d["found"]), str(d["false"]), str(d["missed"]))


def _sentences(figures: Mapping[str, Any]) -> Iterator[str]:
    f = figures
    yield f"{f['labels']} labels, {f['truth']} in truth; foreground IoU {f['iou']:.3f}, Dice {f['dice']:.3f}"
    sizes = ", ".join(f"{s['name']} {s['ap']:.3f} ({s['truths']})" for s in f["sizes75"] if s["truths"])
    by_size = f"; AP-75 by size: {sizes}" if sizes else ""
    yield f"AP {f['ap']:.3f}, AP-50 {f['ap50']:.3f}, AP-75 {f['ap75']:.3f}{by_size}"
    vi, rand = f["vi"], f["rand"]
    yield (
        f"VI {vi['total']:.3f} bits (split {vi['split']:.3f}, merge {vi['merge']:.3f}); "
        f"adapted Rand error {rand['error']:.3f}"
    )
    if f["dice"] < 0.9 and vi["total"] <= f["vi_with_background"] / 2:
        yield (
            "VI and adapted Rand error look only inside the objects of the truth, where missing objects are one region "
            f"and false ones do not count: read Dice and F1 first. With the background, VI is "
            f"{f['vi_with_background']:.3f} bits."
        )
    wrong = ", ".join(f"{count} {kind}" for kind, count in f["mistakes"].items() if count)
    yield f"Mistakes at IoU 0.5: {wrong or 'none'}"
    yield from f["notes"]
