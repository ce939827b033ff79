"""Tuning on screen: at most ten questions about places of a plane, answered by a key each, give the thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitonb.errors import InputError
from mitonb.job import Job
from mitonb.post.decoding import decode
from mitonb.post.microscope import compare_objects
from mitonb.post.tuning import TRIED, Click, Question, Tuned, tuning, tuning_questions
from mitonb.recipe import IN_NM, Recipe
from mitonb.widgets.style import count_text

if TYPE_CHECKING:
    from mitonb.maps import Maps
    from mitonb.stack import Axis
    from mitonb.widgets.forms import RecipeForm
    from mitonb.widgets.runs import RunBar, Runs
    from mitonb.widgets.viewer import Viewer

_ANSWERS = {"yes": "Yes (Y)", "no": "No (N)", "skip": "Can't say (Shift-U)", "enough": "Enough (Enter)"}
_PLANES = 4  # that are asked about, at most
_MOST = 50  # places that are shown
_BACK = {"back": "Previous question (Ctrl-Z)"}
_DECIDE = {"yes": "Keep (Y)", "no": "Leave as it was (N)", **_BACK}


class Tuner:
    """Asks on the picture, and sets the recipe of the form; labels change only when that is applied.

    Attributes
    ----------
    waiting : list of Question
        What is still to be asked, the present question first.
    answered : list of (Question, Click or None)
        What was answered, and by what; None where nobody could say.
    """

    def __init__(self, viewer: Viewer, form: RecipeForm, runs: Runs, bar: RunBar) -> None:
        self.viewer, self.form, self.runs, self.bar = viewer, form, runs, bar
        self.waiting, self.answered = list[Question](), list[tuple[Question, Click | None]]()
        self._left: list[Question] = []  # where it was enough
        self._axis: Axis = "xy"
        self._planes: dict[int, Maps] = {}
        self._before: Recipe | None = None  # where the result is looked at: the recipe to go back to

    @property
    def clicks(self) -> list[Click]:
        """What the answers teach."""
        return [click for _, click in self.answered if click]

    def begin(self) -> None:
        """Ask about the plane on screen, and about others that the network has seen.

        Raises
        ------
        InputError
            If the network has not seen it.
        """
        axis, index, recipe = self.viewer.axis, self.viewer.index, self.form.recipe
        count = self.runs.stack.count(axis)
        planes = dict.fromkeys([index, *(count * k // _PLANES for k in range(1, _PLANES))])
        seen = {k: maps for k in planes if (maps := self.runs.maps(axis, k, recipe.median)) is not None}
        if index not in seen:
            raise InputError("Tuning asks about what the network sees: segment this plane, or look at its maps, first.")
        self._axis, self._planes, self._before, self.answered, self._left = axis, seen, None, [], []
        self.waiting = tuning_questions(list(seen.values()), self.runs.in_pixels(recipe))
        if not self.waiting:
            self.bar.say("Nothing would change here if the thresholds were moved a little.")
        self._go_on()

    def answer(self, says: str) -> None:
        """Take an answer: "yes", "no", "skip", "enough", "back" or "leave"; what nobody asked for changes nothing."""
        if self._before is not None:
            before, self._before = self._before, None
            if says != "yes":
                self.form.recipe = before
                self.bar.say("The settings are as they were.")
            if says == "back":
                self._go_back()
        elif self.waiting and says == "back":
            self._go_back()
        elif self.waiting:
            if says == "enough":
                self.waiting, self._left = [], self.waiting
            elif says == "leave":
                self.waiting, self.answered = [], []
                self.bar.say("Tuning was left; the settings are as they were.")
            else:
                question = self.waiting.pop(0)
                said = {"yes": question.yes, "no": question.no}.get(says)
                self.answered.append((question, said))
            self._go_on()

    def _go_back(self) -> None:
        """Ask again what was asked last, and forget how it was answered."""
        if self._left:
            self.waiting, self._left = self._left, []
        elif self.answered:
            self.waiting.insert(0, self.answered.pop()[0])
        self._go_on()

    def _go_on(self) -> None:
        """Ask the next question, or find what the answers say."""
        if self.waiting:
            one, asked, index = self.waiting[0], len(self.answered), list(self._planes)[self.waiting[0].yes.plane]
            text = f"{one} ({asked + 1} of {asked + len(self.waiting)})"
            self.viewer.ask(text, _ANSWERS | (_BACK if asked else {}), one.places, self._axis, index)
        elif self.clicks:
            recipe = self.form.recipe
            steps = tuning(list(self._planes.values()), self.clicks, self.runs.in_pixels(recipe))
            self.bar.watch(Job(steps, name="Tune"), then=self._show)

    def _show(self, tuned: Tuned) -> str:
        """Preview what came of it, and say what it would change, also of what the user has moved meanwhile."""
        recipe = self.form.recipe
        pixels, count = self.runs.in_pixels(recipe), len(self.clicks)
        met = f"{count - len(tuned.unmet)} of {count_text(count, 'answer')} met"
        new = {name: value for name, value in tuned.recipe.changes(pixels).items() if name in TRIED}
        if not new:
            return f"Tuned: the settings stay, with {met}."
        each = {
            k: compare_objects(decode(m, pixels), decode(m, pixels.replace(**new))) for k, m in self._planes.items()
        }
        changed = {k: [place for some in one.places.values() for place in some] for k, one in each.items()}
        index = max(changed, key=lambda k: len(changed[k]))
        self._before = recipe
        self.form.recipe = recipe.replace(**{name: _as_given(recipe, pixels, name, new[name]) for name in new})
        given = [(name, getattr(recipe, name), getattr(self.form.recipe, name)) for name in new]
        names = ", ".join(f"{name.replace('_', ' ')} {old} → {value}" for name, old, value in given)
        text = f"{names}: {met}. On this plane: {each[index]}."
        self.viewer.ask(text, _DECIDE, changed[index][:_MOST], self._axis, index)
        return f"Tuned: {names}. The preview shows it; Apply makes it an edit."


def _as_given(recipe: Recipe, pixels: Recipe, name: str, value: float) -> object:
    """Return a setting as the recipe has it, which may be in nm, or in pixels of what the network sees."""
    given = getattr(recipe, name)
    if name not in IN_NM or given == getattr(pixels, name):
        return value
    ratio = value / getattr(pixels, name)
    return f"{float(given.split()[0]) * ratio:g} nm" if isinstance(given, str) else max(1, round(given * ratio))
