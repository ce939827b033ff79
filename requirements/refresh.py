"""Pin every library that start.py and Binder install, with the hashes of its wheels for all systems and Pythons.

    python requirements/refresh.py

writes one file for what every installation needs (base) and one for each choice (lab, test, ...), which holds what that
choice adds. PyTorch itself is left out: which of its builds is installed depends on the machine. Run this again to move
on to newer versions, then run the tests.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = "hatchling\neditables\n"  # what an editable installation is made with
CUDA = re.compile(r"(nvidia|cuda|triton)\b|torch==")
HEAD = "# Written by requirements/refresh.py: run it again instead of editing this file.\n"


def main() -> int:
    """Resolve all choices at once, so that they fit together; then find out what each of them adds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = sorted(project["optional-dependencies"])
    with tempfile.TemporaryDirectory() as folder:
        subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "--target", folder, "uv"])
        uv, everything = Path(folder) / "bin" / "uv", Path(folder) / "all.txt"

        def resolve(out: Path, *options: str) -> dict[str, str]:
            command = [str(uv), "pip", "compile", "-q", "--universal", "--generate-hashes", "--no-annotate"]
            command += ["--no-header", "--python-version", "3.11", *options, "-o", str(out), "pyproject.toml", "-"]
            subprocess.run(command, input=BUILD, text=True, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            return pins(out.read_text(encoding="utf-8"))

        resolve(everything, "--all-extras")
        together = ("--constraints", str(everything))
        base = resolve(Path(folder) / "base.txt", *together)
        write("base", base)
        for extra in extras:
            found = resolve(Path(folder) / f"{extra}.txt", *together, "--extra", extra)
            write(extra, {pin: text for pin, text in found.items() if pin not in base})
    return 0


def pins(text: str) -> dict[str, str]:
    """Return each pin with its hashes, by its first line; CUDA comes with the build of PyTorch that wants it."""
    blocks = re.findall(r"^\S.*(?:\n[ ].*)*\n", text, re.MULTILINE)
    return {block.partition("\n")[0]: block for block in blocks if not CUDA.match(block)}


def write(name: str, found: dict[str, str]) -> None:
    """Write one file of pins."""
    (HERE / f"{name}.txt").write_text(HEAD + "".join(found.values()), encoding="utf-8")
    print(f"requirements/{name}.txt: {len(found)} pins")


if __name__ == "__main__":
    raise SystemExit(main())
