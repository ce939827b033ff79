"""The report: one HTML page with all that a reader needs to judge a segmentation, made again by one call."""

import base64
import html
import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

import mitonb.plot as plot
from mitonb.accuracy import score
from mitonb.citing import cite
from mitonb.errors import InputError, MitonbError
from mitonb.files import atomic_write, explain_write
from mitonb.io.opening import open as open_stack
from mitonb.io.opening import open_labels
from mitonb.io.record import same_image
from mitonb.io.saving import check_output
from mitonb.labels import Labels
from mitonb.mapped import live_base
from mitonb.measurements import measure
from mitonb.mistakes import errors_by_size, list_mistakes
from mitonb.models.folder import PUBLISHED, installed_as
from mitonb.recipe import Recipe
from mitonb.stack import Stack
from mitonb.summaries import summarize

ROWS = 200
"""Objects and mistakes that the page shows; the file in it holds all objects."""
_PAGE = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
_CHROME, _PLAIN = ["--headless", "--no-pdf-header-footer", "--print-to-pdf={pdf}", "{html}"], ["{html}", "{pdf}"]
_PRINTERS = {"chromium": _CHROME, "google-chrome": _CHROME, "weasyprint": _PLAIN, "wkhtmltopdf": _PLAIN}
_METHODS = (
    "Surface: Coeurjolly, Flin, Teytaud and Tougne (2003). Centre line: Lee, Kashyap and Chu (1994). Sphericity: "
    "Wadell (1935). Complexity: Vincent et al. (2019). Border: Miles (1974), Lantuéjoul (1980). What each column "
    'means is told by the page "Measuring" of the documentation of mitonb.'
)
BY_HAND = frozenset(
    "paint erase lasso fill merge split cut split_at_necks delete grow shrink smooth fill_holes interpolate extrude "
    "keep_largest split_pieces merge_on_plane delete_on_plane drop_false put_object put_plane".split()
)
"""Verbs by which a person changes voxels; the others take a run over, name, mark, lock, or go through the history."""


def report(
    labels: Any, path: str | os.PathLike[str], *, stack: Stack | str | os.PathLike[str] | None = None,
    truth: Any = None, also: str | tuple[str, ...] = ("shape",), overwrite: bool = False,
) -> Path:  # fmt: skip
    """Write a report: what was segmented and how, pictures, measurements, scores, versions, methods, what to cite.

    The same labels give the same page, byte by byte, as .html: nothing in it depends on the day. A program that prints
    it writes the date into a PDF.

    Parameters
    ----------
    labels : Labels, path, or Session
        With the record of the run, as `segment` makes it and `save` keeps it; without one the page says so. Of a
        session its labels, image and edits are taken; ``session.labels`` know nothing of edits.
    path : path
        Ends in .html; or in .pdf, where there is a program that prints pages: chromium, google-chrome, weasyprint or
        wkhtmltopdf.
    stack : Stack or path, optional
        The image; by default the file that the record names, if it still holds the same voxels; addresses
        on the network are not opened by themselves.
    truth : Labels, array or path, optional
        Adds scores, errors by size, and the mistakes.
    also : str or tuple of str
        Groups of measurements, as in `measure`; left out where the voxel size is unknown.
    overwrite : bool
        Replace what is there.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the path cannot be written, the labels are none, or no program can print.
    """
    target = check_output(path, (".html", ".pdf"), overwrite=overwrite)
    edits: int | None = 0
    if hasattr(labels, "history"):
        edits = sum(entry.stands and entry.verb in BY_HAND for entry in labels.history())
        labels, stack = labels.labels, stack if stack is not None else labels.stack
    elif isinstance(labels, Labels) and live_base(labels.data) is not None:
        edits = None  # the labels of a session: it knows its edits, they do not
    found = labels if isinstance(labels, Labels) else open_labels(labels)
    record = _known(found.record)
    edits = None if edits is None else edits + _edits(record)
    image, missing = _image(stack, record, found.shape)
    known = found.voxel_size or (image.voxel_size if image is not None else None)
    table = measure(found, stack=image, voxel_size=known, also=also if known else ())
    parts = [
        f"<h1>{_text(found.name or 'Labels')}</h1>", _methods(record, found, edits, table),
        _section("Pictures", _picture(plot.show_planes(image, found), "") if image is not None else _text(missing)),
        _section("Objects", *_objects(table)),
        *([_section("Against the truth", *_scores(found, truth, known))] if truth is not None else []),
        _section("Parameters", _parameters(record)), _section("Model", _model(record)),
        _section("Software", _facts({**_known(record, "software"), **_known(record, "machine")})),
        _section("What to cite", _citations(record), f"<p>{_text(_METHODS)}</p>"),
        _section("Record", _folded("All of it", json.dumps(record, indent=1, default=str))),
    ]  # fmt: skip
    page = _PAGE.substitute(title=_text(found.name or "Report"), body="".join(parts))
    with explain_write(target), atomic_write(target, lambda _: None) as temporary:
        if target.suffix.lower() == ".pdf":
            _print(page, temporary)
        else:
            temporary.write_text(page, encoding="utf-8", errors="replace")
    return target


