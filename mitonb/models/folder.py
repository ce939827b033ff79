"""The models on this machine: those that came with mitonb, and those that were pulled or imported. No torch here."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from mitonb.errors import CorruptFileError, ModelError
from mitonb.files import atomic_write
from mitonb.models.spec import WEIGHTS, ModelSpec, printable, specs

__all__ = ["Installed", "add_installed", "installed", "installed_as", "model_folder", "model_names", "plain_name"]

LARGEST_NOTE = 1 << 20  # bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


@dataclass(frozen=True)
class Installed:
    """A model that is on this machine.

    Attributes
    ----------
    spec : ModelSpec
        Its card; `sha256` is the hash that was pinned when it came.
    path : path
        Its weights.
    source : str
        Where it came from: an address, a path, or "bundled".
    """

    spec: ModelSpec
    path: Path
    source: str


def model_folder() -> Path:
    """Return the folder of pulled and imported models: MITONB_MODEL_DIR, or the usual place of this system.

    It may be read-only and shared; models in it can then be used but not added.
    """
    named = os.environ.get("MITONB_MODEL_DIR")
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    elif os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "mitonb" / "models"


def plain_name(name: str) -> str:
    """Return a name if a model may bear it.

    Raises
    ------
    ModelError
        If it is no plain word.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"A model's name has letters, digits, dots, dashes and underscores, 80 at most, got {printable(name)!r}."
        )
    return name


def model_names() -> tuple[str, ...]:
    """Return the names of all models that can run here: bundled ones first."""
    return tuple(dict.fromkeys((*specs(), *installed())))


def installed() -> dict[str, Installed]:
    """Return the pulled and imported models by name; what is damaged is left out."""
    found = {}
    for note in sorted(model_folder().glob("*.model.json")) if model_folder().is_dir() else ():
        try:
            one = _read(note)
        except ModelError:
            continue
        found[one.spec.name] = one
    return found


def installed_as(name: str) -> Installed | None:
    """Return a bundled, pulled or imported model, or None if there is none of this name.

    Raises
    ------
    ModelError
        If what is known about it is damaged, or its weights are gone.
    """
    bundled = specs()
    if name in bundled:
        return Installed(bundled[name], WEIGHTS / f"{name}.safetensors", "bundled")
    note = _note(name)
    if not _NAME.fullmatch(name) or not note.is_file():
        return None
    return _read(note)


def add_installed(spec: ModelSpec, file: str, source: str) -> Installed:
    """Write down a model whose weights are in the folder already; its hash is pinned from now on.

    Parameters
    ----------
    spec : ModelSpec
        Its card, with hash.
    file : str
        Name of the weight file in the folder.
    source : str
        Where it came from.
    """
    note = _note(plain_name(spec.name))
    text = json.dumps({"card": dataclasses.asdict(spec), "file": plain_name(file), "source": source}, indent=1)
    with atomic_write(note) as temporary:
        temporary.write_text(text, "utf-8")
    return Installed(spec, note.with_name(file), source)


def pinned(name: str) -> str:
    """Return the hash that a model had when it first came, even if its weights are gone; empty if it never came."""
    try:
        return ModelSpec.from_json(json.dumps(_values(_note(name))["card"]), where=name).sha256
    except (OSError, ModelError, KeyError, ValueError):
        return ""


def _note(name: str) -> Path:
    return model_folder() / f"{name}.model.json"


def _values(note: Path) -> dict[str, object]:
    if note.stat().st_size > LARGEST_NOTE:
        raise ValueError("too large")
    values = json.loads(note.read_bytes())
    if not isinstance(values, dict):
        raise ValueError("no object")
    return values


def _read(note: Path) -> Installed:
    """Read what is known about one model."""
    name = note.name.removesuffix(".model.json")
    try:
        values = _values(note)
        spec = ModelSpec.from_json(json.dumps(values["card"]), where=str(note))
        file, source = str(values["file"]), str(values.get("source", ""))
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise ModelError(f"{note} is damaged ({error}). Delete it, and pull or import {name} again.") from error
    if spec.name != name or not _NAME.fullmatch(file):
        raise ModelError(f"{note} tells of another model. Delete it, and pull or import {name} again.")
    path = note.with_name(file)
    if not path.is_file():
        raise CorruptFileError(f"The weights of {name} are missing from {note.parent}. Pull or import it again.")
    return Installed(spec, path, source)
