"""The nets answer as the published ones do: reference outputs for weights made by a rule, in both layouts.

The tensors go the whole way that a published file goes: written in its format, read by the restricted reader,
recognised, poured into the net.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch.nn import functional

from mitonb.models.checkpoints import net_from
from mitonb.models.weights import read_archive
from tests.models.exports import tree_of, write_export
from tests.models.published import golden, golden_state, write_checkpoint

CLOSE = 2e-3  # standard deviations of the reference


@pytest.fixture(scope="module", params=["deeplab-checkpoint", "deeplab-export", "bifpn-checkpoint", "bifpn-export"])
def case(request, tmp_path_factory):
    """Return name, net and reference outputs of one architecture in one layout."""
    architecture, layout = request.param.split("-")
    reference = golden(f"model_{architecture}_{layout}.npz")
    path = tmp_path_factory.mktemp("files") / request.param
    state = golden_state(architecture, layout)
    if layout == "export":
        write_export(tree_of(golden(f"tree_{architecture}_export.txt").read_text(), state), path)
    else:
        write_checkpoint(state, path)
    net, found = net_from(read_archive(path).tensors, where=str(path))
    path.unlink()
    assert found.architecture == f"panoptic_{architecture}"
    with np.load(reference) as arrays:
        return request.param, net, dict(arrays)


def deviations(net, arrays):
    """Yield the name and the deviation, in standard deviations of the reference, of each array of each call."""
    x = torch.from_numpy(arrays["x"])
    calls = sorted({re.search(r"steps(\d)_interp(\d)", name).groups() for name in arrays if name != "x"})
    for steps, interpolate in calls:
        with torch.inference_mode():
            heads = net(x, int(steps))
        if interpolate == "1":  # brought to full size, corner pixel on corner pixel, as the published nets do
            for name in ("center", "offsets"):
                heads[name] = functional.interpolate(heads[name], scale_factor=4.0, mode="bilinear", align_corners=True)
        for head, name in zip(heads.values(), ("sem_logits", "ctr_hmp", "offsets"), strict=True):
            name = f"{name}_steps{steps}_interp{interpolate}"
            if name in arrays:
                yield name, np.abs(head.numpy() - arrays[name]) / arrays[name].std()


def test_they_answer_as_published(case, record_property):
    name, net, arrays = case
    seen = 0
    for array, deviation in deviations(net, arrays):
        share = float((deviation <= CLOSE).mean())
        record_property(f"{name} {array}", f"worst {deviation.max():.2e}, share {share:.6f}")
        print(f"{name} {array}: worst {deviation.max():.2e} sd, share within {CLOSE}: {share:.6f}")  # noqa: T201
        assert share >= 0.999 if array.startswith("sem") else deviation.max() <= CLOSE, array
        seen += 1
    assert seen == len(arrays) - 1
