"""Weight files: safetensors with the model card inside. Reading one never runs code from it."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from mitonb.errors import CorruptFileError, ModelError
from mitonb.files import atomic_write
from mitonb.models.spec import ModelSpec, card_in, has_card

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["fill", "read_plain", "read_weights", "write_weights"]

SIZE_LIMIT = 4 << 30  # bytes


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
