"""Model cards: what a model expects, what it draws, where it comes from, how good it is. No torch is needed here."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError, ModelError
from mitonb.maps import HEADS

WEIGHTS = Path(__file__).parent.parent / "weights"
"""Folder of the bundled models."""

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
    heads : tuple of str
        What the net draws: keys of `HEADS`. They decide how objects are told apart. () is an encoder.
    dimension : {2, 3}
        Whether the net looks at planes or at blocks.
    classes : tuple of str
        What the semantic channels mean; the background, which nets of several classes have as channel 0, is no class.
    things : tuple of str, optional
        Classes whose objects are told apart; by default all. () is a net for semantic maps alone.
    output_stride : int
        Pixels of the input per pixel of the center and offset heads.
    pixel_offset : float
        Where the first pixel of those heads stands, in pixels of the input: 0, or 1.5 for the middle of a block of 4.
    multiple : int
        Inputs must be padded to multiples of this many pixels.
    padding : int
        Multiple of pixels to which its makers pad planes, for the published rules; 0 if it is `multiple`.
    intensity : {"contrast", "range"}
        Which black and white point the model was trained with: `Plane.contrast` or `Plane.intensity`.
    mean, std : float
        Normalisation of grey values after black is 0 and white is 1.
    pixel_sizes : tuple of float, optional
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
    program : mapping
        Of the 8-bit program beside the weights: hashes of its two files, `xml` and `bin`, its own held-out `scores`,
        and whether they are the `same` as those of the weights (none differs by more than 0.005).
    sha256 : str
        Hash of the weight file; empty for files without a card beside them until they are read.
    notes : str
        What it is good and bad at.
    """

    name: str
    title: str = ""
    architecture: str = "panoptic_unet"
    config: Mapping[str, Any] = field(default_factory=dict)
    heads: tuple[str, ...] = ("semantic", "center", "offsets")
    dimension: Literal[2, 3] = 2
    classes: tuple[str, ...] = ("mitochondrion",)
    things: tuple[str, ...] | None = None
    output_stride: int = 4
    pixel_offset: float = 0.0
    multiple: int = 16
    padding: int = 0
    intensity: Literal["contrast", "range"] = "contrast"
    mean: float = 0.5
    std: float = 0.25
    pixel_sizes: tuple[float, float] | None = None
    licence: str = "not stated"
    papers: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    program: Mapping[str, Any] = field(default_factory=dict)
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
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        if unknown := sorted(set(self.things or ()) - set(self.classes)):
            raise ModelError(f"{self.name}: things are some of its classes {self.classes}, got {unknown[0]!r}.")
        if ("center" in self.heads) != ("offsets" in self.heads):
            raise ModelError(f"{self.name}: its heads have one of center and offsets without the other: {self.heads}.")
        if self.multiple % self.output_stride or not self.pixel_offset < self.output_stride:
            raise ModelError(
                f"{self.name}: a card needs a multiple that output_stride divides and a pixel_offset below it, got "
                f"{self.multiple}, {self.output_stride} and {self.pixel_offset}."
            )

    @property
    def makers_multiple(self) -> int:
        """Multiple of pixels to which the makers of the model pad planes, if its net can take such planes."""
        return self.padding if self.padding and self.padding % self.multiple == 0 else self.multiple

    def normalise(self, image: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]:
        """Bring black to 0 and white to 1, cut off half as much again on both sides, subtract mean, divide by std.

        Parameters
        ----------
        image : array
            Grey values of any real dtype; what is no number becomes 0 at the end.
        low, high : float
            Black and white, in grey values: `plane.contrast` or `plane.intensity`, as `intensity` says.

        Returns
        -------
        float32 array

        Raises
        ------
        InputError
            If white is not above black.
        """
        if not (np.isfinite(low) and np.isfinite(high) and high > low):
            raise InputError(f"White must be above black, got black {low} and white {high}. Set the stack's intensity.")
        # float64 first: (v - low) of a 16-bit or large integer plane must not lose the digits that matter
        wide: npt.NDArray[np.floating[Any]] = image.astype(np.float32 if image.dtype.itemsize <= 2 else np.float64)
        y = (np.clip((wide - low) / (high - low), -0.5, 1.5) - self.mean) / self.std
        return np.asarray(np.nan_to_num(y, nan=0.0) if image.dtype.kind == "f" else y, np.float32)

    def to_json(self) -> str:
        """Return the card as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str, *, where: str = "model card") -> "ModelSpec":
        """Read a card; fields that this version does not know are left out.

        Raises
        ------
        ModelError
            If the text is no card.
        """
        try:
            values = in_todays_words(json.loads(text))
            known = {f.name for f in dataclasses.fields(cls)}
            return cls(**{k: v for k, v in values.items() if k in known})
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{where} is not a model card: {error}. Fetch or train the model again.") from error


def in_todays_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a card under the names of today; cards of version 0.1 named no heads."""
    old = {"step": "output_stride", "lead": "pixel_offset", "pixels": "pixel_sizes"}
    values = {old.get(name, name): value for name, value in values.items()}
    if values.get("architecture") in ("contour_deeplab", "encoder"):
        values.setdefault("heads", ["semantic", "contour"] if values["architecture"] == "contour_deeplab" else [])
    return values


def specs() -> dict[str, ModelSpec]:
    """Return the cards of the bundled models by name."""
    cards = [ModelSpec.from_json(path.read_text("utf-8"), where=str(path)) for path in sorted(WEIGHTS.glob("*.json"))]
    return {card.name: card for card in cards}


def printable(text: str, most: int = 120) -> str:
    """Return a text from a file for a message: one line, no control characters, not endless."""
    clean = "".join(c if c.isprintable() else "?" for c in text[: most + 1])
    return clean if len(text) <= most else f"{clean[:most]}..."


# ------------------------------------------------------------------------------------------- what each field must be


def _is_text(value: Any, most: int = 100_000) -> bool:
    return isinstance(value, str) and len(value) <= most


def _are_texts(value: Any, most: int = 1000) -> bool:
    return isinstance(value, list | tuple) and len(value) <= most and all(map(_is_text, value))


def _are_different(value: Any, most: int) -> bool:
    return _are_texts(value, most) and len(set(value)) == len(value)


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
    ("heads", lambda v: _are_different(v, 16) and set(v) <= set(HEADS), f"some of {', '.join(HEADS)}"),
    ("dimension", lambda v: _is_whole(v, 2, 3), "2 for planes or 3 for blocks"),
    ("classes", lambda v: _are_different(v, MOST_CLASSES) and bool(v), f"1 to {MOST_CLASSES} different names"),
    ("things", lambda v: v is None or _are_texts(v), "a list of classes, or nothing"),
    ("output_stride", lambda v: _is_whole(v, 1, 64), "a whole number from 1 to 64"),
    ("pixel_offset", lambda v: _is_number(v, 0), "a number from 0 on"),
    ("multiple", lambda v: _is_whole(v, 1, 4096), "a whole number from 1 to 4096"),
    ("padding", lambda v: _is_whole(v, 0, 4096), "a whole number from 0 to 4096"),
    ("intensity", lambda v: v in ("contrast", "range"), "'contrast' or 'range'"),
    ("mean", lambda v: _is_number(v, -1e9), "a number"),
    ("std", lambda v: _is_number(v, 1e-9), "a number above 0"),
    ("pixel_sizes", lambda v: v is None or _is_range(v), "the finest and the coarsest pixel in nm, or nothing"),
    *((name, _are_texts, "a list of texts") for name in ("papers", "data")),
    *((name, lambda v: isinstance(v, Mapping), "names with values") for name in ("training", "scores", "program")),
)
