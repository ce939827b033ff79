"""The zoo: models by name or by file, ready to run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mitonb.errors import CorruptFileError, InputError, ModelError
from mitonb.models.folder import installed_as, model_names
from mitonb.models.foreign import Trusted, is_foreign, read_foreign
from mitonb.models.layers import channels_last, fused
from mitonb.models.layouts import NETS
from mitonb.models.panoptic_unet import PanopticUNet
from mitonb.models.published import PUBLISHED
from mitonb.models.spec import printable
from mitonb.models.weights import fill, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from mitonb.models.spec import ModelSpec

__all__ = ["ARCHITECTURES", "Model", "build", "load_model", "read_net"]

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"panoptic_unet": PanopticUNet, **NETS}
"""Nets that a card may name."""


@dataclass(frozen=True, eq=False)
class Model:
    """A net that is ready to run, with its card.

    Attributes
    ----------
    spec : ModelSpec
        The card.
    net : nn.Module
        In evaluation mode on its device. Takes (n, 1, h, w) float32 normalised planes, h and w multiples of
        `spec.multiple`; returns logits by head name (`mitonb.models.spec.HEADS`).
    device : str
        Where it runs.
    """

    spec: ModelSpec
    net: nn.Module
    device: str = "cpu"

    def normalise(self, image: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]:
        """Return grey values as the net wants them.

        Parameters
        ----------
        image : (h, w) array of any real dtype
            One plane; what is not finite becomes a middle grey.
        low, high : float
            Black and white: `plane.contrast` or `plane.intensity`, as `spec.intensity` says.

        Returns
        -------
        (h, w) float32 array
        """
        return self.spec.normalise(image, low, high)

    def __repr__(self) -> str:
        return f"Model({self.spec.name!r}, {self.spec.architecture}, {self.device}, sha256 {self.spec.sha256[:8]})"


def load_model(name_or_path: str | Path = "mito-mini", *, device: str = "cpu", trust_code: str | None = None) -> Model:
    """Load a model by its name, or from a weight file. No code in the file is run.

    Parameters
    ----------
    name_or_path : str or path
        A name that `mitonb models list` shows as bundled or here, or the path of weights: .safetensors as `mitonb
        train` writes them, a MitoNet export, checkpoint or state dict (.pth, .pth.tar, .safetensors), an exchange file
        (.empanada), or a description (.yaml) beside its weights.
    device : str
        Where it shall run: "cpu", "cuda", "mps", or "auto" for the best that is there.
    trust_code : str, optional
        "sha256:..." of an exported network whose own code may run on this computer. Only used where the tensors alone
        are not enough, as for quantised models; the error then tells the hash.

    Raises
    ------
    InputError
        If this is no name, path or device.
    ModelError
        If the name is unknown, or the file is missing or not what its card says.
    UntrustedModelError
        If only the code in the file can run it, and its hash was not given.
    MitonbError
        If the file is damaged, or asks for anything but tensors.
    """
    net, spec = read_net(name_or_path, trust_code=trust_code)
    place = _device(device)
    if isinstance(net, Trusted):
        return Model(spec, net.to(place), place)
    return Model(spec, channels_last(fused(net).to(place)), place)


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
    try:
        net, spec = _read(path, card, trust_code)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    if card is None:
        return net.eval(), spec
    if card.sha256 and card.sha256 != spec.sha256:
        raise CorruptFileError(
            f"{path} has the hash {spec.sha256[:12]}, but {card.sha256[:12]} was pinned. It was changed or damaged: "
            "delete it and install, pull or import it again."
        )
    return net.eval(), card


def _read(path: Path, card: ModelSpec | None, trust_code: str | None) -> tuple[nn.Module, ModelSpec]:
    if is_foreign(path):
        return read_foreign(path, known=card, trust_code=trust_code)
    tensors, spec = read_weights(path)
    with torch.device("meta"):  # no room is made for what a card says before the tensors agree
        net = build(spec)
    fill(net, tensors, where=str(path))
    return net, spec


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
    try:
        net: Any = ARCHITECTURES[spec.architecture](**spec.config)
    except (TypeError, ValueError, IndexError, KeyError, RuntimeError, ArithmeticError) as error:
        raise ModelError(f"{spec.name}: its card describes no {spec.architecture}: {error}.") from error
    classes = spec.config.get("classes", 1) if "channels" not in spec.config else max(1, spec.config["channels"] - 1)
    wrong = (
        classes != len(spec.classes)
        or spec.multiple % net.multiple
        or any(getattr(net, name) != getattr(spec, name) for name in ("heads", "dimension", "output_stride"))
    )
    if wrong:
        raise ModelError(
            f"{spec.name}: its card tells of {len(spec.classes)} classes, heads {spec.heads}, stride "
            f"{spec.output_stride} and multiples of {spec.multiple} pixels, but its net has {classes}, {net.heads}, "
            f"{net.output_stride} and {net.multiple}. Fetch it again."
        )
    return net  # type: ignore[no-any-return]


def _find(name_or_path: str | Path) -> tuple[Path, ModelSpec | None]:
    """Return the weight file and, for a model that has a name here, its card."""
    name = os.fspath(name_or_path) if isinstance(name_or_path, str | os.PathLike) else None
    if not isinstance(name, str):
        raise InputError(f"A model is a name, or the path of its weights, got {printable(repr(name_or_path))}.")
    one = installed_as(name)
    if one is not None and one.spec.architecture == "encoder":
        raise ModelError(f"{name} is an encoder without a head: a start for training, not a model to segment with.")
    if one is not None:
        return one.path, one.spec
    path = os.path.expanduser(name)
    if os.path.isfile(path):
        return Path(path), None
    if name in PUBLISHED:
        raise ModelError(f"{name} is not on this machine yet. Fetch it with: mitonb models pull {name}")
    listed = ", ".join(model_names()) or "none"
    raise ModelError(
        f"There is no model {printable(name)!r}. Here are: {listed}. Or give the path of a file of weights."
    )


def _device(device: str) -> str:
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind = device.partition(":")[0] if isinstance(device, str) else ""
    if kind not in there:
        raise InputError(f"A device is one of {', '.join(there)} or auto, got {printable(repr(device))}.")
    if not there[kind]:
        raise ModelError(f'There is no {kind.upper()} device here. Use device "cpu", or "auto" for the best that is.')
    return device
