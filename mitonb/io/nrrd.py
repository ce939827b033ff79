"""NRRD in one file: the header by pynrrd, the voxels ours; x is stored fastest, so they lie as (z, y, x) in C order."""

from __future__ import annotations

import bz2
import gzip
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from mitonb.errors import CorruptFileError, UnsafeFileError, UnsupportedFormatError
from mitonb.io.arrays import Source, raw_voxels
from mitonb.io.axes import lengths_of, places_of
from mitonb.io.limits import check_held
from mitonb.io.others import LARGEST_DEFLATED, extra, unpacked

LONGEST_HEADER = 2**20
DTYPES = {
    "b": ("signed char", "int8", "int8_t"), "B": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"), "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",), "f8": ("double",),
}  # fmt: skip
"""What numpy calls them, and all names that the format allows."""
SPATIAL = ("domain", "space", "stub", "none", "???")
"""Kinds of axes that are space, or not said to be anything else."""


def read_nrrd(path: Path) -> Source:
    """Open a NRRD lazily; a packed one is unpacked into memory.

    Raises
    ------
    UnsupportedFormatError
        If pynrrd is not installed, or the voxels are text or of a kind that is not known.
    UnsafeFileError
        If its voxels lie in other files.
    """
    nrrd, what = extra("nrrd", path, "pynrrd"), path.name
    with open(path, "rb") as file:
        head = file.read(LONGEST_HEADER)
    gap = re.search(rb"\r?\n\r?\n", head)
    if gap is None:
        raise CorruptFileError(f"{what} has no end of its header: it is truncated or damaged. Copy or export it again.")
    lines = head[: gap.start()].decode("ascii", "ignore").splitlines()
    # Names of fields may be written large; "name:=value" is a remark of some program.
    fields = [line.partition(":") for line in lines[1:] if not re.match(r"[^:]*:=", line)]
    header = nrrd.read_header([lines[0], *(name.lower() + colon + value for name, colon, value in fields)])
    start, skips = gap.end(), {of: header.get(f"{of} skip", header.get(f"{of}skip", 0)) for of in ("line", "byte")}
    if "data file" in header or "datafile" in header:
        raise UnsafeFileError(f"{what} keeps its voxels in other files. Save it as one file (.nrrd), header attached.")
    kind = next((code for code, names in DTYPES.items() if header["type"].lower() in names), None)
    coding = header["encoding"].lower()
    if kind is None or coding not in ("raw", "gzip", "gz", "bzip2", "bz2") or skips["line"]:
        raise UnsupportedFormatError(
            f"{what} holds {header['type']!r} in {coding!r:.20}. Save it in grey, raw or gzip."
        )
    shape = tuple(int(n) for n in header["sizes"])[::-1]
    order = header.get("endian", "").lower()
    dtype = np.dtype(kind).newbyteorder(">" if order == "big" else "<")
    if dtype.itemsize > 1 and order not in ("little", "big"):
        raise CorruptFileError(f"{what} does not say in which order its bytes lie (endian). Export it again.")
    size, stored = math.prod(shape) * dtype.itemsize, path.stat().st_size - start
    if min(shape) < 1 or len(shape) != int(header["dimension"]):
        raise CorruptFileError(f"{what} declares {shape} voxels along {header['dimension']} axes.")
    skip = skips["byte"]
    if skip < -(coding == "raw"):
        raise CorruptFileError(f"{what} skips {skip} bytes, which is nowhere. Export it again.")
    data: Any
    if coding == "raw":
        start = path.stat().st_size - size if skip == -1 else start + skip
        check_held(what, size, path.stat().st_size - start if start >= 0 else 0)
        data = raw_voxels(path, dtype, shape, start)
    else:
        if coding[0] == "g":
            check_held(what, skip + size, stored * LARGEST_DEFLATED)
        with open(path, "rb") as file:
            file.seek(start)
            packed = gzip.GzipFile(fileobj=file) if coding[0] == "g" else bz2.BZ2File(file)
            # Bytes to skip are counted in what comes out.
            data = unpacked(packed, dtype, shape, skip, what, "Save it as raw NRRD, which is read plane by plane.")
    return _placed(header, data, len(shape))


def _placed(header: Any, data: Any, rank: int) -> Source:
    """Return the voxels with their axes, sizes and place, which the header states fastest axis first."""
    kinds = list(header.get("kinds") or ["domain"] * rank)
    directions = [np.asarray(v, float) for v in header.get("space directions", ())]
    there = [bool(step.ndim) and bool(np.isfinite(step).all()) for step in directions]  # "none" for what is no space
    kinds = ["list" if kind in SPATIAL and not is_space else kind
             for kind, is_space in zip(kinds, there or [True] * rank, strict=True)]  # fmt: skip
    spatial = [k for k, kind in enumerate(kinds) if kind in SPATIAL]
    letters = "".join(
        "xyz?????"[min(spatial.index(k), 3)] if k in spatial
        else "t" if kind == "time" else "s" if kind.endswith("-color") else "c" for k, kind in enumerate(kinds)
    )  # fmt: skip
    units = list(header.get("space units") or [])
    steps = [step for step, is_space in zip(directions, there, strict=True) if is_space]
    if steps:
        sizes = [float(np.linalg.norm(step)) for step in steps]
    else:
        given = header.get("spacings")
        sizes = [float(v) for k, v in enumerate(given) if k in spatial] if given is not None else []
        units = units or [u for k, u in enumerate(header.get("units") or []) if k in spatial]
    named = "".join(letters[k] for k in spatial)
    units = (units + [None] * len(named))[: len(named)]
    spacing = lengths_of(named, sizes, units) if len(sizes) == len(named) else {}
    notes = []
    if sizes and not spacing:
        said = ", ".join(f"{v:g}" for v in sizes)
        notes.append(f"The file gives the size {said} ({', '.join(named)}) without a unit that is known: not used.")
    straight = all(np.argmax(np.abs(step)) == k and step.sum() > 0 for k, step in enumerate(steps))
    if steps and not (straight and all(np.count_nonzero(step) == 1 for step in steps)):
        notes.append("The file turns or mirrors its axes: voxels are taken in the order in which they are stored.")
        straight = False
    begins = header.get("space origin") if straight and steps else None
    origin = places_of(named, np.asarray(begins, float).tolist(), units) if begins is not None else {}
    return Source(data, letters[::-1], spacing, tuple(notes), "NRRD", origin=origin)
