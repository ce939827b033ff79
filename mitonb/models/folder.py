"""The models on this machine, and those that others have published. No torch here."""

import contextlib
import dataclasses
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from mitonb.errors import CorruptFileError, ModelError
from mitonb.files import atomic_write
from mitonb.models.spec import WEIGHTS, ModelSpec, printable, specs

LARGEST_NOTE = 1 << 20  # bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


# -------------------------------------------------------------------------------------------------- on this machine


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
    if named := os.environ.get("MITONB_MODEL_DIR"):
        return Path(named).expanduser()
    return platformdirs.user_data_path("mitonb", appauthor=False) / "models"


def plain_name(name: str) -> str:
    """Return a name if a model may bear it.

    Raises
    ------
    ModelError
        If it is no plain word.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(f"A model's name has up to 80 letters, digits, dots, dashes or _, got {printable(name)!r}.")
    return name


def model_names() -> tuple[str, ...]:
    """Return the names of all models that can run here: bundled ones first."""
    return tuple(dict.fromkeys((*specs(), *installed())))


def installed() -> dict[str, Installed]:
    """Return the pulled and imported models by name; what is damaged is left out."""
    found = {}
    for note in sorted(model_folder().glob("*.model.json")) if model_folder().is_dir() else ():
        with contextlib.suppress(ModelError, CorruptFileError):
            one = _read(note)
            found[one.spec.name] = one
    return found


def installed_as(name: str) -> Installed | None:
    """Return a bundled, pulled or imported model, or None if there is none of this name.

    Raises
    ------
    ModelError, CorruptFileError
        If what is known about it is damaged, or its weights are gone.
    """
    bundled = specs()
    if name in bundled:
        return Installed(bundled[name], WEIGHTS / f"{name}.safetensors", "bundled")
    return _read(_note(name)) if _NAME.fullmatch(name) and _note(name).is_file() else None


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
        return _values(_note(name))[0].sha256
    except (OSError, ModelError, ValueError):
        return ""


def _note(name: str) -> Path:
    return model_folder() / f"{name}.model.json"


def _values(note: Path) -> tuple[ModelSpec, str, str]:
    """Return card, file and source as a note tells them."""
    if note.stat().st_size > LARGEST_NOTE:
        raise ValueError("too large")
    try:
        values = json.loads(note.read_bytes())
        card = ModelSpec.from_json(json.dumps(values["card"]), where=str(note))
        return card, str(values["file"]), str(values.get("source", ""))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read(note: Path) -> Installed:
    """Read what is known about one model."""
    name = note.name.removesuffix(".model.json")
    try:
        spec, file, source = _values(note)
    except (OSError, ValueError) as error:
        raise ModelError(f"{note} is damaged ({error}). Delete it, and pull or import {name} again.") from error
    if spec.name != name or not _NAME.fullmatch(file):
        raise ModelError(f"{note} tells of another model. Delete it, and pull or import {name} again.")
    path = note.with_name(file)
    if not path.is_file():
        raise CorruptFileError(f"The weights of {name} are missing from {note.parent}. Pull or import it again.")
    return Installed(spec, path, source)


# -------------------------------------------------------------------------------------------------------- published


@dataclass(frozen=True)
class Published:
    """A model that others have published.

    Attributes
    ----------
    card : ModelSpec
        What is known before its weights are here; widths are told by its tensors then.
    address : str
        Where the weights are.
    quantised : str
        Where their 8-bit form is, which only its own code can run; empty if there is none.
    size : str
        Of the file, in words: its makers state none, so it is counted from the net.
    """

    card: ModelSpec
    address: str
    quantised: str
    size: str


_TOLD = json.loads(Path(__file__).with_name("published.json").read_text("utf-8"))

PUBLISHED = {told["card"]["name"]: Published(**{**told, "card": ModelSpec(**told["card"])}) for told in _TOLD}
"""Published models by name."""


def offered_models() -> tuple[str, ...]:
    """Return the names of all models that can be chosen: those that are here, then those that can be fetched."""
    return tuple(dict.fromkeys((*model_names(), *PUBLISHED)))


def about_model(name: str) -> str:
    """Say in one line what is known of a model, see `facts_of`; "" if there is none of that name."""
    return " · ".join(filter(None, facts_of(name).values()))


def facts_of(name: str) -> dict[str, str]:
    """Return what is known of a model before it runs or is fetched; nothing if there is none of that name.

    Its title, where it is, its size, source and licence, the pixel sizes that it knows, and scores of its card.
    """
    try:
        one, there = installed_as(name), PUBLISHED.get(name)
    except (ModelError, CorruptFileError) as error:
        return {"error": str(error)}
    if one is not None:
        where = "bundled" if one.source == "bundled" else "fetched" if "://" in one.source else "your own"
        card, size, source = one.spec, f"{one.path.stat().st_size / 1e6:.1f} MB", one.source
    elif there is not None:
        where, card, size, source = "not here yet", there.card, there.size, there.address
    else:
        return {}
    known = "for pixels of {:g} to {:g} nm".format(*card.pixel_sizes) if card.pixel_sizes else "pixel sizes not stated"
    scores = [f"{key} {value:.2f}" for key, value in card.scores.items() if key.endswith(("plane IoU", "held out"))]
    said = f"scores on its card: {', '.join(scores[:4])}" if scores else "no scores on its card"
    place = "" if source == "bundled" else f"from {source.split('/')[2] if '://' in source else source}"
    return {
        "title": card.title, "where": where, "size": size, "source": place, "licence": f"licence: {card.licence}",
        "pixels": known, "scores": said,
    }  # fmt: skip
