"""Training while it happens: progress, curves, and what the models say about a few images, or write, by now.

Drawing and training share one interpreter, and a page may need a fifth of a second for a picture, so each picture
has a pace of its own: the progress moves at every look, the curves twice a second, and the models are asked every
other second. Writing takes longer than reading: where asking takes its time, training gets four times as much before
the next. So does a page that needs its time to draw, for a reader wants to press a button there, and plotly's renderer
draws each picture twice more after the page has answered: again, and as an image for the saved notebook.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from torch import nn

from glora_lab.drawing.run_colors import method_in
from glora_lab.page.controls import widgets
from glora_lab.page.controls.widgets import IntProgress
from glora_lab.page.figure_slot import FigureSlot
from glora_lab.page.following import status
from glora_lab.page.stage import classed
from glora_lab.training import Race, TrainSession

from .figure import draw_training
from .panel_answers import Answer, Asking
from .record import Step

BETWEEN_CURVES, BETWEEN_ANSWERS = 0.5, 2.0  # seconds
REST = 4  # times as long as the asking took, or the drawing
Steps = tuple[Step, ...]
Answers = dict[str, Answer]  # by name


class LiveRun(widgets.VBox):
    """Pictures of a TrainSession or a Race. `watch` gives it a new one, `look` shows where it is by now.

    `predictions` holds the answers that are shown: "frozen", and "adapted" once there is a run, or one by method
    once there is a race. `lines` holds the steps by name.
    """

    def __init__(self) -> None:
        self.predictions: Answers = {}
        self.progress = IntProgress(0, 0, 1, description="progress", says="How much of the run is done.")
        self.status = widgets.HTML()
        self.answers, self.curves = FigureSlot(height=240), FigureSlot(height=210)
        self._answers_place = self.answers.layout = widgets.Layout()
        self._session: TrainSession | Race | None = None
        self._models: dict[str, nn.Module] = {}
        self._seen: tuple[str, int] | None = None
        self._drawn_at = self._ask_at = 0.0
        self.where = classed(widgets.HBox([self.progress, self.status]), "glora-where")  # placed by the owner
        super().__init__([self.answers, self.curves])

    @property
    def lines(self) -> dict[str, Steps]:
        if isinstance(self._session, Race):
            return self._session.lines
        return {name: self._session.steps for name in self._models if self._session}

    def ask_frozen(self, model: nn.Module, asking: Asking) -> None:
        """Begin anew with this question, and what the model without an adapter answers."""
        self._asking = asking
        self.predictions = {"frozen": asking(model)}
        self._session, self.progress.value, self.status.value = None, 0, ""
        self._draw_answers()
        self.curves.show(draw_training(()))

    def watch(
        self,
        session: TrainSession | Race,
        models: Mapping[str, nn.Module],
        earlier: Mapping[str, Steps],
        about: str = "",
    ) -> None:
        """Show this session from now on, its curves beside those of earlier runs; a race's stand above the answers.

        `about` ends the headline of a race.
        """
        self._about = about
        self._session, self._models, self._earlier = session, dict(models), dict(earlier)
        self._seen, self._drawn_at, self._ask_at = None, 0.0, 0.0
        self._each = session.total // len(models)
        self.progress.value, self.progress.max = 0, self._each
        self._answers_place.order = "1" if len(models) > 1 else None
        self.predictions = {"frozen": self.predictions["frozen"]}
        self.look()

    def look(self) -> None:
        """Draw what is new since the last look; cheap where nothing is."""
        session = self._session
        if session is None:
            return
        finished, state, lines = session.finished, session.state, self.lines
        taken = sum(map(len, lines.values()))
        if (state, taken) == self._seen:
            return
        self._seen = (state, taken)
        done = max(map(len, lines.values()))
        self.progress.value = done
        self.progress.bar_style = {"done": "success", "failed": "danger", "stopped": "warning"}.get(state, "")
        each = " each" if len(lines) > 1 else ""
        self.status.value = status(state, done, self._each, session.seconds_left, each)
        now, resting = time.monotonic(), finished or state == "paused"
        if resting or now - self._drawn_at > max(BETWEEN_CURVES, REST * self.curves.took):
            self._drawn_at = now
            curves = {**self._earlier, **lines}
            self.curves.show(draw_training(curves, total=self._each, about=self._about))
        if taken and (resting or now > self._ask_at):
            self._ask(session)
            took = time.monotonic() - now
            self._ask_at = now + max(BETWEEN_ANSWERS, (1 + REST) * took, REST * self.answers.took)

    def _ask(self, session: TrainSession | Race) -> None:
        alone = len(self._models) == 1
        failed = session.errors if isinstance(session, Race) else {}  # who could not be trained may not answer either
        with session.between_steps():
            for name in [name for name in self._models if name not in failed]:
                self.predictions["adapted" if alone else method_in(name)] = self._asking(self._models[name])
        self._draw_answers()

    def _draw_answers(self) -> None:
        self.answers.show(self._asking.draw(self.predictions))
