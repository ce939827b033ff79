"""Compile hot loops once and keep the machine code where the user may write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

__all__ = ["jit"]

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile a function of arrays and numbers with numba; it runs without the interpreter's lock.

    The machine code is cached on disk. Where no cache folder can be written (a read-only installation without a
    home), the function is compiled again in each process instead of failing.
    """
    compiled: Any
    try:
        compiled = njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        compiled = njit(nogil=True, error_model="numpy")(function)
    return cast("F", compiled)
