"""The command line: the same verbs as in a notebook, without a screen."""

from mitonb.cli.parsing import build_parser, main

__all__ = ["build_parser", "main"]
