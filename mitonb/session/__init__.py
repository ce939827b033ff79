"""The headless owner of a stack, its labels and their history; what the mouse does, a script does too."""

from mitonb.edit.verbs import Entry
from mitonb.session.session import Session
from mitonb.session.writer import Change, SaveState

__all__ = ["Change", "Entry", "SaveState", "Session"]
