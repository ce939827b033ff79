"""mitonb: segment, look at and correct mitochondria in electron microscopy, in notebooks.

The front door. Names are loaded when they are first used, so `import mitonb` needs neither torch nor Jupyter.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and type checkers read; nothing of it runs
    from mitonb.accuracy import score as score
    from mitonb.box import Box as Box
    from mitonb.checkup import doctor as doctor
    from mitonb.citing import cite as cite
    from mitonb.errors import MitonbError as MitonbError
    from mitonb.infer.again import redecode as redecode
    from mitonb.infer.again import redecoding as redecoding
    from mitonb.infer.kept import KeptMaps as KeptMaps
    from mitonb.infer.needs import estimate as estimate
    from mitonb.infer.pipeline import predict as predict
    from mitonb.infer.pipeline import predicting as predicting
    from mitonb.infer.pipeline import segment as segment
    from mitonb.infer.pipeline import segmenting as segmenting
    from mitonb.io.opening import open as open
    from mitonb.io.opening import open_labels as open_labels
    from mitonb.io.saving import save as save
    from mitonb.job import Job as Job
    from mitonb.job import Progress as Progress
    from mitonb.labels import Labels as Labels
    from mitonb.lessons import check as check
    from mitonb.maps import Maps as Maps
    from mitonb.measurements import measure as measure
    from mitonb.models.zoo import load_model as load_model
    from mitonb.phantoms import phantom as phantom
    from mitonb.post.contour_targets import contour_targets as contour_targets
    from mitonb.post.decoding import decode as decode
    from mitonb.post.target_maps import targets as targets
    from mitonb.post.watershed import decode_contours as decode_contours
    from mitonb.recipe import PRESETS as PRESETS
    from mitonb.recipe import Recipe as Recipe
    from mitonb.session.session import Session as Session
    from mitonb.stack import Plane as Plane
    from mitonb.stack import Stack as Stack
    from mitonb.train.loop import training as training
    from mitonb.widgets.app import explore as explore
    from mitonb.widgets.forms import open_form as open_form
    from mitonb.widgets.maps_view import show_maps as show_maps
    from mitonb.widgets.objects_table import show_table as show_table
    from mitonb.widgets.viewer import view as view
    from mitonb.widgets.volume3d import show3d as show3d

__version__ = "0.1.0"

if (os.cpu_count() or 1) <= 8:
    # torch's threads wait for their next share by spinning, and take the few cores away from what runs beside torch:
    # decoding, and convolutions of our own (infer/engines/winograd.py). Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES: dict[str, str] = {
    # values
    "Stack": "stack", "Plane": "stack", "Maps": "maps", "Labels": "labels", "Recipe": "recipe", "PRESETS": "recipe",
    "Job": "job", "Progress": "job", "Box": "box", "MitonbError": "errors",
    # verbs
    "open": "io.opening", "open_labels": "io.opening", "save": "io.saving", "phantom": "phantoms",
    "predict": "infer.pipeline", "predicting": "infer.pipeline",
    "segment": "infer.pipeline", "segmenting": "infer.pipeline", "estimate": "infer.needs",
    "redecode": "infer.again", "redecoding": "infer.again", "KeptMaps": "infer.kept",
    "decode": "post.decoding", "targets": "post.target_maps",
    "decode_contours": "post.watershed", "contour_targets": "post.contour_targets",
    "measure": "measurements", "score": "accuracy",
    "load_model": "models.zoo", "cite": "citing",
    "training": "train.loop",
    "Session": "session.session", "check": "lessons", "doctor": "checkup",
    # widgets
    "explore": "widgets.app", "view": "widgets.viewer", "show_maps": "widgets.maps_view", "show3d": "widgets.volume3d",
    "show_table": "widgets.objects_table", "open_form": "widgets.forms",
}  # fmt: skip

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
