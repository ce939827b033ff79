"""`mitonb models`: which there are, what is known about them, and how they come to this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitonb.citing import REFERENCES
from mitonb.cli.shared import add_trust, check_outputs, command, note
from mitonb.errors import ModelError
from mitonb.models.folder import installed, installed_as, model_folder
from mitonb.models.published import PUBLISHED
from mitonb.models.spec import specs

if TYPE_CHECKING:
    import argparse

    from mitonb.models.spec import ModelSpec

__all__ = ["add_models"]


def add_models(commands: Any) -> None:
    parser = command(
        commands, "models", _list, "List, pull, import and export models.",
        "mitonb models list",
        "mitonb models pull MitoNet_v1",
        "mitonb models import mine.empanada --name mine",
    )  # fmt: skip
    inner = parser.add_subparsers(title="what to do (default: list)", metavar="ACTION")
    command(inner, "list", _list, "List the models that are here, and those to download.", "mitonb models list")
    info = command(inner, "info", _info, "Say what is known about a model.", "mitonb models info MitoNet_v1")
    info.add_argument("model", metavar="NAME", help="a model's name")
    pull = command(
        inner, "pull", _pull, "Fetch a published model and pin its hash.",
        "mitonb models pull MitoNet_v1_mini",
        "mitonb models pull my_model.yaml        # a description that names its weights by address",
    )  # fmt: skip
    pull.add_argument("model", metavar="NAME", help="a published model, or a description (.yaml)")
    pull.add_argument("--address", metavar="URL", help="fetch it from there instead, such as a mirror; https only")
    pull.add_argument("--sha256", default="", metavar="HASH", help="the hash that it must have")
    add_trust(pull)
    pull.add_argument("--quiet", action="store_true", help="no progress")
    bring = command(
        inner, "import", _import, "Register a file of your own under a name.",
        "mitonb models import finetuned.pth.tar --name my-cells",
        "mitonb models import MitoNet_v1.pth --name MitoNet_v1     # fetched on another machine",
    )  # fmt: skip
    bring.add_argument("file", metavar="FILE", help=".safetensors, .pth, .pth.tar, .empanada or .yaml")
    bring.add_argument("--name", help="its name from now on (default: that of the file)")
    add_trust(bring)
    export = command(
        inner, "export", _export, "Write a model into a file to hand on.",
        "mitonb models export MitoNet_v1 mitonet.safetensors",
    )  # fmt: skip
    export.add_argument("model", metavar="NAME", help="a model on this machine")
    export.add_argument("out", metavar="OUT", help="ends in .safetensors or .empanada")
    export.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")


def _list(_: argparse.Namespace) -> None:
    here = installed()
    bundled = specs()
    rows = [(name, "bundled", card.title) for name, card in bundled.items()]
    rows += [(name, "here", one.spec.title or one.source) for name, one in here.items()]
    rows += [
        (name, "encoder" if one.kind == "encoder" else "to pull", one.card.title)
        for name, one in PUBLISHED.items()
        if name not in here
    ]
    width = max(len(row[0]) for row in rows)
    for name, where, title in rows:
        print(f"{name:<{width}}  {where:<8} {title}".rstrip())


def _info(options: argparse.Namespace) -> None:
    name = options.model
    one = installed_as(name)
    if one is None and name not in PUBLISHED:
        known = ", ".join(dict.fromkeys((*specs(), *installed(), *PUBLISHED)))
        raise ModelError(f"There is no model named {name!r}. The known ones are {known}.")
    card = one.spec if one is not None else PUBLISHED[name].card
    print(card.name)
    for label, value in _facts(card).items():
        print(f"  {label:<12} {value}")
    if name in PUBLISHED:
        print(f"  address      {PUBLISHED[name].address}\n  padding      {PUBLISHED[name].padding} px (its makers')")
        if PUBLISHED[name].quantised:
            print(f"  quantised    {PUBLISHED[name].quantised} (8 bits; runs only by its own code, see docs/models.md)")
    if one is None:
        print(f"  not here yet; fetch it with: mitonb models pull {name}")
    else:
        print(f"  weights      {one.path}\n  source       {one.source}")


def _facts(card: ModelSpec) -> dict[str, str]:
    papers = [str(REFERENCES.get(paper, paper)) for paper in card.papers]
    facts = {
        "title": card.title, "architecture": card.architecture, "classes": ", ".join(card.classes),
        "normalised": f"mean {card.mean:g}, std {card.std:g}, of grey values from 0 to 1",
        "multiple": f"{card.multiple} px", "licence": card.licence, "cite": "; ".join(papers),
        "data": "; ".join(card.data), "sha256": card.sha256, "notes": card.notes,
    }  # fmt: skip
    return {label: value for label, value in facts.items() if value}


def _pull(options: argparse.Namespace) -> None:
    from mitonb.job import drain
    from mitonb.models.bringing import pulling
    from mitonb.models.folder import pinned

    before = pinned(Path(options.model).stem if options.model.endswith((".yaml", ".yml")) else options.model)
    steps = pulling(options.model, address=options.address, sha256=options.sha256, trust_code=options.trust_code)
    one = drain(steps, show=not options.quiet)
    known = before or options.sha256
    said = "as pinned before" if known else "pinned now: its makers publish no hash, so compare it with a colleague's"
    print(f"{one.spec.name}\n  weights  {one.path}\n  sha256   {one.spec.sha256} ({said})")
    if one.spec.architecture != "encoder":
        note(options, f"use it with --model {one.spec.name}; its papers: mitonb cite {one.spec.name}")


def _import(options: argparse.Namespace) -> None:
    from mitonb.models.bringing import import_model

    one = import_model(options.file, options.name, trust_code=options.trust_code)
    print(f"{one.spec.name}\n  weights  {one.path}\n  sha256   {one.spec.sha256} (pinned)")
    note(options, f"use it with --model {one.spec.name}; the model folder is {model_folder()}")


def _export(options: argparse.Namespace) -> None:
    from mitonb.models.bringing import export

    one = installed_as(options.model)
    inputs = [] if one is None else [str(one.path)]
    check_outputs([(options.out, (".safetensors", ".empanada"))], inputs, overwrite=options.overwrite)
    print(export(options.model, options.out))
