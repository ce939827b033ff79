"""Verbs: one row for everything that corrects labels. What is called, said, shown or sent of a verb is drawn from it.

The methods of `mitonb.session.Session`, the journal, the history in words and as code, the messages of the viewer, its
toolbar and its table of keys: all of them look here. A new verb is a pure operation in `ops`, a row in this table, and
a method of the session that says what it does.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from mitonb.edit import ops, project, shaping, splitting
from mitonb.edit.edits import Edit
from mitonb.errors import InputError
from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mitonb.edit.store import Row

Intent = dict[str, Any]


@dataclass(frozen=True)
class Verb:
    """A row of the table.

    Attributes
    ----------
    name : str
        The method of the session, the kind of the record in the journal, and the `op` of a message.
    text : callable
        What the history says of the intent in a record, in the past tense.
    op : callable, optional
        The operation, of a project and the arguments of the verb; None for undo and redo, which go through the
        journal. Its parameters are those of the method, and a message has fields of the same names.
    given : callable
        The arguments in the intent of a record; those that are too large for a journal are missing.
    gesture : str
        How a page asks for it: "stroke" (a drag with the tool on), "teach" (a drag that changes no label), "click" (on
        a patch), "take" (on a place without an object), "pair" (of the selected objects, two clicks, or a line across
        several), "split" (seeds in an object, looked at before), "proposed" (with the tool of another verb),
        "selected" (at once, with those), "typed" (with those or the place, and a text), "now" (at once), or "" for what
        no page asks for.
    keys : tuple of str
        As the help writes them, such as "Ctrl-Z"; it shows the first.
    title : str
        What button and help say.
    icon : str
        Outline on a grid of 20 x 20, as the path of an SVG.
    cursor : str
        Pointer on the picture, while the tool is on.
    menu : bool
        Whether it stands in the menu of the selected objects instead of the toolbar.
    """

    name: str
    text: Callable[[Intent], str]
    op: Callable[..., Edit] | None = None
    given: Callable[[Intent], Intent] = dict
    gesture: Literal[
        "stroke", "teach", "click", "take", "pair", "split", "proposed", "selected", "typed", "now", ""
    ] = ""
    keys: tuple[str, ...] = ()
    title: str = ""
    icon: str = ""
    cursor: str = "crosshair"
    menu: bool = False

    @cached_property
    def parameters(self) -> list[inspect.Parameter]:
        """The arguments of the verb."""
        return list(inspect.signature(self.op).parameters.values())[1:] if self.op else []

    def edit(self, owner: project.Project, *listed: Any, **named: Any) -> Edit:
        """Return what the verb would change; locked objects stay as they are."""
        if self.op is None:
            raise InputError(f"{self.name} has nothing to look at before: it goes through the history.")
        return project.spare_locked(owner, self.op(owner, *listed, **named))

    def split(self, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return arguments by name as those of a call, by position and by keyword."""
        listed: list[Any] = []
        named: dict[str, Any] = {}
        for parameter in (p for p in self.parameters if p.name in given):
            if parameter.kind is parameter.VAR_POSITIONAL:
                listed += given[parameter.name]
            elif parameter.kind is parameter.KEYWORD_ONLY:
                named[parameter.name] = given[parameter.name]
            else:
                listed.append(given[parameter.name])
        return listed, named

    def code(self, intent: Intent) -> str:
        """Return the line of Python that does the same; what the journal does not hold stands as its name."""
        given, words = self.given(intent), dict[str, Any]()
        for p in self.parameters:
            if p.name not in given:
                words |= {p.name: p.name} if p.default is p.empty else {}
            elif p.kind is p.VAR_POSITIONAL:
                words[p.name] = map(_literal, given[p.name])
            elif given[p.name] != p.default:
                words[p.name] = _literal(given[p.name])
        listed, named = self.split(words)
        return f"session.{self.name}({', '.join([*listed, *(f'{name}={word}' for name, word in named.items())])})"


class _Text(str):
    """What a user has typed."""


def _literal(value: object) -> str:
    """Return a value as Python; of a project from elsewhere, nothing but numbers, axes, notes and lists of them."""
    if isinstance(value, _Text):
        return repr(str(value))
    if value is None or isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, tuple | list):
        inside = ", ".join(map(_literal, value))
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    return repr(_axis(value))


def _axis(value: object) -> str:
    return {axis: axis for axis in AXES}[value]  # type: ignore[index]


