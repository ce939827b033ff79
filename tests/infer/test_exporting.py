"""Models go out as ONNX and as packages of bioimage.io, and any lab's ONNX comes in, with a card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import mitonb as mn
from mitonb.cli import main
from mitonb.errors import CorruptFileError, InputError, ModelError, TooLargeError, UnsafeFileError
from mitonb.infer.engines import Runner
from mitonb.infer.exporting import export_model
from mitonb.learn.loop import startable
from mitonb.models.checkpoints import NETS
from mitonb.models.onnx import to_onnx
from mitonb.models.spec import ModelSpec
from mitonb.models.weights import write_weights
from mitonb.models.zoo import build, import_model, load_model, read_net
from tests.models.published import drawn_net

onnx = pytest.importorskip("onnx", reason="needs the extra exchange")
pytest.importorskip("openvino", reason="needs the extra exchange")

EXACT = mn.Recipe(engine="exact")
BLOCKS = ("semantic", "contour", "distance", "affinities", "center", "offsets")
DEEPLAB = {"encoder": "resnet18", "stride": 32, "decoder_channels": 8, "low_level_channels": [4], "aspp_channels": 6}


@pytest.fixture(autouse=True)
def model_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MITONB_MODEL_DIR", str(tmp_path / "models"))


@pytest.fixture(scope="module")
def stack():
    return mn.phantom((2, 160, 224), 3)[0]


@pytest.fixture(scope="module")
def truth(stack):
    return mn.segment(stack, EXACT, show=False)


@pytest.fixture(scope="module")
def data():
    return to_onnx(*read_net("mito-mini"))


def blocks(**facts):
    """Return the card of a small 3-D net that draws every head."""
    config = {"widths": [4, 8, 8], "depths": [1, 1, 1]}
    return ModelSpec(name="blocks", architecture="unet", config=config, heads=BLOCKS, dimension=3, multiple=8, **facts)


def of_deeplab(channels):
    net = drawn_net(NETS["panoptic_deeplab"], **DEEPLAB, channels=channels, folded=True)
    classes = ("a", "b", "c")[: max(1, channels - 1)]
    return net, ModelSpec(name="drawn", architecture="panoptic_deeplab", multiple=net.multiple, pixel_offset=1.5,
                          classes=classes)  # fmt: skip


def of_blocks():
    torch.manual_seed(0)
    return build(blocks()).eval(), blocks()


NETWORKS = {
    "mito-mini": lambda: read_net("mito-mini"), "blocks": of_blocks, "deeplab": lambda: of_deeplab(1),
    "deeplab of three classes": lambda: of_deeplab(4),
}  # fmt: skip


def run(model, x):
    return Runner(model, "cpu", "exact", "fp32").run(x)


# -------------------------------------------------------------------------------------------------------- ONNX out


@pytest.mark.parametrize("name", NETWORKS)
def test_all_heads_of_a_net_are_the_same_as_onnx_in_batches_and_sizes_of_all_kinds(name, tmp_path):
    net, spec = NETWORKS[name]()
    (tmp_path / "net.onnx").write_bytes(to_onnx(net, spec))
    model = load_model(tmp_path / "net.onnx")
    assert (model.spec.heads, model.spec.classes, model.spec.dimension) == (spec.heads, spec.classes, spec.dimension)
    for times in ((1, 1, 1), (3, 5, 4)):
        sides = [spec.multiple * k for k in times[-spec.dimension :]]
        x = torch.randn(2, 1, *sides, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            wanted = net(x)
        for head, got in run(model, x.numpy()).items():
            scale = float(wanted[head].std())
            np.testing.assert_allclose(got, wanted[head].numpy(), rtol=1e-4, atol=1e-4 * scale + 1e-6)


def test_writing_a_net_leaves_it_ready_to_run():
    net, spec = read_net("mito-mini")
    to_onnx(net, spec)
    assert not any(part.training for part in net.modules())


def test_real_em_gets_the_same_labels_by_way_of_onnx(tmp_path):
    data = os.environ.get("MITONB_DATA_DIR")
    if not data:
        pytest.skip("MITONB_DATA_DIR names no folder of real EM data")
    vnc = mn.open(Path(data) / "vnc_sstem" / "raw.tif", voxel_size=(50, 4.6, 4.6))
    stack = mn.Stack(vnc.read()[12:14, :512, :512], voxel_size=vnc.voxel_size)
    plain = mn.segment(stack, EXACT, show=False)
    assert len(plain.ids()) > 2
    out = mn.export_model("mito-mini", tmp_path / "m.onnx")
    assert (mn.segment(stack, EXACT.replace(model=str(out)), show=False).data == plain.data).all()


# --------------------------------------------------------------------------------------------------------- ONNX in


class Lab(nn.Module):
    """mito-mini as another lab might have drawn it: probabilities, and center and offsets in one output."""

    def __init__(self):
        super().__init__()
        self.net = read_net("mito-mini")[0]

    def forward(self, x):
        said = self.net(x)
        return torch.cat([said["offsets"], said["center"]], 1), said["semantic"].sigmoid()


CARD = {
    "heads": ["semantic", "center", "offsets"], "multiple": 16, "output_stride": 4, "mean": 0.5, "std": 0.25,
    "config": {
        "outputs": {"semantic": "mask", "center": ["flow", 2], "offsets": ["flow", 0, 1]},
        "probabilities": ["semantic"],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "lab.onnx"
    free = {0: "n", 2: "h", 3: "w"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as for ours: the exporter of torch that needs the fewest packages
        torch.onnx.export(
            Lab().eval(), (torch.zeros(1, 1, 32, 48),), str(path), dynamo=False, input_names=["x"],
            output_names=["flow", "mask"], dynamic_axes={"x": free, "flow": free, "mask": free},
        )  # fmt: skip
    return path.read_bytes()


def written(folder, data, card):
    (folder / "lab.onnx").write_bytes(data)
    (folder / "lab.json").write_text(json.dumps(card))
    return folder / "lab.onnx"


def test_the_net_of_any_lab_runs_with_a_card_beside_it(lab, tmp_path, stack, truth):
    path = written(tmp_path, lab, CARD)
    labels = mn.segment(stack, EXACT.replace(model=str(path)), show=False)
    assert len(labels.ids()) == len(truth.ids()) > 0
    assert (labels.data != truth.data).mean() < 1e-4
    assert (labels.record["engine"]["name"], labels.record["engine"]["precision"]) == ("openvino", "fp32")
    assert main(["models", "import", str(path), "--name", "theirs"]) == 0
    path.unlink()  # what came in stands for itself
    again = mn.segment(stack, EXACT.replace(model="theirs"), show=False)
    assert (again.data == labels.data).all()


WRONG = {
    "no head": ({"heads": ["contour"]}, r"outputs flow, mask, and its card wants 'contour' for contour"),
    "no output": ({"config": {"outputs": {"semantic": "msk"}}}, r"wants 'msk' for semantic"),
    "no channel": ({"config": {**CARD["config"], "outputs": {"semantic": ["mask", 7]}}}, "card"),
    "channels": ({"classes": ["a", "b"]}, r"semantic is \[1,1,32,48\], but by its card it should be \[1,3,32,48\]"),
    "stride": ({"output_stride": 2}, r"head center is \[1,1,8,12\], but by its card it should be \[1,1,16,24\]"),
    "dimension": ({"dimension": 3}, "Correct dimension"),
    "a typo": ({"pixel_size": [4, 8]}, "a card has no 'pixel_size'"),
    "a value": ({"std": 0}, "std is a number above 0"),
    "probabilities": ({"config": {**CARD["config"], "probabilities": ["center"]}}, "probabilities are some of"),
    "config": ({"config": {"outputs": 3}}, "config of its card"),
    "a word of config": ({"config": {"output": {}}}, "outputs and probabilities, got 'output'"),
    "a channel": (
        {"config": {**CARD["config"], "outputs": {**CARD["config"]["outputs"], "center": ["flow", 3]}}},
        "flow has 3 channels, and its card wants",
    ),
    "no heads": ({"heads": []}, "names no head semantic"),
    "multiple": ({"multiple": 4}, "lab.onnx"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_card_that_contradicts_its_net_is_said_before_any_work(lab, tmp_path, what):
    change, said = WRONG[what]
    with pytest.raises(ModelError, match=said):
        load_model(written(tmp_path, lab, {**CARD, **change}))


def test_a_net_without_a_card_is_refused_with_what_to_write(lab, tmp_path):
    path = written(tmp_path, lab, CARD)
    path.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r'no lab\.json beside it .*"heads"'):
        load_model(path)


def test_damaged_files_are_said(data, tmp_path):
    for broken in (data[: len(data) // 2], b"", b"Not here" * 100, data[:1000] + bytes(100) + data[1100:]):
        (tmp_path / "m.onnx").write_bytes(broken)
        with pytest.raises((CorruptFileError, ModelError), match=r"m\.onnx"):
            load_model(tmp_path / "m.onnx")


def test_onnx_cannot_be_trained_on_or_written_again(data, tmp_path):
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="came as ONNX, which cannot be trained on"):
        startable(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="Hand on its file"):
        export_model(tmp_path / "m.onnx", tmp_path / "n.onnx")


@pytest.mark.parametrize("package", ["onnx", "openvino"])
def test_a_missing_package_is_named_with_how_to_get_it(data, tmp_path, monkeypatch, package):
    (tmp_path / "m.onnx").write_bytes(data)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=rf'{package}.*pip install "mitonb\[exchange\]"'):
        load_model(tmp_path / "m.onnx")


# ---------------------------------------------------------------------------------------------- weights beside a file


def spread(data, folder, location="m.data"):
    """Write a net with its weights in a file of their own, which it says lies at `location`."""
    model = onnx.load_from_string(data)
    onnx.save_model(model, str(folder / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0)
    model = onnx.load(str(folder / "m.onnx"), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def test_weights_in_a_file_of_their_own_are_read_and_imported_whole(data, tmp_path):
    path, x = spread(data, tmp_path), np.ones((1, 1, 32, 48), np.float32)
    assert path.stat().st_size < len(data) / 10
    (tmp_path / "one.onnx").write_bytes(data)
    wanted = run(load_model(tmp_path / "one.onnx"), x)
    assert (run(load_model(path), x)["offsets"] == wanted["offsets"]).all()
    import_model(path, "whole")
    path.with_name("m.data").unlink()
    assert (run(load_model("whole"), x)["offsets"] == wanted["offsets"]).all()


def test_weights_of_operations_in_a_file_of_their_own_are_read(data, tmp_path):
    model = onnx.load_from_string(data)
    weights = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) > 1024]
    constants = [onnx.helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in weights]
    for tensor, constant in zip(weights, constants, strict=True):
        model.graph.initializer.remove(tensor)
        model.graph.node.insert(0, constant)
    (tmp_path / "one.onnx").write_bytes(data)
    onnx.save_model(
        model, str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0,
        convert_attribute=True,
    )  # fmt: skip
    assert (tmp_path / "m.data").stat().st_size > 1024
    x = np.ones((1, 1, 32, 48), np.float32)
    wanted = run(load_model(tmp_path / "one.onnx"), x)
    assert (run(load_model(tmp_path / "m.onnx"), x)["offsets"] == wanted["offsets"]).all()


@pytest.mark.parametrize("location", ["../m.data", "/etc/hostname", "..", "", "gone.data", "link"])
def test_weights_outside_of_the_folder_are_never_read(data, tmp_path, location):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = spread(data, inside, location)
    (inside / "m.data").rename(tmp_path / "m.data")
    (inside / "link").symlink_to(tmp_path / "m.data")
    with pytest.raises(UnsafeFileError, match="weights in another file"):
        load_model(path)


def test_weights_that_would_fill_the_memory_are_refused(data, tmp_path):
    path = spread(data, tmp_path)
    with (tmp_path / "m.data").open("r+b") as file:
        file.truncate(200 << 20)  # a hole: it takes no room on the disk
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        length = next(entry for entry in tensor.external_data if entry.key == "length")
        length.value = str(200 << 20)  # of the same numbers, again and again
    path.write_bytes(model.SerializeToString())
    with pytest.raises(TooLargeError, match="2 GB"):
        load_model(path)


# ---------------------------------------------------------------------------------------------------- bioimage.io


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return export_model("mito-mini", tmp_path_factory.mktemp("out") / "m.zip", authors=["A. Author", "B. Author"])


def validated(path):
    """Ask the library of bioimage.io, in a process of its own."""
    pytest.importorskip("bioimageio.spec", reason="needs the extra test")
    script = (
        "import sys; from bioimageio.spec import load_description as load\n"
        "said = load(sys.argv[1], format_version='latest').validation_summary\n"
        "print(said.status, [error.msg for detail in said.details for error in detail.errors])"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def test_a_package_is_valid_and_gives_the_same_labels(package, stack, truth):
    assert validated(package) == "valid-format []"
    assert (mn.segment(stack, EXACT.replace(model=str(package)), show=False).data == truth.data).all()


def test_a_package_of_blocks_is_valid_with_all_heads(tmp_path):
    facts = {"licence": "CC-BY-4.0", "intensity": "range", "pixel_sizes": (5, 8), "scores": {"IoU": 0.8}}
    card = blocks(**facts, papers=("conrad2023",))
    torch.manual_seed(0)
    net = build(card).eval()
    nn.init.zeros_(net.semantic_head.bias)  # as if it found something
    write_weights(net, card, tmp_path / "blocks.safetensors")
    made = export_model(tmp_path / "blocks.safetensors", tmp_path / "blocks.zip", authors=["A. Author"])
    assert validated(made) == "valid-format []"
    with zipfile.ZipFile(made) as file:
        rdf = yaml.safe_load(file.read("rdf.yaml"))
        shapes = {name: np.load(file.open(f"test_{name}.npy")).shape for name in BLOCKS}
    assert rdf["license"] == "CC-BY-4.0"
    assert rdf["cite"][0]["doi"] == "10.1016/j.cels.2022.12.006"
    assert shapes["affinities"] == (1, 3, 64, 64, 64)
    assert shapes["offsets"] == (1, 3, 16, 16, 16)
    spec = load_model(made).spec
    assert (spec.pixel_sizes, spec.intensity, spec.scores) == ((5, 8), "range", {"IoU": 0.8})


def test_the_test_output_is_what_the_net_says_of_the_test_image(package):
    with zipfile.ZipFile(package) as file:
        image, semantic, center = (np.load(file.open(f"test_{n}.npy")) for n in ("image", "semantic", "center"))
    maps = mn.predict(mn.Stack(image[0]).plane(0), recipe=EXACT)
    assert np.abs(maps.heads["semantic"][0] / 255 - semantic[0, 0]).max() < 0.01
    assert np.abs(maps.heads["center"] - center[0, 0]).max() < 0.01
    assert semantic.max() > 0.5


def changed(package, path, change, **files):
    """Copy a package with another description."""
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(path, "w") as new:
        rdf = yaml.safe_load(old.read("rdf.yaml"))
        change(rdf)
        for name in old.namelist():
            text = yaml.safe_dump(rdf) if name == "rdf.yaml" else old.read(name)
            new.writestr(name, files.get(name, text))
    return path


def of_strangers(rdf):
    """Make a description one that knows nothing of mitonb, with its own words for the outputs."""
    del rdf["config"]
    for output, name in zip(rdf["outputs"], ("mask", "heat", "vectors"), strict=True):
        output["id"] = name


def test_a_package_of_strangers_runs_once_its_user_says_what_its_outputs_are(package, tmp_path, stack, truth):
    path = changed(package, tmp_path / "theirs.zip", of_strangers)
    said = r"mask \(.*\), heat \(.*\), vectors .* called semantic, center, offsets in weights\.onnx.*, theirs\.json,"
    with pytest.raises(ModelError, match=said):
        load_model(path)
    path.with_suffix(".json").write_text(json.dumps({"heads": ["semantic", "center", "offsets"], "multiple": 16}))
    labels = mn.segment(stack, EXACT.replace(model=str(path)), show=False)
    assert (labels.data == truth.data).all()


def other_weights(rdf):
    rdf["weights"] = {"torchscript": {"source": "weights.pt"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [(other_weights, "weights as torchscript"), (lambda rdf: rdf.update(outputs=3), "description in")],
)
def test_a_package_that_cannot_run_is_said(package, tmp_path, change, said):
    with pytest.raises(ModelError, match=said):
        load_model(changed(package, tmp_path / "p.zip", change))


def test_a_description_that_asks_for_objects_is_not_read(package, tmp_path):
    evil = {"rdf.yaml": "!!python/object/apply:os.system [ls]"}
    path = changed(package, tmp_path / "p.zip", lambda rdf: None, **evil)
    with pytest.raises(UnsafeFileError, match="more than a description may hold"):
        load_model(path)


def test_the_command_line_exports_packages_that_say_who_made_them(tmp_path, capsys):
    out = tmp_path / "m.zip"
    assert main(["models", "export", "mito-mini", str(out)]) == 1
    assert "--author NAME" in capsys.readouterr().err
    assert main(["models", "export", "mito-mini", str(out), "--author", "A. Author"]) == 0
    assert load_model(out).spec.name == "mito-mini"
    with pytest.raises(InputError, match=r"\.onnx, \.zip, got 'm\.pt'"):
        export_model("mito-mini", tmp_path / "m.pt")
