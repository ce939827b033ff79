"""The journal for people: each edit as a sentence and as the line of Python that does the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mitonb.edit.ops import unpacked_line
from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mitonb.edit.store import Row

__all__ = ["Entry", "entries"]


@dataclass(frozen=True)
class Entry:
    """One line of the history.

    Attributes
    ----------
    seq : int
        Number of the edit.
    time : float
        When, in seconds since 1970.
    text : str
        What happened, for people.
    code : str
        Python that does the same; `session`, and for bulk edits `ids` or `labels`, stand for what was given.
    undone : bool
        True when the edit is taken back.
    stands : bool
        True for an edit whose effect is in the labels. The code of these entries alone, in order, makes the same
        labels: what was undone, undo and redo are not among them.
    """

    seq: int
    time: float
    text: str
    code: str
    undone: bool = False
    stands: bool = True

    @property
    def sentence(self) -> str:
        """What happened, as a sentence."""
        return f"{self.text[:1].upper()}{self.text[1:]}."


def entries(rows: Sequence[Row], standing: Sequence[int], after: int = 0) -> list[Entry]:
    """Return the lines of a journal that came after one, oldest first; requests that changed nothing are left out."""
    there = set(standing)
    return [_entry(row, rows, row.seq in there) for row in rows[after:] if row.kind != "nothing"]


def _entry(row: Row, rows: Sequence[Row], stands: bool) -> Entry:
    """Return the line of a record; a project from elsewhere may hold any record, and nothing of it becomes code."""
    try:
        text, code = _TEXTS[row.kind](row, rows), _CODES[row.kind](row.intent)
    except (LookupError, TypeError, ValueError):
        text, code = "an edit of a kind that this mitonb does not know", ""
    return Entry(row.seq, row.time, text, code, not stands and row.kind not in ("undo", "redo"), stands)


def _of(row: Row, rows: Sequence[Row]) -> str:
    """Return the text of the edit that an undo or redo is about."""
    target = rows[(row.undo_of or 1) - 1]
    return _TEXTS[target.kind](target, rows)


_TEXTS: dict[str, Callable[[Row, Sequence[Row]], str]] = {
    "paint": lambda row, _: f"painted object {row.intent['id']:d} on {_where(row.intent)}",
    "erase": lambda row, _: f"erased {_only(row.intent)}on {_where(row.intent)}",
    "fill": lambda row, _: f"filled a patch with object {row.intent['id']:d} on {_plane_at(row.intent)}",
    "merge": lambda row, _: f"merged {_listed(row.intent['gone'])} into {row.intent['keep']:d}",
    "delete": lambda row, _: f"deleted {_listed(row.intent['ids'])}",
    "put_plane": lambda row, _: f"replaced {_axis(row.intent)} plane {row.intent['index']:d}",
    "adopt_plane": lambda row, _: f"segmented {_axis(row.intent)} plane {row.intent['index']:d}{_kept(row.intent)}",
    "adopt": lambda row, _: f"replaced all labels by {row.intent['name']!r}{_kept(row.intent)}",
    "set_voxel_size": lambda row, _: "set the voxel size to {:g} x {:g} x {:g} nm".format(*row.intent["after"]),
    "undo": lambda row, rows: f"undid: {_of(row, rows)}",
    "redo": lambda row, rows: f"did again: {_of(row, rows)}",
}

_CODES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "paint": lambda say: f"session.paint({_line(say)}, id={say['id']:d}, {_brush(say)})",
    "erase": lambda say: f"session.erase({_line(say)}, {_brush(say)})",
    "fill": lambda say: f"session.fill({tuple(map(int, say['point']))}, {say['id']:d}, {_axis(say)!r})",
    "merge": lambda say: f"session.merge({', '.join(f'{i:d}' for i in (say['keep'], *say['gone']))})",
    "delete": lambda say: f"session.delete({', '.join(f'{i:d}' for i in say['ids'])})",
    "put_plane": lambda say: f"session.put_plane(ids, {_axis(say)!r}, {say['index']:d})",
    "adopt_plane": lambda say: f"session.adopt_plane(ids, {_axis(say)!r}, {say['index']:d}{_least(say)})",
    "adopt": lambda say: f"session.adopt(labels{_replacing(say)})",
    "set_voxel_size": lambda say: f"session.set_voxel_size({', '.join(_number(v) for v in say['after'])})",
    "undo": lambda say: "session.undo()",
    "redo": lambda say: "session.redo()",
}


def _line(say: Mapping[str, Any]) -> str:
    return repr(unpacked_line(say))


def _brush(say: Mapping[str, Any]) -> str:
    rest = f"radius={_number(say['radius'])}"
    if say["axis"] != "xy":
        rest += f", axis={_axis(say)!r}"
    if say.get("preserve"):
        rest += ", preserve=True"
    return rest + (f", only={say['only']:d}" if "only" in say else "")


def _number(value: float) -> str:
    """Return a number as short as it can be without becoming another one."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def _least(say: Mapping[str, Any]) -> str:
    iou = say.get("iou", 0.25)
    return (f", iou={_number(iou)}" if iou != 0.25 else "") + _replacing(say)


def _replacing(say: Mapping[str, Any]) -> str:
    return "" if "kept" in say else ", replace_corrected=True"


def _only(say: Mapping[str, Any]) -> str:
    return f"object {say['only']:d} " if "only" in say else ""


def _axis(say: Mapping[str, Any]) -> str:
    return {axis: axis for axis in AXES}[say["axis"]]


def _plane_at(say: Mapping[str, Any]) -> str:
    return f"{_axis(say)} plane {say['point'][AXES[say['axis']]]:d}"


def _where(say: Mapping[str, Any]) -> str:
    return f"{_axis(say)} plane {say['plane']:d}"


def _kept(say: Mapping[str, Any]) -> str:
    """Return what a run left alone; one that was told to replace corrections says nothing of them."""
    kept = say.get("kept", 0)
    return f"; {kept:d} corrected object{'s' * (kept > 1)} kept" if kept else ""


def _listed(ids: Sequence[int]) -> str:
    first = f"object{'s' * (len(ids) > 1)} " + ", ".join(f"{i:d}" for i in ids[:8])
    return first if len(ids) <= 8 else f"{first} and {len(ids) - 8} more"
