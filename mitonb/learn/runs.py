"""Train and finetune in one line: nets by name, settings that do well, and what a run gave."""

import dataclasses
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from mitonb.errors import InputError
from mitonb.io.saving import check_output
from mitonb.job import Progress, drain
from mitonb.learn.child import fitting_apart
from mitonb.learn.data import Source, draw_batch, shared
from mitonb.learn.loop import REFERENCE, Settings, best_look, bytes_needed, card_fields, require_depth, startable
from mitonb.learn.pairs import Material, Pair, gathering, read_pair
from mitonb.models.zoo import load_model
from mitonb.phantoms import phantom


def _net(
    heads: str, dimension: int, config: Mapping[str, Any], **settings: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"heads": tuple(heads.split()), "dimension": dimension, "config": dict(config)}, settings


_PLANES = {"widths": [16, 32, 64, 128], "depths": [1, 1, 1, 1], "residual": False, "fold": False}
_BLOCKS = {"widths": [16, 32, 64, 96], "depths": [1, 1, 1, 1], "residual": False}
_MITOEM = {"widths": [32, 48, 64, 96], "depths": [1, 1, 1, 1], "flat": 1}
_CUBES = {"batch": 2, "patch": 64}
_SLABS = {"batch": 2, "patch": 96, "planes": 32}

NETS = {
    "panoptic-2d": _net("semantic center offsets", 2, {}),
    "unet-2d": _net("semantic", 2, _PLANES, rate=3e-3),
    "unet-3d": _net("semantic", 3, _BLOCKS, rate=4e-3, **_CUBES),
    "unet-3d-residual": _net("semantic", 3, {**_BLOCKS, "residual": True}, rate=4e-3, **_CUBES),
    "unet-3d-anisotropic": _net("semantic", 3, {**_BLOCKS, "flat": 2}, rate=4e-3, **_SLABS),
    "mitoem-bc": _net("semantic contour", 3, _MITOEM, rate=4e-3, **_SLABS),
    "mitoem-bcd": _net("semantic contour distance", 3, _MITOEM, rate=4e-3, **_SLABS),
}
"""Nets by name: their cards, and the settings that differ from `mitonb.learn.loop.Settings`.

panoptic-2d is that of the bundled model, unet-* draw the semantic map alone; mitoem-* draw what those of MitoEM do
(Wei et al. 2020): body, contour and, with d, distance, in blocks of thick planes.
"""


_GENTLY = {"rate": 2e-4, "batch": 4, "average": 0.99, "looks": 10, "keep_statistics": True, "temper": True}
"""Settings of a finetuning that differ from the usual ones."""


@dataclass(frozen=True)
class Trained:
    """The weights that a training gave; a path for all that take a model.

    Attributes
    ----------
    path : Path
        Weight file, with its card.
    scores : mapping
        Foreground IoU of what was held out, by name, for the weights that were kept.
    log : tuple of mapping
        All looks at what was held out: step, seconds, scores.
    notes : tuple of str
        What was left out of the data, and what `mitonb.audit` says of the hold-out.
    """

    path: Path
    scores: Mapping[str, float]
    log: tuple[Mapping[str, float], ...] = ()
    notes: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in self.scores.items()) or "nothing was held out"
        return "\n".join([f"Trained({self.path.name!r}, {scores})", *(f"  note: {note}" for note in self.notes)])


def train(data: Any, out: str | Path, *, show: bool = True, **more: Any) -> Trained:
    """Train a net of your own, in a process of its own.

    Parameters
    ----------
    data : Pair, (image, labels), folder, or a list of such
        What to learn from. Folders have the layout of CEM-MitoLab (images/ and masks/) or of MitoEM.
    out : path
        Weight file to write, such as "cell.safetensors". A run that was stopped goes on from `out` + ".part".
    show : bool
        Show a line of progress.
    **more
        As for `training`.

    Returns
    -------
    Trained
        A path, for `mitonb.segment(stack, model=...)`, with scores and notes.

    Raises
    ------
    InputError
        If there is nothing to learn from, a pair does not fit, or `out` cannot be written.
    TooLargeError
        If the run would not fit into memory.

    Examples
    --------
    ``mn.train(mn.Pair("raw.tif", "labels.tif"), "cell.safetensors", net="unet-2d", minutes=20)``
    """
    return drain(training(data, out, **more), show=show)


