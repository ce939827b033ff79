"""Links of Neuroglancer, both ways: the state that one of its addresses holds, as JSON after #!."""

import json
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.io.remote import remote_folder
from mitonb.stack import Stack

SERVER = "https://neuroglancer-demo.appspot.com"
"""Where links lead; every copy of Neuroglancer understands them."""
_LONGEST = 1 << 20
_METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "nm": 1e-9, "pm": 1e-12, "Å": 1e-10}


@dataclass(frozen=True)
class Link:
    """What a link shows.

    Attributes
    ----------
    images, labels : tuple of str
        Addresses of its layers, which `mn.open` takes.
    position : (z, y, x) of float or None
        In nm, where the link looks; None where it does not say.
    """

    images: tuple[str, ...]
    labels: tuple[str, ...]
    position: tuple[float, float, float] | None


def neuroglancer_link(
    stack: Stack, labels: Stack | str | None = None, *, position: tuple[float, float, float] | None = None,
    server: str = SERVER,
) -> str:  # fmt: skip
    """Return an address at which Neuroglancer shows an image, and labels on it.

    Parameters
    ----------
    stack : Stack
        Opened from the network: a file of this machine is seen by nobody else.
    labels : Stack or str, optional
        Ids, opened from there too, with `mn.open`; or their address.
    position : (z, y, x), optional
        Voxel of the stack that is looked at; the middle by default.
    server : str
        A copy of Neuroglancer.

    Raises
    ------
    InputError
        If image or labels are not on the network, the voxel size is unknown, or the position is no place in the image.

    Examples
    --------
    >>> stack = Stack(np.zeros((2, 4, 4), np.uint8), (30, 5, 5), source="https://here.org/cell.ome.zarr")
    >>> read_link(neuroglancer_link(stack, position=(1, 2, 3))).position
    (45.0, 12.5, 17.5)
    """
    if not isinstance(stack, Stack):
        raise InputError(f"A link shows a stack, as mn.open(address) gives it, got {type(stack).__name__}.")
    if stack.voxel_size is None:
        raise InputError(f"The voxel size of {stack.name} is unknown: give it first (stack.with_voxel_size).")
    z, y, x = stack.voxel_size
    at = _voxel(position, stack)
    # Places count in voxels; the middle of the first one lies half a voxel from its edge.
    place = at + np.array(stack.origin) / (z, y, x) + 0.5
    low, high = stack.contrast
    layers: list[dict[str, Any]] = [{
        "type": "image", "source": _address(stack), "name": stack.name,
        "shaderControls": {"normalized": {"range": [low, high]}},
    }]  # fmt: skip
    if labels is not None:
        name = labels.rstrip("/").rpartition("/")[2] if isinstance(labels, str) else getattr(labels, "name", "labels")
        layers.append({"type": "segmentation", "source": _address(labels), "name": name})
    state = {
        "dimensions": {axis: [float(f"{size * 1e-9:.12g}"), "m"] for axis, size in (("x", x), ("y", y), ("z", z))},
        "position": place[::-1].tolist(), "crossSectionScale": 1, "layers": layers, "layout": "4panel",
        "selectedLayer": {"layer": stack.name},
    }  # fmt: skip
    return f"{server.rstrip('/')}/#!{quote(json.dumps(state, separators=(',', ':')))}"


def is_link(source: Any) -> bool:
    """Return whether a source is a link of Neuroglancer."""
    return isinstance(source, str) and source.startswith(("https://", "http://")) and "#!" in source


