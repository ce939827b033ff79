"""The 8-bit program of a network: made once, offline, and kept beside the weights for OpenVINO on CPUs.

Method: linear quantisation of both inputs of every convolution but those of the heads, activations by one range per
tensor and weights by one per output channel, with the ranges that leave the smallest squared error on sample pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.infer.engines import convert
from mitonb.models.onnx import import_openvino
from mitonb.phantoms import phantom

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mitonb.infer.engines import Picture
    from mitonb.models.zoo import Model


Range = tuple[float, float]
"""Lowest and highest value of an activation that are told apart; what lies beyond is cut off."""

_OUTPUT_AXES = {"Convolution": (0,), "GroupConvolution": (0, 1), "ConvolutionBackpropData": (1,)}
"""What is quantised, and the axes of its weights that number its output channels."""
_FEW = 16
_SAMPLED = 50_000  # values per picture and tensor from which a range is chosen
_PARTS = np.linspace(0.2, 1.0, 33)
"""Parts of the largest value that are tried as the end of a range."""


def write_program(model: Model, path: Path, samples: Sequence[Picture] | None = None) -> None:
    """Write the 8-bit program of a model: `path` (.xml) with what is done, and a .bin of its weights beside it.

    Parameters
    ----------
    model : Model
        Ready to run, on the CPU.
    path : Path
        Ends in .xml.
    samples : sequence of (h, w) arrays, optional
        Normalised pictures like those that will come; drawn EM if they are left out.
    """
    samples = draw_samples(model) if samples is None else samples
    _, program = convert(model.net, samples[0].shape)
    quantise(program, find_ranges(program, samples))
    openvino = import_openvino()
    from openvino._offline_transformations import compress_quantize_weights_transformation

    compress_quantize_weights_transformation(program)  # weights are stored as the integers that they now are
    openvino.save_model(program, path, compress_to_fp16=False)


def draw_samples(model: Model) -> list[Picture]:
    """Return drawn EM, normalised, that shows the net what it may meet: the same on any machine."""
    planes = [phantom((3, 256, 256), seed)[0].plane(1) for seed in (1, 2, 3)]
    range_ = model.spec.intensity == "range"
    return [model.normalise(p.image, *(p.intensity if range_ or p.contrast is None else p.contrast)) for p in planes]


def find_ranges(program: Any, samples: Sequence[Picture]) -> dict[str, Range]:
    """Return the range of each activation that enters a convolution.

    Parameters
    ----------
    program : openvino.Model
        The net, for pictures of any size.
    samples : sequence of (h, w) arrays
        Normalised pictures like those that will come.
    """
    core, rng = import_openvino().Core(), np.random.default_rng(0)
    values: dict[str, list[npt.NDArray[np.float32]]] = {}
    model = program.clone()
    sources = {_name(c.input_value(0)): c.input_value(0) for c in _convolutions(model)}
    places = _add_outputs(model, sources)
    request = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    for picture in samples:
        request.infer([picture[None, None]])
        for name, k in places.items():
            flat = request.get_output_tensor(k).data.ravel()
            some = rng.choice(flat, min(flat.size, _SAMPLED), replace=False)
            values.setdefault(name, []).append(np.append(some, (flat.min(), flat.max())))
    return {name: _best_range(np.concatenate(parts)) for name, parts in values.items()}


def quantise(model: Any, known: Mapping[str, Range]) -> None:
    """Mark, in place, both inputs of every convolution of a model as eight-bit numbers.

    Parameters
    ----------
    model : openvino.Model
        From `convert`.
    known : mapping of str to Range
        From `find_ranges`, of the same net.
    """
    # Collected before any is changed: several convolutions may read one tensor.
    found = [(c, c.input_value(0)) for c in _convolutions(model)]
    rounded: dict[str, Any] = {}
    for convolution, source in found:
        name = _name(source)
        if name not in known:
            continue
        if name not in rounded:
            targets = list(source.get_target_inputs())
            rounded[name] = _rounded(source, *(np.float32(v).reshape(1, 1, 1, 1) for v in known[name]), levels=256)
            for target in targets:
                target.replace_source_output(rounded[name])
        weights = convolution.input_value(1)
        end = _best_ends(weights.get_node().data, convolution.get_type_name())
        convolution.input(1).replace_source_output(_rounded(weights, -end, end, levels=255))


def _add_outputs(model: Any, sources: Mapping[str, Any]) -> dict[str, int]:
    """Make tensors outputs of a model, where they are not yet; return the place of each among the outputs."""
    places = {_name(output.get_node().input_value(0)): k for k, output in enumerate(model.outputs)}
    missing = [name for name in sources if name not in places]
    places |= {name: len(model.outputs) + k for k, name in enumerate(missing)}
    model.add_outputs([sources[name] for name in missing])
    return {name: places[name] for name in sources}


def _convolutions(model: Any) -> list[Any]:
    """Return the convolutions of a model that are worth it and whose weights are constants, in their order."""
    found = [n for n in model.get_ordered_ops() if n.get_type_name() in _OUTPUT_AXES]
    return [n for n in found if n.input_value(1).get_node().get_type_name() == "Constant" and not _is_head(n)]


def _is_head(convolution: Any) -> bool:
    """Return whether a convolution gives a few maps, pixel by pixel: it costs nothing, and its error is the map's."""
    c_out, _, *size = convolution.input_value(1).get_shape()
    return convolution.get_type_name() == "Convolution" and c_out < _FEW and set(size) == {1}


def _name(output: Any) -> str:
    # Copies of a model keep the names of its operations.
    return f"{output.get_node().get_friendly_name()}:{output.get_index()}"


def _rounded(source: Any, low: npt.NDArray[np.float32], high: npt.NDArray[np.float32], *, levels: int) -> Any:
    opset = import_openvino().opset13
    ends = [opset.constant(np.asarray(v, np.float32)) for v in (low, high, low, high)]
    return opset.fake_quantize(source, *ends, levels).output(0)


def _best_range(values: npt.NDArray[np.float32]) -> Range:
    """Return the range of one tensor: from 0 where nothing is below, else as far down as up."""
    signed = bool(values.min() < 0)
    steps = 127 if signed else 255
    top = float(np.abs(values).max()) or 1.0
    errors = []
    for part in _PARTS:
        unit = top * part / steps
        near = np.clip(np.rint(values / unit), -128 if signed else 0, steps) * unit
        errors.append(float(np.square(near - values).mean()))
    top *= float(_PARTS[int(np.argmin(errors))])
    return (-top * 128 / 127, top) if signed else (0.0, top)


def _best_ends(weights: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.float32]:
    """Return the end of the range of each output channel, in the shape that broadcasts to the weights."""
    rest = tuple(axis for axis in range(weights.ndim) if axis not in _OUTPUT_AXES[kind])
    top = np.maximum(np.abs(weights).max(axis=rest, keepdims=True), 1e-12)
    best, error = top, np.full(top.shape, np.inf)
    for part in _PARTS[_PARTS >= 0.5]:
        unit = top * part / 127
        near = np.clip(np.rint(weights / unit), -127, 127) * unit
        now = np.square(near - weights).mean(axis=rest, keepdims=True)
        best, error = np.where(now < error, top * part, best), np.minimum(now, error)
    ends: npt.NDArray[np.float32] = best.astype(np.float32)
    return ends
