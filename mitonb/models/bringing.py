"""Bring models onto this machine and hand them on: pull from their makers, import from files, export to files."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mitonb.errors import ChecksumError, DownloadError, InputError, ModelError
from mitonb.files import atomic_write
from mitonb.models.archive import read_tensors
from mitonb.models.descriptions import read_description, unpacked, written
from mitonb.models.download import fetching, sha256_of
from mitonb.models.folder import Installed, add_installed, installed_as, model_folder, pinned, plain_name
from mitonb.models.foreign import kind_of, read_foreign
from mitonb.models.layouts import NETS, encoder_from
from mitonb.models.published import PUBLISHED, published
from mitonb.models.spec import ModelSpec, specs
from mitonb.models.weights import write_weights
from mitonb.models.zoo import read_net

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitonb.job import Progress

__all__ = ["export", "import_model", "pulling"]


def pulling(
    name: str,
    *,
    address: str | None = None,
    sha256: str = "",
    patience: float = 30.0,
    trust_code: str | None = None,
) -> Generator[Progress, None, Installed]:
    """Fetch a published model, check that it is the net it should be, and pin its hash, as a generator.

    Parameters
    ----------
    name : str
        One of `PUBLISHED`, or the path of a description (.yaml) that names its weights by address.
    address : str, optional
        Take it from there instead, such as a mirror.
    sha256 : str
        The hash that it must have, in hexadecimal. If it came to this machine before, it must be the same again.
    patience : float
        Seconds to wait for an answer.
    trust_code : str, optional
        As for `mitonb.load_model`. It is not remembered: whoever runs the model says it again.

    Returns
    -------
    Installed
        The model; `spec.sha256` is the hash that was pinned.

    Raises
    ------
    MitonbError
        As `fetching` and `read_foreign`.
    """
    known, file, address = _wanted(name, address)
    folder = _writable()
    pin = sha256.removeprefix("sha256:").lower() or pinned(known.name)
    found: list[ModelSpec] = []
    target = yield from fetching(
        address, folder / file, sha256=pin, patience=patience,
        check=lambda part: found.append(_looked_at(part, known, trust_code)),
    )  # fmt: skip
    card = found[0] if found else _looked_at(target, known, trust_code)
    if pin and card.sha256 != pin:
        raise ChecksumError(
            f"{target} has the hash sha256:{card.sha256}, but sha256:{pin} was pinned. Delete it and pull it again; "
            "if that does not help, ask its makers before you trust it."
        )
    return add_installed(card, file, address)


def import_model(path: str | Path, name: str | None = None, *, trust_code: str | None = None) -> Installed:
    """Copy a model into the model folder under a name.

    Parameters
    ----------
    path : path
        A .safetensors file with a card, a TorchScript archive or checkpoint, an exchange file (.empanada), or a
        description (.yaml) beside its weights.
    name : str, optional
        Its name from now on; that of the file by default. With the name of a published model it is taken as that one.
    trust_code : str, optional
        As for `mitonb.load_model`. It is not remembered: whoever runs the model says it again.

    Raises
    ------
    InputError
        If the name is taken by another model.
    MitonbError
        If the file cannot be read, or holds no net that is known here.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ModelError(f"There is no file {path}.")
    name = plain_name(name or path.name.partition(".")[0])
    if name in specs():
        raise InputError(f"{name} is the name of a bundled model. Give another one: --name NAME")
    if name in PUBLISHED:
        card = _looked_at(path, PUBLISHED[name].card, trust_code)
    elif kind_of(path) == "safetensors":
        card = dataclasses.replace(read_net(path)[1], name=name)
    else:
        card = dataclasses.replace(read_foreign(path, trust_code=trust_code)[1], name=name)
    old = pinned(name)
    if old and old != card.sha256:
        raise InputError(
            f"{name} is another model already (sha256:{old[:12]}...; this one is sha256:{card.sha256[:12]}...). "
            "Give another name: --name NAME"
        )
    data, suffix = _weights_of(path)
    file = f"{name}{suffix}"
    folder = _writable()
    try:
        with atomic_write(folder / file) as temporary:
            temporary.write_bytes(data)
            if sha256_of(temporary) != card.sha256:
                raise ModelError(f"{path} changed while it was read. Import it again.")
    except OSError as error:
        raise DownloadError(f"{folder} cannot be written: {error.strerror or error}.") from error
    return add_installed(card, file, str(path.absolute()))


