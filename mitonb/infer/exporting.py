"""Models handed on: as safetensors, as ONNX, and as packages of bioimage.io that other programs run and test."""

import dataclasses
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch import Tensor, nn

from mitonb.citing import REFERENCES
from mitonb.errors import InputError
from mitonb.files import atomic_write, explain_write
from mitonb.maps import COARSE
from mitonb.models.onnx import OPSET, to_onnx
from mitonb.models.spec import ModelSpec
from mitonb.models.weights import write_weights
from mitonb.models.zoo import read_net
from mitonb.phantoms import phantom

ENDINGS = (".safetensors", ".onnx", ".zip")
_SPDX = re.compile(r"(CC0|CC-BY|MIT|BSD|Apache|[AL]?GPL|MPL)[\w.+-]*")
_DOI = re.compile(r"10\.\d{4,9}/[^\s,;]+[^\s,;.]")
_ABOUT = (
    "# {0.name}\n\n{0.title}\n\n{0.notes}\n\nObjects of what it draws: `mitonb segment IMAGE LABELS --model THIS.zip`"
    "\n\n# Validation\n\nScores on held-out data: {0.scores}\n\n# Data and papers"
)


def export_model(name: str | Path, out: str | Path, *, authors: Sequence[str] = ()) -> Path:
    """Write a model, with its card, into a file to hand on.

    Parameters
    ----------
    name : str or path
        A model on this machine, or its weights.
    out : path
        Ends in .safetensors, for mitonb; in .onnx, for any program that runs ONNX, with the card in its metadata; or in
        .zip: a package of bioimage.io, with a picture to test it on. Replaced if it is there.
    authors : sequence of str
        Who made the model; a package has to say it.

    Returns
    -------
    path
        `out`.

    Raises
    ------
    InputError
        If the ending is another one, or a package has no authors.
    ModelError
        If there is no such model, its net cannot be written, or the extra "exchange" is not installed.
    """
    out = Path(out).expanduser()
    if out.suffix not in ENDINGS:
        raise InputError(f"A model is exported to {', '.join(ENDINGS)}, got {out.name!r}.")
    if out.suffix == ".zip" and not authors:
        raise InputError("A package of bioimage.io says who made the model: authors=[...], or --author NAME.")
    net, spec = read_net(name)
    if out.suffix == ".safetensors":
        write_weights(net, spec, out, half=False)
        return out
    data = to_onnx(net, spec)
    if out.suffix == ".zip":
        data = _package(net, spec, data, authors)
    with explain_write(out), atomic_write(out) as temporary:
        temporary.write_bytes(data)
    return out


