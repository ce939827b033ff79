"""Replace a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["replacing"]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside another to write a file to; at the end sync it and rename it to the other.

    A block that fails, or a process that ends in it, leaves the other as it was.

    Parameters
    ----------
    path : path
        The file; its folder exists.

    Raises
    ------
    OSError
        If the disk refuses.

    Examples
    --------
    >>> from pathlib import Path
    >>> with replacing(Path("note.txt")) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> Path("note.txt").read_text()
    'whole'
    """
    # A name of its own: two processes may write the same file, and the last one wins.
    temporary = path.with_name(f".mitonb-{uuid.uuid4().hex[:12]}.tmp")
    try:
        yield temporary
        # Else a machine that loses its power after the rename may have a name without content.
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
