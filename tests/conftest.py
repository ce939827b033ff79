"""What all tests share: marks by folder, and a visible skip where PyTorch is not installed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test measures time: a busy machine must not fail one. In CI the same commit draws the same examples, so that a
# failure belongs to the change that it meets; at a desk every run draws new ones.
settings.register_profile(
    "mitonb", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.register_profile("sample", settings.get_profile("mitonb"), max_examples=10)

# How many variants of each parametrised test run, and no test that is marked `once`; 0 is all. For CI on the second and
# third Python: what differs there is in the language and the libraries, which every test function meets at once.
SAMPLE = int(os.environ.get("MITONB_SAMPLE", "0"))
settings.load_profile("sample" if SAMPLE else "mitonb")

HERE = Path(__file__).parent
TORCH = importlib.util.find_spec("torch") is not None
# Only these may need PyTorch. Anywhere else a missing torch is a failure: looking and correcting work without.
MAY_NEED_TORCH = ("models", "infer", "learn", "widgets", "browser", "test_cli.py", "test_docs.py", "test_notebooks.py")


def pytest_report_header() -> str:
    return "PyTorch: installed" if TORCH else f"PyTorch: NOT installed; tests of {', '.join(MAY_NEED_TORCH)} may skip"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.path.relative_to(HERE).parts if item.path.is_relative_to(HERE) else ():
            item.add_marker(pytest.mark.browser)
    if SAMPLE:
        variants: dict[str, list[pytest.Item]] = {}
        for item in items:
            variants.setdefault(item.nodeid.partition("[")[0], []).append(item)
        seen = {
            item for group in variants.values() for item in spread(group, SAMPLE) if not item.get_closest_marker("once")
        }
        config.hook.pytest_deselected(items=[item for item in items if item not in seen])
        items[:] = [item for item in items if item in seen]


def spread(group: list[pytest.Item], count: int) -> list[pytest.Item]:
    """Return so many of a list, the first and the last among them, all if there are not more."""
    if len(group) <= count:
        return group
    return [group[round(k * (len(group) - 1) / (count - 1))] for k in range(count)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Turn a failure for want of torch into a skip that says so."""
    report = yield
    if report.failed and call.excinfo and _wants_torch(call.excinfo.value, item.path):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, "Skipped: needs PyTorch, which is not installed here")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):  # type: ignore[no-untyped-def]
    """The same for a whole file that imports torch."""
    report = yield
    error = report.call.excinfo.value if getattr(report, "call", None) and report.call.excinfo else None
    if report.failed and error is not None and _wants_torch(error, collector.path):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, "Skipped: needs PyTorch, which is not installed here")
    return report


def _wants_torch(error: BaseException, path: Path) -> bool:
    """Whether an error, or what caused it, is that torch is missing, in a test that may need it."""
    parts = path.relative_to(HERE).parts if path.is_relative_to(HERE) else ()
    if TORCH or not parts or parts[0] not in MAY_NEED_TORCH:
        return False
    seen: BaseException | None = error
    while seen is not None:
        if "No module named 'torch'" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
