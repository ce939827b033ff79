"""Models in the forms that others use: exports, checkpoints, exchange files (.empanada), descriptions in YAML.

Their code is not run. One way to run it is at the end of this file, and it opens only to the hash of the very file.
"""

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import yaml
from torch import Tensor, nn

from mitonb.errors import CorruptFileError, ModelError, UnsafeFileError, UntrustedModelError, guarded
from mitonb.models.onnx import needed, read_onnx, with_card, written_card
from mitonb.models.spec import MOST_CLASSES, ModelSpec, printable
from mitonb.models.weights import open_zip, read_bytes, read_member

LARGEST_TEXT = 1 << 20  # bytes
LARGEST_WEIGHTS = 2 << 30
RDF = ("rdf.yaml", "bioimageio.yaml")
"""What the description in a package of bioimage.io is called."""


def kind_of(path: Path) -> Literal["safetensors", "archive", "package", "exchange", "description", "onnx"]:
    """Tell what a weight file is from its first bytes; its name decides between texts, and for ONNX, which has no mark.

    Raises
    ------
    ModelError
        If it is a pickle of PyTorch before 1.6.
    CorruptFileError
        If it is nothing that is read here.
    """
    with path.open("rb") as file:
        head = file.read(9)
    if path.suffix.lower() == ".onnx":
        return "onnx"
    if head[8:9] == b"{":
        return "safetensors"
    if head[:2] == b"PK":
        with open_zip(path, printable(path.name)) as members:
            names = members.namelist()
            if any(name.endswith("/data.pkl") for name in names):
                return "archive"
            return "package" if set(names) & set(RDF) else "exchange"
    if path.suffix.lower() in (".yaml", ".yml"):
        return "description"
    if head[:1] == b"\x80" and len(head) == 9:  # shorter, it may be the length at the head of a safetensors file
        raise ModelError(
            f"{path.name} is a pickle as PyTorch wrote it before 1.6, which is not read here because it can run code. "
            "Where you trust it, load it with PyTorch and torch.save its state dict again."
        )
    raise CorruptFileError(f"{path.name} is not a safetensors file, not a file of weights of another kind, or cut off.")


def unwrapped(path: Path) -> "tuple[Description, str, bytes]":
    """Return what a file tells of a model, and the name and the bytes of the weights that it holds or names.

    Parameters
    ----------
    path : path
        A TorchScript archive or checkpoint, safetensors, ONNX with its card, a package of bioimage.io, an exchange file
        (.empanada), or a description (.yaml) beside its weights.

    Raises
    ------
    ModelError, CorruptFileError, UnsafeFileError, TooLargeError
        As `kind_of`, `parsed`, `open_zip` and `mitonb.models.onnx.read_onnx`.
    """
    told = Description("", {})
    match kind_of(path):
        case "onnx":
            return told, path.name, read_onnx(path)
        case "package":
            return told, f"{path.stem}.onnx", read_package(path)
        case "exchange":
            return _unpacked(path)
        case "description":
            told = read_description(path)
            path = beside(path, told.weights)
            if kind_of(path) not in ("archive", "safetensors"):
                raise ModelError(f"The description names {printable(path.name)}, which is not an archive of weights.")
    return told, path.name, read_bytes(path)


def beside(description: Path, weights: str) -> Path:
    """Return the weights that a description names: a file in its own folder, never elsewhere."""
    if "://" in weights:
        raise ModelError(f"{description.name} names weights on the network: mitonb models pull {description}")
    path = description.parent / Path(weights.replace("\\", "/")).name
    if not weights or not path.is_file():
        raise ModelError(f"{description.name} names the weights {printable(weights)!r}, which are not beside it.")
    return path


# ------------------------------------------------------------------------------------------------------ descriptions


class Description(NamedTuple):
    """What a description says; its training settings name functions, which are not looked at.

    Attributes
    ----------
    weights : str
        Path or address of the weights; empty if none is named.
    card : dict
        Fields of a `ModelSpec`: classes, things, mean, std, padding, notes.
    """

    weights: str
    card: dict[str, Any]


def read_description(path: Path) -> Description:
    """Read a YAML description.

    Raises
    ------
    ModelError
        If it describes no model.
    CorruptFileError, UnsafeFileError
        If it is not YAML, or asks for objects of Python.
    """
    if path.stat().st_size > LARGEST_TEXT:
        raise ModelError(f"{path.name} has {path.stat().st_size >> 10} KB; descriptions of models are short.")
    return parsed(path.read_bytes(), where=path.name)


