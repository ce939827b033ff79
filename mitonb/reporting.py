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
from mitonb.measurements import measure
from mitonb.mistakes import errors_by_size, list_mistakes
from mitonb.models.folder import PUBLISHED, installed_as
from mitonb.recipe import Recipe
from mitonb.stack import Stack
from mitonb.summaries import summarize

ROWS = 200
"""Objects and mistakes that the page shows; the file in it holds all objects."""
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222;
background:#fff}h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem;border-bottom:1px solid #ccc}
table{border-collapse:collapse;font-size:13px}td,th{padding:2px 10px 2px 0;text-align:left;border-bottom:1px solid #eee;
font-variant-numeric:tabular-nums}.wide{overflow:auto;max-height:26rem}img{max-width:100%}img.half{width:44%}
pre{white-space:pre-wrap;font-size:12px}
@media print{.wide{max-height:none;overflow:visible}}"""
_PRINTERS = (
    ("chromium", ["--headless", "--no-pdf-header-footer", "--print-to-pdf={pdf}", "{html}"]),
    ("google-chrome", ["--headless", "--no-pdf-header-footer", "--print-to-pdf={pdf}", "{html}"]),
    ("weasyprint", ["{html}", "{pdf}"]),
    ("wkhtmltopdf", ["{html}", "{pdf}"]),
)
_METHODS = (
    "Surface: Coeurjolly, Flin, Teytaud and Tougne (2003). Centre line: Lee, Kashyap and Chu (1994). Sphericity: "
    "Wadell (1935). Complexity: Vincent et al. (2019). Border: Miles (1974), Lantuéjoul (1980). See docs/measuring.md."
)


def report(
    labels: Any, path: str | os.PathLike[str], *, stack: Stack | str | os.PathLike[str] | None = None,
    truth: Any = None, also: str | tuple[str, ...] = ("shape",), overwrite: bool = False,
) -> Path:  # fmt: skip
    """Write a report: what was segmented and how, pictures, measurements, scores, versions, methods, what to cite.

    The same labels give the same page, byte by byte: nothing in it depends on the day.

    Parameters
    ----------
    labels : Labels, path, or Session
        With the record of the run, as `segment` makes it and `save` keeps it; without one the page says so. Of a
        session its labels, image and edits are taken.
    path : path
        Ends in .html; or in .pdf, where there is a program that prints pages: chromium, google-chrome, weasyprint or
        wkhtmltopdf.
    stack : Stack or path, optional
        The image; by default the one that the record names, if it still holds the same voxels.
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
    done: list[str] = []
    if hasattr(labels, "history"):
        done = [entry.text for entry in labels.history() if entry.stands]
        labels, stack = labels.labels, stack if stack is not None else labels.stack
    found = labels if isinstance(labels, Labels) else open_labels(labels)
    record = dict(found.record or {})
    history = record.get("history")
    done = done or [str(one.get("text", one)) if isinstance(one, Mapping) else str(one) for one in history or ()]
    image, missing = _image(stack, record)
    known = found.voxel_size or (image.voxel_size if image is not None else None)
    table = measure(found, stack=image, voxel_size=known, also=also if known else ())
    parts = [
        f"<h1>{_text(found.name or 'Labels')}</h1>", _methods(record, found, done, table),
        _section("Pictures", _picture(plot.show_planes(image, found), "") if image is not None else _text(missing)),
        _section("Objects", *_objects(table)),
        *([_section("Against the truth", *_scores(found, truth, known))] if truth is not None else []),
        _section("Parameters", _parameters(record)), _section("Model", _model(record)),
        _section("Software", _facts({**record.get("software", {}), **record.get("machine", {})})),
        _section("What to cite", _citations(record), f"<p>{_text(_METHODS)}</p>"),
        _section("Record", _folded("All of it", json.dumps(record, indent=1))),
    ]  # fmt: skip
    head = f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{_text(found.name or "Report")}</title>'
    page = f"{head}<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    with explain_write(target), atomic_write(target, lambda _: None) as temporary:
        if target.suffix.lower() == ".pdf":
            _print(page, temporary)
        else:
            temporary.write_text(page, encoding="utf-8")
    return target


def _image(stack: Any, record: Mapping[str, Any]) -> tuple[Stack | None, str]:
    """Return the image, or None and why there is none."""
    if stack is not None:
        return (stack if isinstance(stack, Stack) else open_stack(stack)), ""
    about = record.get("image") or {}
    source, size = about.get("source"), about.get("voxel_size_nm")
    if not source:
        return None, "The record names no file of the image. Give the image with stack=."
    try:
        image = open_stack(source, voxel_size=size)
        if same_image(image, about.get("fingerprint", "")):
            return image, ""
    except (MitonbError, OSError) as error:
        return None, f"The image could not be opened ({error}). Give it with stack=."
    return None, f"{source} does not hold the voxels of the record any more. Give the image with stack=."


