"""Presses that act on what the kernel knows wait for the messages that were sent before them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["soon"]


def soon(action: Callable[[], object]) -> None:
    """Do something after what came from the page before it; at once where no kernel is running.

    Since ipykernel 7.4, messages of widgets that come while another request ends (a cell, say) are put aside as tasks,
    and the next one may overtake them: a press of a button the word on which plane is shown. These tasks stand in the
    queue already when the press arrives, so whatever joins the queue then comes after them.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        action()
    else:
        loop.call_soon(action)
