"""Whole or not at all: an interrupt waits until an edit is both in the journal and in the labels."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["whole"]


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Hold back the interrupt of the stop button (SIGINT) until the block is done.

    Between the commit of an edit and its last voxel, labels and journal say different things; an interrupt there
    would let the next edit be recorded against labels that never were.
    """
    before = signal.getsignal(signal.SIGINT)
    # Python runs handlers in the main thread only, and a handler that is no function interrupts nothing.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    caught: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            before(*caught[-1])