def _methods(record: Mapping[str, Any], labels: Labels, done: list[str], table: pd.DataFrame) -> str:
    """Return the paragraph for a paper."""
    recipe, image = record.get("recipe") or {}, record.get("image") or {}
    shape, size = (" x ".join(f"{v:g}" for v in x) if x else "" for x in (labels.shape, labels.voxel_size))
    scale = f" at a voxel size of {size} nm (z, y, x)" if size else "; the voxel size is unknown"
    said = [f"An electron microscopy volume of {shape} voxels{scale} was segmented."]
    if recipe:
        planes = ", ".join(recipe.get("planes") or ())
        model, version = record.get("model") or {}, (record.get("software") or {}).get("mitonb", "")
        said = [
            f"Mitochondria were segmented in an electron microscopy volume of {shape} voxels{scale} with mitonb "
            f"{version}, using the model {model.get('name')} (sha256 {str(model.get('sha256'))[:12]}) on {planes} "
            "planes."
        ]
        if changed := _changed(recipe):
            said.append(f"Parameters other than the default were {', '.join(changed)}.")
    else:
        said.append("No record of a run came with the labels, so how they were made is not known here.")
    if done:
        said.append(f"The result was corrected by hand in {len(done)} edit{'s' * (len(done) > 1)}.")
    cut = int(table.truncated.sum())
    said.append(
        f"{len(table)} objects were measured, {cut} of them cut off by the border of the volume; means of whole "
        "objects are weighted for that (Miles 1974; Lantuéjoul 1980)."
    )
    facts = {"image": image.get("name"), "fingerprint of the image": image.get("fingerprint"), "voxels": shape,
             "voxel size (z, y, x)": f"{size} nm" if size else "unknown"}  # fmt: skip
    return _facts(facts) + _section("Methods", f"<p>{_text(' '.join(said))}</p>")


def _changed(recipe: Mapping[str, Any]) -> list[str]:
    """Return what of a recipe is not the default."""
    plain = json.loads(Recipe().to_json())
    return [f"{name} = {value}" for name, value in recipe.items() if name != "model" and plain.get(name) != value]


def _objects(table: pd.DataFrame) -> list[str]:
    """Return what is said of the objects: summary, histograms, table and the file of all."""
    known = table.attrs["voxel_size"] is not None
    names = [name for name in ("volume_um3", "area_um2", "length_nm", "sphericity", "skeleton_nm") if name in table]
    csv = base64.b64encode(table.to_csv(index=False, lineterminator="\n").encode()).decode()
    return [
        _table(summarize(table)) if known else "<p>The voxel size is unknown: there are no lengths and volumes.</p>",
        *(_picture(plot.show_measure(table, name)) for name in names if table[name].notna().any()),
        _table(table.head(ROWS)),
        f'<p>{len(table)} objects. <a download="objects.csv" href="data:text/csv;base64,{csv}">All as CSV</a></p>',
    ]


def _scores(labels: Labels, truth: Any, size: Any) -> list[str]:
    true = open_labels(truth) if isinstance(truth, str | os.PathLike) else truth
    by = "length_nm" if size else "voxels"
    classes = errors_by_size(labels, true, by=by, voxel_size=size)
    wrong = list_mistakes(labels, true)
    return [score(labels, true)._repr_html_(), _picture(plot.show_errors(classes)), _table(classes),
            f"<p>Mistakes at IoU 0.5: {len(wrong)}</p>", _table(wrong.head(ROWS))]  # fmt: skip


def _parameters(record: Mapping[str, Any]) -> str:
    recipe = record.get("recipe") or {}
    help_of = {one.name: one.metadata.get("help", "") for one in fields(Recipe)}
    rows = [(name, value, help_of.get(name, "")) for name, value in recipe.items()]
    table = pd.DataFrame(rows, columns=["parameter", "value", "what it does"])
    return _table(table) if rows else "<p>No record of a run came with the labels.</p>"


def _model(record: Mapping[str, Any]) -> str:
    """Return the card of the model that the record names, if it is known here."""
    about = record.get("model") or {}
    here = installed_as(about["name"]) if about.get("name") else None
    card = here.spec if here is not None else PUBLISHED[about["name"]].card if about.get("name") in PUBLISHED else None
    facts = {"name": about.get("name"), "sha256": about.get("sha256"), "licence": about.get("licence")}
    if card is not None:
        same = not about.get("sha256") or about["sha256"] == card.sha256
        facts |= {"title": card.title, "architecture": card.architecture, "trained on": "; ".join(card.data),
                  "held-out scores": ", ".join(f"{k} {v:g}" for k, v in card.scores.items()), "notes": card.notes,
                  "weights": "the same as here" if same else "another version is installed here"}  # fmt: skip
    return _facts(facts)


def _citations(record: Mapping[str, Any]) -> str:
    name = (record.get("model") or {}).get("name")
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
    return f'<div class="wide">{shown}</div>'


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
    for program, words in _PRINTERS:
        if command := shutil.which(program):
            with tempfile.TemporaryDirectory() as folder:
                source, out = Path(folder) / "page.html", Path(folder) / "page.pdf"
                source.write_text(page, encoding="utf-8")
                # In containers, as root, Chromium runs without its sandbox or not at all; the page is our own.
                root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 and "chrom" in program else []
                run = [command, *root, *(word.format(pdf=out, html=source) for word in words)]
                done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
                if out.exists():
                    shutil.copyfile(out, pdf)
                    return
                raise InputError(f"{program} did not print the report: {done.stderr[-300:].strip()}. Choose .html.")
    raise InputError(
        f"Nothing here prints pages. Choose .html, or install one of {', '.join(p for p, _ in _PRINTERS)}."
    )
