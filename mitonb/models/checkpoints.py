"""State dicts of MitoNet's makers: recognised, renamed, measured and poured into nets of ours.

Two layouts are known. A training *checkpoint* has convolutions and BatchNorms apart. An *export* (the published files)
has the norms folded into the convolutions, and one more level in the names where a ReLU was joined to them. Both end up
under the names of our modules; the difference is remembered as `folded`. Nothing here runs code from a file: it sees
names and tensors.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mitonb.errors import ModelError
from mitonb.models.encoder import DEPTHS, Encoder
from mitonb.models.panoptic import ContourDeepLab, PanopticBiFPN, PanopticDeepLab, Rendered
from mitonb.models.spec import ModelSpec
from mitonb.models.weights import fill

NETS: dict[str, type[Rendered]] = {
    "panoptic_deeplab": PanopticDeepLab,
    "contour_deeplab": ContourDeepLab,
    "panoptic_bifpn": PanopticBiFPN,
}
"""Architectures by the name that a card gives them."""

_JOINED = re.compile(
    r"""(
    encoder\.conv1 | layer\d\.\d+\.conv\d               # stem and blocks
    | aspp\.convs\.\d+\.0 | aspp_pooling\.1 | aspp\.project\.0 | decoder\.project\.\d+\.0
    | fc_layers\.\d+\.0
    )\.0\.(weight|bias)$""",
    re.VERBOSE,
)
"""What an export names one level deeper, since a ReLU was joined to it."""

_WATCHING = re.compile(r"(^|\.)(activation_post_process|weight_fake_quant)\.")
"""What PyTorch hangs into a net to measure or imitate quantisation."""


class Recognised(NamedTuple):
    """What a state dict turned out to be.

    Attributes
    ----------
    architecture : str
        Key of `NETS`.
    config : dict
        Arguments of the architecture.
    tensors : dict
        The tensors under the names of our modules.
    """

    architecture: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]


def net_from(tensors: Mapping[str, Tensor], *, where: str) -> tuple[Rendered, Recognised]:
    """Build the net that a state dict is of, and fill it.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        A training checkpoint's `state_dict` or the tensors of an exported archive.
    where : str
        Path for messages.

    Returns
    -------
    net : Rendered
        In evaluation mode.
    found : Recognised
        Architecture and arguments, for a card.

    Raises
    ------
    ModelError
        If this is no net that is known here, or a tensor is missing, left over, or of another shape.
    """
    found = recognise(tensors, where=where)
    try:
        with torch.device("meta"):  # every number comes from the file: none is drawn first
            net = NETS[found.architecture](**found.config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{where} describes no {found.architecture}: {error}.") from error
    fill(net, found.tensors, where=f"{where} ({found.architecture})")
    for name, tensor in found.tensors.items():
        first = re.sub(r"after_combines\.\d", "after_combines.0", name)
        if first != name and not torch.equal(found.tensors[first], tensor):
            raise ModelError(f"{where}: {name} and {first} should be one tensor twice, but they differ.")
    return net.eval(), found


def recognise(tensors: Mapping[str, Tensor], *, where: str) -> Recognised:
    """Tell architecture and widths from names and shapes; see `net_from`."""
    named = _bare(tensors, where)
    if "semantic_fpn.bifpns.0.top_down_fpn.weights" in named:
        architecture, config = "panoptic_bifpn", _bifpn(named, where)
    elif any(name.startswith("semantic_decoder.aspp.") for name in named):
        contours = any(name.startswith("boundary_head.") for name in named)
        architecture = "contour_deeplab" if contours else "panoptic_deeplab"
        config = _deeplab(named, where)
        rates = _count(named, r"semantic_decoder\.aspp\.convs\.(\d+)\.") - 2
        if rates != 3:
            raise ModelError(
                f"{where}: its pyramid looks at {rates} distances, which shapes do not tell: only nets that look at 3, "
                "as the published ones do, are read."
            )
    else:
        some = ", ".join(sorted(named)[:3]) or "none"
        raise ModelError(
            f"{where} belongs to no network that mitonb knows; it knows {', '.join(NETS)}. Its {len(named)} tensors "
            f"begin with {some}."
        )
    config = {
        "encoder": _encoder_name(_under(named, "encoder."), where),
        "channels": _shape(named, "semantic_head.head.1.weight", where)[0],
        **config,
        "folded": "encoder.conv1.bias" in named,
    }
    if architecture != "panoptic_bifpn":
        # Dilation leaves no trace in shapes: as published, where the blocks allow it.
        config["stride"] = 16 if DEPTHS[config["encoder"]][0] == "bottleneck" else 32
    return Recognised(architecture, config, named)


def card_for(net: Rendered, found: Recognised, name: str, **card: Any) -> ModelSpec:
    """Return the card of a net, normalised as all published models are unless the card says otherwise.

    Parameters
    ----------
    net, found
        From `net_from`.
    name : str
        Name of the model.
    **card
        Other fields of the card.

    Raises
    ------
    ModelError
        If the card names more or fewer classes than the net has.
    """
    count = max(1, found.config["channels"] - 1)
    named = card.get("classes")
    if named is not None and len(named) != count:
        raise ModelError(
            f"{name} is said to know {len(named)} classes ({', '.join(named)}), but its net has {count}. Correct "
            "class_names in its description, or take the weights that belong to it."
        )
    classes = ("mitochondrion",) if count == 1 else tuple(f"class {k + 1}" for k in range(count))
    own = {key: getattr(net, key) for key in ("heads", "output_stride", "pixel_offset", "multiple")}
    fields: dict[str, Any] = {"classes": classes, "intensity": "range", "mean": 0.57571, "std": 0.12765, **own, **card}
    return ModelSpec(name=name, architecture=found.architecture, config=found.config, **fields)


def _bare(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the weights under the names of our modules.

    Weights are real numbers: counters, flags and configuration are whole ones, and no net needs them.
    """
    tensors = {name: t for name, t in tensors.items() if not _WATCHING.search(name)}
    if any(name.endswith(("zero_point", "_packed_params")) for name in tensors):
        raise ModelError(f"{where} is quantised: its integers fit no net of mitonb. Take the one that is not.")
    # Training on several devices puts "module." before every name.
    prefix = "module." if all(name.startswith("module.") for name in tensors) else ""
    real = {name.removeprefix(prefix): t for name, t in tensors.items() if t.is_floating_point()}
    return {_JOINED.sub(r"\1.\2", name): t for name, t in real.items()}


