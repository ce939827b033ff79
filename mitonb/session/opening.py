"""Beginning: make a project, or open one and see that stack, labels and project belong together."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mitonb.edit.edits import digest
from mitonb.edit.project import Project
from mitonb.errors import AxesError, ChangedFileError, InputError, MitonbError, TooLargeError
from mitonb.labels import Labels
from mitonb.mapped import room_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mitonb.stack import Stack

LARGEST_LABELS = 1 << 35
"""Bytes of labels that lie in a file; volumes with more are only looked at."""


def place_of(path: str | os.PathLike[str]) -> Path:
    """Return the path of a project, or refuse what cannot be one.

    Raises
    ------
    InputError
        If it is no path, or its name is none that the disk can hold.
    """
    try:
        place = Path(path).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(place)
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"No project file can be {str(path)[:80]!r} ({reason}). Choose another name.") from None
    return place


def create(
    place: Path | None, stack: Stack | None, labels: Labels | Stack | None, record: Mapping[str, Any] | None = None
) -> Project:
    """Start a project with labels, or with empty ones for a stack; `record` is that of the labels.

    Raises
    ------
    InputError
        If neither is given, or they do not fit each other. TooLargeError, if the labels fit neither into memory nor
        onto the disk.
    StoreError
        If nothing can be written at `place`.
    """
    if stack is None and labels is None:
        raise InputError("A session needs a stack, labels, or both.")
    shape = (stack or labels).shape  # type: ignore[union-attr]
    check_shape(shape, labels.shape if labels else shape)
    data = room_for(shape, place)
    for z, y in itertools.product(range(0, shape[0], 16), range(0, shape[1], 256)) if labels else ():
        part = slice(z, z + 16), slice(y, y + 256)  # a row of blocks of a store
        data[part] = Labels(np.asarray(labels.data[part])).data  # type: ignore[union-attr]
    size = (stack and stack.voxel_size) or (labels and labels.voxel_size) or None
    facts = {
        "uuid": str(uuid.uuid4()), "made": time.strftime("%Y-%m-%d %H:%M:%S"),
        "labels": digest(data) if labels else None, "stack": describe(stack, place) if place else None,
    }  # fmt: skip
    return Project.create(place, data, size, facts, record)


def only_look(place: Path | None, stack: Stack | None) -> tuple[Project, str] | None:
    """Return an empty project for a stack whose labels would be too large, and why it is read-only; None for others.

    Raises
    ------
    TooLargeError
        If such a stack shall have a project file.
    """
    if stack is None or 4 * math.prod(stack.shape) <= LARGEST_LABELS:
        return None
    size = 4 * math.prod(stack.shape) / 2**30
    reason = (
        f"labels of {' x '.join(map(str, stack.shape))} voxels would take {size:,.0f} GiB, so this volume is only "
        "looked at. Fetch a box of it, and segment and correct that: mn.fetch(stack, box, 'part.ome.zarr')"
    )
    if place is not None:
        raise TooLargeError(f"No project for {stack.name}: {reason}.")
    facts = {"uuid": str(uuid.uuid4()), "labels": None, "stack": None}
    return Project.create(None, np.zeros((1, 1, 1), np.uint32), stack.voxel_size, facts), reason


def reopen(
    place: Path, stack: Stack | None, labels: Labels | Stack | None, *, take_over: bool = False, read_only: bool = False
) -> tuple[Project, str]:
    """Open a project; return it, and why it is read-only if it is.

    Raises
    ------
    InputError
        If the stack or the labels are others than the project's; then no other session has lost its right to write.
    StoreError
        If the project is damaged or cannot be read.
    """

    def accept(project: Project) -> None:
        if stack is not None:
            _check_image(stack, project.stack_facts, place)
            if stack.shape != project.labels.shape:
                raise AxesError(
                    f"{place} holds labels of {project.labels.shape} voxels, the image {stack.name!r} has "
                    f"{stack.shape}. Open the image that belongs to them, or choose another path."
                )
        if labels is not None and digest(cast("Any", labels.data)) not in project.digests():
            again = f"Session.open({str(place)!r})"
            raise InputError(
                f"{place} holds other labels, with {project.version} edits. To go on with them: {again}. To replace "
                f"them, which can be undone: {again}.adopt(labels, replace_corrected=True). Or choose another path."
            )

    return Project.open(place, accept, take_over=take_over, read_only=read_only)


def describe(stack: Stack | None, place: Path, before: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return what a project at a place remembers of its stack; `before` is what it remembered until now."""
    if stack is None:
        return None
    from mitonb.io.record import fingerprint

    try:
        known = fingerprint(stack)
    except ChangedFileError:  # corrections are saved whatever became of the image
        known = before["fingerprint"] if before else ""
    facts = {"name": stack.name, "source": stack.source, "shape": list(stack.shape), "fingerprint": known}
    written = _written(stack)
    if written:
        facts["written"] = written
    if stack.source is not None and "://" not in stack.source:
        # A folder that is moved or mailed as a whole still finds its stack.
        facts["beside"] = os.path.relpath(Path(stack.source).absolute(), place.absolute().parent)
    return facts


