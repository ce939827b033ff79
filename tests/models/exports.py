"""TorchScript archives as the published exporter writes them: every attribute of every object, not the weights alone.

`Thing` is an object of such an archive. `tree_of` reads the lists of attributes beside the reference outputs;
`export_of` draws the same kinds of things around any tensors; `write_export` writes either, byte for byte as PyTorch's
own pickler does.
"""

from __future__ import annotations

import ast
import re
import struct
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tests.models.hostile import PROTO, STOP, called, name, text, whole

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {torch.float32: "Float", torch.int64: "Long", torch.float16: "Half", torch.int32: "Int", torch.bool: "Bool"}
ONE_LIST = {int: "build_intlist", float: "build_doublelist", bool: "build_boollist"}


@dataclass(eq=False)
class Thing:
    """An object: the last part of its class name, and what it has."""

    kind: str
    has: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def module(cls, kind: str, **has: Any) -> Thing:
        return cls(kind, {"training": kind.startswith("ConvReLU"), "_is_full_backward_hook": None, **has})

    def at(self, path: str) -> Thing:
        """Return the object at a dotted path."""
        thing = self
        for step in filter(None, path.split(".")):
            thing = thing.has[step]
        return thing


# ------------------------------------------------------------------------------------------------------------- trees


def tree_of(listed: str, tensors: dict[str, Tensor]) -> Thing:
    """Read a list of attributes; `tensors` are the weights. Numbers that are shared in the list are one tensor here."""
    root, storages = Thing("PanopticNet"), dict[str, Tensor]()
    for line in listed.splitlines():
        path, said = line.split("\t")
        place, _, leaf = path.rpartition(".")
        kind, _, rest = said.partition(" ")
        match kind:
            case "object":
                value: Any = Thing(rest)
            case "tensor":
                shape, number = re.fullmatch(r"(\[.*\]) \w+ storage (\d+)", rest).groups()
                made = tensors.get(path, torch.full(ast.literal_eval(shape), 64, dtype=torch.long))
                value = storages.setdefault(number, made)
                assert torch.equal(value, made), path
                assert list(value.shape) == ast.literal_eval(shape), path
            case "list":
                value = ast.literal_eval(rest.partition(" ")[2].partition(" ")[2])[0]
            case _:
                value = ast.literal_eval(rest)
        root.at(place).has[leaf] = value
    return root


def export_of(tensors: dict[str, Tensor]) -> Thing:
    """Draw an export around tensors: joined parts, empty norms, a configuration, functions, flags and lists."""
    root = Thing.module("QuantizablePanopticNet", num_classes=1)
    shared: dict[str, Any] = {}
    for path, tensor in tensors.items():
        first = re.sub(r"after_combines\.\d", "after_combines.0", path)  # one block that stands there several times
        *way, leaf = path.split(".")
        thing = root
        for n, step in enumerate(way, 1):
            fresh = shared.setdefault(".".join(first.split(".")[:n]), Thing.module("Part"))
            thing = thing.has.setdefault(step, fresh)
        thing.has[leaf] = tensor
        if tensor.ndim == 4:
            thing.kind = "Conv2d"
            thing.has |= {"transposed": False, "_reversed_padding_repeated_twice": [1, 1, 1, 1]}
        if re.search(r"conv\d\.0\.weight$", path):  # a convolution that a ReLU was joined to, and its empty norm
            block, joined = root.at(".".join(way[:-2])), root.at(".".join(way[:-1]))
            joined.kind, joined.has["training"] = "ConvReLU2d", True
            joined.has["1"] = Thing.module("ReLU")
            block.has[way[-2].replace("conv", "bn")] = Thing.module("Identity")
            block.has["skip_add_relu"] = Thing.module(
                "FloatFunctional", activation_post_process=Thing.module("Identity")
            )
            block.has |= {"downsample": None, "stride": 1} if "downsample" not in block.has else {"stride": 2}
    if "encoder" in root.has:
        widths = {"widths": torch.tensor([256, 512, 1024, 2048])}
        root.at("encoder").has |= {"cfg": Thing("ResNetConfig", widths), "mode": "bilinear", "eps": 1e-4, "groups": 1}
    return root


# ----------------------------------------------------------------------------------------------------------- archives


