"""Weight files: safetensors with the model card inside. Reading one never runs code from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from mitonb.errors import CorruptFileError, ModelError
from mitonb.files import atomic_write
from mitonb.models.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HEADER_LIMIT", "card_in", "fill", "has_card", "read_plain", "read_weights", "write_weights"]

SIZE_LIMIT = 4 << 30  # bytes
HEADER_LIMIT = 1 << 20  # bytes; a header of ours has about ten thousand


def write_weights(net: nn.Module, spec: ModelSpec, path: str | Path, *, half: bool = True) -> ModelSpec:
    """Write a net and its card; the file appears whole or not at all.

    Parameters
    ----------
    net : nn.Module
        Its state is written.
    spec : ModelSpec
        Card; the file holds it without hash.
    path : path
        Replaced if it exists.
    half : bool
        Store float16: half the size, about three digits.

    Returns
    -------
    ModelSpec
        The card with the file's hash.
    """
    path = Path(path)
    kind = torch.float16 if half else torch.float32
    tensors = {
        # copies: a block that stands under several names is written under each of them
        name: t.to("cpu", kind if t.is_floating_point() else t.dtype, copy=True).contiguous()
        for name, t in net.state_dict().items()
    }
    wild = [name for name, t in tensors.items() if not torch.isfinite(t).all()]
    if wild:
        raise ModelError(f"{wild[0]} holds numbers that are not finite. The training has diverged; lower its rate.")
    data = save_tensors(tensors, {"card": dataclasses.replace(spec, sha256="").to_json()})
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return dataclasses.replace(spec, sha256=hashlib.sha256(data).hexdigest())


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], ModelSpec]:
    """Read tensors and card of a weight file.

    Raises
    ------
    ModelError
        If there is no such file, or it holds no card.
    CorruptFileError
        If it is damaged or truncated.
    """
    data = _bytes(Path(path))
    spec = card_in(data, where=str(path))
    return _tensors(data, str(path)), dataclasses.replace(spec, sha256=hashlib.sha256(data).hexdigest())


def read_plain(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file that need not hold a card; see `read_weights`."""
    data = _bytes(Path(path))
    has_card(data, where=str(path))  # the header is looked at before the library sees it
    return _tensors(data, str(path))


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ModelError(f"There is no weight file {path}.")
    if path.stat().st_size > SIZE_LIMIT:
        raise ModelError(f"{path} has {path.stat().st_size >> 20} MB; weight files have at most {SIZE_LIMIT >> 20}.")
    return path.read_bytes()


def _tensors(data: bytes, where: str) -> dict[str, Tensor]:
    try:
        return load_tensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptFileError(f"{where} is damaged: {error}. Fetch or train the model again.") from error


def fill(net: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Put tensors into a net, every one and no other; room for a net that was built without numbers is made then.

    Raises
    ------
    ModelError
        If a name, shape or kind does not fit, or a number is not finite.
    """
    own = net.state_dict()
    for name, want in own.items():
        got = tensors.get(name)
        if got is None:
            raise ModelError(f"{where} lacks the tensor {name}, which its card promises. Fetch or train it again.")
        if got.shape != want.shape or got.is_floating_point() != want.is_floating_point():
            raise ModelError(
                f"{where}: {name} is {got.dtype} {tuple(got.shape)}, but its card promises {tuple(want.shape)}."
            )
        if not torch.isfinite(got).all():
            raise ModelError(f"{where}: {name} holds numbers that are not finite. Fetch or train it again.")
    extra = sorted(set(tensors) - set(own))
    if extra:
        raise ModelError(f"{where} holds {extra[0]}, which its card knows nothing of. Fetch or train it again.")
    if any(t.is_meta for t in own.values()):
        net.to_empty(device="cpu")
    net.load_state_dict({name: tensors[name].to(want.dtype) for name, want in own.items()})


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
        If this is not a safetensors file.
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
        raise CorruptFileError(f"{where} is not a safetensors file, or is truncated. Fetch or train the model again.")
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
