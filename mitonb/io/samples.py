"""Real EM that comes with mitonb: small, and free to be passed on with attribution."""

import dataclasses
from pathlib import Path

from mitonb.errors import InputError
from mitonb.io.opening import open as open_stack
from mitonb.stack import Stack

FOLDER = Path(__file__).parents[1] / "samples"
SAMPLES = {
    "medulla": (
        "medulla.tif", (10.0, 10.0, 10.0),
        "Fly medulla, FIB-SEM (FlyEM project, Janelia Research Campus; part of a volume, Creative Commons Attribution)",
    ),
    "islet": (
        "islet.png", (5.0, 5.0, 5.0),
        "Mouse pancreatic islet, SEM (Arrojo e Drigo Lab, Vanderbilt University; Acree et al. 2026, "
        "doi 10.64898/2026.08.06.743293; CC BY 4.0)",
    ),
}  # fmt: skip
"""File, voxel size (z, y, x) in nm, and what has to be said wherever it is shown."""


def sample(name: str = "islet") -> Stack:
    """Open real EM that comes with mitonb; nothing is downloaded. Its `notes` say whose it is.

    Parameters
    ----------
    name : {"islet", "medulla"}
        One section of a mouse's pancreatic islet, 1024 x 1024 pixels of 5 nm, with insulin granules beside large
        mitochondria; or a fly's medulla, 64 x 224 x 224 voxels of 10 nm.

    Returns
    -------
    Stack
        (z, y, x), uint8, of known voxel size.

    Raises
    ------
    InputError
        If there is no such sample.
    """
    if name not in SAMPLES:
        raise InputError(f"There is no sample {name!r}; there are {' and '.join(SAMPLES)}.")
    file, size, whose = SAMPLES[name]
    return dataclasses.replace(open_stack(FOLDER / file, voxel_size=size, name=name), notes=(whose,))