def export(name: str, out: str | Path) -> Path:
    """Write a model into a file to hand on.

    Parameters
    ----------
    name : str
        Name of a model on this machine.
    out : path
        Ends in .safetensors (any model, with its card), or in .empanada (a state dict and a description, for nets of
        MitoNet's kinds). Replaced if it is there.

    Raises
    ------
    ModelError
        If there is no such model.
    InputError
        If the ending is another one, or the model has no description in that form.
    """
    out = Path(out).expanduser()
    one = installed_as(name)
    if one is None:
        raise ModelError(f"There is no model {name!r} on this machine. See: mitonb models list")
    net, spec = read_net(name)
    if out.suffix == ".safetensors":
        write_weights(net, spec, out, half=False)
    elif out.suffix != ".empanada":
        raise InputError(f"A model is exported to .safetensors or .empanada, got {out.name!r}.")
    elif spec.architecture not in NETS:
        raise InputError(f"{name} is a {spec.architecture}, which empanada does not know. Export it to .safetensors.")
    else:
        buffer = io.BytesIO()
        torch.save(net.state_dict(), buffer)
        data = written(name, buffer.getvalue(), dataclasses.asdict(spec), spec.padding or spec.multiple)
        with atomic_write(out) as temporary:
            temporary.write_bytes(data)
    return out


def _wanted(name: str, address: str | None) -> tuple[ModelSpec, str, str]:
    """Return the card, the file and the address of what is to be pulled."""
    path = Path(name).expanduser()
    if path.suffix.lower() in (".yaml", ".yml") and path.is_file():
        told = read_description(path)
        if "://" not in told.weights:
            raise InputError(f"{name} names weights on this machine. Bring them in with: mitonb models import {name}")
        card = ModelSpec(
            name=plain_name(path.stem), **{"mean": 0.57571, "std": 0.12765, **told.card}, intensity="range"
        )
        if card.name in specs() or card.name in PUBLISHED:
            raise InputError(f"{card.name} is the name of another model. Rename the description {name}.")
        return card, f"{card.name}.pth", address or told.weights
    one = published(name)
    return one.card, one.file, address or one.address


def _looked_at(path: Path, known: ModelSpec, trust_code: str | None) -> ModelSpec:
    """Read the weights and return the card with all that they tell; raises if they are not what they should be."""
    if known.architecture == "encoder":
        encoder_from(read_tensors(path), where=path.name)
        return dataclasses.replace(known, sha256=sha256_of(path))
    card = read_foreign(path, known=known, trust_code=trust_code)[1]
    if known.name in PUBLISHED and card.architecture != known.architecture:
        raise ModelError(f"{path.name} is a {card.architecture}, but {known.name} is a {known.architecture}.")
    return dataclasses.replace(card, name=known.name)


def _weights_of(path: Path) -> tuple[bytes | bytearray, str]:
    """Return the bytes of the weights that a file holds or names, and the ending for them."""
    match kind_of(path):
        case "safetensors":
            return path.read_bytes(), ".safetensors"
        case "exchange":
            return unpacked(path)[2], ".pth"
        case "description":
            beside = path.parent / Path(read_description(path).weights.replace("\\", "/")).name
            return beside.read_bytes(), ".pth"
    return path.read_bytes(), ".pth.tar" if path.name.endswith(".tar") else ".pth"


def _writable() -> Path:
    """Return the model folder, made if need be."""
    folder = model_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"The model folder {folder} cannot be made: {error.strerror}. Set MITONB_MODEL_DIR."
        ) from error
    if not os.access(folder, os.W_OK):
        raise DownloadError(f"The model folder {folder} is read-only. Let MITONB_MODEL_DIR name one of your own.")
    return folder