def _known(record: Any, name: str = "") -> dict[str, Any]:
    """Return a record, or a part of it, as a dict: one from elsewhere may hold anything."""
    found = record.get(name) if name else record
    return {str(key): value for key, value in found.items()} if isinstance(found, Mapping) else {}


def _word(part: Mapping[str, Any], name: str) -> str:
    """Return what a record has under a name if that is a text, else ""."""
    return value if isinstance(value := part.get(name), str) else ""


def _edits(record: Mapping[str, Any]) -> int:
    """Return how many edits of voxels by hand stand, of those that a record has."""
    history = record.get("history")
    lines = [_known(one) for one in history] if isinstance(history, list) else []
    # Records of earlier versions have the verb in their code alone.
    verbs = (_word(one, "verb") or _word(one, "code").partition("(")[0].removeprefix("session.") for one in lines)
    return sum(verb in BY_HAND and one.get("stands") is True for verb, one in zip(verbs, lines, strict=True))


def _image(stack: Any, record: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Stack | None, str]:
    """Return the image, or None and why there is none."""
    if stack is not None:
        return (stack if isinstance(stack, Stack) else open_stack(stack)), ""
    about = _known(record, "image")
    source = _word(about, "source")
    if not source:
        return None, "The record names no file of the image. Give the image with stack=."
    if "://" in source:
        # A file that came by mail must not make this machine talk to an address of its choice.
        return None, (f"The image is at {source}, and addresses are not opened by themselves. If you trust it, give "
                      f"stack=mn.open({source!r}).")  # fmt: skip
    try:
        if not (Path(source).is_file() or Path(source).is_dir()):
            return None, f"The image could not be opened ({source} does not exist). Give it with stack=."
        image = open_stack(source, voxel_size=about.get("voxel_size_nm"))
        if image.shape != shape:
            has, needs = (" x ".join(map(str, one)) for one in (image.shape, shape))
            return None, (f"The image of the record, {source}, has {has} voxels and the labels have {needs}. Give the "
                          "image of just these voxels with stack=.")  # fmt: skip
        if same_image(image, _word(about, "fingerprint")):
            return image, ""
    except (MitonbError, OSError, TypeError, ValueError) as error:
        return None, f"The image could not be opened ({error}). Give it with stack=."
    return None, f"{source} does not hold the voxels of the record any more. Give the image with stack=."


def _methods(record: Mapping[str, Any], labels: Labels, edits: int | None, table: pd.DataFrame) -> str:
    """Return the paragraph for a paper."""
    recipe, image, model = (_known(record, name) for name in ("recipe", "image", "model"))
    shape, size = (" x ".join(f"{v:g}" for v in x) if x else "" for x in (labels.shape, table.attrs["voxel_size"]))
    scale = f" at a voxel size of {size} nm (z, y, x)" if size else "; the voxel size is unknown"
    said = [f"An electron microscopy volume of {shape} voxels{scale} was segmented."]
    if recipe:
        planes, sha256 = _listed(recipe.get("planes")), _word(model, "sha256")[:12]
        program = f"mitonb {_word(_known(record, 'software'), 'mitonb')}".strip()
        net = f"the model {name}" if (name := _word(model, "name")) else "a model that the record does not name"
        net += f" (sha256 {sha256})" if sha256 else ""
        said = [
            f"Mitochondria were segmented in an electron microscopy volume of {shape} voxels{scale} with {program}, "
            f"using {net}{f' on {planes} planes' if planes else ''}."
        ]
        if changed := _changed(recipe):
            said.append(f"Parameters other than the default were {', '.join(changed)}.")
    else:
        said.append("No record of a run came with the labels, so how they were made is not known here.")
    if edits is None:
        said.append("Edits by hand are not counted: give the session to the report, not its labels.")
    elif edits:
        said.append(f"The result was corrected by hand in {edits} edit{'s' * (edits > 1)}.")
    cut = int(table.truncated.sum())
    said.append(
        f"{len(table)} objects were measured, {cut} of them cut off by the border of the volume; means of whole "
        "objects are weighted for that (Miles 1974; Lantuéjoul 1980)."
    )
    facts = {"image": _word(image, "name"), "fingerprint of the image": _word(image, "fingerprint"), "voxels": shape,
             "voxel size (z, y, x)": f"{size} nm" if size else "unknown"}  # fmt: skip
    return _facts(facts) + _section("Methods", f"<p>{_text(' '.join(said))}</p>")


def _changed(recipe: Mapping[str, Any]) -> list[str]:
    """Return what of a recipe is not the default, without what the sentence before says."""
    plain = json.loads(Recipe().to_json())
    return [f"{name} = {_listed(value)}" for name, value in recipe.items()
            if name not in ("model", "planes") and plain.get(name) != value]  # fmt: skip


