"""What tests of sessions share with those of projects."""

from tests.edit.conftest import path

__all__ = ["path"]
