"""What a net sees in narrow strips of a plane, as those across a thin stack are, without and with mirrored ends.

    MITONB_DATA_DIR=/path/to/data python -m benchmarks.strips [--model NAME]

Strips of 48 to 128 rows are cut from planes that training may see, and from planes across a fly medulla. The truth is
that of the labels; of the medulla, which has none, it is what the net says of whole planes.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

import mitonb as mn
from benchmarks.finetuning import SIZES, parts
from mitonb.infer import predict

Mask = npt.NDArray[np.bool_]
HEIGHTS, RIMS, WIDTH = (48, 64, 96, 128), (0, 16, 32, 48, 64), 320


def found(image: npt.NDArray[np.uint8], size: tuple[float, float, float], model: mn.Trained | str, rim: int) -> Mask:
    predict._RIM = rim
    return mn.predict(mn.Stack(image[None], size).plane(0), model=model).semantic[0] >= 128


def planes(data: Path, model: str) -> dict[str, list[tuple[npt.NDArray[np.uint8], Mask]]]:
    """Return two planes of each set with what is true there."""
    cases = {}
    for name in ("vnc", "neuropil", "epfl"):
        images, ids, *_ = parts(data, name)
        cases[name] = [(images[z], ids[z] > 0) for z in (0, len(images) // 2)]
    across = mn.open(data / "medulla_fibsem_unlabelled" / "raw.tif").read()
    cuts = [np.ascontiguousarray(across[:, y]) for y in (60, 180)]
    cases["medulla"] = [(cut, found(cut, (10, 10, 10), model, 0)) for cut in cuts]
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mito-mini")
    model = parser.parse_args().model
    cases = planes(Path(os.environ["MITONB_DATA_DIR"]), model)
    print("rows  set        IoU by the rows that are mirrored at each end:", *RIMS)
    for height in HEIGHTS:
        every = []
        for name, looks in cases.items():
            shared, either = np.zeros(len(RIMS)), np.zeros(len(RIMS))
            for image, truth in looks:
                left = max(0, image.shape[1] - WIDTH) // 2
                for top in range(16, len(image) - height, max(height, len(image) // 5)):
                    strip = np.s_[top : top + height, left : left + WIDTH]
                    for k, rim in enumerate(RIMS):
                        said = found(image[strip], SIZES.get(name, (10, 10, 10)), model, rim)
                        shared[k] += (said & truth[strip]).sum()
                        either[k] += (said | truth[strip]).sum()
            every.append(shared / either)
            print(f"{height:4}  {name:9}", *(f"{v:.3f}" for v in every[-1]), flush=True)
        print(f"{height:4}  mean     ", *(f"{v:.3f}" for v in np.mean(every, 0)))


if __name__ == "__main__":
    main()
