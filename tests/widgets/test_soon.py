"""A press comes after the messages that were sent before it."""

from __future__ import annotations

import asyncio

from mitonb.widgets.soon import soon


def test_what_was_put_aside_comes_first() -> None:
    done: list[str] = []

    async def plane() -> None:
        done.append("plane")

    async def kernel() -> None:
        put_aside = asyncio.create_task(plane())
        soon(lambda: done.append("press"))  # handled while the message before it still waits
        assert done == []
        await put_aside
        await asyncio.sleep(0)

    asyncio.run(kernel())
    assert done == ["plane", "press"]


def test_without_a_kernel_it_is_done_at_once() -> None:
    done: list[str] = []
    soon(lambda: done.append("press"))
    assert done == ["press"]
