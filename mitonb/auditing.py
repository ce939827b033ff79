"""What makes a score on held-out patches too good to be true: leaks, copies, empty patches, left-over data.

Shifted copies and neighbouring planes are found by phase correlation (Kuglin & Hines 1975): two patches that show the
same place give one sharp peak, wherever it lies; two places of the same tissue give none.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError

Array = npt.NDArray[Any]

_SIDE = 64  # pixels of the small pictures that are compared
_PEAK, _PEAK_IN_PLACE = 7.5, 6.5
"""Peaks in standard deviations, anywhere and without a shift. Of 297,600 pairs of places in the hippocampus the
highest were 6.2 and 6.1 (of 5,565 in nerve cord, neuropil and hippocampus 5.5 and 4.8); one plane further it is 7 to
35, at half of an overlap 14 to 17."""
_MOST_TRAIN, _MOST_VAL = 3000, 200
_EMPTY_SHARE = 0.1


@dataclass(frozen=True)
class Finding:
    """One thing that makes a score doubtful.

    Attributes
    ----------
    kind : {"same data", "copies", "leak", "left over", "empty patches", "grey values", "no truth"}
        What it is.
    count : int
        How many validation patches (or planes, or training patches) it is about.
    text : str
        What was found, and what to do.
    pairs : tuple of (int, int)
        Examples: number of the validation patch and of the training patch.
    """

    kind: str
    count: int
    text: str
    pairs: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, repr=False)
class Audit:
    """What `audit` found.

    Attributes
    ----------
    findings : tuple of Finding
        Worst first; none if all is well.
    said : str
        What was compared.
    """

    findings: tuple[Finding, ...]
    said: str

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __repr__(self) -> str:
        lines = [f"{f.kind}: {f.text}" for f in self.findings] or ["Nothing was found that flatters a score."]
        return "\n".join([*lines, self.said])


def audit(train: Any, val: Any = None, *, volume: Any = None) -> Audit:
    """Look for what makes a score on validation patches better than the score on new data will be.

    Parameters
    ----------
    train, val : sequence, (images, masks), or DataLoader
        Patches to learn from and to score on: (h, w) or (d, h, w) images, alone or as pairs or mappings with their
        masks or ids, arrays or tensors. Of more than 3,000 and 200 patches an even sample is compared. Leave `val` out
        where there is none: that is a finding, too.
    volume : array or Stack, optional
        What the patches were cut from: then it is said how much of it is in none of them.

    Returns
    -------
    Audit
        Validation data that is training data, patches that are in both (also mirrored or turned), patches of planes or
        crops so near to each other that they show the same place, batches that a loader drops, a volume that patches do
        not cover, empty patches that count as perfect, and other grey values in one than in the other.

    Raises
    ------
    InputError
        If there is nothing to look at, or a patch is no plane or block.

    Examples
    --------
    >>> import numpy as np, mitonb as mn
    >>> planes = mn.phantom((8, 128, 128), seed=1)[0].read()
    >>> [finding.kind for finding in mn.audit(planes[0::2], planes[1::2]).findings]
    ['leak']
    """
    learned = _gather(train, _MOST_TRAIN, "train", turned=False)
    found = list(_uncovered(train, val, volume))
    if val is None:
        text = "there is no validation data: every score is one of the training data. Hold out a block of the volume."
        return Audit((Finding("no truth", 0, text), *found), f"{len(learned)} training patches.")
    held = _gather(val, _MOST_VAL, "val", turned=True)
    said = f"{len(held)} validation patches were compared with {len(learned)} training patches."
    found += [*_dropped(val), *_empty(held), *_grey(learned, held)]
    if _inner(val) is _inner(train):
        text = "the validation data is the training data. Hold out a block of the volume."
        return Audit((Finding("same data", len(held), text), *found), said)
    copies = _copies(learned, held)
    seen = {v for v, _ in copies}
    near = [pair for pair in _near(learned, held) if pair[0] not in seen]
    advice = "Hold out a block of the volume with a gap beside it, not random planes or patches."
    if copies:
        text = f"{len(copies)} of {len(held)} validation patches are training patches, as they are or turned. {advice}"
        found.insert(0, Finding("copies", len(copies), text, tuple(copies[:10])))
    if near:
        text = (
            f"{len(near)} of {len(held)} validation patches show what a training patch shows, up to a shift: "
            f"neighbouring planes or overlapping crops, such as validation patch {near[0][0]} and training patch "
            f"{near[0][1]}. {advice}"
        )
        found.insert(bool(copies), Finding("leak", len(near), text, tuple(near[:10])))
    return Audit(tuple(found), said)


# ---------------------------------------------------------------------------------------------------- reading the data


def _inner(data: Any) -> Any:
    """Return the dataset of a loader, or the data themselves."""
    return getattr(data, "dataset", data) if hasattr(data, "batch_size") else data


@dataclass(frozen=True)
class _Look:
    """What is compared of a patch: its pixels themselves would fill the memory."""

    digests: tuple[bytes, ...]  # as it is, then turned; none if it is all one grey
    spectra: npt.NDArray[np.complex64]
    top: float
    empty: bool | None  # whether its mask is; None without a mask


def _gather(data: Any, most: int, name: str, *, turned: bool) -> list[_Look]:
    """Look at an even sample of the patches."""
    looks, items = [], _listed(data)
    for k in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)) if len(items) else ():
        image, mask = _pair(items[int(k)])
        image = _plain(image)
        if image.ndim not in (2, 3) or min(image.shape) < 1:
            raise InputError(f"Patches are (h, w) or (d, h, w); one of {name} has the shape {image.shape}.")
        forms = _forms(image) if turned else [image]
        digests = tuple(hashlib.blake2b(f.tobytes(), person=str(f.shape)[:16].encode()).digest() for f in forms)
        spectra = np.stack([_spectrum(plane) for plane in _planes(image)])
        one_grey = image.min() == image.max()
        empty = None if mask is None else not _plain(mask).any()
        looks.append(_Look(() if one_grey else digests, spectra, float(np.abs(image).max()), empty))
    if not looks:
        raise InputError(f"There are no patches in {name}.")
    return looks


def _listed(data: Any) -> Sequence[Any]:
    """Return the patches as a sequence of what a dataset gives for one."""
    data = _inner(data)
    if isinstance(data, tuple) and len(data) == 2 and len(data[0]) == len(data[1]) and np.ndim(data[0][0]) >= 2:
        return list(zip(*data, strict=True))
    return data if hasattr(data, "__len__") and hasattr(data, "__getitem__") else list(data)


def _pair(item: Any) -> tuple[Any, Any]:
    """Split what a dataset gives for one patch."""
    if isinstance(item, Mapping):
        values = {str(k).lower(): v for k, v in item.items()}
        image = next((values[k] for k in ("image", "img", "x", "raw") if k in values), None)
        if image is None:
            raise InputError(f"A patch that is a mapping needs an 'image'; this one has {', '.join(values)}.")
        return image, next((values[k] for k in ("mask", "label", "labels", "y", "target") if k in values), None)
    if isinstance(item, Sequence) and not isinstance(item, str):
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _plain(patch: Any) -> Array:
    """Return a patch as float32 without axes of length one; colours become grey."""
    if hasattr(patch, "detach"):
        patch = patch.detach().cpu().float().numpy()
    array = np.asarray(patch)
    if array.dtype.kind not in "buif":
        raise InputError(f"Patches are numbers, got {array.dtype}.")
    array = np.nan_to_num(array.astype(np.float32), posinf=0.0, neginf=0.0)
    if array.ndim > 2 and array.shape[-1] in (3, 4) and array.shape[-2] > 4:
        array = array[..., :3].mean(-1)
    return array.squeeze()


# --------------------------------------------------------------------------------------------------------- single looks


def _dropped(val: Any) -> Iterator[Finding]:
    """Say how many patches the validation loader leaves out for the sake of full batches."""
    size = getattr(val, "batch_size", None)
    if left := len(val.dataset) % size if size and getattr(val, "drop_last", False) else 0:
        yield Finding(
            "left over", left, f"the validation loader leaves out {left} of its patches. Set drop_last to False."
        )


def _uncovered(train: Any, val: Any, volume: Any) -> Iterator[Finding]:
    """Say how much of a volume cannot be in any patch."""
    total = 0 if volume is None else int(np.prod(np.shape(volume)))
    seen = 0
    for data in (train, val):
        items = [] if data is None else _listed(data)
        seen += len(items) * _plain(_pair(items[0])[0]).size if len(items) else 0
    if seen < 0.98 * total:
        text = f"at least {1 - seen / total:.0%} of the volume is in no patch. Let the last patches end where it ends."
        yield Finding("left over", total - seen, text)


def _empty(held: Sequence[_Look]) -> Iterator[Finding]:
    truth = [look.empty for look in held if look.empty is not None]
    empty = sum(truth)
    if empty > _EMPTY_SHARE * len(truth):
        text = (
            f"{empty} of {len(truth)} validation patches hold nothing. Where a score is the mean over patches, who "
            f"finds nothing anywhere gets {empty / len(truth):.2f}. Count pixels or objects over all patches together."
        )
        yield Finding("empty patches", empty, text)


def _grey(learned: Sequence[_Look], held: Sequence[_Look]) -> Iterator[Finding]:
    """Say so if one goes to 255, say, and the other to 1."""
    low, high = (max(look.top for look in part) for part in (learned, held))
    if low and high and not 0.1 < low / high < 10:
        text = f"training patches go up to {low:g}, validation patches to {high:g}. Scale both in the same way."
        yield Finding("grey values", len(held), text)


# ------------------------------------------------------------------------------------------------------------ comparing


def _copies(learned: Sequence[_Look], held: Sequence[_Look]) -> list[tuple[int, int]]:
    """Return the validation patches that are training patches in one of the eight positions of a plane."""
    known = {look.digests[0]: k for k, look in enumerate(learned) if look.digests}
    found = ((v, next((known[d] for d in look.digests if d in known), None)) for v, look in enumerate(held))
    return [(v, k) for v, k in found if k is not None]


def _forms(patch: Array) -> list[Array]:
    return [np.rot90(p, k, axes=(-2, -1)) for p in (patch, patch[..., ::-1]) for k in range(4)]


def _near(learned: Sequence[_Look], held: Sequence[_Look]) -> list[tuple[int, int]]:
    """Return the validation patches that show the place of a training patch, each with that patch."""
    owners = np.repeat(np.arange(len(learned)), [len(look.spectra) for look in learned])
    spectra = np.concatenate([look.spectra for look in learned])
    best = (max(_best(spectrum, spectra) for spectrum in look.spectra) for look in held)
    return [(v, int(owners[k])) for v, (strength, k) in enumerate(best) if strength > 1]


def _planes(patch: Array) -> list[Array]:
    """Return the planes of a patch that are compared: of a block the outer ones and the middle."""
    if patch.ndim == 2:
        return [patch]
    return [patch[k] for k in sorted({0, len(patch) // 2, len(patch) - 1})]


def _spectrum(plane: Array) -> npt.NDArray[np.complex64]:
    """Return the Fourier transform of a small version of a plane, all its waves equally strong."""
    step = max(1, min(plane.shape) // _SIDE)
    h, w = (min(n // step, _SIDE) for n in plane.shape)
    small = plane[: h * step, : w * step].reshape(h, step, w, step).mean((1, 3))
    waves = np.fft.rfft2(small - small.mean(), s=(_SIDE, _SIDE))
    size = np.abs(waves)
    y, x = np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)[None]
    middle = (np.hypot(y, x) > 0.02) & (np.hypot(y, x) < 0.35)  # below is shading, above is noise
    return (waves / (size + 0.03 * size.mean() + 1e-12) * middle).astype(np.complex64)


def _best(one: npt.NDArray[np.complex64], many: npt.NDArray[np.complex64]) -> tuple[float, int]:
    """Return the strongest peak, 1 where it begins to mean something, and which of the many it belongs to."""
    maps = np.fft.irfft2(one * many.conj(), s=(_SIDE, _SIDE))
    spread = maps.std((1, 2)) + 1e-12
    beside = maps[:, [0, 0, 0, 1, 1, 1, -1, -1, -1], [0, 1, -1] * 3].max(1)
    strong = np.maximum(maps.max((1, 2)) / _PEAK, beside / _PEAK_IN_PLACE) / spread
    return float(strong.max()), int(strong.argmax())
