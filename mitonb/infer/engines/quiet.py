"""OpenVINO without its telemetry. Import it from here: only the first import of a process decides.

Left alone, OpenVINO reports its import and each conversion to its makers, and writes an identity into the home folder.
mitonb promises that nothing leaves the machine. Where the telemetry package cannot be imported OpenVINO keeps silent.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["openvino"]


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """Let a package be missing for a while; one that somebody has imported stays."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # so that importing it raises ImportError
    try:
        yield
    finally:
        del sys.modules[package]


with _without("openvino_telemetry"):
    import openvino