def _package(net: nn.Module, spec: ModelSpec, onnx: bytes, authors: Sequence[str]) -> bytes:
    """Return a package of bioimage.io: description, weights, a drawn picture with what the net says of it, a cover.

    Format: https://github.com/bioimage-io/spec-bioimage-io, model description 0.5.
    """
    side = -(-(64 if spec.dimension == 3 else 256) // spec.multiple) * spec.multiple
    volume = phantom((side if spec.dimension == 3 else 3, side, side), 1)[0].read().astype(np.float32)
    image = volume if spec.dimension == 3 else volume[1]
    low, high = np.percentile(image, (1, 99)) if spec.intensity == "contrast" else (0.0, 255.0)
    with torch.inference_mode():
        said = net(torch.from_numpy(spec.normalise(image, low, high))[None, None])
    truth = {name: _squashed(name, head).numpy() for name, head in said.items()}
    papers = [str(REFERENCES.get(paper, paper)) for paper in spec.papers]
    files = {
        "weights.onnx": onnx, "cover.png": _cover(image, truth["semantic"]), "LICENSE.md": spec.licence.encode(),
        "README.md": "\n\n- ".join([_ABOUT.format(spec), *spec.data, *papers]).encode(),
    }  # fmt: skip
    for name, array in {"image": image[None, None], **truth}.items():
        np.save(out := io.BytesIO(), array)
        files[f"test_{name}.npy"] = out.getvalue()
    rdf, packed = _description(spec, files, papers, authors), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, content in {"rdf.yaml": yaml.safe_dump(rdf, sort_keys=False).encode(), **files}.items():
            file.writestr(name, content)
    return packed.getvalue()


def _squashed(name: str, head: Tensor) -> Tensor:
    """Return a head as the package gives it: as probabilities, where it has any."""
    kind = _squashing(name, head.shape[1])
    return head.softmax(1) if kind == "softmax" else head.sigmoid() if kind else head


def _squashing(head: str, channels: int) -> str:
    several = head == "semantic" and channels > 1
    return "" if head in COARSE or head == "distance" else "softmax" if several else "sigmoid"


def _description(
    spec: ModelSpec, files: dict[str, bytes], papers: Sequence[str], authors: Sequence[str]
) -> dict[str, Any]:
    """Return the description of a package; `config: mitonb:` holds the whole card."""
    names, classes = "zyx"[-spec.dimension :], [*["background"] * (len(spec.classes) > 1), *spec.classes]
    channels = {"semantic": classes, "offsets": list(names), "affinities": list(names)}

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    def tensor(name: str, size: dict[str, Any], scale: float, **steps: Any) -> dict[str, Any]:
        axes = [{"type": "batch"}, {"type": "channel", "channel_names": channels.get(name, [name])}]
        axes += [{"type": "space", "id": axis, "size": size[axis], "scale": scale} for axis in names]
        return {"id": name, "axes": axes, "test_tensor": file(f"test_{name}.npy"), "data": {"type": "float32"}, **steps}

    percentiles = {"axes": ["channel", *names], "min_percentile": 1.0, "max_percentile": 99.0}
    steps = [
        {"id": "scale_range", "kwargs": percentiles}
        if spec.intensity == "contrast"
        else {"id": "scale_linear", "kwargs": {"gain": 1 / 255, "offset": 0.0}},
        {"id": "clip", "kwargs": {"min": -0.5, "max": 1.5}},
        {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": spec.mean, "std": spec.std}},
    ]
    outputs = []
    for head in spec.heads:
        kind, stride = _squashing(head, len(classes)), float(spec.output_stride if head in COARSE else 1)
        more = {"kwargs": {"axis": "channel"}} if kind == "softmax" else {}
        steps_after = [{"id": kind, **more}] if kind else []
        like = {axis: {"tensor_id": "image", "axis_id": axis} for axis in names}
        outputs.append(tensor(head, like, stride, postprocessing=steps_after))
    free = {axis: {"min": spec.multiple, "step": spec.multiple} for axis in names}
    return {
        "type": "model", "format_version": "0.5.4", "name": re.sub(r"[^\w+()-]", " ", f"{spec.name} (mitonb)"),
        "description": (spec.title or spec.name)[:500], "authors": [{"name": author} for author in authors],
        "cite": [{"text": text, "doi": doi[0]} for text in papers if (doi := _DOI.search(text))],
        "license": spec.licence if _SPDX.fullmatch(spec.licence) else file("LICENSE.md"),
        "documentation": file("README.md"), "covers": [file("cover.png")], "tags": ["electron-microscopy"],
        "inputs": [tensor("image", free, 1.0, preprocessing=steps)], "outputs": outputs,
        "weights": {"onnx": {**file("weights.onnx"), "opset_version": OPSET}},
        "config": {"mitonb": json.loads(dataclasses.replace(spec, config={}, program={}, sha256="").to_json())},
    }  # fmt: skip


def _cover(image: npt.NDArray[np.float32], semantic: npt.NDArray[np.float32]) -> bytes:
    """Return the picture and, beside it, what the net takes for foreground, as PNG twice as wide as high."""
    middle = (len(image) // 2,) * (image.ndim - 2)
    both = np.hstack([image[middle], 255 * semantic[(0, -1, *middle)]])
    return bytes(imagecodecs.png_encode(both.clip(0, 255).astype(np.uint8)))
