"""Models and data sets say what to cite."""

from __future__ import annotations

import re

import pytest

import mitonb as mn
from mitonb.citing import DATASETS, REFERENCES, cite
from mitonb.errors import InputError
from mitonb.models.spec import ModelSpec


def test_the_default_model_can_be_cited():
    text = cite()
    assert text.startswith("If you use the model mito-mini, please cite:")
    assert "mitonb" in text
    assert "Licence of the weights" in text
    assert mn.cite() == text


def test_every_data_set_names_its_papers():
    assert "10.6084/m9.figshare.856713" in cite("vnc_sstem")
    assert "10.1109/TMI.2011.2171705" in cite("epfl_hippocampus")
    assert "10.1109/CVPR.2013.259" in cite("epfl_hippocampus")
    assert "10.1038/s41592-018-0106-z" in cite("neuropil_sbem")
    assert "10.1016/j.cels.2022.12.006" in cite("MitoNet_v1")
    assert {key for keys in DATASETS.values() for key in keys} <= set(REFERENCES)


def test_a_card_names_its_papers_by_key_doi_or_data_set_and_each_once():
    card = ModelSpec(
        name="mine",
        papers=("cheng2020", "doi:10.1016/J.CELS.2022.12.006", "Doe (2031), in press"),
        data=("vnc_sstem sections 0-9", "vnc_sstem and epfl_hippocampus", "cheng2020"),
    )
    text = cite(card)
    assert [line[:9] for line in text.splitlines()[2:]] == [
        "- Cheng B", "- Conrad ", "- Gerhard", "- Lucchi ", "- Lucchi ", "- Doe (20", "Licence o",
    ]  # fmt: skip


def test_bibtex_has_one_balanced_entry_for_each():
    text = cite("epfl_hippocampus", bibtex=True)
    assert re.findall(r"@(\w+)\{(\w+),", text) == [
        ("misc", "mitonb"),
        ("article", "lucchi2012"),
        ("inproceedings", "lucchi2013"),
    ]
    assert text.count("{") == text.count("}")
    assert "pages = {474--486}" in text


def test_an_unknown_name_lists_the_known():
    with pytest.raises(InputError, match=r"'mito-mega'. It knows .*MitoNet_v1, .*mito-mini.*vnc_sstem"):
        cite("mito-mega")
