"""Published weights without their code: the tensors of TorchScript archives and of PyTorch checkpoints.

Both are zip files with a pickle and the raw numbers. `members` reads the zip, `unpickling` the pickle, both refusing
whatever weights do not need; this module checks each tensor against the numbers that are there and copies it out. The
code of a TorchScript archive is never read, not even decompressed. Nothing here imports, calls or evaluates what a
file says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from mitonb.errors import CorruptFileError, ModelError, TooLargeError, UnsafeFileError
from mitonb.models.members import Members
from mitonb.models.records import Record, StorageRecord, TensorRecord, Value
from mitonb.models.spec import printable
from mitonb.models.unpickling import unpickled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

__all__ = ["Archive", "read_archive", "read_tensors"]

LARGEST_PICKLE = 16 << 20  # bytes; a checkpoint with its optimizer has about one
MOST_TENSORS = 20_000
MOST_VALUES = 200_000  # visited while looking for tensors
DEEPEST = 64
LARGEST_RATIO = 4  # bytes of all tensors per byte of the file, for tensors that share numbers

KINDS: dict[str, tuple[torch.dtype, int]] = {
    "DoubleStorage": (torch.float64, 8),
    "FloatStorage": (torch.float32, 4),
    "HalfStorage": (torch.float16, 2),
    "BFloat16Storage": (torch.bfloat16, 2),
    "LongStorage": (torch.int64, 8),
    "IntStorage": (torch.int32, 4),
    "ShortStorage": (torch.int16, 2),
    "CharStorage": (torch.int8, 1),
    "ByteStorage": (torch.uint8, 1),
    "BoolStorage": (torch.bool, 1),
}
"""Kinds of numbers that are read, with their bytes."""


@dataclass(frozen=True, eq=False)
class Archive:
    """What a file of weights holds.

    Attributes
    ----------
    kind : {"torchscript", "checkpoint"}
        An export with code, which is not read, or a pickled dictionary.
    tensors : dict of str to Tensor
        By their dotted names, as in a state dict; a prefix "module." of all names is taken off.
    facts : dict
        What else the outermost dictionary of a checkpoint says in plain values, such as "arch" and "norms".
    root : str
        Class of the exported network, such as "__torch__.net.Net"; empty for checkpoints.
    """

    kind: Literal["torchscript", "checkpoint"]
    tensors: dict[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a TorchScript archive, a state dict or a checkpoint, by dotted names.

    Raises
    ------
    MitonbError
        As `read_archive`.
    """
    return read_archive(path).tensors


def read_archive(path: str | Path, inside: bytes | bytearray | None = None) -> Archive:
    """Read what a TorchScript archive (.pt, .pth) or a PyTorch checkpoint (.pth, .pth.tar) holds; run nothing of it.

    Parameters
    ----------
    path : path
        A file that `torch.save` (PyTorch 1.6 or later) or `torch.jit.save` wrote.
    inside : bytes, optional
        Read these bytes instead, which stood in the file.

    Returns
    -------
    Archive
        The tensors are copies on the CPU; those that shared numbers in the file share them here.

    Raises
    ------
    ModelError
        If there is no such file, or it holds no tensors.
    UnsafeFileError
        If it asks for anything but tensors, or plays a trick with names, sizes or places.
    UntrustedModelError
        If its weights are quantised: only its own code can run them.
    CorruptFileError, TooLargeError
        If it is damaged, or larger than the limits of this module.
    """
    with Members(path, inside) as members:
        where = printable(members.path.name)
        top = _top(members, where)
        scripted = any(name.startswith(f"{top}/code/") for name in members.sizes)
        pickle = members.read(f"{top}/data.pkl", most=LARGEST_PICKLE)
        value = unpickled(pickle, where=where)
        numbers = _Numbers(members, top, where)
        root = value.kind if isinstance(value, Record) else ""
        if scripted != bool(root):
            raise UnsafeFileError(f"{where} mixes a TorchScript archive with a checkpoint. Export or fetch it again.")
        found = list(_named(value if scripted else _state_of(value, where), where))
        tensors = _without_prefix({name: numbers.tensor(record, name) for name, record in found})
        facts = {} if scripted else _facts(value)
        size = sum(t.numel() * t.element_size() for t in tensors.values())
    if not tensors:
        raise ModelError(f"{where} holds no tensors by name. It must be an exported network or a state dict.")
    if size > LARGEST_RATIO * sum(members.sizes.values()):
        raise UnsafeFileError(f"{where}: its tensors would need {size >> 20} MB, many times what the file holds.")
    return Archive("torchscript" if scripted else "checkpoint", tensors, facts, root)


def _top(members: Members, where: str) -> str:
    """Return the one folder that everything in an archive of PyTorch is in."""
    tops = {name.partition("/")[0] for name in members.sizes}
    top = min(tops, default="")
    if len(tops) != 1 or f"{top}/data.pkl" not in members.sizes:
        raise CorruptFileError(f"{where} is a zip file, but not of PyTorch: it has no data.pkl in its only folder.")
    return top


# -------------------------------------------------------------------------------------------------- finding tensors


def _state_of(value: Value, where: str) -> Value:
    """Return the state dict of a checkpoint, or the value if it is one."""
    if not isinstance(value, dict):
        raise ModelError(f"{where} holds no dictionary of tensors. Save net.state_dict() into it.")
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(value.get(key), dict):
            return value[key]
    return value


