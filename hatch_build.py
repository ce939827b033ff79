"""The page of mitonb on a package index: the README with links and pictures that work away from the repository.

The repository's address is one line of CONTRIBUTING.md. While it is empty, links lose their targets and pictures are
left out: a page without them is better than one with broken ones.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)(\n\*[^\n]*\*)?")  # with its caption
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def repository(contributing: str) -> str:
    """Return the address that CONTRIBUTING.md names, or ""."""
    found = re.search(r"^REPOSITORY *= *(https://\S+)$", contributing, re.MULTILINE)
    return found[1].rstrip("/") if found else ""


def elsewhere(readme: str, address: str) -> str:
    """Return the README for a page that is not in the repository."""

    def picture(match: re.Match[str]) -> str:
        text, target, caption = match.groups(default="")
        if "://" in target:
            return match[0]
        return f"![{text}]({address}/raw/HEAD/{target}){caption}" if address else ""

    def link(match: re.Match[str]) -> str:
        text, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match[0]
        return f"[{text}]({address}/blob/HEAD/{target})" if address else text

    return LINK.sub(link, PICTURE.sub(picture, readme))


class CustomMetadataHook(MetadataHookInterface):
    """What hatchling asks while it builds a wheel."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the README and the addresses."""
        root = Path(self.root)
        address = repository((root / "CONTRIBUTING.md").read_text(encoding="utf-8"))
        text = elsewhere((root / "README.md").read_text(encoding="utf-8"), address)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = {"Source": address, "Changes": f"{address}/blob/HEAD/CHANGELOG.md"} if address else {}
