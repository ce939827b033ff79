"""Engines: what runs the convolutions of a net, exactly or fast."""

from mitonb.infer.engines.choosing import Runner
from mitonb.infer.engines.native import TorchEngine
from mitonb.infer.engines.parts import Engine, NetOutput
from mitonb.infer.engines.vino import OpenVinoEngine, openvino_is_there

__all__ = ["Engine", "NetOutput", "OpenVinoEngine", "Runner", "TorchEngine", "openvino_is_there"]
