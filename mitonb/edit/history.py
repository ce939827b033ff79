"""The journal for people: each edit as a sentence and as the line of Python that does the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mitonb.edit.ops import unpacked_line
from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        Python that does the same; `session`, and for bulk edits `ids` or `labels`, stand for what was there.
    undone : bool
        True when the edit is taken back at present.
    """

    seq: int
    time: float
    text: str
    code: str
    undone: bool = False


def entries(rows: Sequence[Row], undone: Sequence[int] = ()) -> list[Entry]:
    """Return the lines of a journal, oldest first; requests that changed nothing are left out."""
    back = set(undone)
    return [
        Entry(row.seq, row.time, _text(row, rows), _code(row), row.seq in back) for row in rows if row.kind != "nothing"
    ]


def _text(row: Row, rows: Sequence[Row]) -> str:
    say = row.intent
    match row.kind:
        case "undo":
            return f"undid {row.undo_of}: {_text(rows[(row.undo_of or 1) - 1], rows)}"
        case "redo":
            return f"did {row.undo_of} again: {_text(rows[(row.undo_of or 1) - 1], rows)}"
        case "paint":
            return f"painted object {say['id']} on {_where(say)}"
        case "erase":
            what = f"object {say['only']} " if "only" in say else ""
            return f"erased {what}on {_where(say)}"
        case "fill":
            return f"filled a patch with object {say['id']} on {say['axis']} plane {say['point'][AXES[say['axis']]]}"
        case "merge":
            return f"merged {_listed(say['gone'])} into {say['keep']}"
        case "delete":
            return f"deleted {_listed(say['ids'])}"
        case "put_plane":
            return f"replaced {say['axis']} plane {say['index']}"
        case "adopt":
            return f"replaced all labels by {say['name']!r}"
        case "set_voxel_size":
            return "set the voxel size to {:g} x {:g} x {:g} nm".format(*say["after"])
    return row.kind.replace("_", " ")


def _code(row: Row) -> str:
    say = row.intent
    match row.kind:
        case "paint" | "erase":
            skip = {"line", "plane", *(("axis",) if say["axis"] == "xy" else ())}
            rest = [f"{k}={v!r}" for k, v in say.items() if k not in skip]
            return f"session.{row.kind}({', '.join([repr(unpacked_line(say)), *rest])})"
        case "fill":
            return f"session.fill({tuple(say['point'])!r}, {say['id']}, {say['axis']!r})"
        case "merge":
            return f"session.merge({', '.join(map(str, [say['keep'], *say['gone']]))})"
        case "delete":
            return f"session.delete({', '.join(map(str, say['ids']))})"
        case "put_plane":
            return f"session.put_plane(ids, {say['axis']!r}, {say['index']})"
        case "adopt":
            return "session.adopt(labels)"
        case "set_voxel_size":
            return "session.set_voxel_size({:g}, {:g}, {:g})".format(*say["after"])
    return f"session.{row.kind}()"


def _where(say: Mapping[str, Any]) -> str:
    return f"{say['axis']} plane {say['plane']}"


def _listed(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids)) if len(ids) <= 8 else f"{', '.join(map(str, ids[:8]))} and {len(ids) - 8} more"
