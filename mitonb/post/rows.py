"""Rows: the tables of `Runs`, filled row by row where ids are made, so that no dense plane is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit

__all__ = ["add_run", "edges", "new_runs", "next_stretch", "packed", "with_room"]

_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
_NUMBER = 0x03F79D71B4CB0A89
"""Of de Bruijn: shifted by k, its upper six bits are a number that no other k has."""
_DE_BRUIJN = np.uint64(_NUMBER)
_PLACES = np.argsort([((_NUMBER << k) & 0xFFFFFFFFFFFFFFFF) >> 58 for k in range(64)])


@jit
def new_runs(rows: Any) -> Any:
    """Return tables first, start, stop and ids for a plane of so many rows; compiled."""
    room = max(1024, 16 * rows)  # more than most planes need: to grow means to copy, and room not used costs nothing
    return (
        np.zeros(rows + 1, np.int64), np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint32)
    )  # fmt: skip


@jit
def with_room(w: Any, count: Any, start: Any, stop: Any, ids: Any) -> Any:
    """Return start, stop and ids, longer where a row of w pixels might not fit behind `count` runs; compiled."""
    if count + w > len(start):
        more = np.empty(len(start) + 2 * w, np.int32)
        start, stop = np.concatenate((start, more)), np.concatenate((stop, more))
        ids = np.concatenate((ids, np.empty(len(more), np.uint32)))
    return start, stop, ids


def packed(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Return an (h, w) mask as bits, 64 pixels to a word, which `next_stretch` looks through a word at a time."""
    h, w = mask.shape
    bits = np.packbits(mask, axis=1, bitorder="little")
    if w % 64:
        bits, some = np.zeros((h, -(-w // 64) * 8), np.uint8), bits
        bits[:, : some.shape[1]] = some
    words: npt.NDArray[np.uint64] = bits.view("<u8").astype(np.uint64, copy=False)
    return words


@jit
def next_stretch(bits: Any, y: Any, x: Any, w: Any) -> Any:
    """Return begin and end of the first stretch in a row of w bits from x on; (w, w) where there is none; compiled."""
    if x >= w:
        return w, w
    row, k, words = np.uint64(y), np.uint64(x) >> np.uint64(6), np.uint64(bits.shape[1])
    word = bits[row, k] & (_ONES << (np.uint64(x) & np.uint64(63)))
    while word == 0:
        k += np.uint64(1)
        if k == words:
            return w, w
        word = bits[row, k]
    place = _lowest(word)
    begin = np.int64(k << np.uint64(6)) + place
    word = ~bits[row, k] & (_ONES << np.uint64(place))
    while word == 0:
        k += np.uint64(1)
        if k == words:
            return begin, w
        word = ~bits[row, k]
    return begin, np.int64(k << np.uint64(6)) + _lowest(word)


@jit
def edges(bits: Any, y: Any, found: Any) -> Any:
    """Write begin, end, begin, end, ... of all stretches in a row of w bits; return how many numbers; compiled.

    `found` has room for w + 1. For whole rows this is faster than `next_stretch`: one loop per word, over the bits that
    differ from the one before, instead of several searches whose lengths the processor guesses wrong.
    """
    row, count, before = np.uint64(y), np.uint64(0), np.uint64(0)
    for k in range(np.uint64(bits.shape[1])):
        word = bits[row, k]
        turns = word ^ ((word << np.uint64(1)) | before)
        before = word >> np.uint64(63)
        while turns != 0:
            found[count] = np.int64(k << np.uint64(6)) + _lowest(turns)
            count += np.uint64(1)
            turns &= turns - np.uint64(1)
    if before != 0:
        found[count] = np.int64(bits.shape[1] << 6)
        count += np.uint64(1)
    return np.int64(count)


@jit
def _lowest(word: Any) -> Any:
    """Return the place of the lowest bit that is set; of a word in which one is."""
    return _PLACES[((word & (~word + np.uint64(1))) * _DE_BRUIJN) >> np.uint64(58)]


@jit
def add_run(x: Any, end: Any, what: Any, begin: Any, count: Any, start: Any, stop: Any, ids: Any) -> Any:
    """Add a run to the row that began with run `begin`, or lengthen the last one; return the new count; compiled."""
    if count > begin and stop[count - 1] == x and ids[count - 1] == what:
        stop[count - 1] = end
        return count
    start[count], stop[count], ids[count] = x, end, what
    return count + 1