def read_link(link: str) -> Link:
    """Read what a link of Neuroglancer shows.

    Raises
    ------
    InputError
        If it holds no state that can be read, such as a link to a state that is kept on a server.
    """
    text = unquote(link[:_LONGEST].partition("#!")[2])
    try:
        state = json.loads(text)
        layers = [layer for layer in state.get("layers", ()) if isinstance(layer, dict)]
        found = {kind: tuple(_sources(layers, kind)) for kind in ("image", "segmentation")}
        position = _position(state)
        if position is not None and not np.isfinite(position).all():
            raise ValueError("no place")
        return Link(found["image"], found["segmentation"], position)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
        what = "leads to a state that is kept on a server: open it in a browser and copy the link from there"
        kept = text.startswith(("http", "gs:", "s3:", "middleauth"))
        raise InputError(f"This link of Neuroglancer {what if kept else 'holds no state that can be read'}.") from error


def layer_of(link: str, kind: Literal["images", "labels"]) -> str:
    """Return the address of the first layer of a kind that a link shows.

    Raises
    ------
    InputError
        If it shows none.
    """
    found: tuple[str, ...] = getattr(read_link(link), kind)
    if not found:
        raise InputError(f"This link of Neuroglancer shows no {kind} that are opened. Open one of its layers itself.")
    return found[0]


def _sources(layers: list[dict[str, Any]], kind: str) -> list[str]:
    """Return the addresses of the layers of a kind."""
    found = []
    for layer in layers:
        listed = layer.get("source") if layer.get("type") == kind else None
        first = listed[0] if isinstance(listed, list) and listed else listed
        address = first.get("url") if isinstance(first, dict) else first
        if isinstance(address, str):
            # Formats stand in front (n5://https://...) or, in newer links, behind (https://...|n5:).
            found.append(address.partition("|")[0])
    return found


def _position(state: dict[str, Any]) -> tuple[float, float, float] | None:
    """Return the place of a state in nm, z, y, x."""
    if "position" in state:
        sizes = {
            axis: float(size) * _METRES[unit] * 1e9
            for axis, (size, unit) in state["dimensions"].items()
            if unit in _METRES
        }
        places = dict(zip(state["dimensions"], state["position"], strict=True))
        # Metres are no whole numbers of nm: 45 would be 44.99999999999999.
        z, y, x = (float(f"{float(places[axis]) * sizes[axis]:.12g}") for axis in "zyx")
        return z, y, x
    pose = state.get("navigation", {}).get("pose", {}).get("position", {})  # as links were until 2019
    if not {"voxelCoordinates", "voxelSize"} <= set(pose):
        return None
    z, y, x = (
        float(a) * float(b) for a, b in zip(pose["voxelCoordinates"][::-1], pose["voxelSize"][::-1], strict=True)
    )
    return z, y, x


def _voxel(position: Any, stack: Stack) -> npt.NDArray[np.float64]:
    """Return the voxel that is looked at: the one that was given, or the middle."""
    if position is None:
        return np.array([n // 2 for n in stack.shape], float)
    try:
        at = np.array(position, float)
    except (TypeError, ValueError):
        at = np.empty(0)
    if at.shape != (3,):
        raise InputError(f"position= is three numbers (z, y, x) in voxels, got {position!r:.80}.")
    if not ((at >= 0) & (at < stack.shape)).all():
        raise InputError(f"position={tuple(at.tolist())} lies outside of {stack.name}, {stack.shape} voxels (z, y, x).")
    return at


def _address(shown: Any) -> str:
    """Return how Neuroglancer calls the source of a stack, or what lies at an address."""
    if not isinstance(shown, Stack | str):
        raise InputError(
            f"A link needs to know where the labels lie, which {type(shown).__name__} does not say: give their "
            "address, or mn.open(address), not what mn.open_labels gives."
        )
    where, name = (shown, shown) if isinstance(shown, str) else (shown.source or "", shown.name)
    if "://" not in where:
        raise InputError(
            f"{name} is {'on this machine' if where else 'in memory'}, where no browser sees it. "
            "Save it as .precomputed, serve that folder, and give its address."
        )
    where = remote_folder(where).address
    kind = "n5" if ".n5" in where else "zarr" if ".zarr" in where else "precomputed"
    return f"{kind}://{where}"
