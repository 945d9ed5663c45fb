"""What the trials of a search come to, whoever makes them: the search that runs here, or one that others fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from glora_lab.arguments import check_positive_int, refuse
from glora_lab.ideas.search.record import Agreement, Importance, PathMap, SearchResult, Trial, Verified, front

from .importance import importance
from .space import SearchSpace
from .stored import Finished, StoredTrials


class StudyView:
    """The trials so far and what they come to. `refresh` takes in what others have finished since.

    `total` is how many there will be, `running` how many are being scored just now, by anybody; `storage` where they
    are kept, without a password. `limits` are all that there are, `limit` the one on parameters. `agreement` is what
    the gate found, `said` a sentence where an engine was replaced.
    """

    def __init__(
        self, space: SearchSpace, stored: StoredTrials, objectives: Sequence[str], limits: Mapping[str, int]
    ) -> None:
        self.space, self.objectives = space, tuple(objectives)
        self.limits, self.limit = dict(limits), limits.get("parameters")
        self.storage, self.total = stored.storage.name, stored.most
        self.agreement: Agreement | None = None
        self.verified: tuple[Verified, ...] = ()
        self._stored = stored
        self._trials: dict[int, Trial] = {}

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Those that are finished, by number, whoever made them."""
        return tuple(self._trials[number] for number in sorted(self._trials))

    @property
    def running(self) -> int:
        """How many are being scored just now, by anybody."""
        return self._stored.running

    @property
    def said(self) -> str:
        """A sentence where the engine was replaced, since it orders no better than counting; else empty."""
        if self.agreement is None or self.agreement.is_better:
            return ""
        return f"{self.agreement.in_words}; each setting is trained for real instead, by successive halving"

    def refresh(self) -> tuple[Trial, ...]:
        """Take in what has been finished since the last time, and return that.

        Raises:
            ConnectionError: where the storage does not answer.
        """
        return tuple(self._take(finished) for finished in self._stored.news())

    @property
    def front(self) -> tuple[Trial, ...]:
        """The trials that no other beats, by rising parameters; with a test accuracy where they have been verified."""
        tests = {record.number: sum(record.test) / len(record.test) for record in self.verified}
        return tuple(replace(trial, test=tests.get(trial.number, trial.test)) for trial in front(self.trials))

    @property
    def result(self) -> SearchResult:
        """The search as it stands, for `plot_search`."""
        return SearchResult(self.trials, self.limit, self.agreement, self.verified)

    def path_map(self, trial: Trial) -> PathMap:
        """Where the parameters of a trial are, for `plot_path_map`."""
        return self.space.path_map(self.space.read(trial.choice))

    def importance(self, objective: str = "accuracy") -> Importance:
        """What each choice is worth, by the trials so far, for `plot_importance`.

        Raises:
            ValueError: for what was no objective of this search, and with fewer than two trials.
        """
        return importance(self.space, self.trials, objective, self.objectives)

    def best(self, limit: int | None = None) -> Trial:
        """The most accurate trial with at most `limit` parameters; of equals the smallest.

        Raises:
            ValueError: where no trial has so few.
        """
        if limit is not None:
            check_positive_int("limit", limit)
        fitting = [trial for trial in self.front if limit is None or trial.params <= limit]
        if not fitting:
            least = min((trial.params for trial in self.trials), default=None)
            has = "this study has no trial yet" if least is None else f"the smallest trial has {least:,} parameters"
            raise refuse("limit", limit, f"leaves none: {has}")
        return fitting[-1]

    def _take(self, finished: Finished) -> Trial:
        choice, result = self.space.read(finished.choice), finished.result
        made = Trial(
            number=finished.number,
            params=self.space.params(choice),
            metric=result["metric"],
            loss=result["loss"],
            choice=finished.choice,
            engine=result["engine"],
            seconds=result["seconds"],
            name=finished.name,
            config=self.space.config(choice),
        )
        self._trials[made.number] = made
        return made
