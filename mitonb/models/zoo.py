"""The zoo: models by name or by file, ready to run; pulled from their makers, imported and exported."""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mitonb.errors import CorruptFileError, DownloadError, InputError, ModelError
from mitonb.files import atomic_write, explain_write
from mitonb.job import Progress
from mitonb.models.checkpoints import NETS, card_for, net_from
from mitonb.models.download import fetching, sha256_of
from mitonb.models.exchange import Trusted, read_description, read_norms, trusted, unwrapped
from mitonb.models.folder import (
    PUBLISHED,
    Installed,
    add_installed,
    installed_as,
    model_folder,
    model_names,
    pinned,
    plain_name,
)
from mitonb.models.onnx import OnnxNet, onnx_net
from mitonb.models.spec import ModelSpec, printable, specs
from mitonb.models.unet import UNet
from mitonb.models.weights import Archive, fill, read_archive, read_weights

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"unet": UNet, "panoptic_unet": UNet, **NETS}
"""Nets that a card may name; "panoptic_unet" is what cards of version 0.1 call a U-Net."""


@dataclass(frozen=True, eq=False)
class Model:
    """A net that is ready to run, with its card.

    Attributes
    ----------
    spec : ModelSpec
        The card.
    net : nn.Module
        In evaluation mode. Takes (n, 1, [d,] h, w) float32 normalised pictures whose sides are multiples
        of `spec.multiple`; returns logits by the names of heads (`mitonb.maps.HEADS`).
    program : Path, optional
        Its 8-bit program (.xml) for OpenVINO, where its card has one.
    """

    spec: ModelSpec
    net: nn.Module
    program: Path | None = None

    def normalise(self, image: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]:
        """Return grey values as the net wants them; see `ModelSpec.normalise`."""
        return self.spec.normalise(image, low, high)

    def __repr__(self) -> str:
        return f"Model({self.spec.name!r}, {self.spec.architecture}, sha256 {self.spec.sha256[:8]})"


def load_model(name_or_path: str | Path = "mito-mini", *, trust_code: str | None = None) -> Model:
    """Load a model by its name, or from a weight file. No code in the file is run.

    Parameters
    ----------
    name_or_path : str or path
        A name that `mitonb models list` shows as bundled or here, or the path of weights: .safetensors as `mitonb
        train` writes them, a MitoNet export, checkpoint or state dict (.pth, .pth.tar, .safetensors), an exchange file
        (.empanada), or a description (.yaml) beside its weights.
    trust_code : str, optional
        "sha256:..." of an exported network whose own code may run on this computer. Only used where the tensors alone
        are not enough, as for quantised models; the error then tells the hash.

    Raises
    ------
    InputError
        If this is no name and no path.
    ModelError
        If the name is unknown, or the file is missing or not what its card says.
    UntrustedModelError
        If only the code in the file can run it, and its hash was not given.
    MitonbError
        If the file is damaged, or asks for anything but tensors.
    """
    net, spec = read_net(name_or_path, trust_code=trust_code)
    if isinstance(net, Trusted | OnnxNet):
        return Model(spec, net)
    return Model(spec, channels_last(net), program_of(_find(name_or_path)[0], spec))


def read_net(name_or_path: str | Path, *, trust_code: str | None = None) -> tuple[nn.Module, ModelSpec]:
    """Read weights into a net that can be trained on, and their card with the file's hash.

    Parameters
    ----------
    name_or_path, trust_code
        As for `load_model`.

    Raises
    ------
    MitonbError
        As `load_model`.
    """
    path, card = _find(name_or_path)
    net, spec = read_file(path, known=card, trust_code=trust_code)
    if card is not None and card.sha256 and card.sha256 != spec.sha256:
        raise CorruptFileError(
            f"{path} has the hash {spec.sha256[:12]}, but {card.sha256[:12]} was pinned. It was changed or damaged: "
            "delete it and install, pull or import it again."
        )
    return net, card or spec


