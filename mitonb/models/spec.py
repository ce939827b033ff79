"""Model cards: what a model expects, where it comes from, how good it is. No torch is needed to read them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mitonb.errors import CorruptFileError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WEIGHTS", "ModelSpec", "card_in", "has_card", "specs"]

WEIGHTS = Path(__file__).parent.parent / "weights"
"""Folder of the bundled models."""

HEADER_LIMIT = 1 << 20  # bytes; a header of ours has about ten thousand


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
    intensity : {"contrast", "range"}
        Which black and white point the model was trained with: `Plane.contrast` or `Plane.intensity`.
    mean, std : float
        Normalisation of grey values after black is 0 and white is 1.
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
    intensity: Literal["contrast", "range"] = "contrast"
    mean: float = 0.5
    std: float = 0.25
    licence: str = "not stated"
    papers: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    sha256: str = ""
    notes: str = ""

    def __post_init__(self) -> None:
        for name in ("classes", "papers", "data"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.things is not None:
            object.__setattr__(self, "things", tuple(self.things))
            unknown = sorted(set(self.things) - set(self.classes))
            if unknown:
                raise ModelError(f"{self.name}: things are some of its classes {self.classes}, got {unknown[0]!r}.")
        if self.intensity not in ("contrast", "range"):
            raise ModelError(f"{self.name}: intensity is 'contrast' or 'range', got {self.intensity!r}.")
        whole = isinstance(self.step, int) and isinstance(self.multiple, int) and self.step > 0
        placed = whole and self.multiple % self.step == 0 and 0 <= self.lead < self.step
        if not placed or not self.std > 0 or not self.classes:
            raise ModelError(
                f"{self.name}: a card needs classes, std > 0, a multiple that step divides and a lead below it, got "
                f"{self.classes}, {self.std}, {self.multiple}, {self.step} and {self.lead}."
            )

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
        except (json.JSONDecodeError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{where} is no model card: {error}. Fetch or train the model again.") from error


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
        If this is no safetensors file.
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
        raise CorruptFileError(f"{where} is no safetensors file, or it is cut off. Fetch or train the model again.")
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
