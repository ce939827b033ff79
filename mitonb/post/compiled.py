"""Compile hot loops once and keep the machine code where the user may write."""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile a function of arrays and numbers with numba; it runs without the interpreter's lock.

    In hot loops indices that only grow from 0 on are made `np.uint64`: for others numba tests at each access whether
    they count from the end, which keeps simple loops from becoming vector code and doubles the cost of many others.

    The machine code is cached on disk: beside the package, else in the user's cache folder. Where nothing can be
    written, the function is compiled again in each process instead of failing.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        compiled: Any = njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return cast("F", njit(**options)(function))
    cache = getattr(compiled, "_cache", None)
    if cache is not None:
        cache.load_overload, cache.save_overload = map(_if_possible, (cache.load_overload, cache.save_overload))
    return cast("F", compiled)


def _if_possible(access: Callable[..., Any]) -> Callable[..., Any]:
    """Let a full disk, or a cache that was taken away, cost some seconds of compilation instead of the call."""

    def access_if_possible(*what: Any) -> Any:
        with contextlib.suppress(OSError):
            return access(*what)

    return access_if_possible
