"""The quickstart notebook, with its one line that opens the data pointed at another file."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

from mitonb.errors import InputError

__all__ = ["pointed_at", "quickstart_path", "write_quickstart"]

VoxelSize = float | tuple[float, ...]
OPEN_LINE = re.compile(r"^stack = mn\.open\(.*\)$", re.MULTILINE)


def quickstart_path() -> Path:
    """Return where the notebook lies: in the installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    for folder in (here / "notebooks", here.parent / "notebooks"):
        if (path := folder / "00_quickstart.ipynb").exists():
            return path
    raise InputError("The quickstart notebook is missing from this installation. Install mitonb again.")


def pointed_at(source: str, *, name: str, voxel_size: VoxelSize | None = None) -> dict[str, Any]:
    """Return the quickstart as a notebook dict that opens `source`, its results named after `name`."""
    size = "" if voxel_size is None else f", voxel_size={voxel_size!r}"
    text = quickstart_path().read_text(encoding="utf-8")
    book: dict[str, Any] = json.loads(text)
    for cell in book["cells"]:
        code = "".join(cell["source"])
        if cell["cell_type"] == "code" and OPEN_LINE.search(code):
            # A function as replacement: backslashes of Windows paths are no escapes then.
            code = OPEN_LINE.sub(lambda _: f"stack = mn.open({source!r}{size})", code)
            code = re.sub(r'^name = ".*"', lambda _: f"name = {name!r}", code, flags=re.MULTILINE)
            cell["source"] = code.splitlines(keepends=True)
            return book
    raise InputError("The quickstart notebook has no line `stack = mn.open(...)`. Install mitonb again.")


def write_quickstart(
    folder: Path, source: str | None = None, *, voxel_size: VoxelSize | None = None
) -> tuple[Path, bool]:
    """Write the quickstart into a folder, for the phantom or for a file.

    Parameters
    ----------
    folder : path
        Where notebook and results go; must exist.
    source : str, optional
        Image volume to open; None keeps the phantom.
    voxel_size : tuple of float, optional
        (z, y, x) in nm, where the file does not say.

    Returns
    -------
    path, fresh : Path, bool
        The notebook, and whether it was written now; one that is there already is the user's and stays. Where that
        one opens another file, the new one gets a number: "cell-2.ipynb".
    """
    if source is None:
        book = json.loads(quickstart_path().read_text(encoding="utf-8"))
        path = folder / "00_quickstart.ipynb"
    else:
        file = Path(source).expanduser().resolve()
        if not file.exists():
            raise InputError(f"There is no {file}. Check the path.")
        stem = file.name.partition(".")[0]
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        name = next(name for name in names if _is_free(folder / name, str(file)))
        book = pointed_at(str(file), name=name, voxel_size=voxel_size)
        path = folder / f"{name}.ipynb"
    if path.exists():
        return path, False
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder.absolute()} for the notebook. Create it first.")
    path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path, True


def _is_free(place: Path, source: str) -> bool:
    """Whether a notebook of that name is not there yet, or is this file's own."""
    book = Path(f"{place}.ipynb")
    if not book.exists():
        return True
    try:
        cells = json.loads(book.read_text(encoding="utf-8"))["cells"]
        return any(f"mn.open({source!r}" in "".join(cell["source"]) for cell in cells)
    except (ValueError, KeyError, TypeError):  # not a notebook, but somebody's file
        return False
