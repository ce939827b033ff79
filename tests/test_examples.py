"""The examples in docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "mitonb").rglob("*.py"))
WITH_EXAMPLES = [p for p in FILES if re.search("^ *>>> ", p.read_text(encoding="utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda p: str(p.relative_to(ROOT).with_suffix("")))
def test_examples_of_docstrings_are_true(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[1] in ("models", "infer", "learn", "widgets") and not importlib.util.find_spec("torch"):
        pytest.skip("PyTorch is not installed")
    monkeypatch.chdir(tmp_path)  # what an example writes
    module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed, "see what was printed"
