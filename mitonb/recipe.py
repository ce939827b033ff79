"""The recipe: every parameter of a run as one frozen, validated value that the screen is drawn from."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mitonb.errors import InputError
from mitonb.stack import AXES, Axis

Rerun = Literal["decode", "track", "net"]
"""What a changed field makes necessary: decoding kept maps, tracking kept ids, or running the net."""

FORMER_NAMES = {"merge_iou": "track_iou", "merge_ioa": "track_ioa", "cluster_iou": "consensus_iou"}
"""Fields of version 0.1 and what they are called now: those in old records, projects and scripts bear the old ones."""

IN_NM = {"center_distance": 1, "min_area": 2, "min_size": 3}
"""Lengths, areas and volumes that may be given in nm: "60 nm", "2500 nm2", "1e6 nm3"."""


def _field(
    rerun: Rerun, default: Any, label: str, limits: tuple[float, float, float] | None = None, unit: str = "",
    *, help: str, basic: bool = False,
) -> Any:  # fmt: skip
    """Declare a field with all that a form, a command line and validation need; limits are (low, high, step)."""
    low, high, step = limits or (None, None, None)
    facts = {"label": label, "help": help, "rerun": rerun, "unit": unit, "basic": basic}
    return dataclasses.field(default=default, metadata={**facts, "low": low, "high": high, "step": step})


_net = partial(_field, "net")
_decode = partial(_field, "decode")
_track = partial(_field, "track")


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What was learned from objects that were marked right or false: `mitonb.learn_verdicts` makes it.

    Attributes
    ----------
    features : tuple of (str, float, float, float)
        What is looked at of an object: name, weight, and the mean and the standard deviation over all objects.
    bias : float
        Weight of no feature.
    below : float
        Objects that are right with less than this probability are dropped.
    right, false : int
        How many objects were marked so.
    told : float or None
        Part of the marks that is told by the others, 0..1; None for fewer than three of a kind.
    """

    features: tuple[tuple[str, float, float, float], ...]
    bias: float
    below: float = 0.2
    right: int = 0
    false: int = 0
    told: float | None = None

    def __str__(self) -> str:
        return f"{self.right} right, {self.false} false, dropped below {self.below:g}"

    @classmethod
    def of(cls, value: Any) -> Verdicts | None:
        """Return verdicts, or what JSON has made of them.

        Raises
        ------
        InputError
            If it is anything else; None is no verdicts.
        """
        if value is None or isinstance(value, cls):
            return value
        try:
            rows = tuple((str(name), _finite(w), _finite(mean), _finite(sd)) for name, w, mean, sd in value["features"])
            told = None if value.get("told") is None else _finite(value["told"])
            counts = {name: int(value.get(name, 0)) for name in ("right", "false")}
            return cls(features=rows, bias=_finite(value["bias"]), below=_finite(value.get("below", cls.below)),
                       told=told, **counts)  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"verdicts are what mn.learn_verdicts returns, or the JSON of it, got {str(value)[:60]!r} ({error})."
            ) from None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every parameter of a run.

    Lengths are pixels (2-D) and voxels (3-D): of the picture that the network sees where `pixel_size` brings it to
    another size, else of the input. `center_distance`, `min_area` and `min_size` may be given as "60 nm", "2500 nm2"
    and "1e6 nm3" instead. `dataclasses.fields(Recipe)` carries, in each field's metadata, its label, help, range, unit
    and what has to run again when it changes.

    Examples
    --------
    >>> Recipe().replace(center_threshold=0.2).changes()
    {'center_threshold': 0.2}
    >>> Recipe.from_json(Recipe().to_json()) == Recipe()
    True
    """

    # fmt: off
    model: str = _net("mito-mini", "Model", basic=True, help="Name of a model, or a path to its weights.")
    planes: tuple[Axis, ...] = _net(("xy",), "Planes", basic=True,
        help="Directions to cut the stack along; two or three are joined by consensus.")
    pixel_size: str = _net("auto", "Pixel size",
        help="Show the network pixels of so many nm; auto: as it was trained on, where the voxel size is known.")
    downsampling: int = _net(1, "Downsampling", (1, 64, 1), "x", basic=True,
        help="Shrink planes by this power of two before the network sees them.")
    invert: bool = _net(False, "Invert",
        help="Turn grey values round before the network sees them: it knows dark mitochondria, not bright ones.")
    rules: Literal["mitonb", "published"] = _decode("mitonb", "Rules",
        help="How maps become objects: mitonb's own way, or as the published MitoNet software does it, for comparison.")
    semantic_threshold: float = _decode(0.55, "Semantic threshold", (0.05, 0.95, 0.01), basic=True,
        help="Pixels at least this probable belong to a mitochondrion.")
    center_threshold: float = _decode(0.25, "Center threshold", (0.02, 0.95, 0.01), basic=True,
        help="A peak of the center map above this starts an object.")
    center_distance: int = _decode(12, "Center distance", (1, 200, 1), "px", basic=True,
        help="Centers closer than this (Chebyshev) are one.")
    seed_threshold: float = _decode(0.7, "Seed threshold", (0.05, 0.99, 0.01),
        help="Networks that draw contours: an object starts where the semantic map is at least this probable.")
    contour_threshold: float = _decode(0.4, "Contour threshold", (0.02, 1.0, 0.01),
        help="Networks that draw contours: no object starts where the contour map reaches this.")
    seed_distance: float = _decode(0.3, "Seed distance", (-1.0, 1.0, 0.01),
        help="Networks that draw distances, -1 far outside to 1 deep inside: objects start where these are above this.")
    center_window: int = _decode(3, "Center window", (1, 35, 1), "px",
        help="Published rules: a center is the highest pixel of a square of this side, in pixels of the center map.")
    fine_boundaries: bool = _decode(False, "Fine boundaries",
        help="Published rules: enlarge center and offset maps before they are read, not the objects after.")
    min_area: int = _decode(100, "Smallest profile", (0, 100_000, 1), "px", basic=True,
        help="Profiles of one plane with fewer pixels are dropped.")
    median: int = _decode(1, "Median", (1, 15, 2), "planes",
        help="Planes (odd) in the median of the semantic map along the stack; 1 is off.")
    track_iou: float = _track(0.25, "Track IoU", (0.0, 1.0, 0.01),
        help="Profiles of neighbouring planes with this IoU are one object.")
    track_ioa: float = _track(1.0, "Track IoA", (0.0, 1.0, 0.01),
        help="Unmatched profiles covered to this part join the object that covers them; 1 keeps touching ones apart.")
    lookahead: int = _track(16, "Look ahead", (0, 64, 1), "planes",
        help="A profile that joins two objects for up to this many planes is split; 0 is off.")
    gap: int = _track(0, "Gap", (0, 5, 1), "planes", help="Planes in which an object may be missing and still go on.")
    votes: int = _track(2, "Votes", (1, 3, 1), help="Directions that must agree on a voxel.")
    consensus_iou: float = _track(0.75, "Consensus IoU", (0.0, 1.0, 0.01),
        help="Objects of two directions with this IoU are surely one.")
    lone_objects: bool = _track(False, "Keep lone objects", help="Keep objects that only one direction found.")
    min_size: int = _track(1500, "Smallest object", (0, 1_000_000, 10), "vx", basic=True,
        help="Objects of a volume with fewer voxels are dropped.")
    min_span: int = _track(2, "Smallest side", (1, 100, 1), "vx",
        help="Objects whose box has a shorter side are dropped.")
    fill_holes: bool = _track(True, "Fill holes", help="Fill holes of an object in each plane.")
    verdicts: Verdicts | None = _track(None, "Verdicts",  # noqa: RUF009  a field like the others
        help="Drop objects that are false by what was learned from objects marked right or false.")
    drop_border: bool = _track(False, "Drop cut-off objects", help="Drop objects that touch the border of the volume.")
    instances: Literal["centers", "pieces", "none"] = _decode("centers", "Instances",
        help="centers: one object for each center; pieces: connected pixels are one object; none: one id per class.")
    tile: int = _net(512, "Tile", (0, 8192, 32), "px",
        help="Side of the square that the network sees at once; 0 takes whole planes.")
    halo: int = _net(64, "Halo", (0, 512, 16), "px", help="Margin that tiles share, so that their borders do not show.")
    batch: int = _net(1, "Batch", (1, 64, 1), help="Tiles that the network takes at once.")
    flips: bool = _net(False, "Test-time flips",
        help="Average the maps of four mirrored views: better, four times slower.")
    device: Literal["auto", "cpu", "cuda", "mps"] = _net("auto", "Device", help="Where the network runs.")
    engine: Literal["auto", "exact", "fast"] = _net("auto", "Engine",
        help="Exact is fp32. Fast is a model's 8-bit program, on CPUs. Auto is fast if the model's card says that its "
        "held-out scores are the same, else bf16 on CPUs that compute in it, else exact.")
    precision: Literal["fp32", "bf16", "fp16"] = _net("fp32", "Precision",
        help="fp32 is exact; the others are faster on some machines.")
    keep_maps: bool = _net(True, "Keep maps", help="Keep the network's maps, so that thresholds can be moved later.")
    # fmt: on

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, hints[field.name], getattr(self, field.name)))
        if not self.planes or len(set(self.planes)) != len(self.planes):
            raise InputError(f"planes names one to three different directions of {', '.join(AXES)}, got {self.planes}.")
        if self.downsampling & (self.downsampling - 1):
            raise InputError(f"downsampling is a power of two (1, 2, 4, ...), got {self.downsampling}.")
        if self.downsampling > 1 and self.pixel_size.endswith("nm"):
            raise InputError(f"Give downsampling={self.downsampling} or pixel_size={self.pixel_size!r}, not both.")
        if self.median % 2 == 0:
            raise InputError(f"median is an odd number of planes, got {self.median}. Use {self.median + 1}.")

    def replace(self, **changes: Any) -> Recipe:
        """Return a recipe with some fields changed.

        Raises
        ------
        InputError
            If a name is unknown or a value is outside its range.
        """
        return dataclasses.replace(self, **_known(changes))

    @classmethod
    def of(cls, value: Recipe | str | Mapping[str, Any] | None) -> Recipe:
        """Return what a user gave for a recipe: one, the name of a preset, fields by name, or nothing.

        Raises
        ------
        InputError
            If there is no such preset or field, or this is something else.

        Examples
        --------
        >>> Recipe.of("volume").planes
        ('xy', 'xz', 'yz')
        >>> Recipe.of({"min_size": 500}).changes()
        {'min_size': 500}
        """
        if value is None or isinstance(value, Recipe):
            return value or cls()
        if isinstance(value, str):
            if value not in PRESETS:
                raise InputError(f"There is no preset {value!r}. There are: {', '.join(PRESETS)}.")
            return PRESETS[value]
        if isinstance(value, Mapping):
            return cls().replace(**value)
        raise InputError(f"A recipe is mn.Recipe(...), a preset or fields by name, got {type(value).__name__}.")

    def in_pixels(
        self, voxel_size: Sequence[float] | None = None, factors: Sequence[float] = (1.0, 1.0, 1.0)
    ) -> Recipe:
        """Return the recipe with all its lengths in pixels of the input.

        Parameters
        ----------
        voxel_size : sequence of float, optional
            (z, y, x) in nm; lengths in nm need it.
        factors : sequence of float
            Pixels of the input, along (z, y, x), per pixel of the picture that the network sees.

        Raises
        ------
        InputError
            If a length is in nm and the voxel size is unknown.

        Examples
        --------
        >>> Recipe(center_distance="60 nm").in_pixels((30, 5, 5)).center_distance
        12
        """
        changes = {"min_span": max(1, round(self.min_span * min(factors)))}
        for field in dataclasses.fields(self):
            if field.name not in IN_NM:
                continue
            value, sides, power = getattr(self, field.name), tuple(factors), IN_NM[field.name]
            if isinstance(value, str):
                if voxel_size is None:
                    raise InputError(
                        f"{field.name} is {value}, and the voxel size of this image is unknown. Say it (voxel_size=), "
                        f"or give {field.name} in pixels."
                    )
                value, sides = float(value.split()[0]), tuple(1 / v for v in voxel_size)
            share = math.prod(sides) if power == 3 else (sides[1] * sides[2]) ** (power / 2)
            low, high = int(field.metadata["low"]), int(field.metadata["high"])
            changes[field.name] = min(max(round(value * share), low), high)
        return self.replace(**changes)

    def changes(self, base: Recipe | None = None) -> dict[str, Any]:
        """Return the fields that differ from a base recipe (the default one)."""
        base = base or Recipe()
        return {f.name: v for f in dataclasses.fields(self) if (v := getattr(self, f.name)) != getattr(base, f.name)}

    def to_json(self) -> str:
        """Return the recipe as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read a recipe from JSON text.

        Raises
        ------
        InputError
            If the text is not a JSON object, or a name or value is wrong.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"A recipe is a JSON object, but this text is not JSON: {error}.") from error
        if not isinstance(values, dict):
            raise InputError(f"A recipe is a JSON object, got {type(values).__name__}.")
        if "downsampling" in values:  # a whole recipe; version 0.1 took every plane as it was
            values.setdefault("pixel_size", "as is")
        return cls(**_known(values))


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by today's field names; refuse unknown names, with the nearest known ones."""
    values = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
    names = [f.name for f in dataclasses.fields(Recipe)]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, 3) or sorted(names)
            raise InputError(f"A recipe has no field {name!r}. Did you mean {', '.join(near)}?")
    return values