def read_file(
    path: Path, *, known: ModelSpec | None = None, trust_code: str | None = None
) -> tuple[nn.Module, ModelSpec]:
    """Read a net, in evaluation mode, and its card with the hash of its weights from a file.

    Parameters
    ----------
    path : path
        As for `load_model`.
    known : ModelSpec, optional
        A card that is known already; only what the tensors of a foreign file tell is added to it.
    trust_code : str, optional
        As for `load_model`.

    Raises
    ------
    MitonbError
        As `load_model`.
    """
    try:
        told, name, data = unwrapped(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    if name.endswith(".onnx"):
        onnx, card = onnx_net(data, where=printable(path.name))
        return onnx.eval(), dataclasses.replace(card, sha256=hashlib.sha256(data).hexdigest())
    where, plain = printable(name), data[8:9] == b"{"
    model = path.stem.removesuffix(".pth") if known is None else known.name
    fields = {**({} if known is None else {field: getattr(known, field) for field in _UNTOLD}), **told.card}
    try:
        tensors, own = read_weights(data, where=where) if plain else (None, None)
        if tensors is not None and own is not None:
            with torch.device("meta"):  # no room is made for what a card says before the tensors agree
                net = build(own)
            fill(net, tensors, where=where)
            return net.eval(), own
        archive = read_archive(path, data) if tensors is None else Archive(tensors)
        net, found = net_from(archive.tensors, where=where)
    except ModelError as error:
        if plain:
            raise
        return trusted(data, error, model, fields, trust_code)
    with contextlib.suppress(ModelError):  # whatever a checkpoint has under that name
        fields = {**read_norms(archive.norms, where), **fields}
    card = card_for(net, found, model, **fields)
    return net, dataclasses.replace(card, sha256=hashlib.sha256(data).hexdigest())


_UNTOLD = ("title", "classes", "things", "intensity", "mean", "std", "padding", "licence", "papers", "data", "notes")
"""Fields of a card that tensors do not tell."""


def program_of(weights: Path, spec: ModelSpec) -> Path | None:
    """Return the 8-bit program beside a weight file, if the card has one and it was not left behind.

    Raises
    ------
    CorruptFileError
        If it is not the one that the card tells of.
    """
    program = weights.with_suffix(".int8.xml")
    for ending in ("xml", "bin") if spec.program else ():
        file = program.with_suffix(f".{ending}")
        if not file.is_file():
            return None
        if sha256_of(file) != spec.program.get(ending):
            raise CorruptFileError(
                f"{file} is not the program that the card of {spec.name} tells of. Delete it: the model then runs in "
                "fp32. Or install the model again."
            )
    return program if spec.program else None


def build(spec: ModelSpec) -> nn.Module:
    """Build the net that a card describes, with fresh weights.

    Raises
    ------
    ModelError
        If the card names an unknown architecture, arguments that do not fit it, or not what the net is.
    """
    if spec.architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ModelError(f"{spec.name} wants the architecture {spec.architecture!r}; this version knows {known}.")
    config = dict(spec.config)
    if ARCHITECTURES[spec.architecture] is UNet:
        config = {"classes": len(spec.classes), "heads": spec.heads, "dimension": spec.dimension, **config}
    try:
        net: Any = ARCHITECTURES[spec.architecture](**config)
    except (TypeError, ValueError, IndexError, KeyError, RuntimeError, ArithmeticError) as error:
        raise ModelError(f"{spec.name}: its card describes no {spec.architecture}: {error}.") from error
    own = {name: getattr(net, name) for name in ("heads", "dimension", "output_stride", "multiple")}
    own["classes"] = config.get("classes") or max(1, config.get("channels", 1) - 1)
    told = {name: getattr(spec, name) for name in own} | {"classes": len(spec.classes)}
    if "center" not in spec.heads:  # the others stand at full resolution
        told["output_stride"] = own["output_stride"]
    if spec.multiple % own["multiple"] or {**told, "multiple": own["multiple"]} != own:
        raise ModelError(f"{spec.name}: its card tells of {told}, but its net has {own}. Fetch it again.")
    return net


def _find(name_or_path: str | Path) -> tuple[Path, ModelSpec | None]:
    """Return the weight file and, for a model that has a name here, its card."""
    name = os.fspath(name_or_path) if isinstance(name_or_path, str | os.PathLike) else None
    if not isinstance(name, str):
        raise InputError(f"A model is a name, or the path of its weights, got {printable(repr(name_or_path))}.")
    one = installed_as(name)
    if one is not None:
        return one.path, one.spec
    path = os.path.expanduser(name)
    if os.path.isfile(path):
        return Path(path), None
    if name in PUBLISHED:
        raise ModelError(f"{name} is not on this machine yet. Fetch it with: mitonb models pull {name}")
    listed = ", ".join(model_names()) or "none"
    raise ModelError(f"There is no model {printable(name)!r}. Here are: {listed}. Or give the path of weights.")


def channels_last(net: nn.Module) -> nn.Module:
    """Lay the weights out as convolutions on processors like them best: twice as fast there."""
    three = any(isinstance(part, nn.Conv3d) for part in net.modules())
    layout = torch.channels_last_3d if three else torch.channels_last
    return net.to(memory_format=layout)  # type: ignore[call-overload]


# ----------------------------------------------------------------------------------------------- pull, import, export


def pulling(
    name: str, *, address: str | None = None, sha256: str = "", patience: float = 30.0, trust_code: str | None = None
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
        As `fetching` and `load_model`.
    """
    known, file, usual = _wanted(name)
    address = address or usual
    folder = writable_folder()
    check = partial(_checked, known=known, trust_code=trust_code)
    pin = sha256.removeprefix("sha256:").lower() or pinned(known.name)
    target = yield from fetching(address, folder / file, sha256=pin, patience=patience, check=check)
    card = check(target)
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
    known = PUBLISHED[name].card if name in PUBLISHED else None
    card = dataclasses.replace(_checked(path, known, trust_code), name=name)
    old = pinned(name)
    if old and old != card.sha256:
        raise InputError(f"{name} is another model already (sha256:{old[:12]}...). Give another name: --name NAME")
    (_, file, data), folder = unwrapped(path), writable_folder()
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise ModelError(f"{path.name} was changed while it was read. Try again when nobody writes to it.")
    ending = ".onnx" if file.endswith(".onnx") else ".safetensors" if data[8:9] == b"{" else ".pth"
    target = folder / f"{name}{ending}"
    with explain_write(target), atomic_write(target) as temporary:
        temporary.write_bytes(data)
    return add_installed(card, target.name, str(path.absolute()))


def _wanted(name: str) -> tuple[ModelSpec, str, str]:
    """Return the card, the file and the address of what is to be pulled."""
    path = Path(name).expanduser()
    if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file():
        if name not in PUBLISHED:
            known = ", ".join(sorted(PUBLISHED))
            raise ModelError(f"There is no published model named {name!r}. The known ones are {known}.")
        return PUBLISHED[name].card, f"{name}.pth", PUBLISHED[name].address
    told = read_description(path)
    if "://" not in told.weights:
        raise InputError(f"{name} names weights on this machine. Bring them in with: mitonb models import {name}")
    if path.stem in specs() or path.stem in PUBLISHED:
        raise InputError(f"{path.stem} is the name of another model. Rename the description {name}.")
    card = ModelSpec(name=plain_name(path.stem), intensity="range", **{"mean": 0.57571, "std": 0.12765, **told.card})
    return card, f"{card.name}.pth", told.weights


def _checked(path: Path, known: ModelSpec | None, trust_code: str | None) -> ModelSpec:
    """Read the weights and return the card with all that they tell; raises if they are not what they should be."""
    card = read_file(path, known=known, trust_code=trust_code)[1]
    if known is None:
        return card
    if known.name in PUBLISHED and card.architecture != known.architecture:
        raise ModelError(f"{path.name} is a {card.architecture}, but {known.name} is a {known.architecture}.")
    return dataclasses.replace(card, name=known.name)


def writable_folder() -> Path:
    """Return the model folder, made if need be."""
    folder, reason = model_folder(), "it is read-only"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fits = os.access(folder, os.W_OK)
    except OSError as error:
        fits, reason = False, error.strerror or str(error)
    if not fits:
        raise DownloadError(f"The model folder {folder} cannot be used: {reason}. Let MITONB_MODEL_DIR name your own.")
    return folder