def _listed(value: Any) -> str:
    """Return a value for people: a list without brackets."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)


def _objects(table: pd.DataFrame) -> list[str]:
    """Return what is said of the objects: summary, histograms, table and the file of all."""
    known = table.attrs["voxel_size"] is not None
    names = [name for name in ("volume_um3", "area_um2", "length_nm", "sphericity", "skeleton_nm") if name in table]
    csv = base64.b64encode(table.to_csv(index=False, lineterminator="\n").encode()).decode()
    return [
        _table(summarize(table)) if known else "<p>The voxel size is unknown: there are no lengths and volumes.</p>",
        *(_picture(plot.show_measure(table, name)) for name in names if table[name].notna().any()),
        _table(table.head(ROWS)),
        f"<p>{len(table)} objects; the table scrolls to the right. "
        f'<a download="objects.csv" href="data:text/csv;base64,{csv}">All as CSV</a></p>',
    ]


def _scores(labels: Labels, truth: Any, size: Any) -> list[str]:
    true = open_labels(truth) if isinstance(truth, str | os.PathLike) else truth
    by = "length_nm" if size else "voxels"
    classes = errors_by_size(labels, true, by=by, voxel_size=size)
    wrong = list_mistakes(labels, true)
    return [score(labels, true)._repr_html_(), _picture(plot.show_errors(classes)), _table(classes),
            f"<p>Mistakes at IoU 0.5: {len(wrong)}</p>", _table(wrong.head(ROWS))]  # fmt: skip


def _parameters(record: Mapping[str, Any]) -> str:
    recipe = _known(record, "recipe")
    help_of = {one.name: one.metadata.get("help", "") for one in fields(Recipe)}
    rows = [(name, _listed(value), help_of.get(name, "")) for name, value in recipe.items()]
    table = pd.DataFrame(rows, columns=["parameter", "value", "what it does"])
    return _table(table) if rows else "<p>No record of a run came with the labels.</p>"


def _model(record: Mapping[str, Any]) -> str:
    """Return the card of the model that the record names, if it is known here."""
    about = _known(record, "model")
    name = _word(about, "name")
    here = installed_as(name) if name else None
    card = here.spec if here is not None else PUBLISHED[name].card if name in PUBLISHED else None
    facts = {key: _word(about, key) for key in ("name", "sha256", "licence")}
    if card is not None:
        same = facts["sha256"] in ("", card.sha256)
        facts |= {"title": card.title, "architecture": card.architecture, "trained on": "; ".join(card.data),
                  "held-out scores": ", ".join(f"{k} {v:g}" for k, v in card.scores.items()), "notes": card.notes,
                  "weights": "the same as here" if same else "another version is installed here"}  # fmt: skip
    return _facts(facts) if any(facts.values()) else "<p>The record names no model.</p>"


def _citations(record: Mapping[str, Any]) -> str:
    name = _word(_known(record, "model"), "name")
    try:
        said, entries = (cite(name, bibtex=kind) if name else "" for kind in (False, True))
    except InputError:  # a model that is not here
        said, entries = f"The model {name} is not installed here: cite what its card names.", ""
    return f"<pre>{_text(said)}</pre>{_folded('BibTeX', entries)}"


def _section(title: str, *parts: str) -> str:
    return f"<h2>{_text(title)}</h2>{''.join(parts)}"


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary><pre>{_text(text)}</pre></details>"


def _table(table: pd.DataFrame) -> str:
    shown = table.to_html(index=table.index.dtype.kind not in "iu", border=0, escape=True, float_format="{:.4g}".format)
    return f'<div class="wide" tabindex="0">{shown}</div>'


def _facts(facts: Mapping[str, Any]) -> str:
    rows = (f"<tr><th>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in facts.items() if v not in (None, ""))
    return f"<table>{''.join(rows)}</table>"


def _picture(picture: plot.Picture, kind: str = "half") -> str:
    file = io.BytesIO()
    picture.savefig(file, format="png", dpi=200, metadata={"Software": None})
    return f'<img alt="" class="{kind}" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def _text(what: Any) -> str:
    return html.escape(str(what))


def _print(page: str, pdf: Path) -> None:
    """Print a page with the first program that is here."""
    for program, words in _PRINTERS.items():
        if command := shutil.which(program):
            with tempfile.TemporaryDirectory() as folder:
                source, out = Path(folder) / "page.html", Path(folder) / "page.pdf"
                source.write_text(page, encoding="utf-8", errors="replace")
                # In containers, as root, Chromium runs without its sandbox or not at all; the page is our own.
                root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 and "chrom" in program else []
                run = [command, *root, *(word.format(pdf=out, html=source) for word in words)]
                try:
                    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
                except subprocess.TimeoutExpired:
                    raise InputError(f"{program} did not print the report in 5 minutes. Choose .html.") from None
                if out.exists():
                    shutil.copyfile(out, pdf)
                    return
                raise InputError(f"{program} did not print the report: {done.stderr[-300:].strip()}. Choose .html.")
    raise InputError(f"Nothing here prints pages. Choose .html, or install one of {', '.join(_PRINTERS)}.")
