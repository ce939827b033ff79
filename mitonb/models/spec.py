"""Model cards: what a model expects, where it comes from, how good it is. No torch is needed to read them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mitonb.errors import CorruptFileError, ModelError
from mitonb.models.members import printable

__all__ = ["MOST_CLASSES", "WEIGHTS", "ModelSpec", "card_in", "has_card", "specs"]

WEIGHTS = Path(__file__).parent.parent / "weights"
"""Folder of the bundled models."""

HEADER_LIMIT = 1 << 20  # bytes; a header of ours has about ten thousand
MOST_CLASSES = 254
"""A pixel tells its class, or that it has none, in one byte."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Card of a model.

    Attributes
    ----------
    name, title : str
        Short name for recipes, and one line for people.
    architecture : str
        Key of `mitonb.models.zoo.ARCHITECTURES`.
    config : mapping
        Arguments of the architecture.
    classes : tuple of str
        What the semantic channels mean; the background, which nets of several classes have as channel 0, is no class.
    things : tuple of str, optional
        Classes whose objects are told apart; by default all. () is a net for semantic maps alone.
    step : int
        Plane pixels per pixel of the center and offset heads.
    lead : float
        Where the first pixel of those heads stands, in plane pixels: 0, or 1.5 for the middle of a block of 4.
    multiple : int
        Planes must be padded to multiples of this many pixels.
    padding : int
        Multiple of pixels to which its makers pad planes, for the published rules; 0 if it is `multiple`.
    intensity : {"contrast", "range"}
        Which black and white point the model was trained with: `Plane.contrast` or `Plane.intensity`.
    mean, std : float
        Normalisation of grey values after black is 0 and white is 1.
    pixels : tuple of float, optional
        Finest and coarsest pixel, in nm, that it was trained on; None is unknown.
    licence : str
        Licence of the weights.
    papers : tuple of str
        What to cite when the model is used.
    data : tuple of str
        What it was trained on.
    training : mapping
        Command, seed, steps and settings that made it.
    scores : mapping
        Held-out scores, by name.
    sha256 : str
        Hash of the weight file; empty for files without a card beside them until they are read.
    notes : str
        What it is good and bad at.
    """

    name: str
    title: str = ""
    architecture: str = "panoptic_unet"
    config: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ("mitochondrion",)
    things: tuple[str, ...] | None = None
    step: int = 4
    lead: float = 0.0
    multiple: int = 16
    padding: int = 0
    intensity: Literal["contrast", "range"] = "contrast"
    mean: float = 0.5
    std: float = 0.25
    pixels: tuple[float, float] | None = None
    licence: str = "not stated"
    papers: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    sha256: str = ""
    notes: str = ""

    def __post_init__(self) -> None:
        """Refuse what no card can mean: whatever comes later may rely on it."""
        for name, fits, wanted in _FIELDS:
            value = getattr(self, name)
            if not fits(value):
                raise ModelError(
                    f"The model card of {printable(str(self.name), 80)}: {name} is {wanted}, got "
                    f"{printable(repr(value), 120)}. Correct it, or fetch or train the model again."
                )
        for name in ("classes", "papers", "data", "things", "pixels"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = sorted(set(self.things or ()) - set(self.classes))
        if unknown:
            raise ModelError(f"{self.name}: things are some of its classes {self.classes}, got {unknown[0]!r}.")
        if self.multiple % self.step or not self.lead < self.step:
            raise ModelError(
                f"{self.name}: a card needs a multiple that step divides and a lead below step, got {self.multiple}, "
                f"{self.step} and {self.lead}."
            )

    @property
    def makers_multiple(self) -> int:
        """Multiple of pixels to which the makers of the model pad planes, if its net can take such planes."""
        return self.padding if self.padding and self.padding % self.multiple == 0 else self.multiple

    def to_json(self) -> str:
        """Return the card as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str, *, where: str = "model card") -> ModelSpec:
        """Read a card; fields that this version does not know are left out.

        Raises
        ------
        ModelError
            If the text is no card.
        """
        try:
            values = json.loads(text)
            known = {f.name for f in dataclasses.fields(cls)}
            return cls(**{k: v for k, v in values.items() if k in known})
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{where} is not a model card: {error}. Fetch or train the model again.") from error


def _is_text(value: Any, most: int = 100_000) -> bool:
    return isinstance(value, str) and len(value) <= most


