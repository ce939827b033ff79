"""Phantoms: drawn volumes that look like serial electron microscopy, with exact instance truth."""

from mitonb.phantoms.drawing import Cristae, Phantom, phantom

__all__ = ["Cristae", "Phantom", "phantom"]
