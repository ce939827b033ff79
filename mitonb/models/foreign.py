"""Networks from files that others wrote: exports, checkpoints, exchange files and descriptions become nets of ours.

Their code is not run. One way to run it is at the end of this file, and it opens only to the hash of the very file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from mitonb.errors import CorruptFileError, ModelError, UntrustedModelError
from mitonb.models.archive import read_archive
from mitonb.models.descriptions import Description, read_description, unpacked
from mitonb.models.download import sha256_of
from mitonb.models.layouts import card_for, net_from
from mitonb.models.members import Members
from mitonb.models.spec import ModelSpec, printable
from mitonb.models.weights import HEADER_LIMIT, has_card, read_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["Trusted", "is_foreign", "kind_of", "read_foreign"]

Kind = Literal["safetensors", "archive", "exchange", "description"]


def kind_of(path: Path) -> Kind:
    """Tell what a weight file is from its first bytes; its name decides only between texts.

    Raises
    ------
    ModelError
        If it is a pickle of PyTorch before 1.6.
    CorruptFileError
        If it is nothing that is read here.
    """
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:9] == b"{":
        return "safetensors"
    if head[:2] == b"PK":
        with Members(path) as members:
            return "archive" if any(n.endswith("/data.pkl") for n in members.sizes) else "exchange"
    if path.suffix.lower() in (".yaml", ".yml"):
        return "description"
    if head[:1] == b"\x80":
        raise ModelError(
            f"{path.name} is a pickle as PyTorch wrote it before 1.6, which is not read here because it can run code. "
            "Where you trust it, load it with PyTorch and torch.save its state dict again."
        )
    raise CorruptFileError(f"{path.name} is not a file of weights (such as .safetensors), or it is truncated.")


def is_foreign(path: Path) -> bool:
    """Whether a file is not in our own format; what is no weight file at all is left to the reader of ours."""
    try:
        if kind_of(path) != "safetensors":
            return True
        with path.open("rb") as file:
            return not has_card(file.read(8 + HEADER_LIMIT), where=str(path))
    except CorruptFileError:
        return False


def read_foreign(
    path: Path, *, known: ModelSpec | None = None, trust_code: str | None = None
) -> tuple[nn.Module, ModelSpec]:
    """Read a net from a file that others wrote.

    Parameters
    ----------
    path : path
        A TorchScript archive or checkpoint, a state dict as safetensors, an exchange file (.empanada), or a description
        (.yaml) beside its weights.
    known : ModelSpec, optional
        A card that is known already; only what the tensors tell is added to it.
    trust_code : str, optional
        "sha256:..." of an archive whose own code may run, if its tensors alone are not enough.

    Returns
    -------
    net : nn.Module
        In evaluation mode.
    spec : ModelSpec
        Its card, with the hash of the file that holds the weights.

    Raises
    ------
    UntrustedModelError
        If only its own code can run it and the hash was not given; the message tells the hash.
    ModelError
        If it holds no net that is known here.
    MitonbError
        As `read_archive`.
    """
    description, name, inside = Description("", {}), path.name, None
    match kind_of(path):
        case "exchange":
            description, name, inside = unpacked(path)
        case "description":
            description = read_description(path)
            path = _beside(path, description.weights)
            name = path.name
            if kind_of(path) not in ("archive", "safetensors"):
                raise ModelError(f"The description names {printable(name)}, which is not an archive of weights.")
    given = dataclasses.asdict(known) if known is not None else {}
    fields = {**_told(given), **description.card}
    spec = known.name if known is not None else path.stem.removesuffix(".pth")
    digest = hashlib.sha256(inside).hexdigest() if inside is not None else sha256_of(path)
    try:
        tensors, facts = _read(path, inside)
        net, found = net_from(tensors, where=printable(name))
    except ModelError as error:
        if inside is None and kind_of(path) == "safetensors":
            raise
        data = path.read_bytes() if inside is None else bytes(inside)
        return _by_its_code(data, error, spec, fields, trust_code)
    card = card_for(net, found, spec, **{**_norms(facts), **fields})
    return net, dataclasses.replace(card, sha256=digest)


def _read(path: Path, inside: bytes | bytearray | None) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Return tensors by name, and what else a checkpoint says."""
    if inside is None and kind_of(path) == "safetensors":
        return read_plain(path), {}
    archive = read_archive(path, inside)
    return archive.tensors, archive.facts


