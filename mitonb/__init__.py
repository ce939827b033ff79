"""mitonb: segment, look at and correct mitochondria in electron microscopy, in notebooks.

The front door. Its names stand in `__init__.pyi`, where editors and type checkers find them, too; each is loaded when
it is first used, so `import mitonb` needs neither torch nor Jupyter.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_HOMES = {name: home for home, name in re.findall(r"^from mitonb\.([\w.]+) import (\w+) as", _STUB, re.MULTILINE)}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"mitonb has no {name!r}; it has {', '.join(__all__)}.")
    from mitonb.errors import wanting_torch

    with wanting_torch():
        value = getattr(importlib.import_module(f"mitonb.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
