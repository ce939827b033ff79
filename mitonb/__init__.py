"""mitonb: segment, look at and correct mitochondria in electron microscopy, in notebooks.

The front door. Names are loaded when they are first used, so `import mitonb` needs neither torch nor Jupyter.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES: dict[str, str] = {
    # values
    "Stack": "stack", "Plane": "stack", "Maps": "maps", "Labels": "labels", "Recipe": "recipe", "PRESETS": "recipe",
    "Job": "job", "Progress": "job", "Box": "box", "MitonbError": "errors",
    # verbs
    "open": "io.reading", "save": "io.writing", "phantom": "phantoms",
    "predict": "infer.pipeline", "predicting": "infer.pipeline",
    "segment": "infer.pipeline", "segmenting": "infer.pipeline",
    "decode": "post.decoding", "targets": "post.target_maps",
    "measure": "measurements", "score": "accuracy",
    "load_model": "models.zoo", "cite": "citing",
    "training": "train.loop",
    "Session": "session", "check": "lessons", "doctor": "checkup",
    # widgets
    "explore": "widgets.app", "view": "widgets.viewer", "show_maps": "widgets.maps_view", "show3d": "widgets.volume3d",
    "show_table": "widgets.objects_table", "open_form": "widgets.loader",
}  # fmt: skip

__all__ = sorted(_HOMES)  # noqa: PLE0605  one table says where each name lives

if TYPE_CHECKING:
    pass


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"mitonb has no {name!r}; it has {', '.join(__all__)}.")
    value = getattr(importlib.import_module(f"mitonb.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
