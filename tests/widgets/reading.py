"""What a page reads of the messages of widgets."""

import json
import struct
from typing import Any

import numpy as np


def unpacked(data: bytes) -> dict[str, Any]:
    """Return facts and arrays by name, as js/packs.js reads them."""
    (length,) = struct.unpack("<I", data[:4])
    head = json.loads(data[4 : 4 + length])
    at = 4 + length
    for name, kind, size in head["arrays"]:
        head[name] = np.frombuffer(data, f"<{kind}", size // int(kind[1]), at)
        at += size
    return head