class _Pickler:
    """Writes as the pickler of TorchScript does: texts, names and objects are written once, then pointed at."""

    def __init__(self, modules: str) -> None:
        self.modules = modules
        self.known: dict[Any, int] = {}
        self.storages: dict[int, tuple[int, Tensor]] = {}
        self.alive: list[Any] = []  # so that no two things get one id

    def kept(self, key: Any, data: bytes) -> bytes:
        """Return data and a note under which it is found again, or only a pointer to the first."""
        number = self.known.get(key)
        if number is not None:
            return b"h" + bytes([number]) if number < 256 else b"j" + struct.pack("<I", number)
        number = self.known[key] = len(self.known)
        return data + (b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number))

    def text(self, value: str) -> bytes:
        return self.kept(value, text(value))

    def value(self, value: Any) -> bytes:
        if id(value) in self.known:
            return self.kept(id(value), b"")
        match value:
            case None | True | False:
                return {None: b"N", True: b"\x88", False: b"\x89"}[value]
            case int():
                return b"K" + bytes([value]) if 0 <= value < 256 else whole(value)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                return self.text(value)
            case tuple():
                return b"(" + b"".join(map(self.value, value)) + b"t"
            case list() if value and type(value[0]) in ONE_LIST:
                inner = b"](" + b"".join(map(self.value, value)) + b"e"
                return name("torch.jit._pickle", ONE_LIST[type(value[0])]) + b"(" + inner + b"tR"
            case list():
                return b"](" + b"".join(map(self.value, value)) + b"e"
            case torch.device():
                return name("torch", "device") + b"(" + self.text(str(value)) + b"tR"
            case Tensor():
                self.alive.append(value)
                return self.kept(id(value), self.tensor(value))
            case Thing():
                self.alive.append(value)
                return self.kept(id(value), self.thing(value))
        raise TypeError(value)

    def thing(self, thing: Thing) -> bytes:
        kind = thing.kind.rpartition(".")[2]
        made = (
            self.kept(("class", kind), name(f"__torch__.{self.modules}.___torch_mangle_{len(kind)}", kind)) + b")\x81"
        )
        parts = (self.text(key) + self.value(value) for key, value in thing.has.items())
        return made + b"}(" + b"".join(parts) + b"ub"

    def tensor(self, tensor: Tensor) -> bytes:
        number, _ = self.storages.setdefault(tensor.data_ptr(), (len(self.storages), tensor))
        kind = name("torch", f"{KINDS[tensor.dtype]}Storage")
        words = self.text("storage") + kind + self.text(str(number)) + self.text("cpu") + self.value(tensor.numel())
        storage = b"(" + words + b"tQ"
        sizes = self.value(tuple(tensor.shape)) + self.value(tuple(tensor.stride()))
        more = b"\x89" + called("collections", "OrderedDict")
        return name("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + b"K\0" + sizes + more + b"tR"


def write_export(root: Thing, path: Path, *, torch_version: str = "2.13", **extra: bytes) -> Path:
    """Write an archive as `torch.jit.save` of PyTorch 1.13 or 2.13 does; `extra` are files that somebody added."""
    old = torch_version.startswith("1.")
    pickler = _Pickler("empanada.models.quantization" if old else "torch.ao.nn.intrinsic.modules.fused")
    body = PROTO + pickler.value(root) + STOP
    top = path.name.partition(".")[0]
    code = f"class {root.kind}(Module):\n  raise SystemExit\n".encode() * 40
    with zipfile.ZipFile(path, "w") as file:
        for key, data in extra.items():
            file.writestr(f"{top}/extra/{key}", data)
        for number, tensor in pickler.storages.values():
            file.writestr(f"{top}/data/{number}", tensor.contiguous().numpy().tobytes())
        file.writestr(f"{top}/data.pkl", body)
        for part in ("__torch__.py", "__torch__/torch/nn/modules/conv/___torch_mangle_3.py"):
            file.writestr(f"{top}/code/{part}", code, zipfile.ZIP_DEFLATED)
            file.writestr(f"{top}/code/{part}.debug_pkl", b"\x80\x02(X\1\0\0\0at." * 40, zipfile.ZIP_DEFLATED)
        constant = _Pickler("")
        file.writestr(f"{top}/constants.pkl", PROTO + constant.value((torch.arange(3),)) + STOP)
        file.writestr(f"{top}/constants/0", torch.arange(3).numpy().tobytes())
        file.writestr(f"{top}/version", b"3\n")
        if not old:
            file.writestr(f"{top}/byteorder", b"little")
            file.writestr(f"{top}/.data/serialization_id", b"0" * 40)
            file.writestr(f"{top}/.format_version", b"1")
            file.writestr(f"{top}/.storage_alignment", b"64")
    return path