def _plane(say: Intent, index: int) -> str:
    return f"{_axis(say['axis'])} plane {index:d}"


def _box(say: Intent) -> str:
    (z, y, x), (last, bottom, right) = say["start"], (n - 1 for n in say["stop"])
    planes = f"xy plane {z:d}" if z == last else f"xy planes {z:d}-{last:d}"
    return f"{planes} (y {y:d}-{bottom:d}, x {x:d}-{right:d})"


def _only(say: Intent) -> str:
    return f"object {say['only']:d} " if "only" in say else ""


def _around(say: Intent) -> str:
    return "with a ball around " if say.get("ball") else "on "


def _about(say: Intent) -> str:
    return "at {:d}, {:d}, {:d}".format(*say["point"]) if "point" in say else f"of {_objects(say['ids'])}"


def _within(say: Intent) -> str:
    return ", only where a map says enough" if say.get("within") else ""


def _objects(ids: Sequence[int]) -> str:
    first = f"object{'s' * (len(ids) > 1)} " + ", ".join(f"{i:d}" for i in ids[:8])
    return first if len(ids) <= 8 else f"{first} and {len(ids) - 8} more"


def _kept(say: Intent) -> str:
    """Return what a run left alone; one that was told to replace corrections says nothing of them."""
    kept = say.get("kept", 0)
    return f"; {kept:d} corrected object{'s' * (kept > 1)} kept" if kept else ""


def _new(say: Intent) -> str:
    """Return which objects a split has made."""
    return f": new {_objects(say['new'])}"


def _free(owner: project.Project, id: int | None) -> int:
    """Return an id, or for None one that is free; the edit that writes it takes it."""
    return owner.free_ids(1)[0] if id is None else id


def _ids_for(owner: project.Project, new: Sequence[int] | None) -> Callable[[int], list[int]]:
    """Return what gives new objects their ids: those that are named, or free ones."""

    def named(count: int) -> list[int]:
        ids = [ops.checked_id(id) for id in new] if isinstance(new, list | tuple) else []
        if len({*ids} - {0} - owner.table.counts.keys()) < max(count, len(ids)):
            raise InputError(f"This makes {count} new objects: name as many ids that no object has, got {new!r:.60}.")
        return ids[:count]

    return owner.free_ids if new is None else named


def _stroke(say: Intent) -> Intent:
    return _known({**say, "points": ops.unpacked_line(say)})


def _known(given: Intent) -> Intent:
    """Return arguments without the place of what was painted within a mask: no journal holds that, so no code can."""
    hidden = ("points", "point", "within") if given.get("within") else ()
    return {name: value for name, value in given.items() if name not in hidden}


def _run(say: Intent) -> Intent:
    return {**say, "replace_corrected": "kept" not in say}


