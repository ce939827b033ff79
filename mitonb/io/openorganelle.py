"""OpenOrganelle: where its data sets lie, and what has to be said of them. https://openorganelle.janelia.org"""

import os
from collections.abc import Callable, Iterator
from typing import Any

from mitonb.errors import InputError

BUCKET = "s3://janelia-cosem-datasets"
"""Where the data sets are; MITONB_OPENORGANELLE names another place, such as a copy of some of them."""
PREFIX = "openorganelle:"
LICENCE = "CC BY 4.0"
DOIS = {"jrc_mus-kidney": "10.25378/janelia.16913035"}
_GROUPS = ("{0}/{0}.zarr/recon-1", "{0}/{0}.zarr", "{0}/{0}.n5")
"""Where what belongs to a data set may lie, the newest layout first."""
_IMAGES = ("em/fibsem-uint8", "em/fibsem-uint16", "em/fibsem-int16")


def is_dataset(source: Any) -> bool:
    """Return whether a source is written as a name of OpenOrganelle."""
    return isinstance(source, str) and source[: len(PREFIX)].lower() == PREFIX


def candidates(name: str) -> Iterator[str]:
    """Yield the addresses at which a data set, or a part of it, may lie.

    Parameters
    ----------
    name : str
        "openorganelle:jrc_mus-kidney" is its image; "openorganelle:jrc_mus-kidney/labels/mito_seg" another part of it.

    Raises
    ------
    InputError
        If that is no name of a data set.
    """
    named = name[len(PREFIX) :] if is_dataset(name) else name
    dataset, _, inner = named.strip("/ ").partition("/")
    if not dataset or not all(c.isalnum() or c in "-_" for c in dataset) or ".." in inner.split("/"):
        raise InputError(f"{name[:100]!r} is no data set of OpenOrganelle; write openorganelle:jrc_mus-kidney.")
    base = os.environ.get("MITONB_OPENORGANELLE", BUCKET).rstrip("/")
    for group in _GROUPS:
        for part in [inner] if inner else _IMAGES:
            yield f"{base}/{group.format(dataset)}/{part}"


def address_of(name: str, there: Callable[[str], bool]) -> str:
    """Return where a data set, or a part of it, lies; `there` says whether a store is at an address.

    Raises
    ------
    InputError
        If it is at none of the places where it could be.
    """
    for address in candidates(name):
        if there(address):
            return address
    tried = "\n  ".join(candidates(name))
    raise InputError(f"There is no store of {name!r}. It was looked for at\n  {tried}")


def credit(address: str) -> dict[str, str]:
    """Return licence and source of what lies at an address; empty where it is not of OpenOrganelle."""
    base = os.environ.get("MITONB_OPENORGANELLE", BUCKET).rstrip("/")
    if not address.startswith((f"{base}/", f"{BUCKET}/", "https://janelia-cosem-datasets.s3.amazonaws.com/")):
        return {}
    stores = [part for part in address.split("/") if part.endswith((".zarr", ".n5"))]
    dataset = stores[0].removesuffix(".zarr").removesuffix(".n5") if stores else ""
    doi = {"doi": DOIS[dataset]} if dataset in DOIS else {}
    page = f"https://openorganelle.janelia.org/datasets/{dataset}"
    return {"dataset": dataset, "licence": LICENCE, "page": page, **doi}