def parsed(data: bytes, *, where: str) -> Description:
    """Read the text of a description; see `read_description`."""
    values = _read_yaml(data, where)
    card = _classes(values, where) | read_norms(values.get("norms"), where)
    text = values.get("description")
    if isinstance(text, str):
        card["notes"] = printable(" ".join(text.split()), 2000)
    weights, padding = values.get("model"), values.get("padding_factor", 0)
    if weights is not None and not (isinstance(weights, str) and len(weights) < 4096 and weights.isprintable()):
        raise ModelError(f"{where}: model is the path or address of its weights, got {printable(repr(weights)[:99])}.")
    if isinstance(padding, int) and 0 < padding <= 4096:
        card["padding"] = int(padding)
    return Description(weights or "", card)


def _read_yaml(data: bytes, where: str) -> dict[Any, Any]:
    """Read names with values."""
    try:
        # The safe loader makes texts, numbers, lists and dictionaries, and no object that a tag asks for.
        values = yaml.safe_load(data)
    except yaml.constructor.ConstructorError as error:
        problem = " ".join(str(error.problem).split())[:150]
        raise UnsafeFileError(f"{where} asks for more than a description may hold: {printable(problem)}.") from error
    except (yaml.YAMLError, UnicodeError, ValueError, RecursionError, OverflowError) as error:
        raise CorruptFileError(f"{where} is not YAML: {printable(' '.join(str(error).split()))}.") from error
    if not isinstance(values, dict):
        raise ModelError(f"{where} describes no model: it has no names with values.")
    return values


def read_norms(norms: Any, where: str) -> dict[str, float]:
    """Return the normalisation, by name or as a pair as in checkpoints."""
    if norms is None:
        return {}
    if isinstance(norms, list) and len(norms) == 2:
        norms = {"mean": norms[0], "std": norms[1]}
    if not isinstance(norms, dict):
        raise ModelError(f"{where}: norms are a mean and a std, got {printable(repr(norms)[:99])}.")
    for part in ("mean", "std"):
        value = norms.get(part)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise ModelError(f"{where}: norms.{part} is a number above 0, got {printable(repr(value)[:99])}.")
    return {part: float(norms[part]) for part in ("mean", "std")}


def _classes(values: dict[Any, Any], where: str) -> dict[str, Any]:
    """Return classes in the order of their labels, and which of them are told apart into objects."""
    names = values.get("class_names")
    if names is None:
        return {}
    if not isinstance(names, dict) or not 0 < len(names) <= MOST_CLASSES:
        raise ModelError(f"{where}: class_names gives a name to each of 1 to {MOST_CLASSES} labels, such as 1: mito.")
    labels = sorted(names, key=str) if not all(isinstance(k, int) for k in names) else sorted(names)
    classes = tuple(printable(str(names[label]), 80) for label in labels)
    if len(set(classes)) != len(classes):
        raise ModelError(f"{where}: two classes have the same name.")
    things = values.get("thing_list")
    if not isinstance(things, list):
        return {"classes": classes}
    return {"classes": classes, "things": tuple(n for label, n in zip(labels, classes, strict=True) if label in things)}


# ---------------------------------------------------------------------------------------------------- exchange files


def _unpacked(path: Path) -> tuple[Description, str, bytes]:
    """Return description, name and bytes of the weights of an exchange file (.empanada); nothing is extracted.

    Raises
    ------
    ModelError
        If it has not one description and weights.
    MitonbError
        As `open_zip` does, for tricks with names and sizes.
    """
    where = printable(path.name)
    with open_zip(path, where) as file:
        names = file.namelist()
        texts = [name for name in names if name.endswith((".yaml", ".yml"))]
        weights = [n for n in names if n.endswith((".pth", ".pt")) and not n.endswith("_quantized.pth")]
        if len(texts) != 1 or len(weights) != 1:
            raise ModelError(
                f"{where} holds {len(texts)} descriptions and {len(weights)} files of weights (.pth) that are not "
                "quantised; an exchange file has one of each."
            )
        text = read_member(file, texts[0], where=where, most=LARGEST_TEXT, packed=True)
        data = read_member(file, weights[0], where=where, most=LARGEST_WEIGHTS, packed=True)
    return parsed(text, where=f"{where}: {texts[0]}"), weights[0].rpartition("/")[2], data


# ------------------------------------------------------------------------------------------ packages of bioimage.io


