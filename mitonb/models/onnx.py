"""ONNX both ways: our nets for programs that run ONNX, and any lab's net, with a card, for ours.

ONNX holds no code: operations of a fixed list, and numbers. Its card lies inside, under "mitonb", or beside it in JSON;
what a hand-written one may say stands in docs/models.md. OpenVINO runs what comes in.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mitonb.errors import ModelError, TooLargeError, UnsafeFileError, guarded
from mitonb.maps import COARSE
from mitonb.models.spec import ModelSpec, printable
from mitonb.models.weights import read_bytes

CARD = "mitonb"
"""Under this name the file holds its card."""
LARGEST = (2 << 30) - 1  # bytes: what one ONNX file can hold
OPSET = 17
_BY_PROBABILITY = ("semantic", "contour", "affinities")


# -------------------------------------------------------------------------------------------------------------- out


class _Heads(nn.Module):
    """A net that gives its heads in their order."""

    def __init__(self, net: nn.Module, heads: tuple[str, ...]) -> None:
        super().__init__()
        self.net, self.heads = net, heads

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        said = self.net(x)
        return tuple(said[name] for name in self.heads)


def to_onnx(net: nn.Module, spec: ModelSpec) -> bytes:
    """Return a net with its card as ONNX: `image` (n, 1, [d,] h, w), normalised, to logits by the names of heads.

    The batch and the sides of pictures, multiples of `spec.multiple`, are free. PointRend is part of it.

    Parameters
    ----------
    net : nn.Module
        One of the package's, in evaluation mode, on the CPU.
    spec : ModelSpec
        Its card.

    Raises
    ------
    ModelError
        If the package onnx is not installed, or the net came as ONNX or with its own code.
    """
    onnx = needed("onnx")
    if spec.architecture in ("onnx", "torchscript"):
        raise ModelError(f"{spec.name} came as {spec.architecture} and cannot be written again. Hand on its file.")
    free = {0: "n", **dict(enumerate("dhw"[-spec.dimension :], 2))}
    sides = [spec.multiple * k for k in (2, 2, 3)[-spec.dimension :]]
    out: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the new exporter of torch wants one package more and knows no free sides here
        torch.onnx.export(
            _Heads(net, spec.heads).eval(), (torch.zeros(1, 1, *sides),), out, dynamo=False, opset_version=OPSET,
            input_names=["image"], output_names=list(spec.heads),
            dynamic_axes=dict.fromkeys(("image", *spec.heads), free),
        )  # fmt: skip
    model = onnx.load_from_string(out.getvalue())
    return with_card(model, dataclasses.replace(spec, architecture="onnx", config={}, program={}, sha256=""))


# --------------------------------------------------------------------------------------------------------------- in


class OnnxNet(nn.Module):
    """A net that came as ONNX: OpenVINO runs it (`mitonb.infer.engines`), and it cannot be trained on.

    Attributes
    ----------
    program : openvino.Model
        Gives logits of the heads of its card, in their order.
    """

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.program = program


def read_onnx(path: Path) -> bytes:
    """Return a net and its card as one ONNX: weights that lie in files beside it come in, and so does a card in JSON.

    Raises
    ------
    ModelError
        If there is no card, or it is none; or the package onnx is not installed.
    UnsafeFileError
        If its weights lie outside of its folder.
    TooLargeError, CorruptFileError
        If it is larger than ONNX can be, or damaged.
    """
    onnx, data = needed("onnx"), read_bytes(path)
    with guarded(path.name):
        model = onnx.load_from_string(data)
        tensors = onnx.external_data_helper._get_all_tensors(model)  # also those inside of operations
        outside = [tensor for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL]
        told = [{entry.key: entry.value for entry in tensor.external_data} for tensor in outside]
        inside = {entry.key for entry in model.metadata_props}
        if sum(int(one.get("length", LARGEST + 1)) for one in told) > LARGEST:
            raise TooLargeError(f"{path.name} names over 2 GB of weights, more than one ONNX holds, or not how many.")
    for tensor in outside:
        with guarded(f"{path.name}, with weights in another file,", UnsafeFileError, "They have to lie beside it."):
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))  # refuses other folders
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT
    beside = path.with_suffix(".json")
    if beside.is_file():
        return with_card(model, written_card(beside.read_bytes(), name=path.stem, where=beside.name))
    if CARD not in inside:
        raise ModelError(
            f"{path.name} holds no model card, and there is no {beside.name} beside it that says what its outputs "
            'mean: {"heads": ["semantic"], "multiple": 32, ...}. See docs/models.md.'
        )
    return model.SerializeToString() if outside else data


def with_card(model: Any, card: ModelSpec) -> bytes:
    """Return an ONNX model with a card inside."""
    others = {entry.key: entry.value for entry in model.metadata_props}
    needed("onnx").helper.set_model_props(model, {**others, CARD: card.to_json()})
    return model.SerializeToString()


def written_card(text: bytes, *, name: str, where: str) -> ModelSpec:
    """Read a card that a person wrote: what it does not know is said, and not left out."""
    with guarded(where, ModelError, "A card is a JSON object; see docs/models.md."):
        values = {"name": name, **json.loads(text), "architecture": "onnx"}
    if unknown := sorted(set(values) - {field.name for field in dataclasses.fields(ModelSpec)}):
        raise ModelError(f"{where}: a card has no {printable(unknown[0])!r}. See docs/models.md for what it may say.")
    return ModelSpec.from_json(json.dumps(values), where=where)


def onnx_net(data: bytes, *, where: str) -> tuple[OnnxNet, ModelSpec]:
    """Return the net and the card in an ONNX that `read_onnx` or `to_onnx` gave, checked against each other.

    Raises
    ------
    ModelError
        If the card tells of outputs, channels or sizes that the net has not, or OpenVINO is not installed.
    """
    onnx = needed("onnx")
    with guarded(where):
        props = {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
    spec, openvino = ModelSpec.from_json(props[CARD], where=where), import_openvino()
    with guarded(where, ModelError, "OpenVINO runs ONNX here, and has to know what the net is made of."):
        model = openvino.Core().read_model(data)
    with guarded(f"{where}: config of its card", ModelError, "See docs/models.md."):
        program = _chosen(model, spec, where, openvino)
    sides, shown = [spec.multiple * k for k in (2, 2, 3)[-spec.dimension :]], program.clone()
    advice = "Pictures are (n, 1, [d,] h, w) here. Correct `multiple` or `dimension` of its card."
    with guarded(f"{where}, for pictures of {sides} pixels,", ModelError, advice):
        shown.reshape([1, 1, *sides])
    axes = dict.fromkeys(("offsets", "affinities"), spec.dimension)
    channels = {"semantic": len(spec.classes) + (len(spec.classes) > 1), **axes}
    for name, output in zip(spec.heads, shown.outputs, strict=True):
        stride = spec.output_stride if name in COARSE else 1
        wanted = openvino.PartialShape([1, channels.get(name, 1), *(side // stride for side in sides)])
        if not output.partial_shape.compatible(wanted):
            raise ModelError(
                f"{where}: of a picture of {sides} pixels the head {name} is {output.partial_shape}, but by its card "
                f"it should be {wanted}. Correct dimension, classes, output_stride or config.outputs."
            )
    return OnnxNet(program), spec


def _chosen(model: Any, spec: ModelSpec, where: str, openvino: Any) -> Any:
    """Return a program that gives the heads of a card as logits: outputs by name, some channels of them if it says."""
    ops = openvino.opset13
    there = {name: output.get_node().input_value(0) for output in model.outputs for name in output.names}
    asked, squashed = spec.config.get("outputs", {}), spec.config.get("probabilities", ())
    if unknown := set(spec.config) - {"outputs", "probabilities"}:
        raise ModelError(f"{where}: config of its card has outputs and probabilities, got {printable(min(unknown))!r}.")
    results = []
    for head in spec.heads:
        told = asked.get(head, head)
        name, *channels = [told] if isinstance(told, str) else told
        if name not in there:
            raise ModelError(
                f"{where} has the outputs {', '.join(sorted(map(printable, there)))}, and its card wants "
                f"{printable(str(name))!r} for {head}. Say which it is: "
                f'"config": {{"outputs": {{"{head}": "NAME"}}}}, or ["NAME", 0] for its first channel.'
            )
        x = ops.convert(there[name], "f32")
        if channels:
            count = x.get_output_partial_shape(0)[1]
            if count.is_static and set(channels) - set(range(count.get_length())):
                raise ModelError(f"{where}: {name} has {count.get_length()} channels, and its card wants {channels}.")
            x = ops.gather(x, ops.constant(np.array(channels, np.int64)), ops.constant(np.array(1)))
        if head in squashed:
            x = ops.clamp(x, 1e-6, 1 - 1e-6)
            several = head == "semantic" and len(spec.classes) > 1  # of softmax
            x = ops.log(x) if several else ops.log(ops.divide(x, ops.subtract(ops.constant(np.float32(1)), x)))
        results.append(ops.result(x))
    if "semantic" not in spec.heads:
        raise ModelError(f"{where}: its card names no head semantic, which every net needs here.")
    if set(squashed) - set(_BY_PROBABILITY):
        raise ModelError(f"{where}: probabilities are some of {', '.join(_BY_PROBABILITY)}, got {squashed!r}.")
    return openvino.Model(results, model.get_parameters(), printable(spec.name))


# -------------------------------------------------------------------------------------------------- optional packages


def needed(package: str) -> Any:
    """Import an optional package.

    Raises
    ------
    ModelError
        If it is not installed; says how to get it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"ONNX and packages of bioimage.io need {error.name}, which is not installed. Install it with: "
            'pip install "mitonb[exchange]"'
        ) from error


def openvino_is_there() -> bool:
    """Return whether the OpenVINO runtime is installed."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry; only the first import of a process decides.

    Left alone, OpenVINO reports its import and each conversion to its makers, and writes an identity into the home
    folder. mitonb promises that nothing leaves the machine. Where the telemetry package cannot be imported OpenVINO
    keeps silent.
    """
    with _missing("openvino_telemetry"):
        return needed("openvino")


@contextlib.contextmanager
def _missing(package: str) -> Iterator[None]:
    """Let a package be missing for a while; one that somebody has imported stays."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # so that importing it raises ImportError
    try:
        yield
    finally:
        del sys.modules[package]
