"""What to cite: the papers and data sets behind a model, as text or BibTeX."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitonb.errors import InputError
from mitonb.models.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A paper, a data set or a program.

    Attributes
    ----------
    key : str
        Short name, such as "lucchi2012"; also the BibTeX key.
    kind : {"article", "inproceedings", "misc"}
        BibTeX type.
    authors : list of str
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
    authors: list[str]
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


_known = json.loads((Path(__file__).parent / "references.json").read_text(encoding="utf-8"))

REFERENCES: dict[str, Reference] = {key: Reference(key=key, **fields) for key, fields in _known["references"].items()}
"""References by key."""

DATASETS: dict[str, list[str]] = _known["datasets"]
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
    from mitonb.models.folder import PUBLISHED, installed_as, model_names

    card = getattr(model, "spec", model)
    if isinstance(card, str):
        if card in DATASETS:
            return f"the data set {card}", [card], []
        here = installed_as(card)
        if here is None and card not in PUBLISHED:
            listed = ", ".join(sorted({*model_names(), *PUBLISHED, *DATASETS}))
            raise InputError(f"mitonb knows nothing to cite for {card!r}. It knows {listed}.")
        card = here.spec if here is not None else PUBLISHED[card].card
    notes = [f"Licence of the weights: {card.licence}"] if card.licence else []
    if not card.papers and not card.data:
        notes.append("Its card names no papers and no data.")
    return f"the model {card.name}", [*card.papers, *card.data], notes


def _resolved(named: Iterable[str]) -> tuple[list[Reference], list[str]]:
    """Return the references that texts of a card name (by key, DOI or data set), and the texts that name none."""
    found: dict[str, Reference] = {}
    rest: list[str] = []
    for text in named:
        keys = [key for name, keys in DATASETS.items() if _short(name) in text.lower() for key in keys]
        keys += [r.key for r in REFERENCES.values() if r.key in text or (r.doi and r.doi.lower() in text.lower())]
        found |= {key: REFERENCES[key] for key in keys if key != "mitonb"}
        if not keys and text not in rest:
            rest.append(text)
    return list(found.values()), rest


def _short(name: str) -> str:
    """Return the word that stands for a data set in cards: "epfl" for "epfl_hippocampus"."""
    return name if name == "tile_256" else name.partition("_")[0]
