"""Roots: the first run of each region of runs."""

from __future__ import annotations

from typing import Any

from mitonb.post.compiled import jit

__all__ = ["root"]


@jit
def root(parent: Any, run: Any) -> Any:
    """Follow parents to the first run of a region, halving the path on the way; compiled."""
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run
