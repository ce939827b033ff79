"""OpenVINO, where it is installed (extra `fast`): the convolutions of our own nets on CPUs, faster than torch."""

from __future__ import annotations

import functools
import importlib.util
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mitonb.infer.engines.parts import Convolutions, NetOutput, Picture, finished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mitonb.infer.engines.winograd import Layer

__all__ = ["OpenVinoEngine", "Program", "has_bf16", "openvino_is_there"]

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def openvino_is_there() -> bool:
    """Return whether the OpenVINO runtime is installed."""
    return importlib.util.find_spec("openvino") is not None


@functools.cache
def has_bf16() -> bool:
    """Return whether this processor computes in bf16 as OpenVINO sees it; elsewhere the hint would be ignored."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """A net whose convolutions OpenVINO runs on the CPU.

    One program is compiled for each size of picture, when it first comes. Pictures go through one by one: a batch
    gains nothing on a CPU and would need programs of its own.

    Parameters
    ----------
    program : Program
        The net, converted.
    precision : {"fp32", "bf16", "int8"}
        Of the convolutions.
    doublings : int
        As for `TorchEngine`.
    samples : sequence of (h, w) arrays
        Normalised pictures from which the ranges of int8 are taken; only int8 needs them.
    winograd : bool
        Do 3x3 convolutions in fp32 by Winograd's method: faster on few cores, and the rounding is another.
    """

    def __init__(
        self,
        program: Program,
        precision: str = "fp32",
        doublings: int = 0,
        samples: Sequence[Picture] = (),
        *,
        winograd: bool = False,
    ) -> None:
        self.name = "openvino+winograd" if winograd else "openvino"
        self.precision = precision
        self._winograd = winograd
        self.doublings = doublings
        self._program = program
        self._samples = samples
        self._ranges: Any = None
        self._requests: dict[tuple[int, ...], tuple[Any, Picture]] = {}
        self._lock = threading.Lock()  # a preview and a run may share an engine, but a request serves one at a time

    def run(self, pictures: Picture) -> NetOutput:
        """Run the net on (n, 1, [d,] h, w) normalised pictures."""
        said = [self._one(np.ascontiguousarray(picture[None])) for picture in pictures]
        if len(said) == 1:
            return said[0]
        return {name: np.concatenate([s[name] for s in said]) for name in said[0]}

    def _one(self, x: Picture) -> NetOutput:
        with self._lock:
            if x.shape not in self._requests:
                self._requests[x.shape] = _prepared(self._compiled(*x.shape[2:]), x.shape)
            request, place = self._requests[x.shape]
            place[...] = x
            request.infer(share_outputs=True)
            # Copied: the next picture will be written where these lie.
            outputs = [
                torch.from_numpy(np.array(request.get_output_tensor(i).data)) for i in range(len(request.model_outputs))
            ]
        with torch.inference_mode():
            return finished(self._program.net, self._program.names, self._first(outputs), self.doublings)

    def _first(self, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return _features_first(outputs) if "features" in self._program.names else tuple(outputs)

    def _compiled(self, *sides: int) -> Any:
        model = self._program.at(*sides)
        if self.precision == "int8":
            from mitonb.infer.engines.eight_bits import quantise, ranges

            if self._ranges is None:
                self._ranges = ranges(self._program, self._samples)
            quantise(model, self._ranges)
        if self._winograd and len(sides) == 2:
            from mitonb.infer.engines.blocks import rewritten

            rewritten(model, self._program.layers, torch.get_num_threads())
        hint = "bf16" if self.precision == "int8" and has_bf16() else _HINTS[self.precision]
        return compiled(model, hint)


class _Traced(Convolutions):
    """What is converted: features for PointRend come out with their channels last, as they lie inside."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (n, 1, h, w) pictures to the outputs of the net."""
        outputs = super().forward(x)
        if not self.renders:
            return outputs
        return outputs[0], outputs[1].permute(0, 2, 3, 1), *outputs[2:]


def _features_first(outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Undo what `_Traced` did, without moving a number."""
    return outputs[0], outputs[1].permute(0, 3, 1, 2), *outputs[2:]


def _prepared(model: Any, shape: tuple[int, ...]) -> tuple[Any, Picture]:
    """Return a request and the place for its picture: to hand the picture over anew costs more each time."""
    from mitonb.infer.engines.quiet import openvino

    request, place = model.create_infer_request(), np.empty(shape, np.float32)
    request.set_input_tensor(openvino.Tensor(place, shared_memory=True))
    return request, place


class Program:
    """A net as OpenVINO reads it: converted once, when it is first needed, then only set to each size of picture.

    Parameters
    ----------
    net : nn.Module
        One of the package's, in evaluation mode, on the CPU.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net.eval()
        self.layers: dict[str, Layer] = {}
        """Convolutions made ready for Winograd's method, by name."""
        self.names: tuple[str, ...] = ()
        """What comes out, once it is converted."""
        self._model: Any = None
        self._lock = threading.Lock()

    def at(self, *sides: int) -> Any:
        """Return an OpenVINO model of its own for pictures of ([d,] h, w) pixels."""
        with self._lock:
            if self._model is None:
                self._model = self._converted(*sides)
            model = self._model.clone()
        model.reshape([1, 1, *sides])
        return model

    def _converted(self, *sides: int) -> Any:
        from mitonb.infer.engines.quiet import openvino

        # Noise, not the picture at hand: were the net to do anything but arithmetic, its answer would be that for
        # noise, and the comparison with torch that follows would show it.
        example = torch.randn(1, 1, *sides, generator=torch.Generator().manual_seed(1))
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch.jit, which the conversion uses, says that it is deprecated
            traced = _Traced(self.net).eval()
            model = openvino.convert_model(traced, example_input=example)
        self.names = traced.names
        return model


def compiled(model: Any, hint: str) -> Any:
    """Compile a model for this CPU, with as many threads as torch would use."""
    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        # On a shared machine a pinned thread waits for its core although another one is free.
        "ENABLE_CPU_PINNING": "NO",
    }
    return _core().compile_model(model, "CPU", settings)


@functools.cache
def _core() -> Any:
    from mitonb.infer.engines.quiet import openvino

    return openvino.Core()
