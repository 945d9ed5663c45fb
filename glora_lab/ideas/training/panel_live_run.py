"""Training while it happens: progress, curves, and what the models say about a few images, or write, by now.

Drawing and training share one interpreter, and a page may need a fifth of a second for a picture, so each picture
has a pace of its own: the progress moves at every look, the curves twice a second, and the models are asked every
other second. Writing takes longer than reading: where asking takes its time, training gets four times as much before
the next. So does a page that needs its time to draw, for a reader wants to press a button there, and plotly's renderer
draws each picture twice more after the page has answered: again, and as an image for the saved notebook.
"""

from __future__ import annotations

import html
import time
from collections.abc import Mapping

from torch import nn

from glora_lab.data import Task
from glora_lab.drawing.run_colors import method_in
from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import IntProgress
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.stage import classed
from glora_lab.training.evaluate import counted

from .figure import draw_training
from .panel_answers import Answer, Asking
from .panel_begun import Begun, Steps

BETWEEN_CURVES, BETWEEN_ANSWERS = 0.5, 2.0  # seconds
REST = 4  # times as long as the asking took, or the drawing
Answers = dict[str, Answer]  # by name


class LiveRun(widgets.VBox):
    """Pictures of what was begun. `watch` gives it another, `look` shows where it is by now.

    `predictions` holds the answers that are shown: "frozen", and "adapted" once there is a run, or one by method
    once there is a race. `lines` holds the steps by name.
    """

    def __init__(self) -> None:
        self.predictions: Answers = {}
        self.progress = IntProgress(0, 0, 1, description="progress", says="How much of the run is done.")
        self.status = widgets.HTML()
        self.answers, self.curves = FigureSlot(height=240), FigureSlot(height=210)
        self._answers_place = self.answers.layout = widgets.Layout()
        self._begun: Begun | None = None
        self._beside: dict[str, Steps] = {}
        self._chosen: dict[str, Steps] = {}
        self._drawn_at = self._ask_at = 0.0
        self.where = classed(widgets.HBox([self.progress, self.status]), "glora-where")  # placed by the owner
        super().__init__([self.answers, self.curves])

    @property
    def lines(self) -> dict[str, Steps]:
        return self._begun.lines if self._begun else {}

    def ask_frozen(self, model: nn.Module, task: Task) -> None:
        """Begin anew with the question of this task, and what the model without an adapter answers."""
        self._asking, self._examples = Asking(model, task), counted(task.validation)
        self.predictions = {"frozen": self._asking(model)}
        self._begun, self._beside = None, {}
        self.progress.value, self.status.value = 0, ""
        self._draw_answers()
        self._draw_curves()

    def watch(self, begun: Begun, beside: Mapping[str, Steps]) -> None:
        """Show this from now on, its curves beside those of other runs; a race's stand above the answers."""
        self._begun, self._beside = begun, dict(beside)
        self._drawn_at = self._ask_at = 0.0
        self.progress.value, self.progress.max = 0, begun.each
        self._answers_place.order = "1" if len(begun.models) > 1 else None
        self.predictions = {"frozen": self.predictions["frozen"]}
        self.look()

    def compare(self, chosen: Mapping[str, Steps]) -> None:
        """Show these runs' curves, and with them those of what is under way; given none, what is shown by itself."""
        self._chosen = dict(chosen)
        self._draw_curves()

    def look(self) -> None:
        """Draw what is new since the last look."""
        begun = self._begun
        if begun is None:
            return
        session = begun.session
        finished, state = session.finished, session.state
        taken = list(map(len, begun.lines.values()))
        self.progress.value = max(taken)
        self.progress.bar_style = {"done": "success", "failed": "danger", "stopped": "warning"}.get(state, "")
        self.status.value = html.escape(begun.where)
        now, resting = time.monotonic(), finished or state == "paused"
        if resting or now - self._drawn_at > max(BETWEEN_CURVES, REST * self.curves.took):
            self._drawn_at = now
            self._draw_curves()
        if any(taken) and (resting or now > self._ask_at):
            self._ask(begun)
            took = time.monotonic() - now
            self._ask_at = now + max(BETWEEN_ANSWERS, (1 + REST) * took, REST * self.answers.took)

    def _ask(self, begun: Begun) -> None:
        alone = len(begun.models) == 1
        with begun.session.between_steps():
            for name in [name for name in begun.models if name not in begun.errors]:
                self.predictions["adapted" if alone else method_in(name)] = self._asking(begun.models[name])
        self._draw_answers()

    def _draw_curves(self) -> None:
        """Of the chosen runs and what is under way; where none is chosen, of the latest."""
        begun = self._begun
        if begun is not None and self._chosen and begun.session.finished:
            begun = None
        lines = {**(self._chosen or self._beside), **(begun.lines if begun else {})}
        about = begun.about if begun and not self._chosen else ""
        total = begun.each if begun else None
        if any(lines.values()):
            self.curves.show(draw_training(lines, total=total, about=about, examples=self._examples))
        else:  # empty axes say nothing
            self.curves.clear()

    def _draw_answers(self) -> None:
        self.answers.show(self._asking.draw(self.predictions))
