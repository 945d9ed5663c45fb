"""One training run while it happens: progress, curves, and what the model says about a few images by now.

Drawing and training share one interpreter, so each picture has a pace of its own: the progress moves at every
look, the curves four times a second, and the model is asked once a second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import ipywidgets as widgets
from torch import nn

from glora_lab.data import Part
from glora_lab.figures import describe_predictions, describe_training, plot_predictions, plot_training
from glora_lab.panels.figure_slot import FigureSlot
from glora_lab.records import Predictions, Step
from glora_lab.training import TrainSession, predict

BETWEEN_CURVES, BETWEEN_ANSWERS = 0.25, 1.0  # seconds
Steps = tuple[Step, ...]


class LiveRun(widgets.VBox):
    """Pictures of a TrainSession. `watch` gives it a new one, `look` shows where it is by now.

    `predictions` holds the answers that are shown: "frozen", and "adapted" once there is a run.
    """

    def __init__(self) -> None:
        self.predictions: dict[str, Predictions] = {}
        self.progress = widgets.IntProgress(0, 0, 1, description="progress")
        self.status = widgets.HTML()
        self.answers, self.curves = FigureSlot(height=210), FigureSlot(height=320)
        self._session: TrainSession | None = None
        self._seen: tuple[str, int] | None = None
        self._drawn_at = self._asked_at = 0.0
        super().__init__([widgets.HBox([self.progress, self.status]), self.answers, self.curves])

    def ask_frozen(self, model: nn.Module, images: Part) -> None:
        """Begin anew with these images and what the model without an adapter says about them."""
        self._images = images
        self.predictions = {"frozen": predict(model, images)}
        self._session, self.progress.value, self.status.value = None, 0, ""
        self._draw_answers()
        self.curves.show(plot_training(()), describe_training(()))

    def watch(self, session: TrainSession, model: nn.Module, name: str, earlier: Mapping[str, Steps]) -> None:
        """Show this session from now on, its curves beside those of earlier runs."""
        self._session, self._model, self._name, self._earlier = session, model, name, dict(earlier)
        self._seen, self._drawn_at, self._asked_at = None, 0.0, 0.0
        self.progress.value, self.progress.max = 0, session.total
        self.look()

    def look(self) -> None:
        """Draw what is new since the last look; cheap where nothing is."""
        session = self._session
        if session is None:
            return
        finished, state, steps = session.finished, session.state, session.steps
        if (state, len(steps)) == self._seen:
            return
        self._seen = (state, len(steps))
        self.progress.value = len(steps)
        self.progress.bar_style = {"done": "success", "failed": "danger", "stopped": "warning"}.get(state, "")
        self.status.value = status(state, len(steps), session.total, session.seconds_left)
        now, resting = time.monotonic(), finished or state == "paused"
        if resting or now - self._drawn_at > BETWEEN_CURVES:
            self._drawn_at = now
            curves = {**self._earlier, self._name: steps}
            self.curves.show(plot_training(curves, total=session.total), describe_training(curves))
        if steps and (resting or now - self._asked_at > BETWEEN_ANSWERS):
            self._asked_at = now
            with session.between_steps():
                self.predictions["adapted"] = predict(self._model, self._images)
            self._draw_answers()

    def _draw_answers(self) -> None:
        self.answers.show(plot_predictions(self.predictions), describe_predictions(self.predictions))


def status(state: str, done: int, total: int, seconds_left: float) -> str:
    """Where a session is, in words: "running: step 37 of 150, 4 s left"."""
    left = "" if math.isnan(seconds_left) or not seconds_left else f", {math.ceil(seconds_left)} s left"
    return f"{state}: step {done:,} of {total:,}{left}"
