"""What a pickle of weights may hold, and what the names in it stand for: records, and the functions that make them.

None of these functions does more than to put its arguments into a record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MARK",
    "NAMES",
    "QUANTISED",
    "SCRIPTED",
    "STORAGES",
    "Name",
    "OddError",
    "Record",
    "StorageRecord",
    "TensorRecord",
    "Value",
    "need",
]

SCRIPTED = re.compile(r"__torch__(\.\w+)*", re.ASCII)
"""Classes of a TorchScript archive; their code is in the archive and stays there unread."""

QUANTISED = re.compile(r"torch\._utils\._rebuild_qtensor|torch\.Q\w+Storage|__torch__\.torch\.classes\.quantized\..*")


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the file mentions; it is one of `NAMES`, of the storage kinds, or a class of TorchScript."""

    text: str


@dataclass(slots=True, eq=False)
class Record:
    """An object of a TorchScript archive: the name of its class, which is never looked for, and its attributes."""

    kind: str
    attributes: dict[int | str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StorageRecord:
    """Numbers in the archive: their kind such as "FloatStorage", the name of the member, and how many they are."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorRecord:
    """A view of a storage: where it starts, its shape and strides, all in numbers of elements and still unchecked."""

    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Mark:
    """Where a list of arguments starts on the stack."""


Value = (
    None | bool | int | float | str | list["Value"] | tuple["Value", ...] | dict[int | str, "Value"]
    | Record | TensorRecord | StorageRecord | Name | Mark
)  # fmt: skip

MARK = Mark()


def _ordered(*pairs: Value) -> Value:
    need(not pairs)
    return {}


def _tensor(
    storage: Value, offset: Value, shape: Value, strides: Value, _gradient: Value, _hooks: Value, _more: Value = None
) -> Value:
    if not isinstance(storage, StorageRecord) or not isinstance(offset, int):
        raise OddError
    return TensorRecord(storage, offset, _whole(shape), _whole(strides))


def _parameter(tensor: Value, _gradient: Value, _hooks: Value) -> Value:
    need(isinstance(tensor, TensorRecord))
    return tensor


def _listed(values: Value) -> Value:
    need(isinstance(values, list))
    return values


def _device(name: Value) -> Value:
    need(isinstance(name, str))
    return name


def _tagged(value: Value, _tag: Value) -> Value:
    need(isinstance(value, list | dict))
    return value


NAMES: dict[str, Callable[..., Value]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.device": _device,
    "torch.jit._pickle.build_intlist": _listed,
    "torch.jit._pickle.build_doublelist": _listed,
    "torch.jit._pickle.build_boollist": _listed,
    "torch.jit._pickle.build_tensorlist": _listed,
    "torch.jit._pickle.restore_type_tag": _tagged,
}
"""Every name that means something in a pickle of weights, and the function of this module that it stands for."""

STORAGES = {
    f"torch.{kind}Storage"
    for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
}


class OddError(Exception):
    """An argument is not of the kind that it must be."""


def need(fits: bool) -> None:
    if not fits:
        raise OddError


def _whole(values: Value) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > 16:
        raise OddError
    whole = tuple(v for v in values if isinstance(v, int) and not isinstance(v, bool))
    need(len(whole) == len(values))
    return whole