def read_package(path: Path) -> bytes:
    """Return the ONNX in a package of bioimage.io (format 0.5), with its card inside; nothing is extracted.

    The card is what lies beside the package in JSON, or `config: mitonb:` of its description.

    Raises
    ------
    ModelError
        If it has no weights in one ONNX, or no card.
    MitonbError
        As `open_zip` does, for tricks with names and sizes.
    """
    onnx, where, beside = needed("onnx"), printable(path.name), path.with_suffix(".json")
    with open_zip(path, where) as file:
        names = file.namelist()
        text = read_member(file, next(n for n in RDF if n in names), where=where, most=LARGEST_TEXT, packed=True)
        rdf = _read_yaml(text, where)
        with guarded(f"The description in {where}", ModelError):
            weights, said = rdf["weights"], rdf.get("config", {}).get("mitonb")
            source = str(weights.get("onnx", {}).get("source")).removeprefix("./")
            told = ", ".join(f"{one['id']} ({one.get('description', 'not described')})" for one in rdf["outputs"])
        if source not in names or weights["onnx"].get("external_data"):
            raise ModelError(
                f"{where} has weights as {printable(', '.join(weights))}; those in one ONNX file are read. Convert it "
                "with the program of bioimageio.core: bioimageio add-weights."
            )
        data = read_member(file, source, where=where, most=LARGEST_WEIGHTS, packed=True)
    with guarded(f"{source} in {where}"):
        model = onnx.load_from_string(data)
    if not beside.is_file() and not said:
        raise ModelError(
            f"{where} does not say which of its outputs is what. They are {printable(told, 400)}, called "
            f"{', '.join(output.name for output in model.graph.output)} in {source}. Write a card, {beside.name}, "
            "beside it; see docs/models.md."
        )
    card = beside.read_bytes() if beside.is_file() else json.dumps(said).encode()
    return with_card(model, written_card(card, name=path.stem, where=where))


# ------------------------------------------------------------------------------------------------------ trusted code


class Trusted(nn.Module):
    """An exported network that runs by the code of its file. Takes and gives what our nets do."""

    heads = ("semantic", "center", "offsets")
    dimension = 2
    output_stride = 4
    pixel_offset = 1.5
    full_steps = 2

    def __init__(self, scripted: nn.Module) -> None:
        super().__init__()
        self.scripted = scripted
        self.multiple = self._smallest_multiple()

    def forward(self, x: Tensor, render_steps: int = full_steps) -> dict[str, Tensor]:
        """Map normalised planes to the heads, as `mitonb.models.panoptic.Rendered` does."""
        try:
            said = self.scripted(x, render_steps, False)
        except (RuntimeError, torch.jit.Error) as error:
            last = str(error).strip().rpartition("\n")[2]
            raise ModelError(f"The code of this model failed: {printable(last, 300)}.") from error
        names = ("sem_logits", "ctr_hmp", "offsets")
        if not isinstance(said, dict) or not all(isinstance(said.get(name), torch.Tensor) for name in names):
            raise ModelError(f"The code of this model gives no {', '.join(names)}, as MitoNet's does.")
        heads = {head: said[name].float() for head, name in zip(self.heads, names, strict=True)}
        (n, _, h, w), channels = x.shape, heads["semantic"].shape[1] if heads["semantic"].ndim == 4 else 1
        fine, small = 2.0 ** (render_steps - self.full_steps), (h // self.output_stride, w // self.output_stride)
        wanted = ((n, channels, int(h * fine), int(w * fine)), (n, 1, *small), (n, 2, *small))
        got = tuple(tuple(head.shape) for head in heads.values())
        if got != wanted:
            raise ModelError(f"Of a picture of {h} x {w} the code of this model gives {got}, but {wanted} is needed.")
        return heads

    @torch.inference_mode()
    def _smallest_multiple(self) -> int:
        """Return what planes must be multiples of: the first size that works, since no file tells.

        Both sides are odd multiples, so that halving them further would not fit.
        """
        for multiple in (16, 32, 64):
            try:
                self.eval()(torch.zeros(1, 1, 5 * multiple, 7 * multiple))
            except ModelError:
                continue
            return multiple
        return 128


def trusted(
    data: bytes, reason: ModelError, name: str, fields: Mapping[str, Any], trust_code: str | None
) -> tuple[nn.Module, ModelSpec]:
    """Run the code of an exported network if its user has named its hash; else say the hash and what trust means."""
    with open_zip(data, name) as file:
        if not any("/code/" in member for member in file.namelist()):
            raise reason
    # The very bytes that are hashed are run: the file could be exchanged in between.
    digest = hashlib.sha256(data).hexdigest()
    if trust_code != f"sha256:{digest}":
        given = f" (you gave {printable(str(trust_code))})" if trust_code else ""
        raise UntrustedModelError(
            f"{reason} It can only be run by the code in it, which can do on this computer whatever you can{given}. If "
            f'you trust who made it: load_model(path, trust_code="sha256:{digest}"), or --trust-code sha256:{digest}'
        ) from reason
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the format is old; the files in it are there
            scripted_net = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
        net = Trusted(scripted_net).eval()
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{name} could not be loaded by its own code: {printable(str(error), 300)}") from error
    told: dict[str, Any] = {"intensity": "range", "mean": 0.57571, "std": 0.12765, **fields}
    for field in ("heads", "output_stride", "pixel_offset", "multiple"):
        told[field] = getattr(net, field)
    return net, ModelSpec(name=name, architecture="torchscript", sha256=digest, **told)
