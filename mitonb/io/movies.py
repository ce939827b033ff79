"""Pictures in a row as an animated GIF or, where ffmpeg is, as MP4; one picture as PNG."""

from __future__ import annotations

import importlib
import importlib.util
import math
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mitonb.errors import InputError
from mitonb.files import atomic_write, explain_write

KINDS = (".png", ".gif", ".mp4")


def as_image(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """Return pixels as a library that wants an image takes them, in RGB."""
    return Image.fromarray(pixels).convert("RGB")


def write_movie(frames: Sequence[npt.NDArray[np.uint8]], path: Path, *, rate: int = 12) -> Path:
    """Write pictures, all (h, w, 3) uint8, to a .gif or .mp4 that begins anew at its end, or the first to a .png.

    Raises
    ------
    InputError
        If there is no ffmpeg for an .mp4, or the file cannot be written.
    """
    kind = path.suffix.lower()
    with explain_write(path), atomic_write(path) as hidden:
        first, *rest = (Image.fromarray(one) for one in frames)
        if kind == ".png":
            first.save(hidden, format="PNG")
        elif kind == ".gif":
            small = [one.quantize(128) for one in (first, *rest)]
            small[0].save(
                hidden, format="GIF", save_all=True, append_images=small[1:], duration=round(1000 / rate), loop=0
            )
        else:
            _write_mp4(frames, hidden, rate)
    return path


def _write_mp4(frames: Sequence[npt.NDArray[np.uint8]], path: Path, rate: int) -> None:
    program: Any = shutil.which("ffmpeg")
    if program is None and importlib.util.find_spec("imageio_ffmpeg"):
        program = importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
    if program is None:
        raise InputError("An MP4 needs ffmpeg, which is not here: pip install imageio-ffmpeg, or save a .gif.")
    h, w = frames[0].shape[:2]
    command = [
        program, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", str(rate),
        "-i", "-", "-pix_fmt", "yuv420p", "-f", "mp4", str(path),
    ]  # fmt: skip
    done = subprocess.run(command, input=b"".join(one.tobytes() for one in frames), capture_output=True, check=False)
    if done.returncode:
        raise InputError(f"ffmpeg could not write the film: {done.stderr.decode(errors='replace').strip()[-300:]}")


def bar_length(longest: float, *, nm: bool = True) -> tuple[float, str]:
    """Return the longest of 1, 2, 5, 10 ... nm, or voxels, that is not longer, and how it is said."""
    power = 10.0 ** math.floor(math.log10(longest))
    length = float(power * max(n for n in (1, 2, 5) if n * power <= longest * (1 + 1e-9)))
    return length, f"{length:g} voxels" if not nm else f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"


def with_bar(picture: npt.NDArray[np.uint8], pixels: float, text: str) -> npt.NDArray[np.uint8]:
    """Return a picture, (h, w, 4) uint8, on white with a scale bar of some pixels and its length in words."""
    image = Image.new("RGBA", picture.shape[1::-1], "white")
    image.alpha_composite(Image.fromarray(picture))
    draw, (w, h) = ImageDraw.Draw(image), image.size
    draw.rectangle([w - 12 - pixels, h - 14, w - 12, h - 11], fill=(60, 60, 60))
    draw.text((w - 12 - pixels / 2, h - 18), text, fill=(60, 60, 60), anchor="ms")
    return np.asarray(image.convert("RGB"))
