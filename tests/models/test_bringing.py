"""Models come from their makers, from files and from colleagues: pulled, imported, exported, pinned, and never run."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import struct
import threading
import tracemalloc
import warnings
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save_file
from torch.ao.quantization import DeQuantStub, QuantStub, convert, get_default_qconfig, prepare

import mitonb as mn
from mitonb.cli import main
from mitonb.errors import (
    ChecksumError,
    CorruptFileError,
    DownloadError,
    InputError,
    ModelError,
    TooLargeError,
    UnsafeFileError,
    UntrustedModelError,
)
from mitonb.infer.exporting import export_model
from mitonb.job import drain
from mitonb.models.checkpoints import NETS
from mitonb.models.download import sha256_of
from mitonb.models.exchange import parsed
from mitonb.models.folder import PUBLISHED, installed, installed_as, model_folder, model_names
from mitonb.models.weights import read_archive, write_weights
from mitonb.models.zoo import import_model, load_model, pulling, read_net
from tests.models import hostile
from tests.models.published import drawn_net, export_names, write_checkpoint, write_torchscript

DEEPLAB = {"encoder": "resnet18", "stride": 32, "decoder_channels": 8, "low_level_channels": [4], "aspp_channels": 6}
QUANTISED = hostile.called("torch._utils", "_rebuild_qtensor", hostile.storage())
YAML = """
model: {model}
model_quantized: null
norms: {{mean: 0.5, std: 0.125}}
padding_factor: 16
class_names: {{1: mito, 2: nucleus}}
labels: [1, 2]
thing_list: [1]
description: Drawn for a test.
FINETUNE: {{criterion: os.system, epochs: 5}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MITONB_MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "models"


@pytest.fixture(scope="module")
def nets():
    return {n: drawn_net(NETS["panoptic_deeplab"], **DEEPLAB, channels=n, folded=True) for n in (1, 3)}


@pytest.fixture(scope="module")
def master(nets, tmp_path_factory):
    path = tmp_path_factory.mktemp("master") / "drawn.pth"
    write_torchscript(export_names(dict(nets[1].state_dict()), pyramid=False), path)
    return path


@pytest.fixture
def exported(master, tmp_path):
    """Return a drawn MitoNet as its makers export it."""
    (tmp_path / "from").mkdir()
    return shutil.copy(master, tmp_path / "from" / "drawn.pth")


@pytest.fixture
def server(exported):
    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *words):
            super().__init__(*words, directory=str(exported.parent))

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as it:
        threading.Thread(target=it.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{it.server_port}"
        it.shutdown()


def answers(model):
    x = torch.linspace(-2, 2, 64 * 64).reshape(1, 1, 64, 64)
    with torch.inference_mode():
        return list(model(x).values())


def same(a, b):
    return all(torch.allclose(x, y, rtol=1e-3, atol=1e-4) for x, y in zip(answers(a), answers(b), strict=True))


# ------------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("layout", ["export", "checkpoint", "state"])
def test_a_published_file_loads_by_its_path(layout, nets, tmp_path):
    path = tmp_path / "mine.pth"
    state = dict(nets[1].state_dict())
    match layout:
        case "export":
            write_torchscript(export_names(state, pyramid=False), path)
        case "checkpoint":
            write_checkpoint(state, path)
        case "state":
            torch.save(state, path)
    model = load_model(path)
    assert same(model.net, nets[1])
    assert (model.spec.name, model.spec.architecture) == ("mine", "panoptic_deeplab")
    assert model.spec.sha256 == sha256_of(path)
    assert model.spec.intensity == "range"


def test_a_checkpoint_brings_its_normalisation(nets, tmp_path):
    torch.save({"state_dict": nets[1].state_dict(), "arch": "x", "norms": [0.4, 0.2]}, tmp_path / "a.pth.tar")
    spec = load_model(tmp_path / "a.pth.tar").spec
    assert (spec.mean, spec.std) == (0.4, 0.2)


def test_a_state_dict_may_be_safetensors(nets, tmp_path):
    save_file(dict(nets[3].state_dict()), tmp_path / "cells.safetensors")
    (tmp_path / "cells.yaml").write_text(YAML.format(model="cells.safetensors"))
    model, named = load_model(tmp_path / "cells.safetensors"), load_model(tmp_path / "cells.yaml")
    assert same(model.net, nets[3])
    assert (model.spec.classes, named.spec.classes) == (("class 1", "class 2"), ("mito", "nucleus"))
    assert import_model(tmp_path / "cells.safetensors", "mine").spec.sha256 == model.spec.sha256
    assert same(load_model("mine").net, nets[3])
    save_file({"weight": torch.zeros(3)}, tmp_path / "odd.safetensors")
    with pytest.raises(ModelError, match="to no network that mitonb knows"):
        load_model(tmp_path / "odd.safetensors")


def test_a_description_of_other_classes_than_the_net_has_is_refused(nets, tmp_path):
    torch.save(nets[1].state_dict(), tmp_path / "net.pth")
    (tmp_path / "net.yaml").write_text(YAML.format(model="net.pth"))
    with pytest.raises(ModelError, match=r"2 classes \(mito, nucleus\), but its net has 1"):
        load_model(tmp_path / "net.yaml")


def test_a_description_may_give_its_norms_as_a_pair_but_not_as_anything():
    text = YAML.format(model="x.pth")
    pair = text.replace("{mean: 0.5, std: 0.125}", "[0.25, 0.5]")
    assert parsed(pair.encode(), where="x").card["mean"] == 0.25
    with pytest.raises(ModelError, match="norms are a mean and a std, got 'imagenet'"):
        parsed(text.replace("{mean: 0.5, std: 0.125}", "imagenet").encode(), where="x")


def test_a_description_gives_names_to_the_classes_of_the_weights_beside_it(nets, tmp_path):
    torch.save(nets[3].state_dict(), tmp_path / "net.pth")
    (tmp_path / "mine.yaml").write_text(YAML.format(model="/data/someone/else/net.pth"))
    spec = load_model(tmp_path / "mine.yaml").spec
    assert spec.classes == ("mito", "nucleus")
    assert spec.things == ("mito",)
    assert (spec.mean, spec.std, spec.notes) == (0.5, 0.125, "Drawn for a test.")


def test_an_exchange_file_is_read_where_it_is(nets, tmp_path):
    torch.save(nets[3].state_dict(), tmp_path / "net.pth")
    with zipfile.ZipFile(tmp_path / "mine.empanada", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("folder/mine.yaml", YAML.format(model="net.pth"))
        file.write(tmp_path / "net.pth", "folder/net.pth")
    before = sorted(tmp_path.rglob("*"))
    model = load_model(tmp_path / "mine.empanada")
    assert model.spec.classes == ("mito", "nucleus")
    assert same(model.net, nets[3])
    assert sorted(tmp_path.rglob("*")) == before


def test_an_exchange_file_may_not_be_a_bomb_or_lead_elsewhere(tmp_path):
    path = tmp_path / "bad.empanada"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.yaml", "model: a.pth")
        file.writestr("a.pth", bytes(64 << 20))
    with pytest.raises(UnsafeFileError, match="made to exhaust the memory"):
        load_model(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../a.yaml", "model: a.pth")
    with pytest.raises(UnsafeFileError, match="not a plain path"):
        load_model(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.yaml", "model: a.pth")
    with pytest.raises(ModelError, match="1 descriptions and 0 files of weights"):
        load_model(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("!!python/object/apply:os.system ['touch canary']", UnsafeFileError),
        ("model: !!python/name:os.system", UnsafeFileError),
        ("a: !unknown 1", UnsafeFileError),
        ("a: [", CorruptFileError),
        ("[" * 600, CorruptFileError),
        ("\x00", CorruptFileError),
        ("- 1", ModelError),
        ("norms: {mean: nan, std: 0.1}", ModelError),
        ("norms: {mean: 1, std: true}", ModelError),
        ("class_names: [mito]", ModelError),
        ("class_names: {1: a, 2: a}", ModelError),
        ("model: {a: b}", ModelError),
    ],
)
def test_descriptions_are_data_alone(text, error):
    with pytest.raises(error, match=r"mine\.yaml"):
        parsed(text.encode(), where="mine.yaml")


def test_a_description_full_of_references_stays_small():
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 40))
    assert parsed(f"l0: &l0 [a]\n{levels}\nmodel: x.pth".encode(), where="x").weights == "x.pth"


def test_an_old_pickle_is_refused_with_what_to_do(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"before 1\.6.*torch\.save its state dict again"):
        load_model(tmp_path / "old.pth")


# ------------------------------------------------------------------------------------------------------------ trust


@pytest.fixture
def strange(tmp_path):
    """Return an exported network of a kind that is not known here; its code gives what MitoNet's would."""

    class Strange(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("shift", torch.ones(1))

        def forward(self, x: torch.Tensor, render_steps: int = 2, interpolate_ins: bool = True):
            small = x[:, :, ::4, ::4]
            return {
                "sem_logits": x + self.shift,
                "ctr_hmp": small,
                "offsets": torch.cat([small, small], 1),
            }

    path = tmp_path / "strange.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Strange()), path)
    return path


def test_code_runs_only_for_the_hash_of_the_very_file(strange):
    digest = sha256_of(strange)
    for trust in (None, "yes", f"sha256:{'0' * 64}", digest):
        with pytest.raises(UntrustedModelError, match=rf"only be run by the code in it.*trust_code=.sha256:{digest}"):
            load_model(strange, trust_code=trust)
    model = load_model(strange, trust_code=f"sha256:{digest}")
    x = torch.zeros(1, 1, 8, 8)
    assert model.net(x)["semantic"].tolist() == torch.ones(1, 1, 8, 8).tolist()
    assert (model.spec.architecture, model.spec.sha256) == ("torchscript", digest)


class Picky(torch.nn.Module):
    """Takes planes whose sides are multiples of a number, as nets with many levels do."""

    def __init__(self, multiple: int):
        super().__init__()
        self.multiple = multiple
        self.register_buffer("one", torch.ones(1))

    def forward(self, x: torch.Tensor, render_steps: int = 2, interpolate_ins: bool = True):
        if x.shape[2] % self.multiple + x.shape[3] % self.multiple > 0:
            raise ValueError("sizes do not fit")
        small = x[:, :, ::4, ::4]
        return {"sem_logits": x * self.one, "ctr_hmp": small, "offsets": torch.cat([small, small], 1)}


@pytest.mark.parametrize(("needs", "multiple"), [(4, 16), (16, 16), (32, 32), (128, 128)])
def test_a_trusted_model_is_padded_by_its_own_factor(needs, multiple, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Picky(needs)), tmp_path / "net.pth")
    trust = f"sha256:{sha256_of(tmp_path / 'net.pth')}"
    model = load_model(tmp_path / "net.pth", trust_code=trust)
    assert (model.spec.multiple, model.spec.makers_multiple) == (multiple, multiple)
    assert mn.predict(mn.phantom((1, 70, 90), seed=1)[0].plane(0), model=model).shape == (70, 90)
    (tmp_path / "theirs.yaml").write_text("model: net.pth\npadding_factor: 256\n")
    spec = load_model(tmp_path / "theirs.yaml", trust_code=trust).spec
    assert (spec.multiple, spec.makers_multiple) == (multiple, 256)


def test_a_quantised_export_is_refused_with_its_hash(tmp_path):
    path = tmp_path / "quantised.pth"
    path.write_bytes(hostile.archive(hostile.record(state=hostile.mapping(a=QUANTISED)), scripted=True))
    with pytest.raises(UntrustedModelError, match=rf"holds quantised weights.*sha256:{sha256_of(path)}"):
        load_model(path)
    with pytest.raises(ModelError, match="could not be loaded by its own code"):
        load_model(path, trust_code=f"sha256:{sha256_of(path)}")  # the hash opens the way to PyTorch, to nothing else


def test_a_pickle_that_asks_for_a_command_gets_no_trust_whatever_hash_is_given(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(hostile.archive(hostile.mapping(a=hostile.called("os", "system", hostile.text("exit 0")))))
    with pytest.raises(UnsafeFileError, match=r"asks for os\.system"):
        load_model(path, trust_code=f"sha256:{sha256_of(path)}")


def test_trust_is_not_used_where_the_tensors_are_enough(exported):
    model = load_model(exported, trust_code=f"sha256:{sha256_of(exported)}")
    assert model.spec.architecture == "panoptic_deeplab"


def test_a_checkpoint_of_an_unknown_net_is_never_run(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.pth")
    with pytest.raises(ModelError, match="no network that mitonb knows") as error:
        load_model(tmp_path / "x.pth", trust_code=f"sha256:{sha256_of(tmp_path / 'x.pth')}")
    assert not isinstance(error.value, UntrustedModelError)


# ------------------------------------------------------------------------------------------------- pull, import, export


def pull(name="MitoNet_v1", **options):
    return drain(pulling(name, **options), show=False)


def test_a_pulled_model_is_pinned_and_found_by_name(server, exported, nets, folder):
    with pytest.raises(ModelError, match="mitonb models pull MitoNet_v1"):
        load_model("MitoNet_v1")
    one = pull(address=f"{server}/drawn.pth")
    assert one.spec.sha256 == sha256_of(exported)
    assert "MitoNet_v1" in model_names()
    model = load_model("MitoNet_v1")
    assert same(model.net, nets[1])
    assert model.spec.papers == PUBLISHED["MitoNet_v1"].card.papers
    assert model.spec.mean == 0.57571
    assert sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") == [
        "MitoNet_v1.model.json",
        "MitoNet_v1.pth",
    ]


def test_another_file_at_the_same_address_is_refused_later(server, exported, folder, nets):
    pull(address=f"{server}/drawn.pth")
    (folder / "MitoNet_v1.pth").unlink()
    with pytest.raises(CorruptFileError, match="missing from"):
        load_model("MitoNet_v1")
    write_checkpoint(dict(nets[1].state_dict()), exported)
    with pytest.raises(ChecksumError, match="was pinned"):
        pull(address=f"{server}/drawn.pth")
    assert not (folder / "MitoNet_v1.pth").exists()


def test_weights_that_change_on_disk_are_refused(server, exported, folder, nets):
    pull(address=f"{server}/drawn.pth")
    torch.save(nets[1].state_dict(), folder / "MitoNet_v1.pth")
    with pytest.raises(CorruptFileError, match="was pinned"):
        load_model("MitoNet_v1")
    with pytest.raises(ChecksumError, match="move it away and pull again"):
        pull(address=f"{server}/drawn.pth")


def test_a_file_of_another_kind_is_not_taken_for_the_model(server, exported, folder):
    with pytest.raises(ModelError, match="is a panoptic_deeplab, but MitoNet_v1_mini is a panoptic_bifpn"):
        pull("MitoNet_v1_mini", address=f"{server}/drawn.pth")
    exported.with_name("page.pth").write_text("Not here")
    with pytest.raises(CorruptFileError, match="not a file of weights"):
        pull(address=f"{server}/page.pth")
    assert [p.name for p in folder.iterdir() if p.suffix != ".lock"] == []


def test_a_description_with_an_address_can_be_pulled(server, exported, tmp_path, nets):
    text = YAML.format(model=f"{server}/drawn.pth").replace(", 2: nucleus", "")
    (tmp_path / "theirs.yaml").write_text(text)
    with pytest.raises(ModelError, match="names weights on the network"):
        load_model(tmp_path / "theirs.yaml")
    assert pull(str(tmp_path / "theirs.yaml")).spec.classes == ("mito",)
    assert load_model("theirs").spec.mean == 0.5


def test_a_file_is_imported_under_a_name_and_only_once(exported, nets, folder, tmp_path):
    import_model(exported, "mine")
    exported.rename(exported.with_name("moved.pth"))
    assert same(load_model("mine").net, nets[1])
    import_model(exported.with_name("moved.pth"), "mine")
    torch.save(nets[3].state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match="mine is another model already"):
        import_model(tmp_path / "other.pth", "mine")
    for name in ("../mine", "", "a b", "-x", "mito-mini"):
        with pytest.raises((InputError, ModelError), match="name"):
            import_model(tmp_path / "other.pth", name or " ")
    assert list(installed()) == ["mine"]


def test_a_file_fetched_elsewhere_is_imported_as_the_published_model(exported, folder):
    import_model(exported, "MitoNet_v1")
    assert load_model("MitoNet_v1").spec.title == PUBLISHED["MitoNet_v1"].card.title
    with pytest.raises(ModelError, match="panoptic_bifpn"):
        import_model(exported, "MitoNet_v1_mini")


def test_a_model_of_ours_is_imported_with_its_card(nets, tmp_path):
    spec = load_model("mito-mini").spec
    net, _ = read_net(installed_as("mito-mini").path)
    write_weights(net, dataclasses.replace(spec, name="old"), tmp_path / "x.safetensors")
    import_model(tmp_path / "x.safetensors", "new")
    assert load_model("new").spec.name == "new"
    assert load_model("new").spec.scores == spec.scores


def test_an_exported_model_is_the_same_after_import(exported, nets, tmp_path):
    import_model(exported, "mine")
    out = export_model("mine", tmp_path / "out.safetensors")
    import_model(out, "again")
    assert same(load_model("again").net, nets[1])
    assert load_model("again").spec.classes == ("mitochondrion",)


def test_what_cannot_be_exported_is_said(exported, tmp_path):
    import_model(exported, "mine")
    with pytest.raises(InputError, match=r"\.zip, got 'x\.pth'"):
        export_model("mine", tmp_path / "x.pth")
    with pytest.raises(ModelError, match="no model 'none'"):
        export_model("none", tmp_path / "x.safetensors")


def test_a_model_folder_that_cannot_be_used_is_said(exported, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MITONB_MODEL_DIR", str(tmp_path / "file" / "models"))
    with pytest.raises(DownloadError, match="MITONB_MODEL_DIR"):
        import_model(exported, "mine")


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"card": {"name": "mine"}, "file": "../../x"}', "[" * 100_000])
def test_a_damaged_note_hides_no_other_model(damage, exported, folder):
    import_model(exported, "good")
    (folder / "mine.model.json").write_text(damage)
    assert list(installed()) == ["good"]
    with pytest.raises(ModelError, match=r"mine\.model\.json"):
        load_model("mine")


# ------------------------------------------------------------------------------------------------------ command line


def test_the_command_line_pulls_lists_and_tells(server, exported, folder, capsys):
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    lines = {line.split()[0]: line for line in listed.splitlines()}
    assert "· bundled · 7." in lines["mito-mini"]
    assert "· for pixels of 4 to 16 nm · scores on its card: vnc plane IoU 0." in lines["mito-mini"]
    before = "· not here yet · about 220 MB (55 million parameters) · from zenodo.org · licence: as stated at"
    assert before in lines["MitoNet_v1"]
    assert main(["models", "pull", "MitoNet_v1", "--address", f"{server}/drawn.pth", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert f"{sha256_of(exported)} (pinned now" in said
    assert main(["models", "pull", "MitoNet_v1", "--address", f"{server}/drawn.pth", "--quiet"]) == 0
    assert "as pinned before" in capsys.readouterr().out
    assert main(["models", "info", "MitoNet_v1"]) == 0
    told = capsys.readouterr().out
    assert sha256_of(exported) in told
    assert "zenodo.org" in told
    assert "Cell Systems 14(1)" in told
    assert main(["models"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "· fetched · " in lines["MitoNet_v1"]
    assert "· from 127.0.0.1:" in lines["MitoNet_v1"]
    assert main(["cite", "MitoNet_v1"]) == 0
    assert "10.1016/j.cels.2022.12.006" in capsys.readouterr().out


def test_the_command_line_imports_and_exports(exported, tmp_path, capsys):
    assert main(["models", "import", str(exported), "--name", "mine"]) == 0
    assert main(["models", "export", "mine", str(tmp_path / "out.safetensors")]) == 0
    assert main(["models", "export", "mine", str(tmp_path / "out.safetensors")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["models", "info", "nobody"]) == 1
    assert "The known ones are mito-mini, mito-open, mine, MitoNet_v1" in capsys.readouterr().err


def test_every_published_model_says_where_it_is_and_what_to_cite():
    for name, one in PUBLISHED.items():
        assert one.address.startswith("https://zenodo.org/records/")
        assert one.card.name == name
        assert one.card.papers
        assert json.loads(one.card.to_json())["mean"] == 0.57571
    assert PUBLISHED["MitoNet_v1_mini"].card.multiple == 128
    assert {name: one.card.makers_multiple for name, one in PUBLISHED.items()} == {
        "MitoNet_v1": 16, "MitoNet_v1_mini": 128, "NucleoNet_base_v2": 512, "DropNet_base_v1": 512,
    }  # fmt: skip
    assert model_folder().name == "models"


def test_a_pulled_model_can_be_trained_on(server, exported, nets):
    pull(address=f"{server}/drawn.pth")
    net, spec = read_net("MitoNet_v1")
    assert same(net, nets[1])
    assert (spec.output_stride, spec.multiple, spec.pixel_offset) == (4, nets[1].multiple, nets[1].pixel_offset)


def test_what_was_loaded_segments(exported, strange):
    """The whole way, for a net of ours from a published file, and for one that runs by its own code."""
    stack, _ = mn.phantom((1, 128, 160), seed=1)
    trusted = load_model(strange, trust_code=f"sha256:{sha256_of(strange)}")
    for model in (load_model(exported), trusted):
        maps = mn.predict(stack.plane(0), model=model)
        assert maps.semantic.shape == (1, 128, 160)
        assert maps.center.shape == (32, 40)


class Eighths(torch.nn.Module):
    """Gives what MitoNet would, by a convolution that can be quantised; as often doubled as it is asked to."""

    def __init__(self):
        super().__init__()
        self.into, self.conv, self.out = QuantStub(), torch.nn.Conv2d(1, 4, 1), DeQuantStub()

    def forward(self, x: torch.Tensor, render_steps: int = 2, interpolate_ins: bool = True):
        small = torch.nn.functional.avg_pool2d(self.out(self.conv(self.into(x))), 4)
        semantic = small[:, :1]
        for _ in range(render_steps):
            semantic = torch.nn.functional.interpolate(semantic, scale_factor=2.0)
        return {"sem_logits": semantic, "ctr_hmp": small[:, 1:2], "offsets": small[:, 2:]}


@pytest.mark.skipif("fbgemm" not in torch.backends.quantized.supported_engines, reason="torch cannot quantise here")
@pytest.mark.parametrize("choice", [{}, {"engine": "fast"}, {"precision": "bf16"}, {"downsampling": 2, "flips": True}])
def test_a_quantised_export_segments_once_it_is_trusted(choice, tmp_path):
    path = tmp_path / "quantised.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says of both, quantisation and TorchScript, that they are old
        net = Eighths().eval()
        net.qconfig = get_default_qconfig("fbgemm")
        prepare(net, inplace=True)
        net(torch.randn(1, 1, 16, 16))
        torch.jit.save(torch.jit.script(convert(net)), path)
    with pytest.raises(UntrustedModelError, match="quantised"):
        load_model(path)
    if not choice:
        check_the_command_line_with(path, tmp_path)
    model = load_model(path, trust_code=f"sha256:{sha256_of(path)}")
    stack, _ = mn.phantom((2, 100, 90), seed=1)
    labels = mn.segment(stack, mn.Recipe(**choice), model=model, show=False)
    assert labels.shape == (2, 100, 90)
    assert (labels.record["engine"]["name"], labels.record["engine"]["precision"]) == ("torch", "fp32")
    assert bool(labels.record["notes"]) == ("engine" in choice or "precision" in choice)


def check_the_command_line_with(path, tmp_path):
    """A model that its own code must run: refused, imported, run, never remembered, never trained on."""
    cell = str(mn.save(mn.phantom((2, 64, 64), seed=1)[0], tmp_path / "cell.ome.tif"))
    trust = ["--trust-code", f"sha256:{sha256_of(path)}"]
    assert main(["models", "import", str(path), "--name", "mine"]) == 1
    assert main(["models", "import", str(path), "--name", "mine", *trust]) == 0
    for model in ("mine", str(path)):
        segment = ["segment", cell, str(tmp_path / f"{len(model)}.tif"), "--quiet", "--model", model]
        assert main(segment) == 1
        assert main([*segment, "--trust-code", f"sha256:{'0' * 64}"]) == 1
        assert main([*segment, *trust]) == 0
    train = ["train", "x.tif", str(tmp_path / "x.safetensors"), "--steps", "1", "--start", str(path)]
    assert main(train) == 1


class Wrong(torch.nn.Module):
    """Gives what no MitoNet gives."""

    def __init__(self, what: str):
        super().__init__()
        self.what = what
        self.register_buffer("one", torch.ones(1))

    def forward(self, x: torch.Tensor, render_steps: int = 2, interpolate_ins: bool = True):
        small = x[:, :, ::4, ::4]
        heads = {"sem_logits": x, "ctr_hmp": small, "offsets": torch.cat([small, small], 1)}
        if self.what == "fine":
            heads["ctr_hmp"] = x
        elif self.what == "less":
            heads = {"sem_logits": x}
        elif self.what == "wild":
            heads["ctr_hmp"] = small / 0.0
        elif self.what == "fails":
            raise ValueError("no such thing")
        return heads


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("fine", r"gives \(\(1, 1, 384, 256\), \(1, 1, 384, 256\).* is needed"),
        ("less", "gives no sem_logits, ctr_hmp, offsets"),
        ("wild", "not finite"),
        ("fails", "code of this model failed: .*no such thing"),
    ],
)
def test_a_trusted_model_must_give_what_is_needed(what, said, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Wrong(what)), tmp_path / "wrong.pth")
    model = load_model(tmp_path / "wrong.pth", trust_code=f"sha256:{sha256_of(tmp_path / 'wrong.pth')}")
    with pytest.raises(ModelError, match=said):
        mn.predict(mn.phantom((1, 100, 140), seed=1)[0].plane(0), model=model)


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_exchange_file_unpacks_to_no_more_than_it_declares(kind, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as file:
        file.writestr("net.yaml", bytes(100 << 20))
        file.writestr(zipfile.ZipInfo("net.pth"), bytes(100))
    data = bytearray(packed.getvalue())
    struct.pack_into("<L", data, data.find(b"PK\1\2") + 24, 1000)  # so it says in the directory
    path = tmp_path / "bomb.empanada"
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises((CorruptFileError, UnsafeFileError)):
        import_model(path, "bomb")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 << 20


def test_a_directory_of_countless_members_is_refused_before_it_is_read(tmp_path):
    entry = struct.pack("<4s6H3L5H2Ls", b"PK\1\2", *[0] * 9, 1, *[0] * 6, b"a")
    directory = entry * 300_000
    path = tmp_path / "many.pth"
    path.write_bytes(directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 10, 10, len(directory), 0, 0))
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="members"):
        read_archive(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 << 20
