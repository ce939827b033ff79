"""Engines: what runs a net. Torch everywhere; on CPUs OpenVINO, in fp32 or by the 8-bit program beside the weights."""

from __future__ import annotations

import copy
import functools
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mitonb.models.onnx import OnnxNet, import_openvino, openvino_is_there

if TYPE_CHECKING:
    from mitonb.models.zoo import Model

Picture = npt.NDArray[np.float32]
NetOutput = dict[str, Picture]
"""What a net said about a batch of pictures, head by head: logits (n, channels, [d,] h, w). `semantic` may be larger
than the pictures, where the net itself brings it back to full size, and `center` and `offsets` are smaller."""

EXACT = 2e-3
"""Largest difference that fp32 engines may have, in standard deviations of a map."""
EXACT_PIXELS = 1e-4
"""Largest part of pixels that fp32 engines may put on different sides of one half."""
SHORT = 0.2, 5e-3
"""The same two for an engine in bf16, whose numbers have three digits."""

Engine: TypeAlias = "TorchEngine | OpenVinoEngine"
_KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Runner:
    """Runs a net with the engine that was asked for.

    The choice is a rule, and no stopwatch is asked, so that a record gives the same labels again on such a machine. On
    CPUs "fast" is the 8-bit program of a model that has one, and so is "auto" if the card says that its held-out scores
    are the same; else "auto" is OpenVINO, in bf16 on processors that compute in it; "exact" is OpenVINO in fp32. Torch
    runs where OpenVINO is not installed, says something else, or cannot run.

    Parameters
    ----------
    model : Model
        Its net, ready to run, and its card.
    device : {"cpu", "cuda", "mps"}
    mode : {"auto", "exact", "fast"}
    precision : {"fp32", "bf16", "fp16"}
        Other than fp32: torch in this precision, whatever the mode.
    doublings : int
        As for `TorchEngine`.
    """

    def __init__(self, model: Model, device: str, mode: str, precision: str, doublings: int = 0) -> None:
        self.notes: list[str] = []
        self._mode, self._precision, self._device = mode, precision, device
        self._model = model
        self._doublings = doublings
        self._engine: Engine | None = None

    @property
    def ran(self) -> bool:
        """Whether the net has run."""
        return self._engine is not None

    @property
    def record(self) -> dict[str, Any]:
        """What ran the net, for the run record."""
        engine = self._engine
        name, precision = (engine.name, engine.precision) if engine else ("torch", self._precision)
        return {"name": name, "precision": precision, "mode": self._mode}

    def run(self, pictures: Picture) -> NetOutput:
        """Run the net on (n, 1, [d,] h, w) normalised pictures."""
        if self._engine is None:
            self._engine = self._choose(pictures)
        return self._engine.run(pictures)

    def release(self) -> None:
        """Let go of the memory that pictures went through: half a gigabyte, which the rest of a run can use."""
        if isinstance(self._engine, OpenVinoEngine):
            self._engine.release()

    def _choose(self, pictures: Picture) -> Engine:
        net, key = self._model.net, str(self._model.spec.sha256)
        if isinstance(net, OnnxNet):
            if self._mode == "fast" or self._precision != "fp32" or self._device != "cpu":
                self.notes.append("A network that came as ONNX runs on the CPU, by OpenVINO in fp32.")
            return _engine_of(net, self._model.spec.heads)
        if runs_own_code(net):
            if self._mode == "fast" or self._precision != "fp32":
                self.notes.append("A model that runs by its own code runs as it is, whatever engine and precision say.")
            return TorchEngine(net, self._device, "fp32", self._doublings)
        plain = TorchEngine(net, self._device, self._precision, self._doublings)
        # Weights without a name may be in training: what was converted once would be old at the next step.
        fits = self._device == "cpu" and self._precision == "fp32" and bool(key) and can_convert(net)
        if not fits or not openvino_is_there():
            return plain
        wanted = self._mode == "fast" or (self._mode == "auto" and self._model.spec.program.get("same") is True)
        program = getattr(self._model, "program", None) if wanted else None
        if self._mode == "fast" and program is None:
            self.notes.append(f"{self._model.spec.name} has no 8-bit program: it ran in fp32.")
        short = self._mode != "exact" and "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        kind = "int8" if program else "bf16" if short else "fp32"
        engine, word = _converted(key, program, kind, tuple(pictures.shape[2:]), self._doublings, plain)
        self.notes += [word] if word else []
        return engine


@functools.lru_cache(maxsize=4)
def _engine_of(net: OnnxNet, heads: tuple[str, ...]) -> Engine:
    """Return the engine of a net that came as ONNX; kept, so that no run compiles anew."""
    return OpenVinoEngine(net, heads, net.program)


