"""The published files, drawn: weights made by a rule, in the layouts that training and export write."""

from __future__ import annotations

import ast
import functools
import os
import re
import zlib
from math import prod, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models.exports import export_of, write_export

if TYPE_CHECKING:
    from collections.abc import Callable


def drawn(key: str, shape: tuple[int, ...]) -> Tensor:
    """Return the numbers that belong to a name; as the reference outputs have them."""
    n = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, dtype=np.float32)
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.long)
    if key.endswith("running_var"):
        return torch.as_tensor(1 + np.float32(0.1) * np.abs(n))
    if key.endswith(".weights") or (key.endswith("weight") and len(shape) == 1):
        return torch.as_tensor(1 + np.float32(0.1) * n)
    return torch.as_tensor(n * np.float32(0.1 if len(shape) == 1 else sqrt(2 / prod(shape[1:]))))


drawn_before = functools.lru_cache(maxsize=None)(drawn)  # tests ask for the same small nets again and again


def drawn_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return drawn tensors; what is shared under several names has the numbers of the last."""
    last = {re.sub(r"after_combines\.\d", "after_combines", name): name for name in shapes}
    draw = drawn if sum(map(prod, shapes.values())) > 15_000_000 else drawn_before
    made = {name: draw(name, shapes[name]) for name in last.values()}
    return {name: made[last[re.sub(r"after_combines\.\d", "after_combines", name)]] for name in shapes}


def drawn_net(kind: Callable[..., nn.Module], *args: Any, **config: Any) -> nn.Module:
    """Build a net with weights by the rule, so that its answers have some size; ready to run."""
    with torch.device("meta"):
        net = kind(*args, **config)
    state = drawn_state({name: tuple(t.shape) for name, t in net.state_dict().items()})
    net.to_empty(device="cpu").load_state_dict(state)
    return net.eval()


def golden(name: str) -> Path:
    """Return a file of the reference outputs, or skip."""
    folder = os.environ.get("MITONB_DATA_DIR")
    path = Path(folder or ".").parent / "golden" / name
    if not folder or not path.is_file():
        pytest.skip(f"needs the reference output {name} beside MITONB_DATA_DIR")
    return path


def golden_state(architecture: str, layout: str) -> dict[str, Tensor]:
    """Return the drawn weights of a published architecture, by its list of names."""
    lines = golden(f"keys_{architecture}_{layout}.txt").read_text().splitlines()
    return drawn_state({name: ast.literal_eval(shape) for name, _, shape in (line.partition(" ") for line in lines)})


def write_torchscript(tensors: dict[str, Tensor], path: Path) -> None:
    """Write an archive as the published exporter does, with these tensors under these names."""
    write_export(export_of(tensors), path)


def write_checkpoint(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a checkpoint as training on several GPUs does."""
    state = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"arch": "net", "state_dict": state, "norms": [0.57571, 0.12765], "epoch": 3}, path)


def export_names(tensors: dict[str, Tensor], *, pyramid: bool) -> dict[str, Tensor]:
    """Rename the tensors of a folded net of ours as the export does: one level more where a ReLU was joined."""
    joined = [r"encoder\.conv1", r"layer\d\.\d+\.conv1"]
    if any("layer1.0.conv3" in name for name in tensors):
        joined.append(r"layer\d\.\d+\.conv2")
    if not pyramid:
        joined += [r"aspp\.convs\.\d\.0", r"aspp_pooling\.1", r"project\.0", r"\.project\.\d\.0", r"fc_layers\.\d\.0"]
    pattern = re.compile(rf"({'|'.join(joined)})\.(weight|bias)$")
    return {pattern.sub(r"\1.0.\2", name): tensor for name, tensor in tensors.items()}