def _named(root: Value, where: str) -> Iterator[tuple[str, TensorRecord]]:
    """Yield the tensors of a dictionary, or of a tree of modules, with their dotted names."""
    visited, count = 0, 0
    waiting = [("", 0, root)]
    while waiting:
        name, depth, value = waiting.pop()
        if isinstance(value, TensorRecord):
            count += 1
            if count > MOST_TENSORS:
                raise TooLargeError(f"{where} names more than {MOST_TENSORS} tensors; no network has so many.")
            yield name, value
        children = value.attributes if isinstance(value, Record) else value if value is root else None
        if not isinstance(children, dict):
            continue
        visited += len(children)
        # The pickle may tie knots: an object may contain itself, or be reached in countless ways.
        if depth >= DEEPEST or visited > MOST_VALUES:
            raise TooLargeError(f"{where} is deeper than any network, or contains itself. Export or fetch it again.")
        dot = f"{name}." if name else ""
        for key, child in reversed(children.items()):
            if isinstance(child, TensorRecord) or (isinstance(child, Record) and _is_module(child)):
                waiting.append((_joined(dot, key, where), depth + 1, child))


def _is_module(record: Record) -> bool:
    """Whether an object of an export is a module with weights: no configuration, and nothing that only watches."""
    return "training" in record.attributes and not record.kind.endswith(("Observer", "FakeQuantize"))


def _joined(dot: str, key: int | str, where: str) -> str:
    name = f"{dot}{key}"
    if not (isinstance(key, str) and key.isascii() and key.isprintable() and 0 < len(name) <= 512):
        raise UnsafeFileError(f"{where} names a tensor {printable(name)!r}. Names are printable ASCII.")
    return name


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the "module." that training on several devices puts before every name."""
    if tensors and all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _facts(value: Value) -> dict[str, Any]:
    """Return what the outermost dictionary says in plain values, and lists and dictionaries of such."""
    if not isinstance(value, dict):
        return {}
    return {key: _plain(v) for key, v in list(value.items())[:100] if isinstance(key, str) and _is_plain(v)}


def _is_plain(value: Value, depth: int = 0) -> bool:
    if isinstance(value, list | tuple | dict):
        inner = value.values() if isinstance(value, dict) else value
        return depth < 3 and len(value) <= 100 and all(_is_plain(v, depth + 1) for v in inner)
    return value is None or isinstance(value, bool | int | float | str)


def _plain(value: Value) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


# -------------------------------------------------------------------------------------------------- making tensors


class _Numbers:
    """The storages of an archive; each is read once."""

    def __init__(self, members: Members, top: str, where: str) -> None:
        self.members, self.top, self.where = members, top, where
        self.read: dict[str, tuple[StorageRecord, Tensor]] = {}
        order = f"{top}/byteorder"
        self.order = bytes(members.read(order, most=16)).decode("latin-1") if order in members.sizes else "little"
        if self.order not in ("little", "big"):
            raise CorruptFileError(f"{where} has an unknown byte order {printable(self.order)!r}. Fetch it again.")

    def tensor(self, record: TensorRecord, name: str) -> Tensor:
        """Return one tensor after checking that it stays within its numbers and shares none with itself."""
        storage = self.storage(record.storage)
        shape, strides, offset = record.shape, record.strides, record.offset
        what = f"{self.where}: the tensor {name} with shape {shape}, strides {strides} and offset {offset}"
        if len(shape) != len(strides) or offset < 0 or min((*shape, *strides), default=0) < 0:
            raise UnsafeFileError(f"{what} is impossible.")
        if math.prod(shape) == 0:
            # Sizes next to a zero can still be absurd.
            if offset > len(storage) or max((*shape, *strides), default=0) > max(len(storage), 1 << 20):
                raise UnsafeFileError(f"{what} is impossible.")
            return torch.empty(shape, dtype=storage.dtype)
        span = 1
        for stride, size in sorted((stride, size) for stride, size in zip(strides, shape, strict=True) if size > 1):
            if stride < span:
                raise UnsafeFileError(f"{what} uses the same numbers more than once.")
            span += stride * (size - 1)
        if offset + span > len(storage):
            raise UnsafeFileError(f"{what} reaches beyond its {len(storage)} numbers.")
        return storage.as_strided(shape, strides, offset)

    def storage(self, record: StorageRecord) -> Tensor:
        """Return the numbers of a storage as a flat tensor of its kind."""
        if record.key in self.read:
            known, numbers = self.read[record.key]
            if known != record:
                raise UnsafeFileError(f"{self.where} gives two kinds to the numbers {printable(record.key)!r}.")
            return numbers
        dtype, width = KINDS[record.kind]
        name = f"{self.top}/data/{record.key}"
        if not record.key.isascii() or not record.key.isalnum() or name not in self.members.sizes:
            raise CorruptFileError(f"{self.where} lacks the numbers {printable(record.key)!r}. Fetch it again.")
        size = self.members.sizes[name]
        if record.count * width != size:
            raise UnsafeFileError(f"{self.where}: {printable(name)} has {size} bytes, not {record.count} x {width}.")
        data = self.members.read(name, most=size)
        numbers = self._decoded(data, dtype, width) if data else torch.empty(0, dtype=dtype)
        self.read[record.key] = (record, numbers)
        return numbers

    def _decoded(self, data: bytearray, dtype: torch.dtype, width: int) -> Tensor:
        if self.order == "big" and width > 1:
            np.frombuffer(data, f"u{width}").byteswap(inplace=True)
        if dtype == torch.bool and max(data) > 1:
            raise CorruptFileError(f"{self.where} holds truth values that are neither 0 nor 1. Fetch it again.")
        return torch.frombuffer(data, dtype=dtype)
