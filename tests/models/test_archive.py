"""Published weights are read without their code: what comes out is what PyTorch itself would give."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao.nn.intrinsic import ConvReLU2d
from torch.ao.nn.quantized import FloatFunctional

from mitonb.errors import CorruptFileError, MitonbError, ModelError, UnsafeFileError, UntrustedModelError
from mitonb.models.weights import read_archive
from tests.models import hostile

ORDINARY = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
            torch.int8, torch.uint8, torch.bool]  # fmt: skip


def tensors_of(path):
    return read_archive(path).tensors


class Config:
    """No module, but an object with a tensor."""

    def __init__(self, widths: torch.Tensor) -> None:
        self.widths = widths


class Block(nn.Module):
    """A little of everything that an export can hold: numbers, texts, lists, shared, joined and unused parts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.names, self.widths, self.scale, self.large = ["a", "b"], [1, 2], 0.5, 2**40
        self.table = {"a": 1}
        self.place = torch.device("cpu")
        self.add = FloatFunctional()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x)) * self.scale
        return self.add.add(x, x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Block()
        self.layers = nn.ModuleList([ConvReLU2d(nn.Conv2d(3, 3, 1), nn.ReLU())])
        self.again = self.layers[0]  # one part under two names
        self.register_buffer("part", torch.arange(20.0)[4:10:2])

    def forward(self, x: torch.Tensor, steps: int = 2) -> dict[str, torch.Tensor]:
        x = self.encoder(x)
        for layer in self.layers:
            x = layer(x)
        return {"x": x, "part": self.part * steps}


class Configured(Net):
    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.cfg = torch.jit.script(Config)(torch.tensor([64, 128]))

    def forward(self, x: torch.Tensor, steps: int = 2) -> dict[str, torch.Tensor]:
        x = self.encoder(x) + self.cfg.widths[0]
        for layer in self.layers:
            x = layer(x)
        return {"x": x, "part": self.part * steps}


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_an_exported_network_gives_its_tensors_and_no_code(tmp_path):
    path = tmp_path / "net.pth"
    torch.jit.save(torch.jit.script(Configured().eval()), path, _extra_files={"note.json": b"{}"})
    archive = read_archive(path)
    assert same(archive.tensors, dict(torch.jit.load(path).state_dict()))
    assert archive.tensors["again.0.weight"].data_ptr() == archive.tensors["layers.0.0.weight"].data_ptr()


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_state_dict_comes_back(protocol, net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "net.pth", pickle_protocol=protocol)
    assert same(tensors_of(tmp_path / "net.pth"), net.state_dict())


def test_a_checkpoint_gives_its_weights_and_its_normalisation(net, tmp_path):
    path = tmp_path / "net.pth.tar"
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 2, 5, 5))["x"].sum().backward()
    optimizer.step()
    state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"arch": "PanopticDeepLabPR", "state_dict": state, "norms": [0.5, 0.1], "epoch": 3, "run_id": None,
                "optimizer": optimizer.state_dict()}, path)  # fmt: skip
    archive = read_archive(path)
    assert same(archive.tensors, state)
    assert archive.norms == [0.5, 0.1]


@pytest.mark.parametrize("dtype", ORDINARY, ids=str)
def test_every_ordinary_kind_and_layout_of_numbers_comes_back(dtype, tmp_path):
    base = torch.arange(48).reshape(1, 4, 3, 4).to(dtype)
    tensors = {
        "plain": base, "turned": base.mT, "part": base[..., 1:3], "single": base[0, 0, 0, 0], "none": base[:0],
        "last": base.contiguous(memory_format=torch.channels_last), "parameter": nn.Parameter(base, False),
    }  # fmt: skip
    torch.save(tensors, tmp_path / "x.pth")
    assert same(tensors_of(tmp_path / "x.pth"), tensors)


def test_numbers_of_the_other_byte_order_are_refused(tmp_path):
    path = tmp_path / "big.pth"
    path.write_bytes(hostile.archive(hostile.mapping(a=hostile.tensor()), byteorder=b"big"))
    with pytest.raises(CorruptFileError, match="little"):
        tensors_of(path)


def test_quantised_weights_are_said_to_need_their_code(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.pth", "w") as file:
        file.writestr("x/data.pkl", b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_qtensor\n)Rs.")
    with pytest.raises(UntrustedModelError, match="quantised"):
        tensors_of(tmp_path / "x.pth")


def test_kinds_of_numbers_that_no_network_of_ours_has_are_refused(tmp_path):
    torch.save({"a": torch.zeros(3, dtype=torch.complex64)}, tmp_path / "x.pth")
    with pytest.raises(UnsafeFileError, match="ComplexFloatStorage"):
        tensors_of(tmp_path / "x.pth")


def test_a_whole_pickled_network_is_refused_with_what_to_do(net, tmp_path):
    torch.save(net, tmp_path / "net.pth")
    with pytest.raises(UnsafeFileError, match=r"net\.pth asks for .*Net.*Save only its state dict"):
        tensors_of(tmp_path / "net.pth")


def test_a_file_without_tensors_or_no_file_is_said(tmp_path):
    torch.save({"epoch": 1}, tmp_path / "x.pth")
    with pytest.raises(ModelError, match="no tensors"):
        tensors_of(tmp_path / "x.pth")
    with pytest.raises(ModelError, match="no weight file"):
        tensors_of(tmp_path / "y.pth")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_cut_off_archive_is_an_error(part, net, tmp_path):
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(CorruptFileError, match=r"net\.pth"):
        tensors_of(path)


def test_whatever_is_damaged_ends_in_one_of_our_errors(net, tmp_path):
    """Bytes that change, vanish or move: a MitonbError, or tensors as before, for 400 files."""
    draw = np.random.default_rng(0)
    path = tmp_path / "net.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(net), path)
    good, read = path.read_bytes(), 0
    pickle = good.index(b"\x80\x02c__torch__")
    for number in range(400):
        data = bytearray(good)
        for at in draw.integers(*((pickle, pickle + 1500) if number % 2 else (0, len(good))), draw.integers(1, 4)):
            match draw.integers(4):
                case 0:
                    data[at] = draw.integers(256)
                case 1:
                    data[at] = draw.choice([0, 1, 0x7F, 0x80, 0xFF])
                case 2:
                    del data[at : at + draw.integers(1, 9)]
                case 3:
                    data[at:at] = data[draw.integers(len(data)) :][: draw.integers(1, 9)]
        path.write_bytes(data)
        with contextlib.suppress(MitonbError):
            read += bool(tensors_of(path))
    assert 0 < read < 400


def test_a_flipped_bit_in_the_weights_is_found(net, tmp_path):
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path)
    data = bytearray(path.read_bytes())
    at = data.index(net.state_dict()["encoder.conv.weight"].numpy().tobytes())
    data[at + 5] ^= 4
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match="CRC"):
        tensors_of(path)


def test_states_of_an_optimizer_are_not_read(tmp_path):
    weights, state = torch.arange(64.0), torch.full((64,), 7.25)
    torch.save({"state_dict": {"w": weights}, "optimizer": {"state": {0: {"exp_avg": state}}}}, tmp_path / "run.pth")
    data = bytearray((tmp_path / "run.pth").read_bytes())
    at = data.index(state.numpy().tobytes())
    data[at] ^= 1  # whoever reads it finds a wrong checksum
    (tmp_path / "run.pth").write_bytes(data)
    assert torch.equal(read_archive(tmp_path / "run.pth").tensors["w"], weights)
