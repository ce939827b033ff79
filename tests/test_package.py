"""What is published: the wheel's contents and licence, and the README on the page of a package index."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TARGETS = re.compile(r"\]\(([^)\s]+)\)")


def hook() -> ModuleType:
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling, which is not installed here")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling, which is not installed here")
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], cwd=ROOT, check=True,
        capture_output=True,
    )  # fmt: skip
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_wheel_holds_what_an_installation_needs(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    for needed in ("py.typed", "weights/mito-mini.safetensors", "weights/LICENSE", "widgets/static/viewer.js",
                   "notebooks/00_quickstart.ipynb"):  # fmt: skip
        assert f"mitonb/{needed}" in names


def test_the_wheel_tells_the_licences_of_code_and_weights(wheel: zipfile.ZipFile) -> None:
    name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    facts: Any = Parser().parsestr(wheel.read(name).decode())
    assert facts["License-Expression"] == "BSD-3-Clause AND LicenseRef-mitonb-weights"
    assert facts.get_all("License-File") == ["LICENSE", "mitonb/weights/LICENSE"]
    texts = [wheel.read(n).decode() for n in wheel.namelist() if "/licenses/" in n]
    assert any("research and teaching" in text for text in texts)
    assert "mitochondria" in facts.get_payload()


def test_every_link_and_picture_of_the_readme_leads_somewhere() -> None:
    for target in TARGETS.findall(README):
        assert "://" in target or (ROOT / target.partition("#")[0]).exists(), target


def test_away_from_the_repository_links_are_whole_or_plain_text() -> None:
    module = hook()
    text = "![a plane](docs/a.png) and [models](docs/models.md), [there](https://example.org/x)"
    assert module.elsewhere("![a plane](a.png)\n*Its caption ([x](y.md)).*\n\nText", "") == "\n\nText"
    assert module.elsewhere(text, "https://host/us/mitonb") == (
        "![a plane](https://host/us/mitonb/raw/HEAD/docs/a.png) and "
        "[models](https://host/us/mitonb/blob/HEAD/docs/models.md), [there](https://example.org/x)"
    )
    assert module.elsewhere(text, "") == " and models, [there](https://example.org/x)"
    for address in ("https://host/us/mitonb", ""):
        assert all("://" in target for target in TARGETS.findall(module.elsewhere(README, address)))


def test_the_address_of_the_repository_is_one_line_of_contributing() -> None:
    module = hook()
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    line = re.findall(r"^REPOSITORY =.*$", text, re.MULTILINE)
    assert len(line) == 1
    assert module.repository("x\nREPOSITORY = https://host/us/mitonb/\ny") == "https://host/us/mitonb"
    assert module.repository("REPOSITORY =\nhttps://no") == ""


def test_every_python_that_is_declared_is_known_to_the_set_up() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = re.findall(r"Python :: 3\.(\d+)", " ".join(project["classifiers"]))
    assert project["requires-python"] == f">=3.{declared[0]},<3.{int(declared[-1]) + 1}"
    setup = (ROOT / "start.py").read_text(encoding="utf-8")
    known = re.findall(r"\(3, (\d+)\)", setup.partition("PYTHONS = ")[2].partition("\n")[0])
    assert known == declared
