"""A model learns from strokes: what it takes, what it gives, and what is refused before any time is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mitonb as mn
from mitonb.errors import InputError, MitonbError, ReadOnlyStoreError
from mitonb.learn import strokes as learn_strokes
from mitonb.models.folder import model_names
from mitonb.models.spec import ModelSpec
from mitonb.models.weights import write_weights
from mitonb.models.zoo import build, import_model
from mitonb.recipe import Recipe
from mitonb.session import Session
from mitonb.session.teaching import teaching_strokes
from tests.learn.test_pairs import spots

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a model that knows nothing, learns fast, and is in a model folder of its own."""
    monkeypatch.setenv("MITONB_MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setitem(learn_strokes.GENTLY, "rate", 0.03)
    torch.manual_seed(0)
    spec = ModelSpec(name="tiny", heads=("semantic",), config={"widths": [4, 8], "depths": [1, 1]})
    net = build(spec)
    for last in net.semantic_head.parameters():  # everything may be a mitochondrion
        torch.nn.init.zeros_(last)
    write_weights(net, spec, tmp_path / "tiny.safetensors")
    import_model(tmp_path / "tiny.safetensors", "tiny")
    return "tiny"


def test_a_model_learns_from_strokes_and_undo_takes_that_back(tiny: str) -> None:
    image, _ = spots((160, 160))
    session, recipe = Session(image[None]), Recipe(model=tiny)
    with pytest.raises(InputError, match="strokes of both kinds"):
        mn.teach_strokes(session, recipe=recipe, show=False)
    session.teach_mito([[0, 16, 16], [0, 20, 16]], radius=4)
    with pytest.raises(InputError, match=r"what is none, but looks like one \(Shift-T\)"):
        mn.teach_strokes(session, recipe=recipe, show=False)
    session.teach_not([[0, 32, 10], [0, 32, 60]], radius=2)
    # Taught once more, a model begins from where it began: strokes teach no second time what they have taught.
    session.use_model("before", instead=tiny, strokes=1)
    taught = mn.teach_strokes(session, recipe=recipe.replace(model="before"), show=False)
    assert taught.edit == session.version
    assert (taught.model, taught.start, taught.strokes) == ("tiny-strokes-1", "tiny", 2)
    assert session.taught == ("tiny-strokes-1", "tiny")
    assert session.history()[-1].text == "took model tiny-strokes-1, taught by 2 strokes, instead of tiny"
    old, new = (mn.load_model(name) for name in ("tiny", taught.model))
    assert taught.right[0] < taught.right[1]
    assert any(not torch.equal(a, b) for a, b in zip(old.net.parameters(), new.net.parameters(), strict=True))
    assert "Taught by 2 strokes" in new.spec.notes
    session.undo()
    assert session.taught == ("before", "tiny")
    session.undo()
    assert session.taught is None
    assert "tiny-strokes-1" in model_names()  # the model itself stays, for whoever wants it


def test_what_would_fail_after_the_training_is_said_before_it(tiny: str, tmp_path: Path) -> None:
    path = tmp_path / "cell.mitonb"
    session = Session(np.zeros((1, 32, 32), np.uint8), path=path)
    session.teach_mito([[0, 8, 8]], radius=1)
    session.teach_not([[0, 20, 20]], radius=1)
    for name, said in (("tiny", "another model already"), ("mito-mini", "another model already"), ("a/b", "letters")):
        with pytest.raises(MitonbError, match=said):
            next(teaching_strokes(session, recipe=Recipe(model=tiny), name=name))
    session.close()
    with (
        Session.open(path, stack=session.stack, read_only=True) as looking,
        pytest.raises(ReadOnlyStoreError, match="read-only"),
    ):
        next(teaching_strokes(looking, recipe=Recipe(model=tiny)))


def test_a_model_that_does_not_learn_from_strokes_stays_as_it_is(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(learn_strokes.GENTLY, "rate", 1e-9)
    session = Session(spots((160, 160))[0][None])
    session.teach_mito([[0, 16, 16], [0, 20, 16]], radius=4)
    session.teach_not([[0, 32, 10], [0, 32, 60]], radius=2)
    with pytest.raises(InputError, match=r"The model stays as it is: (\d+)% of the strokes is right, and \1% would be"):
        mn.teach_strokes(session, recipe=Recipe(model=tiny), show=False)
    assert session.taught is None
    assert model_names()[-1] == "tiny"


def test_the_thinnest_strokes_are_learned_from_when_the_model_sees_larger_pixels(tiny: str) -> None:
    session, spec = Session(np.zeros((1, 1300, 1300), np.uint8)), mn.load_model(tiny).spec
    known = np.zeros((1300, 1300), np.int64)
    known[7, 400:440], known[802, 801], known[1299, 1299] = 1, -2, 3
    known[101, 101:1200] = known[1199, 101:1200] = known[101:1200, 101] = known[101:1200, 1199] = -4  # a ring
    squares = learn_strokes._squares(session.stack, ("xy", 0), known, Recipe(pixel_size="as is", downsampling=4), spec)
    assert len(squares) == 4
    for square, kind in zip(squares, (1, 0, 1, 0), strict=True):
        assert (square.labels == kind).any()


def test_strokes_that_fall_together_to_the_model_are_told(tiny: str) -> None:
    session = Session(np.zeros((1, 64, 64), np.uint8))
    session.teach_mito([[0, 8, 8]], radius=1)
    session.teach_not([[0, 10, 10]], radius=0.5)
    with pytest.raises(InputError, match="one kind are hidden"):
        mn.teach_strokes(session, recipe=Recipe(model=tiny, pixel_size="as is", downsampling=8), show=False)


def test_without_an_image_nothing_can_be_learned() -> None:
    session = Session(labels=np.zeros((1, 8, 8), np.uint32))
    session.teach_mito([[0, 1, 1]], radius=1)
    with pytest.raises(InputError, match="no image to learn from"):
        mn.teach_strokes(session, show=False)