def _checked(field: dataclasses.Field[Any], hint: Any, value: Any) -> Any:
    """Return the value in the field's own type, or say what is wrong with it."""
    if field.name == "planes":
        value = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
        if wrong := [v for v in value if v not in tuple(AXES)]:
            raise InputError(f"planes are some of {', '.join(AXES)}, got {wrong[0]!r}.")
        return value
    if field.name == "verdicts":
        return Verdicts.of(value)
    if field.name in IN_NM and isinstance(value, str):
        return _nanometres(field.name, value, IN_NM[field.name])
    if field.name == "pixel_size" and value not in ("auto", "as is"):
        return _nanometres(field.name, value, 1)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InputError(f"{field.name} is one of {', '.join(map(str, get_args(hint)))}, got {value!r}.")
        return value
    if hint in (str, bool):
        if not isinstance(value, hint) or value == "":
            raise InputError(f"{field.name} is {'a text' if hint is str else 'True or False'}, got {value!r}.")
        return value
    try:
        number = hint(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{field.name} is a number, got {value!r}.") from None
    low, high = field.metadata["low"], field.metadata["high"]
    if number != value or not low <= number <= high:
        kind = "whole number" if hint is int else "number"
        raise InputError(f"{field.name} is a {kind} from {low:g} to {high:g}, got {value!r}.")
    return number


def _finite(value: Any) -> float:
    """Return a number, or refuse what is none."""
    if isinstance(value, bool | str) or not math.isfinite(float(value)):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _nanometres(name: str, value: Any, power: int) -> str:
    """Return a length, an area or a volume as "60 nm", "2500 nm2" or "1e+06 nm3"."""
    unit = f"nm{power}" if power > 1 else "nm"
    try:
        number = float(str(value).removesuffix(unit))
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not 0 < number < math.inf:
        also = "auto, as is, or " if name == "pixel_size" else "a whole number of pixels, or "
        raise InputError(f"{name} is {also}such as '60 {unit}', got {value!r}.")
    return f"{number:.6g} {unit}"


_ALL: tuple[Axis, ...] = ("xy", "xz", "yz")
_EMPANADA = Recipe(
    rules="published", semantic_threshold=0.5, center_threshold=0.1, center_distance=8, center_window=3, min_area=0,
    median=3, track_iou=0.25, track_ioa=0.25, lookahead=0, votes=2, consensus_iou=0.75, min_size=500, min_span=5,
    fill_holes=False, tile=0, pixel_size="as is",
)  # fmt: skip
_PAPER = _EMPANADA.replace(planes=_ALL, semantic_threshold=0.3, center_window=7, fine_boundaries=True, min_span=8)

PRESETS: dict[str, Recipe] = {
    "default": Recipe(),
    "volume": Recipe(planes=_ALL),
    "empanada": _EMPANADA,
    "c-elegans": _PAPER.replace(median=3, votes=1, min_size=500),
    "fly-brain": _PAPER.replace(median=3, min_size=500),
    "glycolytic-muscle": _PAPER.replace(median=5, min_size=3000),
    "hela": _PAPER.replace(median=5, min_size=800),
    "hippocampus": _PAPER.replace(median=7, min_size=5000),
}
"""Named recipes: mitonb's own for planes and for volumes, the published rules with the settings of empanada-napari, and
the settings that were published with MitoNet for its benchmark volumes (hippocampus is the one called Lucchi)."""
