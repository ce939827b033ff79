"""Run records: what made a result, saved beside it so that it can be made again; fingerprints say of which image."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mitonb.errors import CorruptFileError, InputError
from mitonb.io.arrays import Array
from mitonb.io.limits import read_json
from mitonb.recipe import Recipe
from mitonb.stack import Stack, given_voxel_size

FORMAT = "mitonb-run-record"
VOXEL_SIZE = "voxel_size_nm"
SAMPLED_PLANES = 16
READ_ALL = 256 * 2**20
"""Bytes of voxels that are all read for a fingerprint without anybody waiting for it."""
WHOLE = "all-sha256:"
PACKAGES = ("numpy", "scipy", "torch", "numba", "tifffile", "tensorstore")


def fingerprint(stack: Stack) -> str:
    """Return what identifies the voxels of a stack: all of them up to 256 MB, 16 planes spread over it above.

    The same image gives the same text from any format, byte order or machine. Name, address and voxel size do
    not count. Which of both was looked at stands in the text; see `same_image`.

    Examples
    --------
    >>> import mitonb as mn
    >>> fingerprint(mn.Stack(np.zeros((2, 2, 2), np.uint8)))[:18]
    'all-sha256:d0b85a4'
    """
    large = int(np.prod(stack.shape, dtype=np.int64)) * stack.dtype.itemsize > READ_ALL
    return sampled_fingerprint(stack) if large else whole_fingerprint(stack, _digests(stack))


def same_image(stack: Stack, known: str) -> bool:
    """Return whether a stack has the fingerprint that is known, by the planes that this one looked at."""
    whole = known.startswith(WHOLE)
    return known == (whole_fingerprint(stack, _digests(stack)) if whole else sampled_fingerprint(stack))


def _digests(stack: Stack) -> Iterator[bytes]:
    return (plane_digest(np.asarray(stack.data[z])) for z in range(stack.shape[0]))


def plane_digest(image: Array) -> bytes:
    """Return 32 bytes that identify the pixels of a plane, their shape and dtype."""
    dtype = image.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{image.shape} {dtype.str}".encode())
    digest.update(np.ascontiguousarray(image, dtype=dtype).data)
    return digest.digest()


def whole_fingerprint(stack: Stack, digests: Iterable[bytes]) -> str:
    """Return what identifies all voxels of a stack, from the digests of its xy planes in their order."""
    digest = hashlib.sha256(f"mitonb 2 {stack.shape} {stack.dtype.newbyteorder('<').str}".encode())
    for part in digests:
        digest.update(part)
    return f"{WHOLE}{digest.hexdigest()}"


def sampled_fingerprint(stack: Stack) -> str:
    """Return sha256 over shape, dtype and up to 16 planes spread over a stack: it takes a moment, whatever its size."""
    dtype, depth = stack.dtype.newbyteorder("<"), stack.shape[0]
    digest = hashlib.sha256(f"mitonb 1 {stack.shape} {dtype.str}".encode())
    for z in np.unique(np.linspace(0, depth - 1, min(depth, SAMPLED_PLANES)).astype(np.int64)):
        digest.update(np.ascontiguousarray(stack.data[int(z)], dtype=dtype).tobytes())
    return f"sha256:{digest.hexdigest()}"


def run_record(
    stack: Stack, recipe: Recipe, spec: Any = None, *, engine: str = "torch", image: str | None = None
) -> dict[str, Any]:
    """Return the record of a run: enough to make the same labels again.

    Parameters
    ----------
    stack : Stack
        What was segmented.
    recipe : Recipe
        How.
    spec : ModelSpec or None
        Card of the model (its `name` and `sha256` are kept).
    engine : str
        What ran the net.
    image : str, optional
        Fingerprint of all voxels, where the run has seen them all.

    Returns
    -------
    dict
        Plain values that JSON can write.
    """
    from mitonb import __version__

    software = {"mitonb": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            software[package] = importlib.metadata.version(package)
    return {
        "format": FORMAT, "version": 1,
        "image": {
            "name": stack.name, "source": stack.source, "shape": list(stack.shape), "dtype": stack.dtype.name,
            VOXEL_SIZE: None if stack.voxel_size is None else list(stack.voxel_size),
            "fingerprint": image or fingerprint(stack),
        },
        "recipe": json.loads(recipe.to_json()),
        "model": {
            "name": getattr(spec, "name", recipe.model), "sha256": getattr(spec, "sha256", None),
            "licence": getattr(spec, "licence", None),
        },
        "engine": {
            "name": engine, "precision": recipe.precision, "device": recipe.device, "batch": recipe.batch,
            "threads": _threads(),
        },
        "software": software, "machine": {"system": platform.system(), "processor": platform.machine()},
    }  # fmt: skip


def _threads() -> int:
    """Return the number of threads that torch uses, where it is loaded, else what the environment asks for."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else os.cpu_count() or 1


def record_path(path: Path) -> Path:
    """Return where the record of a saved file lies: `labels.tif` has `labels.tif.record.json`."""
    name = path.name
    if len(name.encode()) > 230:  # a file name has at most 255 bytes
        name = hashlib.sha256(name.encode()).hexdigest()[:32]
    return path.with_name(f"{name}.record.json")


def record_json(record: Mapping[str, Any]) -> str:
    """Return a record as JSON text.

    Raises
    ------
    InputError
        If it holds what JSON cannot write.
    """
    try:
        return json.dumps(dict(record), indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"The run record cannot be written as JSON: {error}.") from error


def read_record(path: Path) -> Mapping[str, Any] | None:
    """Return the run record beside a file, or None where there is none.

    Raises
    ------
    CorruptFileError
        If there is a file of that name and it is not a JSON object.
    """
    found = _beside(path)
    found.pop(VOXEL_SIZE, None)
    return found or None


def recorded_voxel_size(path: Path) -> tuple[float, float, float] | None:
    """Return the voxel size (z, y, x) in nm kept beside a file that has no room for it: .npy."""
    value = _beside(path).get(VOXEL_SIZE) if path.suffix.lower() == ".npy" else None
    try:
        return None if value is None else given_voxel_size(value)
    except InputError:  # written by hand, and no size
        return None


def _beside(path: Path) -> dict[str, Any]:
    """Return what `<name>.record.json` holds, or nothing."""
    beside = record_path(path)
    try:
        return read_json(beside, path.name) if beside.is_file() else {}
    except InputError as error:
        text = f"The run record {beside.name} cannot be read ({error}). Move it away to go on."
        raise CorruptFileError(text) from error