def _are_texts(value: Any, most: int = 1000) -> bool:
    return isinstance(value, list | tuple) and len(value) <= most and all(map(_is_text, value))


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: Any, low: float) -> bool:
    """Whether this is a plain number from `low` on; what is not a number compares as false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value < 1e9


def _is_range(value: Any) -> bool:
    fits = isinstance(value, list | tuple) and len(value) == 2 and all(_is_number(v, 1e-3) for v in value)
    return fits and value[0] <= value[1]


def _is_modest(config: Any) -> bool:
    """Whether these are arguments of a net that somebody could have trained."""
    if isinstance(config, Mapping):
        return len(config) <= 64 and all(_is_text(key, 100) and _is_modest(value) for key, value in config.items())
    if isinstance(config, list | tuple):
        return len(config) <= 16 and all(not isinstance(v, list | tuple | Mapping) and _is_modest(v) for v in config)
    return config is None or _is_text(config, 100) or (isinstance(config, int | float) and 0 <= config <= 4096)


_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("name", lambda v: _is_text(v, 200) and bool(v.strip()), "a short text"),
    *((name, _is_text, "a text") for name in ("title", "architecture", "licence", "sha256", "notes")),
    ("config", lambda v: isinstance(v, Mapping) and _is_modest(v), "the arguments of a net, none above 4096"),
    (
        "classes",
        lambda v: _are_texts(v, MOST_CLASSES) and len(set(v)) == len(v) > 0,
        f"1 to {MOST_CLASSES} different names",
    ),
    ("things", lambda v: v is None or _are_texts(v), "a list of classes, or nothing"),
    ("step", lambda v: _is_whole(v, 1, 64), "a whole number from 1 to 64"),
    ("lead", lambda v: _is_number(v, 0), "a number from 0 on"),
    ("multiple", lambda v: _is_whole(v, 1, 4096), "a whole number from 1 to 4096"),
    ("padding", lambda v: _is_whole(v, 0, 4096), "a whole number from 0 to 4096"),
    ("intensity", lambda v: v in ("contrast", "range"), "'contrast' or 'range'"),
    ("mean", lambda v: _is_number(v, -1e9), "a number"),
    ("std", lambda v: _is_number(v, 1e-9), "a number above 0"),
    ("pixels", lambda v: v is None or _is_range(v), "the finest and the coarsest pixel in nm, or nothing"),
    ("papers", _are_texts, "a list of texts"),
    ("data", _are_texts, "a list of texts"),
    ("training", lambda v: isinstance(v, Mapping), "names with values"),
    ("scores", lambda v: isinstance(v, Mapping), "names with values"),
)
"""What each field of a card must be."""


def specs() -> dict[str, ModelSpec]:
    """Return the cards of the bundled models by name."""
    found = {}
    for path in sorted(WEIGHTS.glob("*.json")):
        card = ModelSpec.from_json(path.read_text("utf-8"), where=str(path))
        found[card.name] = card
    return found


def card_in(data: bytes, *, where: str) -> ModelSpec:
    """Return the card inside a safetensors file.

    Parameters
    ----------
    data : bytes
        The file, or at least its header.
    where : str
        Path for messages.

    Raises
    ------
    CorruptFileError
        If this is not a safetensors file.
    ModelError
        If it holds no card of mitonb.
    """
    metadata = _metadata(data, where)
    if "card" not in metadata:
        raise ModelError(
            f"{where} holds tensors but no card of mitonb. Files that `mitonb train` and `mitonb models export` write "
            "have one."
        )
    return ModelSpec.from_json(metadata["card"], where=where)


def has_card(data: bytes, *, where: str) -> bool:
    """Return whether a safetensors file, or at least its header, holds a card; raises as `card_in` if it is none."""
    return "card" in _metadata(data, where)


def _metadata(data: bytes, where: str) -> dict[str, Any]:
    """Return what the header of a safetensors file says beside its tensors."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(HEADER_LIMIT, len(data) - 8):
        raise CorruptFileError(f"{where} is not a safetensors file, or is truncated. Fetch or train the model again.")
    try:
        metadata = json.loads(data[8 : 8 + length], object_pairs_hook=_each_once).get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise CorruptFileError(f"{where} has a damaged header: {error}. Fetch or train the model again.") from error
    return metadata if isinstance(metadata, dict) else {}


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; of a name that stands there twice, readers would take different values."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name stands there twice")
    return values