# fmt: off
_ROWS = (
    Verb("paint",
         op=lambda p, points, *, id, radius, axis="xy", preserve=False, ball=False, within=None: ops.paint(
             p.labels, points, id=_free(p, id), radius=radius, axis=axis, preserve=preserve, ball=ball,
             voxel_size=p.voxel_size, within=within),
         text=lambda say: f"painted object {say['id']:d} {_around(say)}{_plane(say, say['plane'])}{_within(say)}",
         given=_stroke, gesture="stroke", keys=("P",), title="Paint with the active label: the object selected last",
         icon="M16.5 3.5L9 11M11 13L7.5 9.5M7.5 9.5C5 9.5 5 13 3 14.5c1.5 2 7 2.5 8-1.5zM16.5 3.5L11 13"),
    Verb("erase",
         op=lambda p, points, *, radius, axis="xy", only=None, ball=False: ops.erase(
             p.labels, points, radius=radius, axis=axis, only=only, ball=ball, voxel_size=p.voxel_size),
         text=lambda say: f"erased {_only(say)}{_around(say)}{_plane(say, say['plane'])}",
         given=_stroke, gesture="stroke", keys=("E",), title="Erase",
         icon="M8 16l-4.5-4.5 8-8L17 9l-7 7zM7 8l5.5 5.5M8 16h9"),
    Verb("lasso",
         op=lambda p, points, *, id, axis="xy", preserve=False, subtract=False: ops.lasso(
             p.labels, points, id=_free(p, id), axis=axis, preserve=preserve, subtract=subtract),
         text=lambda say: f"{'took what a line encloses from' if say.get('subtract') else 'outlined'} "
                          f"object {say['id']:d} on {_plane(say, say['plane'])}",
         given=_stroke, gesture="stroke", keys=("G",),
         title="Lasso: draw around what belongs to the active label, or click its corners; with Shift, what does not",
         icon="M10 4c5 0 7 2 7 4.5S14 13 10 13s-7-2-7-4.500S5 4 10 4zM6 12.500c-2 1-2 4 1 3.500 1 0 1 1 0 2"),
    Verb("fill",
         op=lambda p, point, id, axis="xy", *, within=None: ops.fill(
             p.labels, point, _free(p, id), axis, within=within),
         text=lambda say: f"filled a patch with object {say['id']:d} on "
                          f"{_plane(say, say['point'][AXES[say['axis']]])}{_within(say)}",
         given=lambda say: _known({**say, "point": tuple(say["point"])}),
         gesture="click", keys=("F",), title="Fill a patch with the active label, on this plane",
         icon="M9 3l7 7-6 6-7-7 6-6zM3.5 9.5h12M16 12.5c1 1.5 1.5 2.3 1.5 3.2a1.5 1.5 0 0 1-3 0c0-.9.5-1.7 1.5-3.2z"),
    Verb("merge",
         op=lambda p, keep, *gone: ops.merge(p.labels, keep, gone, p.table.places),
         text=lambda say: f"merged {_objects(say['gone'])} into {say['keep']:d}",
         gesture="pair", keys=("J",), title="Merge the selected objects, or click two, or draw a line across",
         icon="M4 3c0 5 6 4 6 9v5M16 3c0 5-6 4-6 9M7.5 14.5L10 17l2.5-2.5"),
    Verb("split",
         op=lambda p, id, *seeds, new=None: splitting.split(
             p.labels, id, seeds, p.table.boxes, _ids_for(p, new), p.voxel_size),
         text=lambda say: f"split object {say['id']:d} by {len(say['seeds'])} seeds{_new(say)}",
         given=lambda say: {**say, "seeds": [splitting.unpacked(seed) for seed in say["seeds"]]},
         gesture="split", keys=("S",), title="Split an object: click or draw a seed in each part",
         icon="M4 15a2 2 0 1 0 4 0 2 2 0 1 0-4 0M12 15a2 2 0 1 0 4 0 2 2 0 1 0-4 0M7.2 13.4L14 3M12.8 13.4L6 3"),
    Verb("cut",
         op=lambda p, id, line, *, axis="xy", through=True, new=None: splitting.cut(
             p.labels, id, line, p.table.boxes, _ids_for(p, new), axis=axis, through=through),
         text=lambda say: f"cut object {say['id']:d} along a line on {_plane(say, say['plane'])}"
                          f"{'' if say.get('through', True) else ' alone'}{_new(say)}",
         given=lambda say: {**say, "line": ops.unpacked_line(say)}, gesture="proposed"),
    Verb("split_at_necks",
         op=lambda p, id, parts=None, *, new=None: splitting.split_at_necks(
             p.labels, id, p.table.boxes, _ids_for(p, new), p.voxel_size, parts),
         text=lambda say: f"split object {say['id']:d} where it is narrow{_new(say)}", gesture="proposed"),
    Verb("delete",
         op=lambda p, *ids: ops.delete(p.labels, ids, p.table.places),
         text=lambda say: f"deleted {_objects(say['ids'])}",
         gesture="selected", keys=("Delete", "Backspace"), title="Delete the selected objects",
         icon="M4 5.5h12M8 5.5V3.5h4v2M5.5 5.5l.7 11h7.6l.7-11M8.5 8.5v5M11.5 8.5v5"),
    Verb("grow", menu=True, gesture="selected", title="Grow by a voxel",
         op=lambda p, *ids, by=1.0: shaping.grow(p.labels, ids, p.table.boxes, by, p.voxel_size),
         text=lambda say: f"grew {_objects(say['ids'])} by {say['by']:g}"),
    Verb("shrink", menu=True, gesture="selected", title="Shrink by a voxel",
         op=lambda p, *ids, by=1.0: shaping.shrink(p.labels, ids, p.table.boxes, by, p.voxel_size),
         text=lambda say: f"shrank {_objects(say['ids'])} by {say['by']:g}"),
    Verb("smooth", menu=True, gesture="selected", title="Smooth",
         op=lambda p, *ids, by=2.0: shaping.smooth(p.labels, ids, p.table.boxes, by, p.voxel_size),
         text=lambda say: f"smoothed {_objects(say['ids'])} by {say['by']:g}"),
    Verb("fill_holes", menu=True, gesture="selected", title="Fill holes",
         op=lambda p, *ids: shaping.fill_holes(p.labels, ids, p.table.boxes),
         text=lambda say: f"filled the holes of {_objects(say['ids'])}"),
    Verb("interpolate", menu=True, gesture="selected", title="Fill the planes between (interpolate)",
         op=lambda p, *ids, axis="xy": shaping.interpolate(p.labels, ids, p.table.boxes, axis),
         text=lambda say: f"filled {_objects(say['ids'])} between its {_axis(say['axis'])} planes"),
    Verb("extrude", menu=True, gesture="selected", keys=("Q",),
         title="Copy the outline to the next plane, and go there",
         op=lambda p, *ids, axis, index, by=1: shaping.extrude(p.labels, ids, p.table.boxes, axis, index, by),
         text=lambda say: f"copied the outline of {_objects(say['ids'])} on {_plane(say, say['index'])} to "
                          f"{abs(say['by']):d} plane{'s' * (abs(say['by']) > 1)} "
                          f"{'after' if say['by'] > 0 else 'before'} it"),
    Verb("keep_largest", menu=True, gesture="selected", title="Keep the largest piece",
         op=lambda p, *ids: shaping.keep_largest(p.labels, ids, p.table.boxes),
         text=lambda say: f"kept the largest piece of {_objects(say['ids'])}"),
    Verb("split_pieces", menu=True, gesture="selected", title="Pieces become objects",
         op=lambda p, *ids, new=None: shaping.split_pieces(p.labels, ids, p.table.boxes, _ids_for(p, new)),
         text=lambda say: f"made the pieces of {_objects(say['ids'])} objects of their own{_new(say)}"),
    Verb("merge_on_plane", menu=True, gesture="selected", title="Merge on this plane only",
         op=lambda p, *ids, axis, index: shaping.merge_on_plane(p.labels, ids, p.table.boxes, axis, index),
         text=lambda say: f"merged {_objects(say['ids'])} on {_plane(say, say['index'])}"),
    Verb("delete_on_plane", menu=True, gesture="selected", title="Delete on this plane only",
         op=lambda p, *ids, axis, index: shaping.delete_on_plane(p.labels, ids, p.table.boxes, axis, index),
         text=lambda say: f"deleted {_objects(say['ids'])} on {_plane(say, say['index'])}"),
    Verb("mark_right",
         op=lambda p, *ids: ops.mark("mark_right", ids, p.table.boxes),
         text=lambda say: f"marked {_objects(say['ids'])} right",
         gesture="selected", keys=("R",), title="Mark the selected objects right: marks teach which others are false",
         icon="M4 10.5l4 4 8-9"),
    Verb("mark_false",
         op=lambda p, *ids: ops.mark("mark_false", ids, p.table.boxes),
         text=lambda say: f"marked {_objects(say['ids'])} false",
         gesture="selected", keys=("W",), title="Mark the selected objects false (wrong)",
         icon="M5 5l10 10M15 5L5 15"),
    Verb("unmark",
         op=lambda p, *ids: ops.mark("unmark", ids, p.table.boxes),
         text=lambda say: f"took the mark off {_objects(say['ids'])}",
         gesture="selected", keys=("U",), title="Take the mark off", menu=True),
    Verb("lock", menu=True, gesture="selected", keys=("K",), title="Lock: nothing changes it",
         op=lambda p, *ids: ops.mark("lock", ids, p.table.boxes),
         text=lambda say: f"locked {_objects(say['ids'])}"),
    Verb("unlock", menu=True, gesture="selected", keys=("Shift-K",), title="Unlock",
         op=lambda p, *ids: ops.mark("unlock", ids, p.table.boxes),
         text=lambda say: f"unlocked {_objects(say['ids'])}"),
    Verb("note", menu=True, gesture="typed", keys=("Shift-M",), title="Note …",
         op=lambda p, text, *ids, point=None: ops.note(p.labels, text, ids, point, p.table.boxes),
         text=lambda say: f"noted {_about(say)}: {say['text']:.120}" if say["text"]
                          else f"took the note {_about(say)} away",
         given=lambda say: {"ids": [], **say, "text": _Text(say["text"]),
                            **{name: tuple(say[name]) for name in ("point",) if name in say}}),
    Verb("relabel", menu=True, gesture="typed", keys=("Shift-L",), title="Another id …",
         op=lambda p, id, to=None: ops.relabel(p.labels, id, _free(p, to), p.table.places),
         text=lambda say: f"gave object {say['id']:d} the id {say['to']:d}"),
    Verb("mark_fix",
         op=lambda p, *ids: ops.mark("mark_fix", ids, p.table.boxes),
         text=lambda say: f"marked {_objects(say['ids'])} to be mended"),
    Verb("mark_unsure",
         op=lambda p, *ids: ops.mark("mark_unsure", ids, p.table.boxes),
         text=lambda say: f"marked {_objects(say['ids'])} unsure"),
    Verb("dismiss",
         op=lambda p, point: ops.dismiss(p.labels, point),
         text=lambda say: "saw that nothing is missing at {:d}, {:d}, {:d}".format(*say["point"]),
         given=lambda say: {"point": tuple(say["point"])}),
    Verb("mark_reviewed",
         op=lambda p, start, stop, *, reviewed=True: ops.mark_reviewed(p.labels, start, stop, reviewed),
         text=lambda say: f"called {_box(say)} reviewed{'' if say['reviewed'] else ' no more'}",
         given=lambda say: {**say, "start": tuple(say["start"]), "stop": tuple(say["stop"])}),
    Verb("teach_mito",
         op=lambda p, points, *, radius, axis="xy": ops.teach("teach_mito", p.labels, points, radius=radius, axis=axis),
         text=lambda say: f"taught that this is mitochondrion on {_plane(say, say['plane'])}",
         given=_stroke, gesture="teach", keys=("T",), title="Teach the model: what you draw on is mitochondrion",
         icon="M3 15.5c3-1 2-7 6-7s2 5 5 4M13.5 3v6M10.5 6h6"),
    Verb("teach_not",
         op=lambda p, points, *, radius, axis="xy": ops.teach("teach_not", p.labels, points, radius=radius, axis=axis),
         text=lambda say: f"taught that this is no mitochondrion on {_plane(say, say['plane'])}",
         given=_stroke, gesture="teach", keys=("Shift-T",), title="Teach the model: what you draw on is none",
         icon="M3 15.5c3-1 2-7 6-7s2 5 5 4M10.5 6h6"),
    Verb("use_model",
         op=lambda p, model, *, instead, strokes: Edit(
             "use_model", (), {"model": model, "instead": instead, "strokes": strokes}),
         text=lambda say: f"took model {say['model']:.80}, taught by {say['strokes']:d} strokes, "
                          f"instead of {say['instead']:.80}",
         given=lambda say: {"strokes": say["strokes"]}),
    Verb("drop_false",
         op=lambda p, *ids, verdicts=None: ops.drop_false(
             p.labels, [id for fixed in [project.locked(p)] for id in ids if id not in fixed], p.table.places,
             verdicts),
         text=lambda say: f"dropped {_objects(say['ids'])}, false by verdicts",
         given=lambda say: {"ids": say["ids"]}),
    Verb("put_object",
         op=lambda p, start, mask, id=None: ops.put_object(p.labels, start, mask, _free(p, id)),
         text=lambda say: f"put object {say['id']:d} where nothing was",
         given=lambda say: {"start": tuple(say["start"]), "id": say["id"]},
         gesture="take", keys=("D",), title="Take what the model finds where you click, by the recipe as it is",
         icon="M10 3v8M6.5 8L10 11.5 13.5 8M3.5 10.5v6h13v-6"),
    Verb("put_plane",
         op=lambda p, ids, axis, index, *, fresh=False: ops.put_plane(
             p.labels, p.renamed(ids) if fresh else ids, axis, index),
         text=lambda say: f"replaced {_plane(say, say['index'])}"),
    Verb("adopt_plane",
         op=lambda p, ids, axis, index, *, iou=0.25, replace_corrected=False: project.adopt_plane(
             p, ids, axis, index, iou=iou, replace_corrected=replace_corrected),
         text=lambda say: f"segmented {_plane(say, say['index'])}{_kept(say)}",
         given=_run),
    Verb("adopt",
         op=lambda p, labels, *, replace_corrected=False: project.adopt(p, labels, replace_corrected=replace_corrected),
         text=lambda say: f"replaced all labels by {say['name']!r}{_kept(say)}",
         given=_run),
    Verb("set_voxel_size",
         op=lambda p, *nm: Edit("set_voxel_size", (), {"before": p.voxel_size, "after": list(nm)}),
         text=lambda say: "set the voxel size to {:g} x {:g} x {:g} nm".format(*say["after"]),
         given=lambda say: {"nm": say["after"]}),
    Verb("undo", text=lambda said: f"undid: {said['text']}", gesture="now", keys=("Ctrl-Z",), title="Undo",
         icon="M7 4L3.5 7.5 7 11M3.5 7.5H12a4.5 4.5 0 0 1 0 9H8"),
    Verb("redo", text=lambda said: f"did again: {said['text']}", gesture="now", keys=("Ctrl-Shift-Z", "Ctrl-Y"),
         title="Redo", icon="M13 4l3.5 3.5L13 11M16.5 7.5H8a4.5 4.5 0 0 0 0 9h4"),
)
# fmt: on