def training(
    data: Any, out: str | Path, *, net: str = "panoptic-2d", minutes: float | None = None, steps: int | None = None,
    hold: Any = 0.2, card: Mapping[str, Any] | None = None, **settings: Any,
) -> Generator[Progress, None, Trained]:  # fmt: skip
    """Train a net; the generator form of `train`, for `mitonb.Job`.

    Parameters
    ----------
    data, out
        As for `train`.
    net : str
        Key of `mitonb.learn.runs.NETS`: "panoptic-2d", "unet-2d", "unet-3d", "unet-3d-residual",
        "unet-3d-anisotropic", "mitoem-bc" or "mitoem-bcd".
    minutes, steps : float, int, optional
        How long; 10 minutes by default. Only `steps` gives the same weights again.
    hold : float, or as `data`
        Part of each volume, or of the images, that is held out and scored; or what to score on.
    card : mapping, optional
        Fields of the card of the model, such as title, licence and papers.
    **settings
        Fields of `mitonb.learn.loop.Settings`, such as seed, batch, patch, rate and patience.
    """
    if net not in NETS:
        raise InputError(f"There is no net {net!r}; the known ones are {', '.join(sorted(NETS))}.")
    drawn, usual = NETS[net]
    path = check_output(out, overwrite=True)
    chosen = _settings({**usual, **settings}, minutes, steps, 10.0)
    card_fields(card)
    material = yield from gathering(data, hold)
    known = pixels_learned(material, drawn["dimension"])
    return (yield from _run(material, path, chosen, card={**drawn, **known, **(card or {})}))


def finetune(data: Any, out: str | Path, *, show: bool = True, **more: Any) -> Trained:
    """Let a model learn from some of your own images, in a process of its own.

    Parameters
    ----------
    data, out, show
        As for `train`; one to eight squares of 256 pixels do.
    **more
        As for `finetuning`.

    Returns
    -------
    Trained
        As of `train`.

    Raises
    ------
    MitonbError
        As `train`, and ModelError if the model cannot be trained.

    Examples
    --------
    ``mn.finetune([(image, labels), (other, its_labels)], "mine.safetensors")``
    """
    return drain(finetuning(data, out, **more), show=show)