def _under(named: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in named.items() if name.startswith(prefix)}


def _shape(named: Mapping[str, Tensor], name: str, where: str) -> tuple[int, ...]:
    if name not in named:
        raise ModelError(f"{where} lacks the tensor {name}, so its widths are unknown. Fetch or export it again.")
    shape = tuple(named[name].shape)
    if len(shape) != 4:
        raise ModelError(f"{where}: {name} should be the weight of a convolution (4 axes), got shape {shape}.")
    return shape


def _count(named: Iterable[str], pattern: str) -> int:
    """Return how many different things a pattern's group finds."""
    return len({found[1] for name in named if (found := re.match(pattern, name))})


def _encoder_name(inner: Mapping[str, Tensor], where: str) -> str:
    """Return which encoder it is, by kind of block and blocks of each stage."""
    kind = "bottleneck" if "layer1.0.conv3.weight" in inner else "basic"
    depths = tuple(_count(inner, rf"layer{k}\.(\d+)\.") for k in (1, 2, 3, 4))
    for name, known in DEPTHS.items():
        if (kind, depths) == known:
            return name
    raise ModelError(f"{where}: its encoder has {kind} blocks {depths}; the known ones are {', '.join(DEPTHS)}.")


def _deeplab(named: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """Return the decoder's arguments."""
    side = [
        _shape(named, f"semantic_decoder.project.{k}.0.weight", where)
        for k in range(_count(named, r"semantic_decoder\.project\.(\d+)\."))
    ]
    with torch.device("meta"):
        widths = Encoder(_encoder_name(_under(named, "encoder."), where)).widths
    if wrong := [shape[1] for shape in side if shape[1] not in widths]:
        raise ModelError(f"{where}: its decoder is joined by {wrong[0]} channels, but its encoder has {widths}.")
    config: dict[str, Any] = {
        "decoder_channels": _shape(named, "semantic_head.head.1.weight", where)[1],
        # From the end: of two features of one width, the stem and the first stage of basic blocks, take the stage.
        "low_level_stages": [len(widths) - 1 - widths[::-1].index(shape[1]) for shape in side],
        "low_level_channels": [shape[0] for shape in side],
        "aspp_channels": _shape(named, "semantic_decoder.aspp.project.0.weight", where)[0],
        "ins_decoder": "instance_decoder.aspp.project.0.weight" in named,
    }
    if config["ins_decoder"]:
        names = [f"instance_decoder.project.{k}.0.weight" for k in range(len(side))]
        config["ins_low_level_channels"] = [_shape(named, name, where)[0] for name in names]
    return config


def _bifpn(named: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """Return the pyramid's arguments."""
    return {
        "fpn_dim": _shape(named, "semantic_head.head.1.weight", where)[1],
        "fpn_layers": _count(named, r"semantic_fpn\.bifpns\.(\d+)\."),
        "ins_decoder": any(name.startswith("instance_fpn.") for name in named),
        "depthwise": "semantic_fpn.bifpns.0.top_down_fpn.after_combines.0.0.sepconv.0.weight" in named,
    }
