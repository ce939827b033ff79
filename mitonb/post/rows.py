"""Rows: the tables of `Runs`, filled row by row where ids are made, so that no dense plane is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from mitonb.post.compiled import jit

__all__ = ["add_run", "new_runs", "next_stretch", "with_room"]


@jit
def new_runs(rows: Any) -> Any:
    """Return tables first, start, stop and ids for a plane of so many rows; compiled."""
    return (
        np.zeros(rows + 1, np.int64), np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.uint32)
    )  # fmt: skip


@jit
def with_room(w: Any, count: Any, start: Any, stop: Any, ids: Any) -> Any:
    """Return start, stop and ids, longer where a row of w pixels might not fit behind `count` runs; compiled."""
    if count + w > len(start):
        more = np.empty(len(start) + 2 * w, np.int32)
        start, stop = np.concatenate((start, more)), np.concatenate((stop, more))
        ids = np.concatenate((ids, np.empty(len(more), np.uint32)))
    return start, stop, ids


@jit
def next_stretch(row: Any, x: Any) -> Any:
    """Return begin and end of the first stretch of a row of bool from x on; (w, w) where there is none; compiled."""
    w = len(row)
    # Many pixels at a step: the inner loops have no way out, so that they become vector code.
    while x + 16 <= w:
        any_ = False
        for k in range(16):
            any_ |= row[x + k]
        if any_:
            break
        x += 16
    while x < w and not row[x]:
        x += 1
    end = x
    while end + 16 <= w:
        all_ = True
        for k in range(16):
            all_ &= row[end + k]
        if not all_:
            break
        end += 16
    while end < w and row[end]:
        end += 1
    return x, end


@jit
def add_run(x: Any, end: Any, what: Any, begin: Any, count: Any, start: Any, stop: Any, ids: Any) -> Any:
    """Add a run to the row that began with run `begin`, or lengthen the last one; return the new count; compiled."""
    if count > begin and stop[count - 1] == x and ids[count - 1] == what:
        stop[count - 1] = end
        return count
    start[count], stop[count], ids[count] = x, end, what
    return count + 1
