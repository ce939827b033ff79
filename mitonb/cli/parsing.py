"""The command line as a whole: its commands, its exit codes, and errors as one sentence."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

import mitonb as mn
from mitonb.cli.asking import add_cite, add_doctor, add_info
from mitonb.cli.models import add_models
from mitonb.cli.notebook import add_lab
from mitonb.cli.scoring import add_score
from mitonb.cli.segmenting import add_segment
from mitonb.cli.shared import EXIT_CODES
from mitonb.cli.training import add_train
from mitonb.errors import MitonbError, wanting_torch

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What comes after `mitonb`; those of this process by default.
    """
    options = build_parser().parse_args(arguments)
    try:
        with wanting_torch():
            code = options.run(options)
        sys.stdout.flush()
        return int(code or 0)
    except KeyboardInterrupt:
        return _complain("stopped; no file was half-written.", 130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        return _complain(_sentence(error), 1)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(prog="mitonb", description=(mn.__doc__ or "").splitlines()[0], epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"mitonb {mn.__version__}")
    parser.add_argument("--traceback", action="store_true", help="on an error, show where it happened")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (add_segment, add_train, add_score, add_models, add_lab, add_info, add_doctor, add_cite):
        add(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that guesses what a mistyped command, choice or option was meant to be."""

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            known = re.findall(r"[\w.-]+", wrong[2])
        elif wrong := re.search(r"unrecognized arguments: (?:.* )?(--[\w-]+)", message):
            known = sorted(self._options())
        near = difflib.get_close_matches(wrong[1], known, 1) if wrong else []
        super().error(f"{message}\nDid you mean {near[0]}?" if near else message)

    def _options(self) -> set[str]:
        """Return the options of this command and of those below it."""
        inner = (p for a in self._actions if isinstance(a.choices, dict) for p in a.choices.values())
        return set(self._option_string_actions).union(*(p._options() for p in inner if isinstance(p, _Parser)))


def _sentence(error: Exception) -> str:
    """Say in one sentence what went wrong."""
    if isinstance(error, MitonbError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or 'cannot be used').lower()}."
    return f"unexpected {type(error).__name__}: {error} (mitonb --traceback ... shows where)"


def _complain(sentence: str, code: int) -> int:
    print(f"mitonb: {' '.join(sentence.split())}", file=sys.stderr)
    return code
