"""What to cite: the papers and data sets behind a model, as text or BibTeX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mitonb.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mitonb.models.spec import ModelSpec

__all__ = ["DATASETS", "REFERENCES", "Reference", "cite"]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A paper, a data set or a program.

    Attributes
    ----------
    key : str
        Short name, such as "lucchi2012"; also the BibTeX key.
    kind : {"article", "inproceedings", "misc"}
        BibTeX type.
    authors : tuple of str
        "Family, Given" each.
    title, where : str
        Title, and journal, proceedings or archive.
    year : int
        Year of publication.
    volume, pages, doi, url : str
        Empty where there is none.
    """

    key: str
    kind: str
    authors: tuple[str, ...]
    title: str
    where: str
    year: int
    volume: str = ""
    pages: str = ""
    doi: str = ""
    url: str = ""

    def __str__(self) -> str:
        authors = ", ".join(_initials(a) for a in self.authors)
        place = self.where + (f" {self.volume}" if self.volume else "") + (f", {self.pages}" if self.pages else "")
        link = f" https://doi.org/{self.doi}" if self.doi else f" {self.url}" if self.url else ""
        return f"{authors} ({self.year}). {self.title}. {place}.{link}"

    def bibtex(self) -> str:
        """Return the BibTeX entry."""
        fields = {
            "author": " and ".join(self.authors),
            "title": f"{{{self.title}}}",
            {"article": "journal", "inproceedings": "booktitle"}.get(self.kind, "howpublished"): self.where,
            "year": str(self.year),
            "volume": self.volume,
            "pages": self.pages.replace("-", "--"),
            "doi": self.doi,
            "url": self.url,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


def _initials(author: str) -> str:
    """Return "Lucchi A" for "Lucchi, Aurelien"."""
    family, _, given = author.partition(", ")
    return f"{family} {''.join(part[0] for part in given.replace('-', ' ').split())}".strip()


_ALL = (
    Reference(
        key="mitonb", kind="misc", authors=("The mitonb authors",), year=2026, where="Python package",
        title="mitonb: segment, look at and correct mitochondria in electron microscopy, in notebooks",
    ),
    Reference(
        key="cheng2020", kind="inproceedings", year=2020, pages="12475-12485",
        authors=(
            "Cheng, Bowen", "Collins, Maxwell D.", "Zhu, Yukun", "Liu, Ting", "Huang, Thomas S.", "Adam, Hartwig",
            "Chen, Liang-Chieh",
        ),
        title="Panoptic-DeepLab: A Simple, Strong, and Fast Baseline for Bottom-Up Panoptic Segmentation",
        where="IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
    ),
    Reference(
        key="conrad2023", kind="article", authors=("Conrad, Ryan", "Narayan, Kedar"), year=2023,
        title=(
            "Instance segmentation of mitochondria in electron microscopy images with a generalist deep learning model "
            "trained on a diverse dataset"
        ),
        where="Cell Systems", volume="14(1)", pages="58-71.e5", doi="10.1016/j.cels.2022.12.006",
    ),
    Reference(
        key="conrad2021", kind="article", authors=("Conrad, Ryan", "Narayan, Kedar"), year=2021,
        title=(
            "CEM500K, a large-scale heterogeneous unlabeled cellular electron microscopy image dataset for deep "
            "learning"
        ),
        where="eLife", volume="10", pages="e65894", doi="10.7554/eLife.65894",
    ),
    Reference(
        key="lucchi2012", kind="article", year=2012, volume="31(2)", pages="474-486",
        authors=("Lucchi, Aurelien", "Smith, Kevin", "Achanta, Radhakrishna", "Knott, Graham", "Fua, Pascal"),
        title="Supervoxel-Based Segmentation of Mitochondria in EM Image Stacks With Learned Shape Features",
        where="IEEE Transactions on Medical Imaging", doi="10.1109/TMI.2011.2171705",
    ),
    Reference(
        key="lucchi2013", kind="inproceedings", year=2013, pages="1987-1994",
        authors=("Lucchi, Aurelien", "Li, Yunpeng", "Fua, Pascal"),
        title="Learning for Structured Prediction Using Approximate Subgradient Descent with Working Sets",
        where="IEEE Conference on Computer Vision and Pattern Recognition (CVPR)", doi="10.1109/CVPR.2013.259",
    ),
    Reference(
        key="gerhard2013", kind="misc", year=2013, where="figshare", doi="10.6084/m9.figshare.856713",
        authors=("Gerhard, Stephan", "Funke, Jan", "Martel, Julien", "Cardona, Albert", "Fetter, Richard"),
        title="Segmented anisotropic ssTEM dataset of neural tissue",
    ),
    Reference(
        key="haberl2018", kind="article", year=2018, volume="15(9)", pages="677-680",
        authors=(
            "Haberl, Matthias G.", "Churas, Christopher", "Tindall, Lucas", "Boassa, Daniela", "Phan, Sébastien",
            "Bushong, Eric A.", "Madany, Matthew", "Akay, Raffi", "Deerinck, Thomas J.", "Peltier, Steven T.",
            "Ellisman, Mark H.",
        ),
        title="CDeep3M - Plug-and-Play cloud-based deep learning for image segmentation",
        where="Nature Methods", doi="10.1038/s41592-018-0106-z",
    ),
    Reference(
        key="mekuc2020", kind="article", year=2020, volume="119", pages="103693",
        authors=(
            "Žerovnik Mekuč, Manca", "Bohak, Ciril", "Hudoklin, Samo", "Kim, Byeong Hak", "Romih, Rok",
            "Kim, Min Young", "Marolt, Matija",
        ),
        title="Automatic segmentation of mitochondria and endolysosomes in volumetric electron microscopy data",
        where="Computers in Biology and Medicine", doi="10.1016/j.compbiomed.2020.103693",
    ),
    Reference(
        key="neuroproof", kind="misc", authors=("FlyEM Project Team, Janelia Research Campus",), year=2014,
        title="NeuroProof examples: fly medulla FIB-SEM", where="GitHub",
        url="https://github.com/janelia-flyem/neuroproof_examples",
    ),
)  # fmt: skip

REFERENCES: dict[str, Reference] = {reference.key: reference for reference in _ALL}
"""References by key."""

DATASETS: dict[str, tuple[str, ...]] = {
    "epfl_hippocampus": ("lucchi2012", "lucchi2013"),
    "medulla_fibsem_unlabelled": ("neuroproof",),
    "neuropil_sbem": ("haberl2018",),
    "tile_256": ("conrad2023",),
    "urocell_labels": ("mekuc2020",),
    "vnc_sstem": ("gerhard2013",),
}
"""What each data set asks to cite, by the name of the data set."""


def cite(model: str | ModelSpec = "mito-mini", *, bibtex: bool = False) -> str:
    """Return what to cite when a model or a data set is used.

    Parameters
    ----------
    model : str or ModelSpec
        Name of a model, of a data set, a card, or anything with a card as its `spec`.
    bibtex : bool
        Return BibTeX entries instead of sentences.

    Returns
    -------
    str
        mitonb itself, then the papers of the model, then those of the data that it was trained on.

    Raises
    ------
    InputError
        If no model or data set has that name.

    Examples
    --------
    >>> "figshare.856713" in cite("vnc_sstem")
    True
    """
    title, named, notes = _named(model)
    found, rest = _resolved(named)
    chosen = [REFERENCES["mitonb"], *found]
    if bibtex:
        return "\n\n".join(reference.bibtex() for reference in chosen)
    lines = [f"If you use {title}, please cite:", *(f"- {reference}" for reference in chosen)]
    return "\n".join([*lines, *(f"- {text}" for text in rest), *notes])


def _named(model: Any) -> tuple[str, list[str], list[str]]:
    """Return the title, what the card names (papers, then data), and closing sentences."""
    card = getattr(model, "spec", model)
    if isinstance(card, str):
        if card in DATASETS:
            return f"the data set {card}", [card], []
        card = _card(card)
    notes = [f"Licence of the weights: {card.licence}"] if card.licence else []
    if not card.papers and not card.data:
        notes.append("Its card names no papers and no data.")
    return f"the model {card.name}", [*card.papers, *card.data], notes


def _card(name: str) -> ModelSpec:
    """Return the card of a bundled, pulled, imported or published model."""
    from mitonb.models.folder import installed_as, model_names
    from mitonb.models.published import PUBLISHED

    one = installed_as(name)
    if one is not None:
        return one.spec
    if name not in PUBLISHED:
        listed = ", ".join(sorted({*model_names(), *PUBLISHED, *DATASETS}))
        raise InputError(f"mitonb knows nothing to cite for {name!r}. It knows {listed}.")
    return PUBLISHED[name].card


def _resolved(named: Iterable[str]) -> tuple[list[Reference], list[str]]:
    """Return the references that texts of a card name (by key, DOI or data set), and the texts that name none."""
    found: dict[str, Reference] = {}
    rest: list[str] = []
    for text in named:
        keys = [key for name, keys in DATASETS.items() if _short(name) in text.lower() for key in keys]
        keys += [r.key for r in _ALL if r.key in text or (r.doi and r.doi.lower() in text.lower())]
        found |= {key: REFERENCES[key] for key in keys if key != "mitonb"}
        if not keys and text not in rest:
            rest.append(text)
    return list(found.values()), rest


def _short(name: str) -> str:
    """Return the word that stands for a data set in cards: "epfl" for "epfl_hippocampus"."""
    return name if name == "tile_256" else name.partition("_")[0]
