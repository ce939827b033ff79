"""3x3 convolutions of an OpenVINO model, given over to `winograd`: one custom operation for one or two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mitonb.infer.engines.quiet import openvino
from mitonb.infer.engines.winograd import Layer, can_convolve, convolved

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Block", "rewritten"]

_TO_LAST, _TO_FIRST = np.array([0, 2, 3, 1]), np.array([0, 3, 1, 2])  # where the channels go


class Block(openvino.Op):  # type: ignore[misc]
    """A convolution with ReLU, or two of them and a shortcut around both, added before the last ReLU.

    Parameters
    ----------
    inputs : sequence of openvino.Output
        One (1, h, w, c) tensor.
    layers : sequence of Layer
        One or two.
    threads : int
        How many may work at the same time.
    """

    def __init__(self, inputs: Sequence[Any], layers: Sequence[Layer], threads: int) -> None:
        super().__init__(self)
        self.layers, self.threads = tuple(layers), threads
        self.set_arguments(list(inputs))
        self.constructor_validate_and_infer_types()

    def validate_and_infer_types(self) -> None:
        """Tell OpenVINO the shape that comes out."""
        n, h, w, _ = self.get_input_partial_shape(0)
        width = self.layers[-1].bias.size
        self.set_output_type(0, self.get_input_element_type(0), openvino.PartialShape([n, h, w, width]))

    def clone_with_new_inputs(self, inputs: Sequence[Any]) -> Block:
        """Return the same operation on other tensors."""
        return Block(inputs, self.layers, self.threads)

    def has_evaluate(self) -> bool:
        """Return that `evaluate` is there."""
        return True

    def evaluate(self, outputs: Sequence[Any], inputs: Sequence[Any]) -> bool:
        """Do the work."""
        x, out = inputs[0].data[0], outputs[0].data[0]
        if len(self.layers) == 1:
            convolved(x, self.layers[0], None, out, self.threads)
        else:
            first, second = self.layers
            between = np.empty((*x.shape[:2], first.bias.size), np.float32)
            convolved(x, first, None, between, self.threads)
            convolved(between, second, x, out, self.threads)
        return True


def rewritten(model: Any, known: dict[str, Layer], threads: int) -> int:
    """Replace, in place, the 3x3 convolutions of a model that end in ReLU; return how many there were.

    Parameters
    ----------
    model : openvino.Model
        Of one picture.
    known : dict of str to Layer
        Layers that were made before, by the name of their convolution; what is missing is added.
    threads : int
        How many may work at the same time.
    """
    count = 0
    done: set[str] = set()
    for operation in model.get_ordered_ops():
        first = _found(operation)
        if first is None or first.skip is not None or first.name in done:
            continue
        found = [first]
        second = _found(_only_reader(first.end.output(0)))
        if second is not None and second.skip is not None and _same(second.skip, first.source):
            found.append(second)
        for one in found:
            done.add(one.name)
            if one.name not in known:
                known[one.name] = Layer.of(one.weights, one.bias)
        last = openvino.opset13.transpose(first.source, _TO_LAST).output(0)
        block = Block([last], [known[one.name] for one in found], threads)
        out = openvino.opset13.transpose(block.output(0), _TO_FIRST).output(0)
        for target in list(found[-1].end.output(0).get_target_inputs()):
            target.replace_source_output(out)
        count += len(found)
    model.validate_nodes_and_infer_types()
    return count


class _Found(NamedTuple):
    """A convolution that can be replaced, with what belongs to it: from its input to the ReLU that ends it."""

    name: str
    source: Any
    weights: Any
    bias: Any
    skip: Any
    end: Any


def _found(operation: Any) -> _Found | None:
    if operation is None or operation.get_type_name() != "Convolution":
        return None
    settings, weights = operation.get_attributes(), operation.input_value(1).get_node()
    plain = all(settings[k] == [1, 1] for k in ("strides", "dilations", "pads_begin", "pads_end"))
    if not plain or weights.get_type_name() != "Constant" or not can_convolve(weights.data):
        return None
    biased = _only_reader(operation.output(0))
    if biased is None or biased.get_type_name() != "Add":
        return None
    bias = biased.input_value(1).get_node()
    if bias.get_type_name() != "Constant" or bias.data.size != weights.data.shape[0]:
        return None
    skip, end = None, _only_reader(biased.output(0))
    if end is not None and end.get_type_name() == "Add":
        skip = next(v for v in end.input_values() if v.get_node().get_friendly_name() != biased.get_friendly_name())
        end = _only_reader(end.output(0))
    if end is None or end.get_type_name() != "Relu":
        return None
    name = operation.get_friendly_name()
    return _Found(name, operation.input_value(0), weights.data, bias.data, skip, end)


def _only_reader(output: Any) -> Any:
    readers = list(output.get_target_inputs())
    return readers[0].get_node() if len(readers) == 1 else None


def _same(a: Any, b: Any) -> bool:
    names = [(output.get_node().get_friendly_name(), output.get_index()) for output in (a, b)]
    return names[0] == names[1]