_engines: dict[tuple[Any, ...], tuple[Engine | None, str]] = {}
_REMEMBERED = 8
_lock = threading.Lock()


def _converted(
    key: str, program: Path | None, kind: str, sides: tuple[int, ...], doublings: int, plain: TorchEngine
) -> tuple[Engine, str]:
    """Return the engine for a net on the CPU, and what is to be said about it; kept, so that no plane converts anew."""
    asked = (key, program, kind, doublings, len(sides), torch.get_num_threads())
    with _lock:
        if asked not in _engines:
            while len(_engines) >= _REMEMBERED:
                _engines.pop(next(iter(_engines)))
            try:
                _engines[asked] = _try_openvino(program, kind, sides, doublings, plain)
            except Exception as error:  # conversions fail in many ways, and torch can run the net
                word = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
                _engines[asked] = None, f"OpenVINO could not run this network ({word}); torch ran it."
        engine, word = _engines[asked]
        return engine or plain, word  # never the net of an older model, which may be on another device by now


def _try_openvino(
    program: Path | None, kind: str, sides: tuple[int, ...], doublings: int, plain: TorchEngine
) -> tuple[Engine | None, str]:
    names, model = convert(plain.net, sides)
    net = copy.deepcopy(plain.net) if renders(plain.net) else plain.net  # its owner may move it to another device
    if program is not None:
        return OpenVinoEngine(net, names, _core().read_model(program), "int8", doublings), ""
    probe = _probe(sides)
    said = plain.run(probe)
    for precision in ("bf16", "fp32")[kind == "fp32" :]:
        engine = OpenVinoEngine(net, names, model, precision, doublings)
        if agree(engine.run(probe), said, *(SHORT if precision == "bf16" else (EXACT, EXACT_PIXELS))):
            return engine, ""
    return None, "OpenVINO gave other maps than torch for this network and was left out."


def renders(net: nn.Module) -> bool:
    """Return whether a net sharpens its coarse semantic map point by point, after its convolutions (PointRend)."""
    return hasattr(net, "rendered") and "center" in getattr(net, "heads", ())


def can_convert(net: nn.Module) -> bool:
    """Return whether another engine may take a net: only our own are sure to do the same at each run."""
    fixed = renders(net) or not hasattr(net, "rendered")  # no choice of points among the convolutions
    return fixed and type(net).__module__.startswith("mitonb.models.") and not runs_own_code(net)


def runs_own_code(net: nn.Module) -> bool:
    """Return whether a net came with its own code: nobody knows what it computes with, or in which numbers."""
    return any(isinstance(part, torch.jit.ScriptModule) for part in net.modules())


class _Convolutions(nn.Module):
    """The part of a net that is all convolutions: tensors in and out, no choice that depends on the data."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.names: tuple[str, ...] = ()  # what comes out, once it has run

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (n, 1, [d,] h, w) pictures to the heads, with PointRend to coarse logits and its features among them."""
        outputs: dict[str, Tensor] = self.net.body(x) if renders(self.net) else self.net(x)  # type: ignore[operator]
        self.names = tuple(outputs)
        return tuple(outputs.values())


def _finish(net: nn.Module, names: Sequence[str], outputs: Sequence[Tensor], doublings: int) -> NetOutput:
    """Turn what the convolutions gave into logits at full size, in float32.

    The points of PointRend are chosen by rank and placed by coordinates, which half precision would ruin.
    """
    heads = {name: tensor.float() for name, tensor in zip(names, outputs, strict=True)}
    if renders(net):
        steps = int(net.full_steps) + doublings  # type: ignore[arg-type]
        heads = net.rendered(heads, steps)  # type: ignore[operator]
    return {name: tensor.cpu().numpy() for name, tensor in heads.items()}


class TorchEngine:
    """A net in torch, channels last where it is 2-D.

    Parameters
    ----------
    net : nn.Module
        Ready to run: in evaluation mode, BatchNorm folded where it can be.
    device : {"cpu", "cuda", "mps"}
        Where.
    precision : {"fp32", "bf16", "fp16"}
        Of the convolutions; everything after them is float32.
    doublings : int
        How often a net with PointRend doubles its semantic map beyond the size of the picture.
    """

    name = "torch"

    def __init__(self, net: nn.Module, device: str = "cpu", precision: str = "fp32", doublings: int = 0) -> None:
        self.precision = precision
        self._doublings = doublings
        self._device = device
        self._kind = _KINDS[precision]
        there = next(net.parameters(), None)
        # The net belongs to the caller, who may run it elsewhere at the same time.
        self.net = net.eval() if there is None or there.device.type == device else copy.deepcopy(net).eval().to(device)
        # A copy where numbers get shorter: the net itself belongs to the caller, and its point head stays float32.
        low = self.net if precision == "fp32" else copy.deepcopy(self.net).to(self._kind)
        self._body = _Convolutions(low).eval()

    def run(self, pictures: Picture) -> NetOutput:
        """Run the net on (n, 1, [d,] h, w) normalised pictures."""
        x = torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device)
        with torch.inference_mode():
            if x.ndim == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            outputs = self._body(x.to(self._kind))  # first, since it also finds out the names
            return _finish(self.net, self._body.names, outputs, self._doublings)


