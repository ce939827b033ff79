"""The real EM that comes with mitonb: opened offline, with its size and with whose it is."""

from __future__ import annotations

import pytest

import mitonb as mn
from mitonb.io.opening import FOLDER, SAMPLES


@pytest.mark.parametrize(("name", "shape", "nm"), [("islet", (1, 1024, 1024), 5), ("medulla", (64, 224, 224), 10)])
def test_a_sample_is_a_stack_that_says_whose_it_is(name: str, shape: tuple[int, ...], nm: int) -> None:
    stack = mn.sample(name)
    assert (stack.shape, stack.dtype, stack.voxel_size) == (shape, "uint8", (nm, nm, nm))
    assert stack.read().std() > 20
    assert "Creative Commons" in " ".join(stack.notes) or "CC BY" in " ".join(stack.notes)


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(mn.MitonbError, match=r"no sample 'liver'; there are medulla and islet\."):
        mn.sample("liver")


def test_samples_take_at_most_three_megabytes_and_none_lies_there_without_words() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.suffix != ".md"}
    assert files == {file for file, _, _ in SAMPLES.values()}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 3e6
