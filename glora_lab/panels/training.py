"""TrainPanel: choose paths, press Train, watch a small pretrained model adapt, compare the runs, keep one.

Training runs in a TrainSession's thread and calls nobody. The panel looks at it ten times a second from the
kernel's own event loop, so no widget is ever touched from another thread. Where no loop runs, in a script or a
test, `refresh()` is that look, and `wait()` waits for the end and then looks.
"""

from __future__ import annotations

import asyncio
import copy

import ipywidgets as widgets
import torch
from peft import PeftModel
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.data import Part, Task, load_task
from glora_lab.figures import equation
from glora_lab.measure import path_budget
from glora_lab.models import load_model
from glora_lab.panels.example import adapt
from glora_lab.panels.keep import KeepControls
from glora_lab.panels.live_run import LiveRun
from glora_lab.panels.panel import Panel, guarded
from glora_lab.panels.run_table import run_table
from glora_lab.panels.targets import body_targets
from glora_lab.panels.train_controls import TrainControls
from glora_lab.records import PathBudget, Predictions, Run, Step
from glora_lab.training import TrainSession, evaluate

SHOWN_IMAGES = 8
EARLIER_RUNS = 4  # whose curves stay in the figure
BETWEEN_LOOKS = 0.1  # seconds


class TrainPanel(Panel):
    """Controls of a training run, its live curves and answers, and a table of the runs so far.

    Args:
        model: a name for `load_model`, or a model; every run adapts a copy of it, all its linear layers but
            the head.
        task: a key of `TASKS`.
        preset, rank, lr, steps, seed: where the controls start.

    State: `config` and `budget` (what the controls say, and its cost; a budget without rows where nothing can be
    trained), `session` (the latest TrainSession), `steps` (its steps so far), `predictions` (name → the answers
    that are shown), `runs` (finished runs, oldest first), `model` (the latest adapted model).
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
        self.model: PeftModel | None = None
        self.session: TrainSession | None = None
        self._base = load_model(model) if isinstance(model, str) else model
        self._base_in_code = f'load_model("{model}")' if isinstance(model, str) else "your_model"
        self.runs: list[Run] = []
        self._run_name, self._recorded = "", True
        start = {"task": task, "preset": preset, "rank": rank, "lr": lr, "steps": steps, "seed": seed}
        self.controls = TrainControls(self._change_paths, self._change_task, **start)  # type: ignore[arg-type]
        self.live, self.keeping = LiveRun(), KeepControls(self.keep)
        self._equation, self.cost, self.table = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._arrange()
        self._change_paths()
        self._change_task()

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.session.steps if self.session else ()

    @property
    def predictions(self) -> dict[str, Predictions]:
        return self.live.predictions

    def _arrange(self) -> None:
        self.train_button = widgets.Button(description="Train", icon="play", button_style="primary")
        self.pause_button = widgets.Button(description="Pause", icon="pause", disabled=True)
        self.stop_button = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.train_button.on_click(lambda _: self.train())
        self.pause_button.on_click(lambda _: self.pause_or_resume())
        self.stop_button.on_click(lambda _: self.stop())
        buttons = widgets.HBox([self.train_button, self.pause_button, self.stop_button, self.cost])
        self.top.children = [self._equation, self.controls, buttons]
        self.bottom.children = [self.live, self.table, self.keeping]

    @guarded
    def _change_paths(self) -> None:
        self.config = self.controls.config(body_targets(self._base))
        modes = self.controls.modes.modes
        try:
            self.budget = path_budget(self._base, self.config)
        except ValueError as refusal:
            self.budget = PathBudget(())
            self.say(refusal)
        sums, inert = self.budget.by_path(), self.budget.inert_everywhere()
        self._equation.value = equation(modes, inert)
        self.controls.modes.show_params({path: n for path, n in sums.items() if modes[path] != "none"}, inert)
        share = f", {self.budget.share:.1%} of the model's own" if self.budget.total else ""
        self.cost.value = f"<b>{self.budget.total:,}</b> parameters to train{share}"

    @guarded
    def _change_task(self) -> None:
        if self._under_way() and self.session is not None:
            self.session.stop()
            self.wait()
        self.task = load_task(self.controls.task.value)
        self._runs_before = len(self.runs)  # on other tasks, whose curves say nothing about this one
        labels = self.task.test.labels.tolist()
        one_of_each = torch.tensor([labels.index(label) for label in sorted(set(labels))[:SHOWN_IMAGES]])
        self.live.ask_frozen(self._base, Part(self.task.test.rows(one_of_each)))

    @guarded
    def train(self) -> None:
        """Start a run of what the controls say; does nothing while one is under way."""
        if self._under_way():
            return
        controls = self.controls
        numbers = {"steps": controls.steps.value, "lr": controls.lr.value, "seed": controls.seed.value}
        try:
            model = adapt(copy.deepcopy(self._base), self.config, seed=controls.seed.value)
            session = TrainSession(model, self.task, **numbers)
        except ValueError as refusal:
            self.say(refusal)
            return
        name = f"{self.task.title}: {controls.run_name}"
        self._run_name = _new_name(name if self._runs_before else controls.run_name, self.runs)
        self.model, self.session, self._recorded = model, session, False
        earlier = {run.name: run.steps for run in self.runs[self._runs_before :][-EARLIER_RUNS:]}
        session.start()
        self.live.watch(session, model, self._run_name, earlier)
        self._show_buttons()
        self._look_again()

    @guarded
    def pause_or_resume(self) -> None:
        """Rest after the step under way, or go on."""
        if self.session is not None and self._under_way():
            resting = self.session.state in ("pausing", "paused")
            self.session.resume() if resting else self.session.pause()
            self.refresh()

    @guarded
    def stop(self) -> None:
        """End the run after the step under way; it counts as a run of as many steps as it had."""
        if self.session is not None and self._under_way():
            self.session.stop()
            self.refresh()

    @guarded
    def keep(self) -> None:
        """Save the latest adapter in the folder that the control names, and say how it is loaded."""
        if self.model is None or self.session is None:
            self.say("there is no adapter yet: press Train first")
            return
        try:
            with self.session.between_steps():
                self.keeping.save(self.model, self._base_in_code)
        except (ValueError, OSError) as refusal:
            self.say(str(refusal))

    def wait(self, timeout: float | None = None) -> tuple[Step, ...]:
        """Block until the run is over, show its end and return its steps. Errors as `TrainSession.wait`."""
        if self.session is None:
            return ()
        try:
            return self.session.wait(timeout)
        finally:
            self.refresh()

    def refresh(self) -> None:
        """Show where the session is by now, and record the run when it is over."""
        with self.guard():
            if self.session is None:
                return
            over = self.session.finished  # asked before looking, so that the last look sees the last step
            self.live.look()
            self._show_buttons()
            if over and not self._recorded:
                self._recorded = True
                self._record(self.session)

    def close(self) -> None:
        """Stop training and close every widget."""
        if self._under_way() and self.session is not None:
            self.session.stop()
        super().close()

    def _under_way(self) -> bool:
        return self.session is not None and not self.session.finished

    def _show_buttons(self) -> None:
        state = self.session.state if self.session else "ready"
        under_way, resting = self._under_way(), state in ("pausing", "paused")
        self.train_button.disabled = under_way
        self.pause_button.disabled = self.stop_button.disabled = not under_way
        self.pause_button.description, self.pause_button.icon = ("Resume", "play") if resting else ("Pause", "pause")
        self.keeping.button.disabled = not self.steps

    def _record(self, session: TrainSession) -> None:
        """The run joins the table; what ended a failed run is raised, for the guard to show."""
        if session.error is not None:
            raise session.error
        if not session.steps or self.model is None:
            return
        name = self._run_name if session.state == "done" else f"{self._run_name}, stopped at {len(session.steps)}"
        trained = path_budget(self.model).total
        accuracy = evaluate(self.model, self.task.test)
        self.runs.append(Run(name, trained, accuracy, session.steps[-1].seconds, session.steps))
        self.table.value = run_table(self.runs)

    def _look_again(self) -> None:
        """Refresh from the event loop, where there is one, until the run is over and recorded."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        session, errors = self.session, len(self.errors)

        def look() -> None:
            self.refresh()
            if self.session is session and not self._recorded and len(self.errors) == errors:
                loop.call_later(BETWEEN_LOOKS, look)

        loop.call_later(BETWEEN_LOOKS, look)


def _new_name(name: str, runs: list[Run]) -> str:
    """The name, numbered where an earlier run has it: curves and table tell runs apart by name."""
    taken = {run.name.partition(", stopped")[0] for run in runs}
    numbered = (f"{name} ({n})" for n in range(2, len(runs) + 3))
    return name if name not in taken else next(new for new in numbered if new not in taken)
