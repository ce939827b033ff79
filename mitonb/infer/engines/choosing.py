"""Which engine runs a net: exact by rule, fast by timing two tiles, and never one that says something else."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from mitonb.infer.engines.checking import Schedule
from mitonb.infer.engines.native import TorchEngine
from mitonb.infer.engines.parts import can_convert, runs_own_code
from mitonb.infer.engines.residuals import WinogradEngine, has_residuals
from mitonb.infer.engines.vino import OpenVinoEngine, Program, has_bf16, openvino_is_there
from mitonb.infer.engines.winograd import is_fast
from mitonb.maps import FLOATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

    from mitonb.infer.engines.parts import Engine, NetOutput, Picture

__all__ = ["Runner", "alike"]

EXACT = 2e-3
"""Largest difference that fp32 engines may have, in standard deviations of a map."""
EXACT_PIXELS = 1e-4
"""Largest part of pixels that fp32 engines may put on different sides of one half."""
WORTH = 1.1
"""A faster engine must be so many times faster than the exact one to be taken."""
SAME_LABELS = 0.995
"""Label IoU with the exact engine that a faster one must keep on every tile that is checked."""

# Kept for the process, so that one plane after another does not convert, compile and time the same net again.
_programs: dict[tuple[Any, ...], Program] = {}
_engines: dict[tuple[Any, ...], Engine] = {}
_timings: dict[tuple[Any, ...], dict[str, float]] = {}
_exact: dict[tuple[Any, ...], str | None] = {}
_REMEMBERED = 8
T = TypeVar("T")


@dataclass
class Runner:
    """Runs a net with the engine that was asked for.

    Parameters
    ----------
    net : nn.Module
        Ready to run.
    key : str
        What names the weights (their sha256); empty when nothing does, and then nothing is remembered or converted.
    device : {"cpu", "cuda", "mps"}
    mode : {"exact", "fast"}
    precision : {"fp32", "bf16", "fp16"}
        Other than fp32: torch in this precision, whatever the mode.
    doublings : int
        As for `TorchEngine`.
    samples : callable
        Gives the normalised pictures from which int8 takes its ranges.
    agreement : callable
        Label IoU of two answers for one picture, and whether there was any label.
    """

    net: nn.Module
    key: str
    device: str
    mode: str
    precision: str
    doublings: int
    samples: Callable[[], list[Picture]]
    agreement: Callable[[NetOutput, NetOutput], tuple[float, bool]]
    notes: list[str] = field(default_factory=list)
    _engine: Engine | None = None
    _exact: Engine | None = None
    _ranked: list[Engine] = field(default_factory=list)
    _checks: Schedule | None = None
    _seconds: dict[str, float] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """What ran the net, for the run record."""
        engine = self._engine
        return {
            "name": engine.name if engine else "torch",
            "precision": engine.precision if engine else self.precision,
            "mode": self.mode,
            "seconds_per_tile": {k: round(v, 4) for k, v in self._seconds.items()},
        }

    def run(self, pictures: Picture) -> NetOutput:
        """Run the net on (n, 1, [d,] h, w) normalised pictures."""
        if self._engine is None:
            self._choose(pictures)
        assert self._engine is not None
        said = self._engine.run(pictures)
        if self._checks is not None and self._checks.due(len(pictures)):
            said = self._checked(pictures, said, self._checks)
        return said

    def _choose(self, pictures: Picture) -> None:
        if runs_own_code(self.net):
            self._engine = self._build("torch", "fp32")
            if self.mode == "fast" or self.precision != "fp32":
                self.notes.append("A model that runs by its own code runs as it is, whatever engine and precision say.")
            return
        self._exact = self._build("torch", self.precision)
        if self.precision == "fp32" and self._may_convert():
            self._exact = self._exact_converted(pictures.shape[2:]) or self._exact
        self._engine = self._exact
        if self.mode == "fast" and self.precision == "fp32":
            self._ranked = self._faster(pictures[:1])
            if self._ranked:
                self._engine, self._checks = self._ranked.pop(0), Schedule()

    def _may_convert(self) -> bool:
        # Weights without a name may be in training: what was converted once would be old at the next step.
        return self.device == "cpu" and bool(self.key) and can_convert(self.net)

    def _build(self, name: str, precision: str) -> Engine:
        if name == "torch":
            return TorchEngine(self.net, self.device, precision, self.doublings)
        if name == "torch+winograd":
            return _remembered(
                _engines, (self.key, name, precision, self.doublings), lambda: WinogradEngine(self.net, self.doublings)
            )
        program = _remembered(_programs, (self.key,), lambda: Program(self.net))

        def made() -> Engine:
            samples = self.samples() if precision == "int8" else ()
            winograd = name == "openvino+winograd"
            return OpenVinoEngine(program, precision, self.doublings, samples, winograd=winograd)

        return _remembered(_engines, (self.key, name, precision, self.doublings), made)

    def _exact_converted(self, shape: tuple[int, ...]) -> Engine | None:
        """Return a faster form of the net in fp32, if it says what torch says about a picture made for the purpose."""
        key = (self.key, shape, self.doublings)
        name = _remembered(_exact, key, lambda: self._compared(_probe(shape)))
        return self._build(name, "fp32") if name else None

    def _compared(self, probe: Picture) -> str | None:
        """Return the first form that gives the maps of torch.

        The order is a rule, and no stopwatch is asked: a record gives the same labels again.
        """
        forms = self._forms()
        if not forms:
            return None
        true = self._build("torch", "fp32").run(probe)
        for name in forms:
            try:
                if alike(self._build(name, "fp32").run(probe), true):
                    return name
                self.notes.append(f"{name} gave other maps than torch for this network and was left out.")
            except Exception as error:  # conversions fail in many ways, and torch can run the net
                self.notes.append(f"{name} could not run this network ({str(error).splitlines()[0][:120]}).")
        return None

    def _forms(self) -> list[str]:
        few = is_fast(torch.get_num_threads())
        if openvino_is_there():
            return ["openvino+winograd", "openvino"] if few else ["openvino"]
        return ["torch+winograd"] if few and has_residuals(self.net) else []

    def _candidates(self) -> Iterable[tuple[str, str]]:
        if self.device != "cpu":
            return [("torch", "bf16"), ("torch", "fp16")] if self.device == "cuda" else [("torch", "fp16")]
        if self._may_convert() and openvino_is_there():
            return [*([("openvino", "bf16")] if has_bf16() else []), ("openvino", "int8")]
        return [("torch", "bf16")]

    def _faster(self, picture: Picture) -> list[Engine]:
        """Return the engines that two timed tiles show to be faster than the exact one, fastest first."""
        assert self._exact is not None
        engines = {f"{n} {p}": self._build(n, p) for n, p in self._candidates()}
        key = (self.key, picture.shape, self.device, self.doublings)
        exact = self._exact
        self._seconds = _remembered(_timings, key, lambda: _timed({"exact": exact, **engines}, picture))
        limit = self._seconds["exact"] / WORTH
        better = sorted((s, name) for name, s in self._seconds.items() if name in engines and s < limit)
        if not better:
            self.notes.append("Nothing faster than the exact engine was found here; that one ran the network.")
        return [engines[name] for _, name in better]

    def _checked(self, pictures: Picture, said: NetOutput, checks: Schedule) -> NetOutput:
        """Compare the labels of a tile with those of the exact engine; go back to a slower one if they differ.

        What earlier tiles became stays: a run is a stream, and they may long have been written. The note says so.
        """
        assert self._exact is not None
        assert self._engine is not None
        tile = checks.tiles - len(pictures) + 1
        true = self._exact.run(pictures[:1])
        while True:
            same, objects = self.agreement(said, true)
            if same >= SAME_LABELS:
                checks.agreed(objects=objects)
                return said
            was = f"{self._engine.name} in {self._engine.precision}"
            kept = f"{was} kept only {same:.4f} of the labels of tile {tile} (IoU)"
            before = f"; what the {tile - 1} before it became stays" if tile > 1 else ""
            self.notes.append(f"{kept}: a slower one ran from there on{before}.")
            checks.restart()
            if not self._ranked:
                self._engine, self._checks = self._exact, None
                return self._exact.run(pictures)
            self._engine = self._ranked.pop(0)
            said = self._engine.run(pictures)


def _remembered(kept: dict[tuple[Any, ...], T], key: tuple[Any, ...], make: Callable[[], T]) -> T:
    """Return what is kept under a key, making it first where it is not there; weights without a name keep nothing."""
    if not key[0]:
        return make()
    if key not in kept:
        while len(kept) >= _REMEMBERED:
            kept.pop(next(iter(kept)))
        kept[key] = make()
    return kept[key]


def alike(a: NetOutput, b: NetOutput) -> bool:
    """Return whether two answers are the same but for rounding, as fp32 engines must be.

    Center, offsets and semantic logits differ by at most 2e-3 standard deviations of the map (a net with PointRend
    may put a few points elsewhere: 99.9 % of its logits), and at most 1e-4 of the pixels change sides.
    """
    for name, y in b.items():
        x = a[name]
        off = ~(np.abs(x - y) <= EXACT * (y.std() + 1e-6))  # what is no number is off, too
        if off.mean() > (0 if name in FLOATS else 1e-3):
            return False
        if name not in FLOATS and ((x > 0) != (y > 0)).mean() > EXACT_PIXELS:
            return False
    return True


def _timed(engines: dict[str, Engine], picture: Picture) -> dict[str, float]:
    """Return the seconds that a tile takes each engine: the better of two, taken in turns, after one to warm up."""
    best = {}
    for name, engine in engines.items():
        try:
            engine.run(picture)  # compiles, so its time does not count
        except RuntimeError:
            if name == "exact":
                raise
            continue  # this processor cannot do it, whatever it says
        best[name] = _seconds(engine, picture)
    for name in best:
        if best[name] <= 3 * best["exact"]:
            best[name] = min(best[name], _seconds(engines[name], picture))
    return best


def _seconds(engine: Engine, picture: Picture) -> float:
    start = time.perf_counter()
    engine.run(picture)
    return time.perf_counter() - start


def _probe(shape: tuple[int, ...]) -> Picture:
    """Return a made-up picture (1, 1, [d,] h, w) with fine and coarse structure."""
    rng = np.random.default_rng(2)
    coarse = rng.normal(size=[-(-n // 16) for n in shape])
    for axis in range(len(shape)):
        coarse = coarse.repeat(16, axis)
    fine: Picture = rng.normal(size=shape).astype(np.float32)
    picture: Picture = coarse[tuple(map(slice, shape))].astype(np.float32) + np.float32(0.5) * fine
    return picture[None, None]
