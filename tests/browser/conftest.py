"""One JupyterLab and one Chromium for all files of this folder; notebooks, windows, kernels and files are of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.lab import Lab


# Not for the session: Playwright's loop runs as long as it lives, and what comes after may start one of its own.
@pytest.fixture(scope="package")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    from tests.browser.lab import Lab, why_not  # needs Playwright, which is not everywhere

    if reason := why_not():
        pytest.skip(reason)
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="module")
def lab(_running: Lab) -> Iterator[Lab]:
    """JupyterLab as after its start; what a file opens and writes goes with it."""
    yield _running
    _running.clear()
