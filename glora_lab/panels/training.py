"""TrainPanel: choose paths, press Train, watch a small pretrained model adapt, compare the runs, keep one.

Training runs in a TrainSession's thread and calls nobody. The panel looks at it ten times a second from the
kernel's own event loop, so no widget is ever touched from another thread. Where no loop runs, in a script or a
test, `refresh()` is that look, and `wait()` waits for the end and then looks.
"""

from __future__ import annotations

import asyncio
import copy
import html
import time
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
from peft import PeftModel
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.data import Part, Task, load_task
from glora_lab.figures import describe_predictions, describe_training, equation, plot_predictions, plot_training
from glora_lab.measure import path_budget
from glora_lab.models import load_model
from glora_lab.panels.example import adapt
from glora_lab.panels.figure_slot import FigureSlot
from glora_lab.panels.panel import Panel, guarded
from glora_lab.panels.run_table import run_table
from glora_lab.panels.targets import body_targets
from glora_lab.panels.train_controls import TrainControls
from glora_lab.records import PathBudget, Predictions, Run, Step
from glora_lab.training import TrainSession, evaluate, predict

SHOWN_IMAGES = 8
SHOWN_RUNS = 4  # earlier runs in the figure of curves
BETWEEN_LOOKS = 0.1  # seconds
BETWEEN_PREDICTIONS = 0.5  # seconds


