"""The tool that says why, and what a slider would change before it is moved: what a page asks, and what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mitonb as mn
from mitonb.infer.kept import KeptMaps
from mitonb.post.microscope import compare_objects, explain
from mitonb.recipe import Recipe
from mitonb.widgets.forms import either_side
from tests.post.test_microscope import crowd, noisy

if TYPE_CHECKING:
    from mitonb.widgets.app import App
    from mitonb.widgets.viewer import Viewer

RECIPE = Recipe(min_area=20)


@pytest.fixture
def app() -> App:
    """A workbench whose network has seen three of four planes."""
    app = mn.explore(mn.Stack(np.zeros((4, 160, 160), np.uint8)), recipe=RECIPE)
    app.runs.kept = KeptMaps((4, 160, 160), "memory")
    for z in range(3):
        app.runs.kept.put("xy", z, noisy(seed=z))
    app.viewer.index = 1
    assert app.wait(60)
    return app


def heard(viewer: Viewer) -> list[dict[str, Any]]:
    """Keep what a viewer tells its pages from now on."""
    told: list[dict[str, Any]] = []
    viewer.send = lambda message, buffers=None: told.append(message)
    return told


def ask(viewer: Viewer, **message: Any) -> dict[str, Any]:
    """Send what a page would, and return the answer."""
    told = heard(viewer)
    viewer._conversation.receive(None, {"client": "page", **message}, [])
    return told[-1]


def test_a_page_is_told_why_a_pixel_belongs_to_its_object(app: App) -> None:
    maps = app.runs.maps("xy", 1)
    for row, column in np.random.default_rng(0).integers(0, 160, (50, 2)).tolist():
        want = explain(maps, RECIPE, row, column)
        told = ask(app.viewer, kind="why", axis="xy", index=1, row=row, column=column)
        assert (told["kind"], told["row"], told["column"], told["client"]) == ("why", row, column, "page")
        assert (told["text"], told["taken"], told["vote"]) == (want.text, want.object > 0, want.vote)
        assert told["centers"] == [(center.y, center.x) for center in want.centers]


def test_a_moved_threshold_is_what_explains_next(app: App) -> None:
    y, x = np.argwhere(app.runs.maps("xy", 1).semantic[0] == 200)[0].tolist()
    assert ask(app.viewer, kind="why", axis="xy", index=1, row=y, column=x)["text"].startswith(
        "Semantic 0.78 reaches 0.55; its offset"
    )
    app.form.controls["semantic_threshold"].value = 0.9
    assert app.wait(60)
    assert "below the threshold 0.9" in ask(app.viewer, kind="why", axis="xy", index=1, row=y, column=x)["text"]


def test_of_a_plane_that_the_network_has_not_seen_that_is_said(app: App) -> None:
    app.viewer.index = 3
    assert app.wait(60)
    told = ask(app.viewer, kind="why", axis="xy", index=3, row=0, column=0)
    assert told["text"] == "The network has not seen this plane yet: segment it, or look at its maps."
    assert (told["vote"], told["centers"]) == (None, [])


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "why", "axis": "xy", "index": 1, "row": 160, "column": 0},
        {"kind": "why", "axis": "xy", "index": 1, "row": 0, "column": 0.5},
        {"kind": "why", "axis": "xy", "index": 4, "row": 0, "column": 0},
        {"kind": "peek", "field": "__class__"},
        {"kind": "peek"},
        {"kind": "answer", "says": "maybe"},
    ],
)
def test_what_makes_no_sense_is_refused(app: App, message: dict[str, Any]) -> None:
    assert ask(app.viewer, **message)["kind"] == "nack"


def test_what_is_marked_before_is_what_the_moved_slider_shows(app: App) -> None:
    rng = np.random.default_rng(0)
    fields, seen = ["semantic_threshold", "center_threshold", "center_distance", "min_area"], set()
    app._previewing = True
    for move in range(100):
        field = fields[move % 4]
        app.form.recipe = RECIPE.replace(
            semantic_threshold=round(rng.uniform(0.3, 0.8), 2), center_threshold=round(rng.uniform(0.1, 0.5), 2),
            center_distance=int(rng.integers(4, 20)), min_area=int(rng.integers(10, 200)),
        )  # fmt: skip
        assert app.wait(60)
        before = app._draft[2]
        told = heard(app.viewer)
        app.viewer._conversation.receive(None, {"kind": "peek", "field": field}, [])
        assert app.wait(60)
        marks = next(m for m in reversed(told) if m["kind"] == "foreseen")
        side = ("low", "high")[move // 4 % 2]
        value = either_side(app.form.recipe, field)[side]
        app.viewer._conversation.receive(None, {"kind": "peek", "field": ""}, [])
        app.form.controls[field].value = value
        assert app.wait(60)
        changes = compare_objects(before, app._draft[2])
        want = {(kind, side, *place) for kind, places in changes.places.items() for place in places}
        assert {mark for mark in marks["marks"] if mark[1] == side} == want
        assert f"at {value:g}: {changes}" in marks["text"]
        seen |= {mark[0] for mark in want}
    assert seen == {"appear", "vanish", "merge", "split"}


def test_what_no_plane_is_decoded_by_marks_nothing(app: App) -> None:
    told = heard(app.viewer)
    for field in ("model", "min_size", "median", "instances"):
        app.viewer._conversation.receive(None, {"kind": "peek", "field": field}, [])
        assert app.wait(60)
    assert {m["text"] for m in told if m["kind"] == "foreseen"} == {""}
    assert either_side(Recipe(center_distance="60 nm"), "center_distance") == {}
    assert either_side(Recipe(center_threshold=0.04), "center_threshold") == {"low": 0.02, "high": 0.09}


def tuned(app: App, told: list[dict[str, Any]], enough: int = 10) -> dict[str, Any]:
    """Answer what is asked by what is drawn, at most so often; return what is shown of the result."""
    truth = crowd()
    for count in range(10):
        question = told[-1]
        assert (question["kind"], len(question["answers"])) == ("notice", 5 if count else 4)
        ids = {int(truth[6 + 3 * z, y, x]) for z, y, x in question["places"]}
        says = "enough" if count == enough else "yes" if 0 not in ids and len(ids) == 1 else "no"
        app.viewer._conversation.receive(None, {"kind": "answer", "client": "page", "says": says}, [])
        if count == enough or "(10 of 10)" in question["text"]:
            break
    assert app.run_bar.job is not None
    app.run_bar.job.result(60)
    assert app.wait(60)
    return next(m for m in reversed(told) if m.get("answers"))


def test_ten_answers_set_the_recipe_which_is_looked_at_and_kept_or_not(app: App) -> None:
    start = RECIPE.replace(semantic_threshold=0.75, center_threshold=0.05)
    app.form.recipe = start
    assert app.wait(60)
    assert app.run_bar.buttons["tune"].layout.display is None
    told = heard(app.viewer)
    for says, ends in (("leave", True), ("no", True), ("yes", False)):
        app.run_bar.buttons["tune"].click()
        shown = tuned(app, told)
        assert [answer for answer, _ in shown["answers"]] == ["yes", "no", "back"]
        assert shown["text"].startswith("center distance 12 → 8")
        assert "10 of 10 answers met. On this plane: 1 merges" in shown["text"]
        new = app.form.recipe
        assert set(new.changes(start)) <= {"semantic_threshold", "center_threshold", "center_distance"}
        assert app.viewer.preview("xy", app.viewer.index) is not None
        assert {app.viewer.index} <= {1, 2}
        app.viewer._conversation.receive(None, {"kind": "answer", "client": "page", "says": says}, [])
        assert app.form.recipe == (start if ends else new)
        assert app.session.version == 0, "labels change when it is applied, not before"
    app.apply_plane()
    assert app.session.version == 1


def test_what_is_moved_while_tuning_runs_is_what_no_goes_back_to(app: App) -> None:
    app.form.recipe = RECIPE.replace(semantic_threshold=0.75, center_threshold=0.05)
    assert app.wait(60)
    told = heard(app.viewer)
    app.run_bar.buttons["tune"].click()
    watch, moved = app.run_bar.watch, RECIPE.replace(semantic_threshold=0.3, center_threshold=0.05, min_area=44)

    def and_move(job: Any, then: Any) -> None:
        def move(result: Any) -> str:
            app.form.recipe = moved
            return str(then(result))

        watch(job, then=move)

    app.run_bar.watch = and_move
    shown = tuned(app, told)
    assert "semantic threshold 0.3 → 0.75" in shown["text"]
    assert (app.form.recipe.semantic_threshold, app.form.recipe.min_area) == (0.75, 44)
    app.viewer._conversation.receive(None, {"kind": "answer", "client": "page", "says": "no"}, [])
    assert app.form.recipe == moved


def test_an_answer_is_taken_back_and_what_it_taught_is_forgotten(app: App) -> None:
    app.form.recipe = start = RECIPE.replace(semantic_threshold=0.75, center_threshold=0.05)
    assert app.wait(60)
    told = heard(app.viewer)

    def say(says: str) -> dict[str, Any]:
        app.viewer._conversation.receive(None, {"kind": "answer", "client": "page", "says": says}, [])
        return told[-1]

    app._on_asked("tune")
    first = told[-1]
    second = say("no")
    third = say("skip")
    assert "(3 of 10)" in third["text"]
    assert [say("back"), len(app.tuner.clicks), say("back"), app.tuner.clicks] == [second, 1, first, []]
    say("back")
    assert told[-1] == first, "there is none before it"
    # Also after all were answered, or it was enough: then the result goes, and that question comes again.
    tuned(app, told)
    assert app.form.recipe != start
    assert "(10 of 10)" in say("back")["text"]
    assert (app.form.recipe, len(app.tuner.clicks)) == (start, 9)
    say("enough")
    assert app.run_bar.job is not None
    app.run_bar.job.result(60)
    assert app.wait(60)
    assert "(10 of 10)" in say("back")["text"]
    assert (app.form.recipe, len(app.tuner.clicks)) == (start, 9)
    say("leave")


def test_tuning_is_left_by_esc_and_ended_by_enough(app: App) -> None:
    app.form.recipe = start = RECIPE.replace(semantic_threshold=0.75, center_threshold=0.05)
    assert app.wait(60)
    told = heard(app.viewer)
    app._on_asked("tune")
    asked = len(told)
    app.viewer._conversation.receive(None, {"kind": "answer", "client": "page", "says": "leave"}, [])
    app.viewer._conversation.receive(None, {"kind": "answer", "client": "page", "says": "yes"}, [])  # nobody asked
    assert not any("answers" in m for m in told[asked:])
    assert (app.tuner.clicks, app.form.recipe) == ([], start)
    app._on_asked("tune")
    tuned(app, told, enough=3)
    assert len(app.tuner.clicks) == 3
    app.viewer.index = 3
    assert app.wait(60)
    assert app.run_bar.buttons["tune"].layout.display == "none", "the network has not seen this plane"
