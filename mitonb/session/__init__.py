"""The headless owner of a stack, its labels and their history; what the mouse does, a script does too."""

from mitonb.edit.verbs import Entry
from mitonb.session.news import Change, SaveState
from mitonb.session.session import Session

__all__ = ["Change", "Entry", "SaveState", "Session"]