class TrainPanel(Panel):
    """Controls of a training run, its live curves and answers, and a table of the runs so far.

    Args:
        model: a name for `load_model`, or a model; every run adapts a copy of it, all linear layers but the head.
        task: a key of `TASKS`.
        preset, rank, lr, steps, seed: where the controls start.

    State: `session` (the latest TrainSession), `steps` (its steps so far), `runs` (finished runs, oldest
    first), `model` (the latest adapted model), `config` and `budget` (what the controls say, and what it costs;
    a budget without rows where nothing can be trained), `predictions` (name → the answers that are shown).
    """

    config: GloraConfig
    budget: PathBudget
    task: Task

    def __init__(
        self,
        model: str | nn.Module = "digits-vit",
        task: str = "digits-turned",
        *,
        preset: str = "all paths",
        rank: int = 4,
        lr: float = 0.01,
        steps: int = 150,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._base = load_model(model) if isinstance(model, str) else model
        self._base_in_code = f'load_model("{model}")' if isinstance(model, str) else "your_model"
        self.model: PeftModel | None = None
        self.session: TrainSession | None = None
        self.runs: list[Run] = []
        self.predictions: dict[str, Predictions] = {}
        self._run_name, self._recorded, self._predicted_at = "", True, 0.0
        self._seen: tuple[str, int] | None = None
        start = {"task": task, "preset": preset, "rank": rank, "lr": lr, "steps": steps, "seed": seed}
        self.controls = TrainControls(self._change_paths, self._change_task, **start)  # type: ignore[arg-type]
        self._make_widgets()
        self._change_paths()
        self._change_task()

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.session.steps if self.session else ()

    def _make_widgets(self) -> None:
        self.train_button = widgets.Button(description="Train", icon="play", button_style="primary")
        self.pause_button = widgets.Button(description="Pause", icon="pause", disabled=True)
        self.stop_button = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.progress = widgets.IntProgress(0, 0, 1, description="progress")
        self.status = widgets.HTML()
        self.curves, self.answers = FigureSlot(height=320), FigureSlot(height=220)
        self.folder = widgets.Text("my_adapter", description="folder")
        self.keep_button = widgets.Button(
            description="Keep this adapter", icon="save", disabled=True, layout={"width": "auto"}
        )
        self._equation, self._cost = widgets.HTML(), widgets.HTML()
        self.table, self.kept = widgets.HTML(), widgets.HTML()
        buttons = [self.train_button, self.pause_button, self.stop_button, self.progress, self.status]
        wrap = {"flex_flow": "row wrap"}
        self.body.children = [
            *(self._equation, self.controls, self._cost, widgets.HBox(buttons, layout=wrap)),
            *(self.answers, self.curves, self.table),
            *(widgets.HBox([self.folder, self.keep_button], layout=wrap), self.kept),
        ]
        self.train_button.on_click(lambda _: self.train())
        self.pause_button.on_click(lambda _: self.pause_or_resume())
        self.stop_button.on_click(lambda _: self.stop())
        self.keep_button.on_click(lambda _: self.keep())

    @guarded
    def _change_paths(self) -> None:
        self.config = self.controls.config(body_targets(self._base))
        modes = self.controls.modes.modes
        try:
            self.budget = path_budget(self._base, self.config)
        except ValueError as refusal:
            self.budget = PathBudget(())
            self.say(refusal)
        sums, inert = self.budget.by_path(), self.budget.inert()
        self._equation.value = equation(modes, inert)
        self.controls.modes.show_params({p: n for p, n in sums.items() if modes[p] != "none"}, inert)
        share = f", {self.budget.share:.1%} of the model's own" if self.budget.total else ""
        self._cost.value = f"<b>{self.budget.total:,}</b> parameters to train{share}"

    @guarded
    def _change_task(self) -> None:
        self.task = load_task(self.controls.task.value)
        self._images = Part(self.task.test.rows(slice(0, SHOWN_IMAGES)))
        self.predictions = {"frozen": predict(self._base, self._images)}
        self._show_answers()
        self.curves.show(plot_training(()), describe_training(()))

    @guarded
    def train(self) -> None:
        """Start a run of what the controls say; does nothing while one is under way."""
        if self.session is not None and not self.session.finished:
            return
        self.refresh()
        controls = self.controls
        try:
            model = adapt(copy.deepcopy(self._base), self.config)
            session = TrainSession(
                model, self.task, steps=controls.steps.value, lr=controls.lr.value, seed=controls.seed.value
            )
        except ValueError as refusal:
            self.say(refusal)
            return
        taken = sum(run.name.partition(" (run ")[0] == controls.run_name for run in self.runs)
        self._run_name = f"{controls.run_name} (run {taken + 1})" if taken else controls.run_name
        self.model, self.session, self._recorded, self._seen = model, session, False, None
        self.progress.value, self.progress.max = 0, session.total
        session.start()
        self.refresh()
        self._look_again()

    @guarded
    def pause_or_resume(self) -> None:
        """Rest after the step under way, or go on."""
        if self.session is not None and not self.session.finished:
            resting = self.session.state in ("pausing", "paused")
            self.session.resume() if resting else self.session.pause()
            self.refresh()

    @guarded
    def stop(self) -> None:
        """End the run after the step under way; it counts as a run of as many steps as it had."""
        if self.session is not None and not self.session.finished:
            self.session.stop()
            self.refresh()

    def wait(self, timeout: float | None = None) -> tuple[Step, ...]:
        """Block until the run is over, show its end and return its steps. Errors as `TrainSession.wait`."""
        if self.session is None:
            return ()
        try:
            return self.session.wait(timeout)
        finally:
            self.refresh()

    def refresh(self) -> None:
        """Show where the session is. Called ten times a second while it runs; cheap where nothing is new."""
        with self.guard():
            session = self.session
            if session is None:
                return
            state, steps = session.state, session.steps
            if (state, len(steps)) == self._seen:
                return
            self._seen = (state, len(steps))
            self._show_progress(session, state, len(steps))
            earlier = {run.name: run.steps for run in self.runs[-SHOWN_RUNS:] if run.name != self._run_name}
            curves = {**earlier, self._run_name: steps}
            self.curves.show(plot_training(curves, total=session.total), describe_training(curves))
            self._ask_model(session, bool(steps))
            if session.finished and not self._recorded:
                self._record(session)

    def _look_again(self) -> None:
        """Look at the session from the event loop, if there is one, until it is over and recorded."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        session, met = self.session, len(self.errors)

        def look() -> None:
            self.refresh()
            if self.session is session and not self._recorded and len(self.errors) == met:
                loop.call_later(BETWEEN_LOOKS, look)

        loop.call_later(BETWEEN_LOOKS, look)