def finetuning(
    data: Any, out: str | Path, *, start: str | os.PathLike[str] = "mito-mini", minutes: float | None = None,
    steps: int | None = None, hold: Any = 0.2, replay: float = 0.4, card: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Generator[Progress, None, Trained]:  # fmt: skip
    """Let a model learn from own images; the generator form of `finetune`, for `mitonb.Job`.

    Parameters
    ----------
    data, out
        As for `finetune`.
    start : str or path
        Name or weight file of the model to begin from.
    minutes, steps, hold, card, **settings
        As for `training`; 5 minutes by default. `freeze=2`, say, keeps the first two stages of the encoder.
    replay : float
        Part (0..1) of the patches that are drawn phantoms: without them a model forgets within a minute what it knew.
    """
    path = check_output(out, overwrite=True)
    chosen = _settings({**_GENTLY, **settings}, minutes, steps, 5.0)
    given = card_fields(card)
    _, old = startable(Path(start) if isinstance(start, os.PathLike) else start)
    material = yield from gathering(data, hold, old)
    sources = material.sources
    require_depth(sources, old.dimension)  # before phantoms, which are deep, come in
    if replay:
        phantoms = yield from phantoms_to_replay(16, 1000, "phantoms")
        sources = tuple(shared(sources, phantoms, replay))
    names = sorted({s.name for s in sources})
    reference = yield from phantoms_to_replay(2, 1100, REFERENCE)
    only_scored = (dataclasses.replace(source, held=(0, 1)) for source in reference)
    material = dataclasses.replace(material, sources=(*sources, *only_scored))
    kept = {
        "licence": old.licence, "papers": old.papers, "data": (*old.data, *names), "pixel_sizes": old.pixel_sizes,
        "notes": f"Finetuned from {old.name}.",
    }  # fmt: skip
    return (yield from _run(material, path, chosen, start=os.fspath(start), card={**kept, **given}))


def pixels_learned(material: Material, dimension: int) -> dict[str, Any]:
    """Return the pixel sizes that a new net learns from, as its card names them; nothing where none is known."""
    learned = (source.voxel_size for source in material.sources if source.used[1])
    sizes = [v for size in learned if size for v in size[dimension == 2 :]]
    return {"pixel_sizes": (min(sizes), max(sizes))} if sizes else {}


def memory_of(net: str | None, start: str | None, **settings: Any) -> int:
    """Return about how many bytes a training of a net by name, or else the finetuning of a model, takes."""
    drawn, usual = NETS[net] if net else ({}, _GENTLY)
    return bytes_needed(_settings({**usual, **settings}, None, 1, 0.0), start, drawn)


def some_patches(
    sources: Sequence[Source], net: str | None, dimension: int, *, count: int = 12, **settings: Any
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return patches as a training of a net by name, or else a finetuning, draws them.

    Returns
    -------
    images, ids : (count, h, w) arrays
        Grey values from 0 to 1, and ids, -1 where nothing is known; of blocks the plane with the most of objects.
    """
    chosen = _settings({**(NETS[net][1] if net else _GENTLY), **settings}, None, 1, 0.0)
    size = (chosen.planes or chosen.patch, chosen.patch, chosen.patch) if dimension == 3 else chosen.patch
    rng = np.random.default_rng(chosen.seed)
    images, ids = draw_batch(sources, rng, size, count, augment=chosen.augment)
    if dimension == 3:
        fullest = (ids > 0).sum((2, 3)).argmax(1)
        images, ids = (volume[np.arange(count), fullest] for volume in (images, ids))
    return images, ids


def phantoms_to_replay(planes: int, seed: int, name: str) -> Generator[Progress, None, list[Source]]:
    """Draw four volumes that keep a model from forgetting what it knew."""
    found = []
    for k in range(4):
        yield Progress("draw phantoms", k, 4)
        found.append(read_pair(Pair(*phantom((planes, 256, 256), seed=seed + k), name=name)))
    return found


def _settings(given: Mapping[str, Any], minutes: float | None, steps: int | None, usual: float) -> Settings:
    known = {f.name for f in dataclasses.fields(Settings)}
    if unknown := sorted(set(given) - known):
        raise InputError(f"There is no setting {unknown[0]!r}; there are {', '.join(sorted(known))}.")
    lasting = {"steps": steps, "minutes": usual if minutes is None and steps is None else minutes}
    return Settings(**{"precision": fast_precision(), **given, **lasting})


def fast_precision() -> Literal["fp32", "bf16"]:
    """Return bf16 where it is faster: on GPUs, and on CPUs with instructions for it."""
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if torch.cuda.is_available() or has_bf16() else "fp32"


def _run(material: Material, out: Path, settings: Settings, **more: Any) -> Generator[Progress, None, Trained]:
    path = yield from fitting_apart(material.sources, out=out, settings=settings, **more)
    log = load_model(path).spec.training["watched"]
    best = log[best_look(log)] if log else {}
    scores = {k: v for k, v in best.items() if k.startswith("iou")}
    way = (f"kept: {best['part']:.0%} of the way from the old weights to the new ones",) if "part" in best else ()
    return Trained(path, scores, tuple(log), (*material.notes, *way))
