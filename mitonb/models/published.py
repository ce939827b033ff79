"""Published models: their addresses and what is known about them. Their weights are fetched by `mitonb models pull`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mitonb.errors import ModelError
from mitonb.models.spec import ModelSpec

__all__ = ["PUBLISHED", "Published", "published"]

MEAN, STD = 0.57571, 0.12765
"""Normalisation that all of them were published with, after black is 0 and white is 1."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model that others have published.

    Attributes
    ----------
    card : ModelSpec
        What is known before its weights are here; architecture and widths are told by its tensors then.
    address : str
        Where the weights are.
    quantised : str
        Where their 8-bit form is, which only its own code can run; empty if there is none.
    kind : {"net", "encoder"}
        A network to segment with, or a pretrained encoder to train from.
    padding : int
        Multiple of pixels that its makers pad planes to.
    """

    card: ModelSpec
    address: str
    quantised: str = ""
    kind: Literal["net", "encoder"] = "net"
    padding: int = 16

    @property
    def file(self) -> str:
        """Name of the weight file in the model folder."""
        return f"{self.card.name}{'.pth.tar' if '.pth.tar' in self.address else '.pth'}"


def _zenodo(record: str, file: str) -> str:
    return f"https://zenodo.org/records/{record}/files/{file}?download=1"


def _card(
    name: str, title: str, structure: str, *, architecture: str, multiple: int, record: str, papers: tuple[str, ...],
    data: tuple[str, ...], notes: str,
) -> ModelSpec:  # fmt: skip
    return ModelSpec(
        name=name, title=title, architecture=architecture, classes=(structure,), multiple=multiple,
        heads=() if architecture == "encoder" else ("semantic", "center", "offsets"),
        intensity="range", mean=MEAN, std=STD, licence=f"as stated at https://zenodo.org/records/{record}",
        papers=papers, data=data, notes=notes,
    )  # fmt: skip


_STEM = "PanopticDeepLabPR_{}_panoptic_deeplab_pointrend{}.pth"
_DROPNET, _NUCLEONET = "b0d99498-6c99-4b45-844e-2b4dca58f24a", "5f023685-7433-404c-9f3d-692898aff9ab"
_PREPRINT = "NucleoNet and DropNet, preprint (2026). https://doi.org/10.64898/2026.04.02.713930"

_ALL = (
    Published(
        card=_card(
            "MitoNet_v1", "MitoNet: mitochondria in EM of many kinds", "mitochondrion",
            architecture="panoptic_deeplab", multiple=16, record="6861565", papers=("conrad2023", "cheng2020"),
            data=("CEM-MitoLab (EMPIAR-11037)",), notes="55 million parameters; slow without a GPU.",
        ),
        address=_zenodo("6861565", "MitoNet_v1.pth"), quantised=_zenodo("6861565", "MitoNet_v1_quantized.pth"),
    ),
    Published(
        card=_card(
            "MitoNet_v1_mini", "MitoNet mini: smaller and about four times faster", "mitochondrion",
            architecture="panoptic_bifpn", multiple=128, record="6861565", papers=("conrad2023",),
            data=("CEM-MitoLab (EMPIAR-11037)",), notes="Planes are padded to multiples of 128 pixels.",
        ),
        address=_zenodo("6861565", "MitoNet_v1_mini.pth"),
        quantised=_zenodo("6861565", "MitoNet_v1_mini_quantized.pth"), padding=128,
    ),
    Published(
        card=_card(
            "NucleoNet_base_v2", "NucleoNet: nuclei in EM", "nucleus",
            architecture="panoptic_deeplab", multiple=16, record="18142651", papers=(_PREPRINT, "cheng2020"), data=(),
            notes="Nuclei are large: look at planes downsampled to tens of nanometres. Its makers pad to 512 pixels.",
        ),
        address=_zenodo("18142651", _STEM.format(_NUCLEONET, "")),
        quantised=_zenodo("18142651", _STEM.format(_NUCLEONET, "_quantized")), padding=512,
    ),
    Published(
        card=_card(
            "DropNet_base_v1", "DropNet: lipid droplets in EM", "lipid droplet",
            architecture="panoptic_deeplab", multiple=16, record="15298854", papers=(_PREPRINT, "cheng2020"), data=(),
            notes="Its makers pad to 512 pixels.",
        ),
        address=_zenodo("15298854", _STEM.format(_DROPNET, "")),
        quantised=_zenodo("15298854", _STEM.format(_DROPNET, "_quantized")), padding=512,
    ),
    Published(
        card=_card(
            "CEM1.5M_resnet50", "Encoder pretrained on 1.5 million EM pictures without labels", "features",
            architecture="encoder", multiple=32, record="6453160", papers=("conrad2023", "conrad2021"),
            data=("CEM1.5M (EMPIAR-11035)",), notes="To train from, not to segment with: its head is missing.",
        ),
        address=_zenodo("6453160", "cem1.5m_swav_resnet50_200ep_balanced.pth.tar"), kind="encoder", padding=32,
    ),
)  # fmt: skip

PUBLISHED: dict[str, Published] = {
    one.card.name: replace(one, card=replace(one.card, padding=one.padding)) for one in _ALL
}
"""Published models by name."""


def published(name: str) -> Published:
    """Return a published model.

    Raises
    ------
    ModelError
        If none has that name; lists those that have.
    """
    if name not in PUBLISHED:
        known = ", ".join(sorted(PUBLISHED))
        raise ModelError(f"There is no published model named {name!r}. The known ones are {known}.")
    return PUBLISHED[name]
