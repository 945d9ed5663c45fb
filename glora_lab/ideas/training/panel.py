"""TrainPanel: choose a method, press Train or race several, watch a small model adapt, compare the runs, keep one.

A run of one method is a TrainSession; of several, in turns, a Race. Each adapts a copy of the model, from the same
seed, so that they differ in the method alone.

Decisions. Another task waits for the end of what is under way, which the status names. A cell that is run again in
mid-run takes its run over, where model and task are the same, and elsewhere stops it: no run goes on unseen.
"""

from __future__ import annotations

import copy
import html
from collections.abc import Callable, Mapping
from contextlib import suppress
from os import PathLike
from typing import Any

from peft import PeftModel
from torch import nn

from glora_lab.adapters import DeltaConfig
from glora_lab.arguments import check_is, refuse
from glora_lab.data import Task
from glora_lab.ideas.budget.measure import budget_on, path_budget
from glora_lab.ideas.budget.record import PathBudget
from glora_lab.page.controls import widgets
from glora_lab.page.controls.example import adapt
from glora_lab.page.following import Session
from glora_lab.page.panel import guarded_about
from glora_lab.training.run_folder import RunFolder, runs_place

from .panel_begun import Begun
from .panel_controls import TrainControls
from .panel_keep import KeepControls
from .panel_live_run import Answers, LiveRun
from .panel_methods import Config
from .panel_race import LineUp, RaceControls, line_up
from .panel_run_table import RunTable
from .panel_session import SessionPanel
from .panel_task import base_of, loading_code_of
from .record import Run


class TrainPanel(SessionPanel):
    """Controls of a training run, its live curves and answers, and a table of the runs so far.

    Args:
        model: a name for `load_model`, or a model; every run adapts a copy of it, all linear layers but the head.
        task: a Task, as `task_from` makes one of your data; or a key of `TASKS` that goes with the model, of text for
            one that writes bytes, of sentences for "minilm", which comes with a fresh head; None for the first of them.
        method: "LoRA" (PEFT's), "GLoRA", "GraLoRA" or one of `methods`.
        methods: name → configuration of methods of your own, `{"mine": Mine.config()}`; their rank is the control's.
        preset, rank, k, lr, steps, seed: where the controls start; `preset` is GLoRA's, `k` GraLoRA's.
        keep_runs: the folder where runs are kept, with curves and adapters, which no state carries; True for
            `glora_lab_runs` beside the notebook (or what GLORA_LAB_RUNS says, a folder or "off"), False for none.

    State: `config` and `budget` (what the controls say, and its cost; no rows where that cannot be trained, and where
    it cannot be a configuration `config` is the last that could), `session` (the latest TrainSession or Race), `steps`
    (of it so far, in the order they were taken), `predictions` (name → the answers or the writing that is shown),
    `runs` (this panel's, oldest first, of a race one for each method; `table.rows` has older ones too), `model` (the
    adapter to keep: the latest, after a race that with the best validation accuracy, unless the reader chose another).

    Raises:
        ValueError: for an unknown task or method, one that does not go with the model, or an argument that cannot be.
    """

    folder_arguments = ("keep_runs",)
    config: Config
    budget: PathBudget
    task: Task
    _refusal: ValueError | None  # why the controls' configuration cannot be
    _begun: Begun | None = None  # the latest

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
        keep_runs: bool | str | PathLike[str] = True,
    ) -> None:
        super().__init__(self.train)
        if not isinstance(model, str | nn.Module):
            raise refuse("model", model, "must be a model, or a name for load_model")
        check_is("methods", methods, Mapping, "must be a dict from a name of your own to YourMethod.config()")
        runs = RunFolder(runs_place(keep_runs))
        self._base = base_of(model, task) if isinstance(model, str) else model
        self._base_in_code = loading_code_of(self._base, model) if isinstance(model, str) else "your_model"
        self._base_name = model if isinstance(model, str) else type(model).__name__
        start: dict[str, Any] = {"task": task, "method": method, "preset": preset, "own": dict(methods or {})}
        start |= {"rank": rank, "k": k, "lr": lr, "steps": steps, "seed": seed}
        self.controls = TrainControls(self._base, self._change_method, self._change_task, **start)
        self.live, self.keeping = LiveRun(), KeepControls(self.keep)
        self.racing = RaceControls(self.race, self.make_equal, self.controls.methods.names, self._change_racers)
        self._equation, self.cost = widgets.HTML(), widgets.HTML()
        self.table = RunTable(runs, self._base_name, self._base_in_code, self._tend, self.live.compare)
        self._arrange()
        self._change_method()
        self._show_task()
        self._take_over()

    @property
    def runs(self) -> list[Run]:
        return self.table.runs

    @property
    def predictions(self) -> Answers:
        return self.live.predictions

    @property
    def model(self) -> PeftModel | None:
        return self._begun.models.get(self.keeping.which.value) if self._begun else None

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
            self.budget = budget_on(self._base, self.config)
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
        """Show another task, when what is under way is over."""
        self.say("", about="run")
        self.refresh()
        if self.controls.task.value == self.task.name:
            return
        if self._begun is not None and self.under_way:
            self.say(
                f"{self._begun.name} goes on. {self.controls.task.label} is shown when it is over: Stop ends it now"
            )
            return
        self._show_task()

    def _show_task(self) -> None:
        self.task = self.controls.chosen_task()
        self.table.begin(self.task)
        self.live.ask_frozen(self._base, self.task)

    def _take_over(self) -> None:
        """Go on with what the panel that this one takes the place of has begun; of another model or task, stop it."""
        for old in self._replaced():
            begun = old._begun
            assert begun is not None
            if (old._base_name, begun.task.name) == (self._base_name, self.task.name):
                old.session = None
                begun.since = ", begun before this cell was run again"
                self._watch(begun)
            else:
                old.stop()
                with suppress(Exception):  # what ended it is on that panel
                    old.wait()
                self.table.refresh()
                self.live.status.value = html.escape(f"{begun.where}, as this cell was run again")
            old.close()

    @guarded_about("runs")
    def _tend(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (ValueError, OSError) as refusal:
            self.say(str(refusal))

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
            begun = Begun.start(models, self.task, numbers)  # without a thread the panel keeps the run that it shows
        except ValueError as refusal:
            self.say(refusal)
            return
        self.say("", about="an adapter to keep")
        if len(models) > 1:
            begun.about = self.racing.say({name: path_budget(model) for name, model in models.items()})
        self._watch(begun)

    def _watch(self, begun: Begun) -> None:
        self._begun = begun
        self.keeping.offer(list(begun.models))
        self.live.watch(begun, {} if len(begun.models) > 1 else self.table.earlier())
        self._follow(begun.session)

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

    def _over(self, session: Session) -> None:
        """The runs join the table; what ended a failed one is kept and shown. The best adapter is the one to keep."""
        begun = self._begun
        assert begun is not None
        if session.error is not None and not begun.errors:
            raise session.error
        self.say(self.table.record(begun), about="runs")
        if learnt := begun.learnt:
            self.keeping.suggest(max(learnt, key=lambda name: learnt[name][-1].metric))
        self.errors.extend(begun.errors.values())
        self.say("; ".join(f"{name} dropped out: {type(e).__name__}: {e}" for name, e in begun.errors.items()))
        if self.controls.task.value != self.task.name:
            self.say("", about="task")
            self._show_task()
