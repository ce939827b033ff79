"""What to learn from, as a command line says it: labelled files, and phantoms drawn for the occasion."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mitonb.errors import InputError
from mitonb.files import atomic_write
from mitonb.io.opening import open as open_stack
from mitonb.io.opening import open_labels
from mitonb.job import Progress
from mitonb.phantoms import phantom
from mitonb.stack import AXES, Axis, Stack
from mitonb.train.patches import Source

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["draw_phantoms", "read_source", "require_share", "shared"]

GRAMMAR = "NAME=RAW[+RAW]:LABELS[:key=value,...] with keys planes, held (1-5;8), axes (xy+xz+yz), weight, zoom"
HELD_OUT = range(9000, 9010)
"""Seeds of the phantoms that accuracy is measured on."""


def read_source(text: str) -> Source:
    """Read a labelled stack that a command line describes.

    Parameters
    ----------
    text : str
        `NAME=RAW:LABELS`, then after another colon, separated by commas: `planes=0-9` (the only planes that are kept),
        `held=8-9` (planes that are watched, never trained on), `axes=xy+xz+yz`, `weight=1.5`, `zoom=0.5`. A volume
        that lies in several files is `RAW+RAW`. Black and white are measured on the whole volume, as in a run.

    Returns
    -------
    Source

    Examples
    --------
    `vnc=raw.tif:mito.tif:planes=0-9,held=9`
    """
    name, _, rest = text.partition("=")
    raw, _, rest = rest.partition(":")
    truth, _, more = rest.partition(":")
    if not (name and raw and truth):
        raise InputError(f"A source is {GRAMMAR}; got {text!r}.")
    options = _options(more, text)
    image = np.concatenate([open_stack(Path(p)).read() for p in raw.split("+")])
    labels = open_labels(Path(truth)).data
    if image.shape != labels.shape:
        raise InputError(f"{name}: the image is {image.shape}, but its labels are {labels.shape}.")
    contrast = Stack(image).contrast
    kept = _numbers(options.get("planes") or f"0-{len(image) - 1}", len(image))
    a, b = kept[0], kept[-1] + 1
    if kept != list(range(a, b)):
        raise InputError(f"{name}: planes= is one unbroken block such as 0-9, got {options['planes']!r}.")
    axes = tuple(_axis(letters) for letters in options.get("axes", "xy").split("+"))
    held = _numbers(options.get("held", ""), len(image))
    outside = [z for z in held if not a <= z < b]
    if outside:
        raise InputError(
            f"{name}: held= must lie within planes={options['planes']}, got {outside[0]}. Held planes are "
            "watched and never learned from: let planes= include them."
        )
    weight, zoom = (_real(options.get(key, "1"), key) for key in ("weight", "zoom"))
    small = np.uint16 if labels.max() < 2**16 else np.uint32
    return Source(
        name, image[a:b].copy(), labels[a:b].astype(small), contrast, axes, tuple(z - a for z in held), weight, zoom
    )


def draw_phantoms(
    count: int, *, seed: int = 1000, cache: str | Path | None = None
) -> Generator[Progress, None, list[Source]]:
    """Draw phantoms to learn from: every other one with the usual parameters, the rest varied.

    Parameters
    ----------
    count : int
        How many; the seeds are `seed`, `seed` + 1, ...
    cache : path, optional
        Folder that keeps them for the next run.

    Raises
    ------
    InputError
        If that would use the seeds that accuracy is measured on.
    """
    seeds = range(seed, seed + count)
    if set(seeds) & set(HELD_OUT):
        raise InputError(f"Phantoms {HELD_OUT[0]} to {HELD_OUT[-1]} are for measuring. Train on other seeds.")
    found = []
    for n, one in enumerate(seeds):
        yield Progress("draw phantoms", n, count)
        found.append(_phantom(one, Path(cache) if cache else None))
    return found


def shared(sources: Sequence[Source], phantoms: Sequence[Source], share: float) -> list[Source]:
    """Return both kinds in one list, weighted so that this share (0..1) of the patches comes from phantoms."""
    if not phantoms or not sources:
        return [*sources, *phantoms]
    require_share(share)
    each = sum(s.weight for s in sources) * share / (1 - share) / len(phantoms)
    return [*sources, *(dataclasses.replace(p, weight=each) for p in phantoms)]


def require_share(share: float) -> None:
    """Refuse a share of phantoms that is none."""
    if not 0 < share < 1:
        raise InputError(f"The share of phantoms lies between 0 and 1, got {share}.")


def _phantom(seed: int, cache: Path | None) -> Source:
    """Draw one phantom, or take it from the cache."""
    path = cache / f"phantom-{seed}.npz" if cache else None
    if path is not None and path.is_file():
        with np.load(path) as kept:
            image, ids = kept["image"], kept["labels"]
    else:
        stack, labels = _drawn(seed)
        image, ids = stack.read(), labels.data.astype(np.uint16)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.savez(file, image=image, labels=ids)
    return Source(f"phantom {seed}", image, ids, Stack(image).contrast, ("xy", "xz", "yz"))


def _drawn(seed: int) -> tuple:  # type: ignore[type-arg]
    rng = np.random.default_rng([seed, 7])
    if seed % 2 == 0:
        return tuple(phantom(seed=seed))
    thin = float(rng.uniform(140, 240))
    return tuple(
        phantom(
            seed=seed, touching=float(rng.uniform(0.3, 0.8)), branching=float(rng.uniform(0.1, 0.5)),
            diameter=(thin, thin * float(rng.uniform(1.4, 2.4))), cristae=("mixed", "dark", "light")[rng.integers(3)],
            distractors=float(rng.uniform(0.5, 2)), noise=float(rng.uniform(0.4, 1.8)),
            contrast=float(rng.uniform(0.5, 1.1)),
        )
    )  # fmt: skip


def _options(text: str, whole: str) -> dict[str, str]:
    """Split key=value pairs and refuse unknown keys."""
    options = {}
    for pair in filter(None, text.split(",")):
        key, sep, value = pair.partition("=")
        if not sep or key not in ("planes", "held", "axes", "weight", "zoom"):
            raise InputError(f"A source is {GRAMMAR}; got {pair!r} in {whole!r}.")
        options[key] = value
    return options


def _numbers(text: str, count: int) -> list[int]:
    """Read `1-3;7` as 1, 2, 3, 7."""
    found: list[int] = []
    for piece in filter(None, text.split(";")):
        first, _, last = piece.partition("-")
        try:
            found += range(int(first), int(last or first) + 1)
        except ValueError:
            raise InputError(f"Planes are numbers like 0-9 or 3;5;8-12, got {text!r}.") from None
    if found and not 0 <= min(found) <= max(found) < count:
        raise InputError(f"The volume has planes 0 to {count - 1}, got {text!r}.")
    return found


def _real(text: str, key: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{key}= is a number, got {text!r}.") from None


def _axis(letters: str) -> Axis:
    for axis in AXES:
        if letters == axis:
            return axis
    raise InputError(f"Axes are {', '.join(AXES)}, got {letters!r}.")