VERBS = {verb.name: verb for verb in _ROWS}
"""The table, by name, in the order of the toolbar."""
TOOLS = tuple(
    name for name, verb in VERBS.items() if verb.gesture in ("stroke", "teach", "click", "take", "pair", "split")
)
"""Verbs that are asked for by pressing on the picture."""


def on_screen() -> list[dict[str, Any]]:
    """Return the verbs that a page can ask for, as JSON: what it needs for its toolbar, its keys and their help.

    `codes` are all keys of a verb as the page compares them, "ctrl+shift+z".
    """
    return [
        {name: getattr(verb, name) for name in ("name", "gesture", "title", "icon", "cursor", "menu")}
        | {"does": verb.title[:1].lower() + verb.title[1:], "keys": verb.keys[0] if verb.keys else ""}
        | {"codes": [key.lower().replace("-", "+") for key in verb.keys]}
        for verb in VERBS.values()
        if verb.gesture not in ("", "proposed")
    ]


# --- the journal for people ---------------------------------------------------------------------------------------


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
    whole : bool
        True when the code runs as it is: nothing was given that the journal does not hold.
    verb : str
        The verb, such as "paint".
    """

    seq: int
    time: float
    text: str
    code: str
    undone: bool = False
    stands: bool = True
    whole: bool = True
    verb: str = ""

    @property
    def sentence(self) -> str:
        """What happened, as a sentence."""
        return f"{self.text[:1].upper()}{self.text[1:]}."


def entries(rows: Sequence[Row], standing: Sequence[int], after: int = 0, most: int | None = None) -> list[Entry]:
    """Return the lines of a journal that came after one, oldest first; requests that changed nothing are left out."""
    there = set(standing)
    shown = [row for row in rows[after:] if row.kind != "nothing"]
    found = []
    for row in shown[-most:] if most else shown:
        text, code, whole = _words(row, rows)
        undone = row.seq not in there and row.kind not in ("undo", "redo")
        found.append(Entry(row.seq, row.time, text, code, undone, row.seq in there, whole, row.kind))
    return found


def as_cell(owner: project.Project) -> str:
    """Return the edits that stand as a cell of Python; see `mitonb.session.Session.to_code`."""
    path = str(owner.store.path and owner.store.path.absolute())
    lines = [
        "import mitonb as mn",
        "",
        f"project = mn.Session.open({path!r}, read_only=True)",
        "session = mn.Session(labels=project.labels_before(1))",
    ]
    for entry in entries(owner.rows, owner.undoable):
        if entry.stands and entry.whole:
            lines.append(entry.code)
        elif entry.stands and (box := owner.box_of(owner.rows[entry.seq - 1])).size:
            # What was given is not in the journal, but what came of it is.
            said = "".join(c if c.isprintable() else " " for c in entry.sentence)
            lines += [
                f"after = project.labels_before({entry.seq + 1}).data  # {said}",
                f"for z in range({box.start[0]}, {box.stop[0]}):",
                "    session.put_plane(after[z], 'xy', z)",
            ]
    return "\n".join(lines) + "\n"


def _words(row: Row, rows: Sequence[Row]) -> tuple[str, str, bool]:
    """Return text and code of a record, and whether that runs as it is.

    A project from elsewhere may hold anything, and nothing of it becomes code.
    """
    try:
        verb, intent = VERBS[row.kind], dict(row.intent)
        if row.undo_of:
            target = rows[row.undo_of - 1]
            intent["text"] = VERBS[target.kind].text(dict(target.intent))
        given = verb.given(intent)
        whole = all(p.name in given for p in verb.parameters if p.default is p.empty)
        return verb.text(intent), verb.code(intent), whole
    except (LookupError, TypeError, ValueError, OverflowError):
        return "an edit of a kind that this mitonb does not know", "", False
