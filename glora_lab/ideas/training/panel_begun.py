"""What Train or Race has begun: who trains on what, with which numbers, and where it is by now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peft import PeftModel

from glora_lab.data import Task
from glora_lab.drawing.run_colors import method_in
from glora_lab.drawing.theme import listed
from glora_lab.ideas.budget.measure import path_budget
from glora_lab.page.following import Session, status
from glora_lab.training import Race, TrainSession, evaluate
from glora_lab.training.evaluate import counted
from glora_lab.training.run_folder import new_id

from .record import Run, Step

Steps = tuple[Step, ...]


@dataclass
class Begun:
    """A session of these models, by run name, on a task, with what `fit` was given."""

    session: Session
    models: Mapping[str, PeftModel]
    task: Task
    numbers: Mapping[str, Any]
    about: str = ""  # what a race is, for its headline
    since: str = ""  # where it was begun, when that is not here

    @classmethod
    def start(cls, models: Mapping[str, PeftModel], task: Task, numbers: Mapping[str, Any]) -> Begun:
        """Start training: one model as a TrainSession, several as a Race. Errors as theirs."""
        first, *others = models.values()
        session = Race(models, task, **numbers) if others else TrainSession(first, task, **numbers)
        session.start()
        return cls(session, models, task, numbers)

    @property
    def name(self) -> str:
        """What the status says: the controls may be set to something else by now."""
        racers = list(self.models)
        return f"{listed(map(method_in, racers)) if len(racers) > 1 else racers[0]} on {self.task.name}{self.since}"

    @property
    def lines(self) -> dict[str, Steps]:
        """Run name → steps so far."""
        session = self.session
        return session.lines if isinstance(session, Race) else dict.fromkeys(self.models, session.steps)

    @property
    def errors(self) -> dict[str, Exception]:
        """What ended the racers that failed: they may not be able to answer either."""
        return self.session.errors if isinstance(self.session, Race) else {}

    @property
    def learnt(self) -> dict[str, Steps]:
        """The steps of those that did not fail, and took one."""
        return {name: steps for name, steps in self.lines.items() if steps and name not in self.errors}

    @property
    def each(self) -> int:
        """How many steps each run has if nothing stops it."""
        return self.session.total // len(self.models)

    @property
    def where(self) -> str:
        """ "LoRA, rank 4 on digits-turned, running: step 37 of 150, 4 s left"."""
        session, done = self.session, max(map(len, self.lines.values()))
        each = " each" if len(self.models) > 1 else ""
        return f"{self.name}, {status(session.state, done, self.each, session.seconds_left, each)}"

    def run(self, name: str, base_name: str) -> Run:
        """What came of one model, by its run name, as a record with the accuracy on the test part.

        Args:
            base_name: what it adapts, by name.
        """
        steps, model = self.lines[name], self.models[name]
        called = name if len(steps) == self.each else f"{name}, stopped at {len(steps)}"
        measured = path_budget(model).total, evaluate(model, self.task.test), steps[-1].seconds
        return Run(
            *(called, *measured, steps, steps[-1].metric, counted(self.task.validation)),
            model=base_name,
            task=self.task.name,
            settings={**self.numbers, "config": model.peft_config["default"].to_dict()},
            id=new_id(),
        )