def find_stack(facts: Mapping[str, Any] | None, place: Path) -> tuple[Stack | None, list[str]]:
    """Open the stack that a project was made with, or say in sentences why not."""
    if not facts:
        return None, ["The project was made without a stack."]
    source, advice = facts["source"], "Open it with Session.open(path, stack=...)."
    if not source:
        return None, [f"The stack {facts['name']!r} came from memory. {advice}"]
    if "://" in source:
        # A project that came by mail must not make this machine talk to an address of its choice.
        return None, [f"The stack is at {source}, and remote addresses are not opened by themselves. {advice}"]
    if not facts["fingerprint"]:
        return None, [f"The stack {source} had changed when the project was saved. {advice}"]
    for candidate in (Path(source), place.absolute().parent / (facts.get("beside") or source)):
        if candidate.is_file() or candidate.is_dir():
            from mitonb.io import opening  # readers take time to import; looking at an array needs none

            try:
                return _as_it_was(opening.open(candidate), facts, place), []
            except MitonbError as error:
                return None, [f"The stack {candidate} cannot be used: {error} {advice}"]
    return None, [f"The stack {source} no longer exists. {advice}"]


def image_notes(stack: Stack | None, facts: Mapping[str, Any] | None) -> list[str]:
    """Say where an image may be another one than a project was made with, and too large to compare all of it."""
    written = facts and facts.get("written")
    if stack is None or not facts or not written or written == _written(stack):
        return []
    from mitonb.io.record import WHOLE

    if facts["fingerprint"].startswith(WHOLE):
        return []
    return [f"The file of {stack.name} was written after this project was made; 16 planes of it are the same."]


def _written(stack: Stack) -> list[int] | None:
    """Return size and time of the last change of the file of a stack, where it is one file."""
    path = Path(stack.source) if stack.source and "://" not in stack.source else None
    found = path.stat() if path and path.is_file() else None
    return [found.st_size, found.st_mtime_ns] if found else None


def check_shape(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    """Refuse labels that do not lie on the voxels of an image.

    Raises
    ------
    AxesError
        If the shapes differ.
    """
    if tuple(shape) != tuple(other):
        raise AxesError(f"The image is {tuple(shape)}, the labels {tuple(other)}: they must lie on the same voxels.")


def _check_image(stack: Stack, facts: Mapping[str, Any] | None, place: Path) -> None:
    from mitonb.io.record import same_image  # not at the top: looking at an array needs no readers

    # Of an image that had changed when the project was saved, it knows the shape alone.
    known = facts and facts["fingerprint"]
    if facts and not (same_image(stack, known) if known else list(stack.shape) == facts.get("shape")):
        raise InputError(
            f"{place} was made with another image ({facts['name']!r}) than {stack.name!r}, or with this one before it "
            "was changed. Open that one, or choose another path; to take those of the project along: "
            f"Session(stack, Session.open({str(place)!r}).labels, 'other.mitonb')."
        )


def _as_it_was(stack: Stack, facts: Mapping[str, Any], place: Path) -> Stack:
    """Return the stack of a project with its grey values as they were when it was made.

    They may have been turned round with `invert=`, or, by an earlier version, not where the file says that 0 is white.
    """
    for same in (stack, stack.inverted()):
        with contextlib.suppress(InputError):
            _check_image(same, facts, place)
            return same
    _check_image(stack, facts, place)
    return stack
