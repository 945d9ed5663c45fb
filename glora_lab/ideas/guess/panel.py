"""Guess: a question, and what is held back until the reader has guessed or has asked to see it without guessing.

Decision: ipywidgets' own controls, and no widget of our own. A lesson asks up to eight times on a page that is busy
drawing; anywidget gives a widget two seconds to begin, and a guess that did not begin would hold the lesson back.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from IPython.display import HTML, display

from glora_lab.arguments import check_number, refuse
from glora_lab.drawing.picture import picture_of
from glora_lab.page.closing import replace_children, tree
from glora_lab.page.controls import widgets
from glora_lab.page.figure_slot import as_outputs
from glora_lab.page.look import PageScript
from glora_lab.page.looking import running_loop
from glora_lab.page.unattended import is_static, unattended

from .figure import STYLE, draw_guess, guess_in_words
from .panel_question import checked, control_of, fitting
from .record import Guessed

VERSION = 1  # of `state`
KNOWN = ("value", "waived", "answer")
SETTLES = 0.3  # seconds: a page sends a slider's last place after the button's click where the kernel was busy
WAITS = "What belongs here waits for your guess above: {question}"
KEYS = Path(__file__).with_name("panel_keys.js").read_text(encoding="utf-8")


class Guess(widgets.VBox):
    """A question: drag a mark along an axis, choose, or type; or ask to be shown without guessing.

    Args:
        question: what is asked.
        between: the ends of the axis of a number. From 0 to 8 it takes whole numbers, from 0.0 to 8.0, 0 to 1 and on a
            `log` axis any.
        options: what there is to choose from, at least two. With neither a text is typed.
        log: whether the axis is logarithmic; both ends are above 0 then.
        unit: what the number counts, "digits", or "%".

    `then(…)` holds a panel, records or words back until the guess is made or waived, and `answer` says what is so, by
    which time both are shown side by side. Nothing waits: the cells below run on. Where nobody is there to be asked,
    as in nbmake, nbconvert or a script, the guess is waived from the start.

    State: `value` (the guess, None where there is none), `waived`, `answer`, and `state`, all of it as a plain dict
    from which `Guess.from_state` makes the same again. They are kept nowhere else.

    Raises:
        ValueError: for an axis without length, an option alone, both an axis and options, a guess off the axis.
    """

    def __init__(
        self,
        question: str,
        *,
        between: tuple[float, float] | None = None,
        options: Sequence[str] = (),
        log: bool = False,
        unit: str = "",
    ) -> None:
        self.record = replace(checked(question, between, options, log, unit), waived=unattended())
        self._waiting: list[tuple[widgets.VBox, Callable[[], None]]] = []
        self._verdict = widgets.HTML()
        asked = f'{STYLE}<p class="glora-guess-question"><b>{html.escape(question)}</b></p>'
        asking = [] if self.record.decided else [self._asking()]
        super().__init__([widgets.HTML(asked), *asking, self._verdict])
        self.add_class("glora-guess")
        self._show()

    @property
    def value(self) -> float | str | None:
        return self.record.value

    @value.setter
    def value(self, guess: float | str) -> None:
        """Make the guess; the first that is made, or waived, is the one that counts."""
        if not self.record.decided:
            self._decide(replace(self.record, value=fitting(self.record, "value", guess)))

    @property
    def waived(self) -> bool:
        return self.record.waived

    def waive(self) -> None:
        """Show what is held back without a guess."""
        if not self.record.decided:
            self._decide(replace(self.record, waived=True))

    @property
    def answer(self) -> float | str | None:
        return self.record.answer

    @answer.setter
    def answer(self, answer: float | str) -> None:
        """What is so. It is shown beside the guess once that is made or waived."""
        if self.record.between:
            check_number("answer", answer)
        elif not isinstance(answer, str):
            raise refuse("answer", answer, "must be a text, as the guess is")
        self.record = replace(self.record, answer=answer)
        self._show()

    def then(self, *what: Any, answer: float | str | None = None) -> None:
        """Show these in this cell, at once or when the guess is made or waived.

        Args:
            what: a panel or another widget, what `show` takes (a record, several, or several by name), a picture of
                theirs that `draw_…` made, or a text.
            answer: what is so, where it is known by now.

        Raises:
            ValueError: for what has no picture, or an answer of another kind than the question's.
        """
        if answer is not None:
            self.answer = answer
        parts = [one if isinstance(one, widgets.Widget) else _outputs(one) for one in what]
        if self.record.decided:
            if is_static() and answer is not None:
                display(HTML(f'<div class="glora-guess">{draw_guess(self.record)}</div>'))
            for part in parts:
                display(part) if isinstance(part, widgets.Widget) else [display(one, raw=True) for one in part]
            return
        waits = html.escape(WAITS.format(question=self.record.question))
        place = widgets.VBox([widgets.HTML(f'{STYLE}<p class="glora-waits">{waits}</p>')])
        self._waiting = [(old, reveal) for old, reveal in self._waiting if old.comm is not None]
        self._waiting.append((place, lambda: replace_children(place, [_widget(part) for part in parts])))
        display(place)

    @property
    def state(self) -> dict[str, Any]:
        """Question, guess and answer as a plain dict, which JSON can hold, of "panel", "version", "made" (the
        arguments), `value`, `waived` and `answer`."""
        made = {field.name: getattr(self.record, field.name) for field in fields(Guessed)}
        known = {name: made.pop(name) for name in KNOWN}
        made = {name: list(value) if isinstance(value, tuple) else value for name, value in made.items() if value}
        return {"panel": type(self).__name__, "version": VERSION, "made": made, **known}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Guess:
        """The same question with the same guess and answer. ValueError for a key or a value that cannot be."""
        head = {"panel": cls.__name__, "version": VERSION, "made": state.get("made")}
        for name, value in state.items():
            if name not in (*head, *KNOWN) or (name in head and value != head[name]):
                says = ", ".join(repr(head[key]) if key in ("panel", "version") else key for key in (*head, *KNOWN))
                raise refuse(name, value, f"is not of a {cls.__name__}'s state: {says}")
        try:
            guess = cls(**state.get("made", {}))
        except TypeError as error:
            raise refuse("made", state.get("made"), f"is not what {cls.__name__} can be made with: {error}") from error
        if state.get("value") is not None:
            guess.record = replace(guess.record, waived=False)
            guess.value = state["value"]
        elif state.get("waived"):
            guess.waive()
        if state.get("answer") is not None:
            guess.answer = state["answer"]
        return guess

    def _ipython_display_(self, **options: Any) -> None:
        """IPython asks this first; a page without widgets is shown the question."""
        if is_static():
            display(HTML(self.children[0].value))
        elif hasattr(super(), "_ipython_display_"):  # ipywidgets 7
            super()._ipython_display_(**options)
        else:
            display(self._repr_mimebundle_(**options), raw=True)

    def __repr__(self) -> str:
        return f"Guess({self.record.question!r}). {guess_in_words(self.record)}".rstrip()

    def close(self) -> None:
        for widget in reversed(tree(self)):
            if widget is not self:
                widget.close()
        super().close()

    def _asking(self) -> widgets.VBox:
        """The controls: a choice is a guess by itself, a number and a text are one when the button is pressed."""
        control, waive = control_of(self.record), _button("Show me without guessing")
        waive.on_click(lambda _: self.waive())
        buttons = [waive]
        if self.record.options:
            control.observe(lambda _: self._guess(control), "value")
        else:
            made = _button("This is my guess", button_style="primary")
            made.add_class("glora-guess-made")
            made.on_click(lambda _: self._settle(control))
            control.on_msg(lambda _, content, __: self._settle(control) if content.get("event") == "submit" else None)
            buttons.insert(0, made)
        axis = widgets.HTML(draw_guess(self.record))
        return widgets.VBox([control, axis, widgets.HBox(buttons), PageScript(KEYS)])

    def _settle(self, control: widgets.ValueWidget) -> None:
        """Make the guess when the page has said all that it had to say of the control."""
        loop = running_loop()
        if loop is None:
            self._guess(control)
        else:
            loop.call_later(SETTLES, self._guess, control)

    def _guess(self, control: widgets.ValueWidget) -> None:
        if not self.record.decided and control.value not in (None, ""):
            self.value = control.value

    def _decide(self, record: Guessed) -> None:
        self.record = record
        replace_children(self, [self.children[0], self._verdict])
        self._show()
        waiting, self._waiting = self._waiting, []
        for place, reveal in waiting:
            if place.comm is not None:
                reveal()

    def _show(self) -> None:
        if self.record.decided:
            self._verdict.value = draw_guess(self.record)


def _button(words: str, **settings: Any) -> widgets.Button:
    return widgets.Button(description=words, layout={"width": "auto"}, **settings)


def _outputs(one: Any) -> list[dict[str, Any]]:
    """Mime bundles of a text, or of what has a picture."""
    return [{"text/plain": one}] if isinstance(one, str) else as_outputs(picture_of(one))


def _widget(part: widgets.Widget | list[dict[str, Any]]) -> widgets.Widget:
    if isinstance(part, widgets.Widget):
        return part
    shown = tuple({"output_type": "display_data", "data": data, "metadata": {}} for data in part)
    output = widgets.Output(outputs=shown, layout={"width": "100%"})
    output.add_class("glora-figure")
    return output