def _told(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a card that tensors do not tell."""
    kept = ("title", "classes", "things", "intensity", "mean", "std", "padding", "licence", "papers", "data", "notes")
    return {name: card[name] for name in kept if name in card}


def _norms(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normalisation that a checkpoint carries."""
    norms = facts.get("norms")
    if isinstance(norms, dict):
        norms = [norms.get("mean"), norms.get("std")]
    if not isinstance(norms, list) or len(norms) != 2 or not all(isinstance(v, float) and 0 < v < 10 for v in norms):
        return {}
    return {"mean": norms[0], "std": norms[1]}


def _beside(description: Path, weights: str) -> Path:
    """Return the weights that a description names: a file in its own folder, never elsewhere."""
    if "://" in weights:
        raise ModelError(
            f"{description.name} names weights on the network. Fetch them with: mitonb models pull {description}"
        )
    path = description.parent / Path(weights.replace("\\", "/")).name
    if not weights or not path.is_file():
        raise ModelError(f"{description.name} names the weights {printable(weights)!r}, which are not beside it.")
    return path


# ------------------------------------------------------------------------------------------------------ trusted code


class Trusted(nn.Module):
    """An exported network that runs by the code of its file. Takes and gives what our nets do."""

    heads = ("semantic", "center", "offsets")
    dimension = 2
    output_stride = 4
    pixel_offset = 1.5
    full_steps = 2

    def __init__(self, scripted: nn.Module) -> None:
        super().__init__()
        self.scripted = scripted
        self.multiple = self._smallest_multiple()

    def forward(self, x: Tensor, render_steps: int = full_steps, interpolate: bool = False) -> dict[str, Tensor]:
        """Map normalised planes to the heads, as `mitonb.models.rendered.Rendered` does."""
        try:
            y = self.scripted(x, render_steps, interpolate)
        except (RuntimeError, torch.jit.Error) as error:
            last = str(error).strip().rpartition("\n")[2]
            raise ModelError(f"The code of this model failed: {printable(last, 300)}.") from error
        names = ("sem_logits", "ctr_hmp", "offsets")
        if not isinstance(y, dict) or not all(isinstance(y.get(name), torch.Tensor) for name in names):
            raise ModelError(f"The code of this model gives no {', '.join(names)}, as MitoNet's does.")
        semantic, center, offsets = (y[name].float() for name in names)
        (n, _, h, w), many = x.shape, semantic.shape[1] if semantic.ndim == 4 else 1
        fine = 2.0 ** (render_steps - self.full_steps)
        step = 1 if interpolate else self.output_stride
        wanted = (
            (n, many, int(h * fine), int(w * fine)), (n, 1, h // step, w // step), (n, 2, h // step, w // step),
        )  # fmt: skip
        got = tuple(tuple(head.shape) for head in (semantic, center, offsets))
        if got != wanted:
            raise ModelError(f"Of a picture of {h} x {w} the code of this model gives {got}, but {wanted} is needed.")
        return {"semantic": semantic, "center": center, "offsets": offsets}

    @torch.inference_mode()
    def _smallest_multiple(self) -> int:
        """Return what planes must be multiples of: the first size that works, since no file tells.

        Both sides are odd multiples, so that halving them further would not fit.
        """
        for multiple in (16, 32, 64):
            try:
                self.eval()(torch.zeros(1, 1, 5 * multiple, 7 * multiple))
            except ModelError:
                continue
            return multiple
        return 128


def _by_its_code(
    data: bytes, reason: ModelError, name: str, fields: Mapping[str, Any], trust_code: str | None
) -> tuple[nn.Module, ModelSpec]:
    """Run the code of an exported network if its user has named its hash; else say the hash and what trust means."""
    with Members(name, data) as members:
        scripted = any("/code/" in member for member in members.sizes)
    if not scripted:
        raise reason
    # The very bytes that are hashed are run: the file could be exchanged in between.
    digest = hashlib.sha256(data).hexdigest()
    if trust_code != f"sha256:{digest}":
        given = f" (you gave {printable(str(trust_code))})" if trust_code else ""
        raise UntrustedModelError(
            f"{reason} It can only be run by the code in it, which can do on this computer whatever you can{given}. If "
            f'you trust who made it: load_model(path, trust_code="sha256:{digest}"), or --trust-code sha256:{digest}'
        ) from reason
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the format is old; the files in it are there
            scripted_net = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
        net = Trusted(scripted_net).eval()
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{name} could not be loaded by its own code: {printable(str(error), 300)}") from error
    told: dict[str, Any] = {
        "intensity": "range",
        "mean": 0.57571,
        "std": 0.12765,
        "pixel_offset": net.pixel_offset,
        **fields,
    }
    return net, ModelSpec(
        name=name,
        architecture="torchscript",
        output_stride=net.output_stride,
        multiple=net.multiple,
        sha256=digest,
        **told,
    )
