"""TrainPanel: choose a method, press Train or race several, watch a small model adapt, compare the runs, keep one.

A run of one method is a TrainSession; of several, in turns, a Race. Each adapts a copy of the model, from the same
seed, so that they differ in the method alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from peft import PeftModel
from torch import nn

from glora_lab.adapters import DeltaConfig
from glora_lab.arguments import refuse
from glora_lab.data import Task
from glora_lab.ideas.budget.measure import budget_on, path_budget
from glora_lab.ideas.budget.record import PathBudget
from glora_lab.models import load_model
from glora_lab.page.controls import widgets
from glora_lab.page.controls.example import adapt
from glora_lab.page.given import check_is
from glora_lab.page.panel import guarded_about
from glora_lab.training import Race, TrainSession

from .panel_answers import Asking
from .panel_controls import TrainControls
from .panel_keep import KeepControls
from .panel_live_run import Answers, LiveRun
from .panel_methods import Config
from .panel_race import LineUp, RaceControls, line_up
from .panel_run_table import RunTable
from .panel_session import SessionPanel
from .record import Run


class TrainPanel(SessionPanel):
    """Controls of a training run, its live curves and answers, and a table of the runs so far.

    Args:
        model: a name for `load_model`, or a model; every run adapts a copy of it, all its linear layers but
            the head.
        task: a Task, as `task_from` makes one of your data; or a key of `TASKS` that goes with the model, of text for
            one that writes bytes; None for the first of them.
        method: "LoRA" (PEFT's), "GLoRA", "GraLoRA" or one of `methods`.
        methods: name → configuration of methods of your own, `{"mine": Mine.config()}`; they take the rank that the
            control says, and part in a race.
        preset, rank, k, lr, steps, seed: where the controls start; `preset` is GLoRA's, `k` GraLoRA's.

    State: `config` and `budget` (what the controls say, and its cost; where that cannot be trained the budget has
    no rows, and where it cannot even be a configuration `config` stays the last that could), `session` (the latest
    TrainSession or Race), `steps` (its steps so far, of a race in the order they were taken), `predictions` (name →
    the answers or the writing that is shown), `runs` (finished runs, oldest first; a race adds one for each method
    that did not fail), `model` (the adapter to keep: the latest adapted model, after a race the most accurate, unless
    the reader chose another).
    """

    config: Config
    budget: PathBudget
    task: Task
    _refusal: ValueError | None  # why the controls' configuration cannot be

    def __init__(
        self,
        model: str | nn.Module = "digits-vit",
        task: str | Task | None = None,
        *,
        method: str = "GLoRA",
        methods: Mapping[str, DeltaConfig] | None = None,
        preset: str = "all paths",
        rank: int = 4,
        k: int = 2,
        lr: float = 0.01,
        steps: int = 150,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(model, str | nn.Module):
            raise refuse("model", model, "must be a model, or a name for load_model")
        check_is("methods", methods, Mapping, "must be a dict from a name of your own to YourMethod.config()")
        self._base = load_model(model) if isinstance(model, str) else model
        self._base_in_code = f'load_model("{model}")' if isinstance(model, str) else "your_model"
        self._models: dict[str, PeftModel] = {}  # of the latest session, by run name
        numbers = {"rank": rank, "k": k, "lr": lr, "steps": steps, "seed": seed}
        start: dict[str, Any] = {
            "task": task,
            "method": method,
            "preset": preset,
            "own": dict(methods or {}),
            **numbers,
        }
        self.controls = TrainControls(self._base, self._change_method, self._change_task, **start)
        self.live, self.keeping = LiveRun(), KeepControls(self.keep)
        names = self.controls.methods.names
        self.racing = RaceControls(self.race, self.make_equal, names, self._change_racers)
        self._equation, self.cost, self.table = widgets.HTML(), widgets.HTML(), RunTable()
        self._arrange()
        self._change_method()
        self._change_task()

    @property
    def runs(self) -> list[Run]:
        return self.table.runs

    @property
    def predictions(self) -> Answers:
        return self.live.predictions

    @property
    def model(self) -> PeftModel | None:
        return self._models.get(self.keeping.which.value)

    def _settings(self) -> dict[str, Any]:
        return {**self.controls.settings(), "racing": self.racing, "folder": self.keeping.folder}

    def _arrange(self) -> None:
        self.arrange(
            title=self._equation,
            controls=[*self.controls.shown, self.buttons, self.cost],
            more=self.controls.folded,
            then=[self.racing, self.live.where],
            picture=[self.live],
            below=[self.racing.says, self.table, self.keeping],
        )
        for control in (self.controls.lr, self.controls.steps, self.controls.seed):
            control.observe(self._change_run, "value")
        self.keeping.folder.observe(self._change_keeping, "value")

    @guarded_about("settings")
    def _change_method(self) -> None:
        self.say("", about="run")
        methods = self.controls.methods
        self._refusal, self.budget = None, PathBudget(())
        try:
            self.config = methods.config()
            count = path_budget if isinstance(self.config, DeltaConfig) else budget_on
            self.budget = count(self._base, self.config)  # type: ignore[arg-type]
        except ValueError as refusal:
            self._refusal = refusal
            self.say(refusal)
        self._equation.value = methods.equation(self.budget)
        methods.show_params(self.budget)
        share = f", {self.budget.share:.1%} of the model's own" if self.budget.total else ""
        self.cost.value = f"<b>{self.budget.total:,}</b> parameters to train{share}"
        self._offer_race()

    def _racers(self) -> dict[str, Config]:
        race = self._line_up()
        if race.refusal is not None:
            raise race.refusal
        return race.configs

    def _line_up(self) -> LineUp:
        return line_up(self._base, self.controls.methods, self.racing.chosen, self.budget.total)

    def _offer_race(self) -> None:
        try:
            self.racing.offer(self._line_up() if self.budget.total else None)
        except ValueError as refusal:
            self.racing.offer(refusal)

    @guarded_about("task")
    def _change_task(self) -> None:
        self.say("", about="run")
        self._end()
        self.task = self.controls.chosen_task()
        self.table.begin(self.task)
        self.live.ask_frozen(self._base, Asking(self._base, self.task))

    def _end(self) -> None:
        """End what is under way, and record it as a run of its own task."""
        if self.session is None:
            return
        self.session.stop()
        with suppress(Exception):  # what ended it is on the panel
            self.session.wait()
        self.refresh()

    @guarded_about("run")
    def _change_run(self, _: object = None) -> None:
        """Why a run could not begin does not stand any more, where what it was about is another."""

    @guarded_about("run")
    def _change_racers(self) -> None:
        self._offer_race()

    @guarded_about("keeping")
    def _change_keeping(self, _: object) -> None:
        """Nor why an adapter could not be kept."""

    @guarded_about("run")
    def train(self) -> None:
        """Start a run of what the controls say; does nothing while one is under way."""
        self._begin(lambda: {self.controls.run_name: self.config})

    @guarded_about("run")
    def race(self) -> None:
        """Start a race of the chosen methods, within the parameters of what the controls say."""
        self._begin(self._racers)

    @guarded_about("run")
    def make_equal(self) -> None:
        """Take the rank with which the race is at equal parameters, the nearest to the controls' budget."""
        nearest = self._line_up().nearest
        if nearest is not None:
            self.controls.methods.take_rank(nearest[self.controls.methods.method.value])

    def _begin(self, configurations: Callable[[], Mapping[str, Config]]) -> None:
        """Start a session of a model for each; where the controls ask for what cannot be, say so and change nothing."""
        if self.under_way or self.comm is None:  # closed meanwhile
            return
        self.refresh()  # a run that ended unseen is recorded first
        if self._refusal is not None:
            self.say(self._refusal, about="settings")
            return
        numbers, seed = self.controls.numbers, self.controls.seed.value
        try:
            configs = {self.table.new_name(name): config for name, config in configurations().items()}
            models = {name: adapt(copy.deepcopy(self._base), config, seed=seed) for name, config in configs.items()}
            session = _session(models, self.task, numbers)
        except ValueError as refusal:
            self.say(refusal)
            return
        session.start()  # where no thread is to be had the panel keeps the run that it shows
        self._models = models
        self.say("", about="an adapter to keep")
        self.keeping.offer(list(models))
        about = self.racing.say({n: path_budget(model) for n, model in models.items()}) if len(models) > 1 else ""
        self.live.watch(session, models, {} if len(models) > 1 else self.table.earlier(), about)
        self._follow(session)

    @guarded_about("keeping")
    def keep(self) -> None:
        """Save the latest adapter in the folder that the control names, and say how it is loaded."""
        if self.model is None or self.session is None:
            self.say("there is no adapter yet: press Train first", about="an adapter to keep")
            return
        try:
            with self.session.between_steps():
                self.keeping.save(self.model, self._base_in_code)
        except (ValueError, OSError) as refusal:
            self.say(str(refusal))

    def _show(self) -> None:
        self.live.look()
        self.racing.button.disabled = self.under_way
        self.keeping.button.disabled = not self.steps

    def _record(self, session: TrainSession | Race) -> None:
        """The runs join the table; what ended a failed one is kept and shown. The best adapter is the one to keep."""
        failed = session.errors if isinstance(session, Race) else {}
        if session.error is not None and not failed:
            raise session.error
        total = session.total // len(self._models)
        lines = {name: steps for name, steps in self.live.lines.items() if steps and name not in failed}
        metrics = {name: self.table.add(name, self._models[name], line, total).metric for name, line in lines.items()}
        if metrics:
            self.keeping.suggest(max(metrics, key=lambda name: metrics[name]))
        self.errors.extend(failed.values())
        self.say("; ".join(f"{name} dropped out: {type(error).__name__}: {error}" for name, error in failed.items()))


def _session(models: Mapping[str, nn.Module], task: Task, numbers: Mapping[str, Any]) -> TrainSession | Race:
    if len(models) > 1:
        return Race(models, task, **numbers)
    return TrainSession(next(iter(models.values())), task, **numbers)
