"""A search in a thread of its own: start, pause, resume, stop, wait, as a TrainSession."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

from glora_lab.arguments import check_kind
from glora_lab.training.background import Background

from .study import Progress, Study


class SearchSession(Background):
    """Runs a `Study` to its end. `steps` are its pieces of work: `Progress` on the way to the first trial, then trials.

    `study` is the study itself, whose trials, front and result may be read at any time.

    Raises:
        ValueError: for what is no `Study`.
    """

    def __init__(self, study: Study) -> None:
        check_kind("study", study, Study, "must be a Study, as search_paths makes one")
        self.study = study
        super().__init__(self._advance(), study.work)

    @property
    def stage(self) -> str:
        """What is done now, in words, as "preparing 37 of 300" or "trial 12 of 200"."""
        last: Any = self.steps[-1] if self.steps else None
        if isinstance(last, Progress):
            return f"{last.stage} {last.done:,} of {last.total:,}"
        return f"trial {len(self.study.trials):,} of {self.study.total:,}"

    @property
    def seconds_left(self) -> float:
        """At the pace of the present stage; nan before there is one, 0 when over."""
        if self.finished:
            return 0.0
        trials = self.study.trials
        if not trials:
            return math.nan
        return sum(trial.seconds for trial in trials[-20:]) / len(trials[-20:]) * (self.study.total - len(trials))

    def _advance(self) -> Generator[Any, None, None]:
        """Each piece of work; one is held back, so that the last is known to be the last."""
        held = self.study.advance()
        while held is not None:
            if isinstance(held, Progress) and held.stage == "waiting":
                self._total += 1  # nobody knows how long others take
            following = self.study.advance()
            if following is None:
                self._total = len(self._steps) + 1
            yield held
            held = following