class OpenVinoEngine:
    """A net whose convolutions OpenVINO runs on the CPU.

    One program is compiled for each size of picture, when it first comes. Pictures go through one by one: a batch
    gains nothing on a CPU and would need programs of its own.

    Parameters
    ----------
    net : nn.Module
        The net, for what comes after its convolutions.
    names : sequence of str
        What the program gives, in its order.
    program : openvino.Model
        From `convert` or from a file, for pictures of any size.
    precision : {"fp32", "bf16", "int8"}
        What the program computes with.
    doublings : int
        As for `TorchEngine`.
    """

    name = "openvino"

    def __init__(
        self, net: nn.Module, names: Sequence[str], program: Any, precision: str = "fp32", doublings: int = 0
    ) -> None:
        self.precision = precision
        self._net, self._names, self._program, self._doublings = net, names, program, doublings
        self._requests: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()  # a preview and a run may share an engine, but a request serves one at a time

    def run(self, pictures: Picture) -> NetOutput:
        """Run the net on (n, 1, [d,] h, w) normalised pictures."""
        said = [self._run_one(np.ascontiguousarray(picture[None])) for picture in pictures]
        return {name: np.concatenate([s[name] for s in said]) for name in said[0]}

    def release(self) -> None:
        """Let go of what was compiled; it is compiled again when a picture comes."""
        with self._lock:
            self._requests.clear()

    def _run_one(self, x: Picture) -> NetOutput:
        with self._lock:
            if x.shape not in self._requests:
                if len(self._requests) == _REMEMBERED:  # parts of a plane may have many sizes
                    self._requests.pop(next(iter(self._requests)))
                model = self._program.clone()
                model.reshape(list(x.shape))
                self._requests[x.shape] = _compile(model, self.precision).create_infer_request()
            found = self._requests[x.shape].infer([x])
            outputs = [torch.from_numpy(found[k]) for k in range(len(self._names))]
        with torch.inference_mode():
            return _finish(self._net, self._names, outputs, self._doublings)


def convert(net: nn.Module, sides: Sequence[int]) -> tuple[tuple[str, ...], Any]:
    """Return what a net gives, and the net as OpenVINO reads it, for pictures of any size.

    Parameters
    ----------
    net : nn.Module
        One of the package's, in evaluation mode, on the CPU.
    sides : sequence of int
        Pixels of a picture that it can take.
    """
    # Noise, not the picture at hand: were the net to do anything but arithmetic, its answer would be that for noise,
    # and the comparison with torch that follows would show it.
    example = torch.randn(1, 1, *sides, generator=torch.Generator().manual_seed(1))
    traced = _Convolutions(net.eval()).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.jit, which the conversion uses, says that it is deprecated
        model = import_openvino().convert_model(traced, example_input=example)
    return traced.names, model


def _compile(model: Any, precision: str) -> Any:
    """Compile a model for this CPU, with as many threads as torch would use."""
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        # On a shared machine a pinned thread waits for its core although another one is free.
        "ENABLE_CPU_PINNING": "NO",
    }
    return _core().compile_model(model, "CPU", settings)


@functools.cache
def _core() -> Any:
    return import_openvino().Core()


def agree(a: NetOutput, b: NetOutput, off: float = EXACT, changed: float = EXACT_PIXELS) -> bool:
    """Return whether two answers are the same but for rounding.

    A head differs by at most `off` standard deviations (a net with PointRend may put a few points elsewhere: 99.9 % of
    its logits), and at most this part of the pixels of `semantic` has `changed` sides.
    """
    for name, true in b.items():
        wrong = np.abs(a[name] - true) > off * (true.std() + 1e-6)
        if wrong.mean() > (1e-3 if name == "semantic" else 0):
            return False
    sides = [(x["semantic"] > 0) for x in (a, b) if "semantic" in x]
    return len(sides) < 2 or bool((sides[0] != sides[1]).mean() <= changed)


def _probe(sides: Sequence[int]) -> Picture:
    """Return a made-up picture with fine and coarse structure."""
    rng = np.random.default_rng(2)
    coarse = rng.normal(size=[-(-n // 16) for n in sides])
    for axis, n in enumerate(sides):
        coarse = coarse.repeat(16, axis).take(range(n), axis)
    return (coarse + 0.5 * rng.normal(size=sides)).astype(np.float32)[None, None]
