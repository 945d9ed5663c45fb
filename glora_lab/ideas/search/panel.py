"""SearchPanel: choose what may be chosen, press Search, drag the limit, take a point apart, train it for real.

A search runs in a thread (`SearchSession`); the panel looks at it. The points are drawn twice a second at most, and a
limit that is dragged draws none: the trials are there, and the best within it is looked up.

Decisions. What is shown stays when the controls of the space are moved: it is another search's. A study that is filled
elsewhere is asked once a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from peft import PeftConfig
from torch import nn

from glora_lab.arguments import check_is, refuse
from glora_lab.data import Task
from glora_lab.ideas.training.panel_begun import Begun
from glora_lab.ideas.training.panel_session import SessionPanel
from glora_lab.ideas.training.panel_task import TaskChoice, base_of
from glora_lab.ideas.training.record import Run
from glora_lab.page.controls import widgets
from glora_lab.page.following import Session
from glora_lab.page.looking import look_again
from glora_lab.page.panel import guarded_about
from glora_lab.search import SearchSession, SearchSpace, search_paths
from glora_lab.training.run_folder import RunFolder, runs_place

from .panel_chosen import ChosenTrial, equation_of
from .panel_controls import SearchControls
from .panel_found import Found
from .panel_outcome import Outcome
from .panel_progress import Progress, words_of
from .panel_trial_map import BEST, TrialMap
from .record import PathMap, SearchResult, Trial
from .record_stored import StoredSearch

SEARCH = "Looks for good settings as the controls say; the points come one by one."
TASK = "What the model learns; settings are scored on its validation part."
BETWEEN_POINTS, BETWEEN_STUDIES = 0.5, 1.0  # seconds


class SearchPanel(SessionPanel):
    """A search over paths and ranks while it runs: points, front, a limit to drag, and the setting behind each point.

    Args:
        model: a name for `load_model`, or a model, which is left as it is.
        task: a Task, or a key of `TASKS` that goes with the model; None for the first of them.
        space: a SearchSpace of your own, in place of the controls that make one.
        study: what is shown at first: a study of `search_paths`, or of `follow_study`, one that others fill; a
            StoredSearch; or a SearchResult, of which `space`, or the controls, say what it was chosen from.
        method, ranks, modes, per: where the controls of the space start, as `SearchSpace.of` takes them; a method of
            your own is searched alone.
        engine, sampler, limit, trials, gate, steps, lr, seed: where the others start, as `search_paths` takes them.
        keep_runs: the folder that "train this one" adds its run to, as TrainPanel's.

    State: `study` (what is shown; an empty SearchResult before), `result` (the same as a record), `chosen` (the Trial
    that is shown, None for none), `best` (the most accurate within the limit), `path_map`, `config` and `snippet` of
    the chosen one, `session` (the latest SearchSession, or TrainSession of "train this one"), `runs` (those).

    Raises:
        ValueError: for an unknown task or method, one that does not go with the model, or an argument that cannot be.
    """

    space: SearchSpace
    _begun: Begun | None = None  # the latest training
    _drawn_at = 0.0

    def __init__(
        self,
        model: str | nn.Module = "digits-vit",
        task: str | Task | None = None,
        *,
        space: SearchSpace | None = None,
        study: Any = None,
        method: Any = "glora",
        ranks: Sequence[int] = (1, 2, 4, 8),
        modes: Any = None,
        per: str = "kind",
        engine: str = "adapted",
        sampler: str = "nsga2",
        limit: int | None = None,
        trials: int = 60,
        gate: int = 12,
        steps: int = 100,
        lr: float = 5e-3,
        seed: int = 0,
        keep_runs: bool | str | PathLike[str] = True,
    ) -> None:
        super().__init__(self.search, "Search", SEARCH)
        if not isinstance(model, str | nn.Module):
            raise refuse("model", model, "must be a model, or a name for load_model")
        check_is("space", space, SearchSpace, "must be a SearchSpace, as SearchSpace.of(model) makes one")
        folder = RunFolder(runs_place(keep_runs))
        self._base = base_of(model, task) if isinstance(model, str) else model
        self._base_name = model if isinstance(model, str) else type(model).__name__
        self.task_choice = TaskChoice(self._base, task, TASK)
        where: dict[str, Any] = {"ranks": ranks, "modes": modes, "per": per}
        made = space or SearchSpace.of(self._base, method, **where)
        made.check_limit(limit)
        given = made if space is not None or isinstance(method, type) else None
        numbers: dict[str, Any] = {"trials": trials, "gate": gate, "steps": steps, "lr": lr, "seed": seed}
        numbers |= {"engine": engine, "sampler": sampler, "limit": limit}
        kept = study.made.get("space", {}) if isinstance(study, StoredSearch) and not space else None
        of = made if kept is None else SearchSpace.of(self._base, **kept)
        self.space, self.found = made, Found(study, of)
        asked = {"given": given, "method": method, **where, **numbers}
        self.controls = SearchControls(self._change_space, self._change_limit, **asked)
        self.map, self.taken = TrialMap(), ChosenTrial(self.train, self._base, self._base_name, folder)
        self.progress, self.outcome, self._equation = Progress(), Outcome(), widgets.HTML()
        self._arrange()
        self._change_space()
        self._look_at_study()
        with self.guard("study"):
            self.outcome.explain(self.study)
        self._take_over()
        look_again(self._look_at_study, BETWEEN_STUDIES)

    @property
    def task(self) -> Task:
        return self.task_choice.chosen()

    @property
    def study(self) -> Any:
        return self.found.study

    @property
    def result(self) -> SearchResult:
        return self.found.result

    @property
    def moves(self) -> Mapping[str, Any]:
        return {"limit": sorted({trial.params for trial in self.result.front})}

    @property
    def chosen(self) -> Trial | None:
        return self.map.chosen

    @property
    def best(self) -> Trial | None:
        return self.map.best

    @property
    def runs(self) -> list[Run]:
        return self.taken.runs

    @property
    def path_map(self) -> PathMap | None:
        return self.taken.path_map

    @property
    def config(self) -> PeftConfig | None:
        return self.taken.config

    @property
    def snippet(self) -> str:
        return self.taken.snippet

    def _settings(self) -> Mapping[str, Any]:
        return {"task": self.task_choice, **self.controls.settings(), "trial": self.map.number}

    def _arrange(self) -> None:
        controls = self.controls
        self.arrange(
            title=self._equation,
            controls=[*controls.shown, self.buttons],
            more=[self.task_choice, *controls.folded, self.map.number],
            then=[self.progress],
            picture=[self.map],
            below=[self.taken, self.outcome],
        )
        self.map.number.observe(self._change_trial, "value")

    @guarded_about("settings")
    def _change_space(self) -> None:
        """Another space: what can be searched, and how far the limit goes. What was found stays."""
        try:
            self.space = self.controls.space(self._base)
            self.controls.tell(self.space)
        except ValueError as refusal:  # the last that can be searched stays
            self.say(refusal)
            return
        self._draw()

    @guarded_about("limit")
    def _change_limit(self) -> None:
        """Another limit: its best is shown, whatever was chosen before."""
        self.map.number.value = BEST
        self.map.move(self.controls.most)
        self._show_chosen()

    @guarded_about("trial")
    def _change_trial(self, _: object) -> None:
        self.map.mark()
        self._show_chosen()

    def _draw(self) -> None:
        """All that is known of the search by now."""
        self._drawn_at = time.monotonic()
        found = self.result
        counts = [trial.params for trial in found.trials]
        ends = self.controls.bound(self.space, counts)
        self.map.limit = self.controls.most
        self.map.show(found, *ends)
        self.outcome.show(found.agreement, self.found.gate)
        self._show_chosen()

    def _show_chosen(self) -> None:
        try:
            self.taken.show(self.chosen, self.found)
        except ValueError as refusal:
            self.say(refusal, about="trial")
        self._offer_training()
        shown = self.found if self.result.trials else Found(None, self.space)
        self._equation.value = equation_of(self.path_map, shown.called)

    @guarded_about("run")
    def search(self) -> None:
        """Start a search of what the controls say; does nothing while one is under way."""
        if self.under_way or self.comm is None:  # closed meanwhile
            return
        self.refresh()
        try:
            study = search_paths(self._base, self.task, self.space, **self.controls.numbers(self.space))
        except (ValueError, ImportError) as refusal:
            self.say(str(refusal))
            return
        session = SearchSession(study)
        session.start()
        self._watch(session)

    def _watch(self, session: SearchSession) -> None:
        self.found, self._begun = Found(session.study, session.study.space), None
        self.map.number.value = BEST
        self.outcome.clear()
        self._draw()
        self._follow(session)

    def _take_over(self) -> None:
        """Go on with the search of the panel that this one takes the place of; one of another model or task ends."""
        for old in self._replaced():
            session, about = old.session, (old._base_name, old.task_choice.value)
            if isinstance(session, SearchSession) and about == (self._base_name, self.task_choice.value):
                old.session = None
                self._watch(session)
            old.close()

    @guarded_about("run")
    def train(self) -> None:
        """Train the chosen setting for real, as steps, rate and seed say; the run joins TrainPanel's."""
        if self.under_way or self.comm is None:
            return
        try:
            begun = self.taken.begin(self.task, self.controls.training)
        except ValueError as refusal:
            self.say(refusal)
            return
        self._begun = begun
        self._follow(begun.session)

    def _show(self) -> None:
        session = self.session
        if isinstance(session, SearchSession):
            self.progress.look(session, words_of(session))
            resting = session.finished or session.state == "paused"
            if resting or time.monotonic() - self._drawn_at > BETWEEN_POINTS:
                self._draw()
        elif session is not None and self._begun is not None:
            self.progress.look(session, self._begun.where)
        self._offer_training()

    def _offer_training(self) -> None:
        self.taken.button.disabled = self.under_way or self.config is None

    def _over(self, session: Session) -> None:
        if session.error is not None:
            raise session.error
        if isinstance(session, SearchSession):
            self.outcome.explain(self.study)
        elif self._begun is not None:
            self.say(self.taken.record(self._begun), about="runs")

    def _look_at_study(self) -> bool:
        """Show what others have found meanwhile; whether there may be more."""
        if self.comm is None:
            return False
        if self.under_way and isinstance(self.session, SearchSession):
            return True  # it is looked at already
        errors = len(self.errors)
        with self.guard("study"):
            if self.found.has_grown():
                self._draw()
            self.progress.follow(self.found)
        return self.found.can_grow and len(self.errors) == errors
