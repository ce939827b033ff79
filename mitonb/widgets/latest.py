"""Newest wins: run a function in a thread, and of all the calls that came meanwhile only the last one."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Latest"]


class Latest:
    """A worker that is never behind.

    A slider sends twenty values while one is worked on; nineteen of them are nobody's wish any more.

    Parameters
    ----------
    work : callable
        Called in a thread, one call at a time.
    failed : callable
        Gets the exception of a call that failed.
    delay : float
        Seconds to wait for a newer call before starting.
    """

    def __init__(
        self, work: Callable[..., None], *, failed: Callable[[BaseException], None], delay: float = 0.0
    ) -> None:
        self._work, self._failed, self._delay = work, failed, delay
        self._asked: tuple[Any, ...] | None = None
        self._idle = threading.Condition()
        self._running = False

    def ask(self, *arguments: Any) -> None:
        """Ask for a call; it replaces one that has not begun."""
        with self._idle:
            self._asked = arguments
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name=f"mitonb {self._work.__name__}", daemon=True).start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is asked or running; return whether that came."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._running, timeout)

    def _run(self) -> None:
        while True:
            if self._delay:
                time.sleep(self._delay)
            with self._idle:
                arguments, self._asked = self._asked, None
                if arguments is None:
                    self._running = False
                    self._idle.notify_all()
                    return
            try:
                self._work(*arguments)
            except Exception as error:  # the thread has no caller; whoever owns it tells the user
                self._failed(error)
