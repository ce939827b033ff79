"""`mitonb train`: a model from labelled volumes, from phantoms, or from both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mitonb.cli.shared import check_outputs, command, make_folder, note, read_json
from mitonb.errors import InputError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_train"]


def add_train(commands: Any) -> None:
    parser = command(
        commands, "train", _train, "Train a model on labelled volumes, on phantoms, or on both.",
        "mitonb train small.safetensors --phantoms 4 --steps 200",
        "mitonb train mine.safetensors --source mine=cell.tif:cell_labels.tif:held=20-29 --phantoms 8 --minutes 60",
    )  # fmt: skip
    parser.add_argument("out", metavar="OUT", help="weights to write; ends in .safetensors")
    parser.add_argument("--source", action="append", default=[], metavar="NAME=RAW:LABELS",
                        help="a labelled volume; may be repeated; after another colon planes=0-9,held=8;9,"
                        "axes=xy+xz+yz,weight=2,zoom=0.5 (held planes are watched, never learned from)")  # fmt: skip
    parser.add_argument("--phantoms", type=int, default=0, metavar="N", help="also learn from N drawn volumes")
    parser.add_argument("--share", type=float, default=0.3, help="part of the patches from phantoms (default: 0.3)")
    parser.add_argument("--cache", metavar="FOLDER", help="keep the phantoms there for the next run")
    parser.add_argument("--start", metavar="WEIGHTS", help="start from these weights instead of random ones")
    parser.add_argument("--card", metavar="JSON", help="fields of the model card: title, licence, papers, data, notes")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="how long")
    length.add_argument("--steps", type=int, help="number of steps; the only way to get the same weights again")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, patches and augmentation (default: 0)")
    parser.add_argument("--batch", type=int, default=8, help="patches per step (default: 8)")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate (default: 0.002)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32",
                        help="bf16 is about twice as fast on recent processors (default: fp32)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _train(options: argparse.Namespace) -> None:
    from mitonb.job import drain
    from mitonb.train.loop import Settings, card_fields, startable, training
    from mitonb.train.sources import draw_phantoms, read_source, require_share, shared

    # All arguments first: phantoms take minutes, and a run takes hours.
    settings = Settings(
        minutes=options.minutes, steps=options.steps, seed=options.seed, batch=options.batch, rate=options.rate,
        precision=options.precision,
    )  # fmt: skip
    card = read_json(options.card, "A model card is a JSON object.") if options.card else None
    card_fields(card)
    inputs = [file for text in options.source for file in text.partition("=")[2].replace("+", ":").split(":")]
    inputs += [file for file in (options.card, options.start) if file]
    check_outputs([(options.out, (".safetensors",))], inputs, overwrite=options.overwrite)
    if options.start:
        startable(options.start)
    if options.phantoms < 0:
        raise InputError(f"--phantoms is a number of volumes, got {options.phantoms}.")
    if options.cache:
        make_folder(options.cache)
    require_share(options.share)
    sources = [read_source(text) for text in options.source]
    show = not options.quiet
    phantoms = drain(draw_phantoms(options.phantoms, cache=options.cache), show=show)
    steps = training(
        shared(sources, phantoms, options.share), out=options.out, settings=settings, start=options.start, card=card
    )
    out = drain(steps, show=show)
    note(options, f"weights in {out}; use them with --model {out}")
