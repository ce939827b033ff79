"""Model descriptions and exchange files of empanada: YAML, and zip files of YAML and weights. Data only, no torch.

A description names the weights (a path or an address), the normalisation, and the classes; its training settings name
functions, which are not looked at here.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from mitonb.errors import CorruptFileError, ModelError, UnsafeFileError
from mitonb.models.members import Members
from mitonb.models.spec import MOST_CLASSES, printable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Description", "parsed", "read_description", "unpacked", "written"]

LARGEST_TEXT = 1 << 20  # bytes
LARGEST_WEIGHTS = 2 << 30


@dataclass(frozen=True)
class Description:
    """What a description says.

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


def parsed(data: bytes | bytearray, *, where: str) -> Description:
    """Read the text of a description; see `read_description`."""
    try:
        # The safe loader makes texts, numbers, lists and dictionaries, and no object that a tag asks for.
        values = yaml.safe_load(bytes(data))
    except yaml.constructor.ConstructorError as error:
        problem = " ".join(str(error.problem).split())[:150]
        raise UnsafeFileError(f"{where} asks for more than a description may hold: {printable(problem)}.") from error
    except (yaml.YAMLError, UnicodeError, ValueError, RecursionError, OverflowError) as error:
        raise CorruptFileError(f"{where} is not YAML: {printable(' '.join(str(error).split()))}.") from error
    if not isinstance(values, dict):
        raise ModelError(f"{where} describes no model: it has no names with values.")
    card = _classes(values, where) | _norms(values.get("norms"), where)
    text = values.get("description")
    if isinstance(text, str):
        card["notes"] = printable(" ".join(text.split()), 2000)
    weights, padding = values.get("model"), values.get("padding_factor", 0)
    if weights is not None and not (isinstance(weights, str) and len(weights) < 4096 and weights.isprintable()):
        raise ModelError(f"{where}: model is the path or address of its weights, got {printable(repr(weights)[:99])}.")
    if isinstance(padding, int) and 0 < padding <= 4096:
        card["padding"] = int(padding)
    return Description(weights or "", card)


def _norms(norms: Any, where: str) -> dict[str, float]:
    """Return the normalisation, by name or as a pair as in checkpoints."""
    if norms is None:
        return {}
    if isinstance(norms, list) and len(norms) == 2:
        norms = {"mean": norms[0], "std": norms[1]}
    if not isinstance(norms, dict):
        raise ModelError(f"{where}: norms are a mean and a std, got {printable(repr(norms)[:99])}.")
    return {part: _number(norms.get(part), f"norms.{part}", where) for part in ("mean", "std")}


def _number(value: Any, name: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ModelError(f"{where}: {name} is a number above 0, got {printable(repr(value)[:99])}.")
    return float(value)


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


# ------------------------------------------------------------------------------------------------ exchange files


def unpacked(path: Path) -> tuple[Description, str, bytearray]:
    """Return description, name and bytes of the weights of an exchange file (.empanada); nothing is extracted.

    Raises
    ------
    ModelError
        If it has not one description and weights.
    MitonbError
        As `Members` does, for tricks with names and sizes.
    """
    with Members(path) as members:
        texts = [name for name in members.sizes if name.endswith((".yaml", ".yml"))]
        weights = [n for n in members.sizes if n.endswith((".pth", ".pt")) and not n.endswith("_quantized.pth")]
        if len(texts) != 1 or len(weights) != 1:
            raise ModelError(
                f"{path.name} holds {len(texts)} descriptions and {len(weights)} files of weights (.pth) that are not "
                "quantised; an exchange file has one of each."
            )
        text = members.read(texts[0], most=LARGEST_TEXT, packed=True)
        data = members.read(weights[0], most=LARGEST_WEIGHTS, packed=True)
    return parsed(text, where=f"{path.name}: {printable(texts[0])}"), weights[0].rpartition("/")[2], data


def written(name: str, weights: bytes, card: dict[str, Any], padding: int) -> bytes:
    """Return an exchange file of a state dict (as `torch.save` writes it) and what a card says."""
    classes = card["classes"]
    things = classes if card.get("things") is None else card["things"]
    labels = list(range(1, len(classes) + 1))
    values = {
        "model": f"{name}.pth", "model_quantized": None, "norms": {"mean": card["mean"], "std": card["std"]},
        "padding_factor": padding, "class_names": dict(zip(labels, classes, strict=True)), "labels": labels,
        "thing_list": [k for k, c in zip(labels, classes, strict=True) if c in things],
        "description": card.get("notes") or card.get("title") or name,
    }  # fmt: skip
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(f"{name}.yaml", yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        file.writestr(f"{name}.pth", weights)
    return out.getvalue()
