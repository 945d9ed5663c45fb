"""What a worker knows of a study's trials: who has which choice, which are done, and which are free again.

A trial that has ended stays as it is, so of each it is taken up once; what is read anew are those behind the first one
that still runs.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# what a trial holds, by Optuna's name for it: the two texts, or why there is no second, signs of life, and whether it
# came in vain, since somebody had its choice or its place
SETTING, RESULT, FAILED, SIGN, VAIN = "setting", "result", "failed", "sign", "vain"


def setting(trial: Any) -> Mapping[str, Any]:
    """What was written as the trial began; empty for one that somebody else's program has put here."""
    about: Mapping[str, Any] = trial.user_attrs.get(SETTING, {})
    return about


class Known:
    """`running` maps numbers to trials, `complete` has the numbers of the finished ones, `begun` counts all."""

    def __init__(self) -> None:
        self.begun = 0
        self.running: dict[int, Any] = {}
        self.complete: list[int] = []
        self._trials: Sequence[Any] = ()
        self._firm = 0  # so many from the first on have ended and are known
        self._ended: set[int] = set()  # and these behind
        self._taken: set[str] = set()  # choices that are scored, or cannot be
        self._free: dict[str, Mapping[str, Any]] = {}  # choices that were begun and are not, by the last attempt

    def take(self, trials: Sequence[Any]) -> None:
        """All trials, by number."""
        self._trials, self.begun, self.running = trials, len(trials), {}
        for trial in trials[self._firm :]:
            if not trial.state.is_finished():
                self.running[trial.number] = trial
            elif trial.number not in self._ended:
                self._ended.add(trial.number)
                self._end(trial)
        firm = min(self.running, default=self.begun)
        self._ended.difference_update(range(self._firm, firm))
        self._firm = firm

    def _end(self, trial: Any) -> None:
        about = setting(trial)
        if trial.state.name == "COMPLETE":
            insort(self.complete, trial.number)
        if trial.state.name == "COMPLETE" or FAILED in trial.user_attrs:
            self._taken.add(about.get("choice", ""))
        elif (
            about
            and VAIN not in trial.user_attrs
            and about["attempt"] >= self._free.get(about["choice"], about)["attempt"]
        ):
            self._free[about["choice"]] = about

    def finished(self) -> Iterator[Any]:
        return (self._trials[number] for number in self.complete)

    def number(self, trial_id: int) -> int:
        """Of a trial that runs."""
        return next(number for number, trial in self.running.items() if trial._trial_id == trial_id)

    def before(self, number: int) -> int:
        """How many trials with a lower number are finished, or may be."""
        return bisect_left(self.complete, number) + sum(other < number for other in self.running)

    def has(self, choice: str, number: int) -> bool:
        """Whether a choice is scored, or being scored under a lower number."""
        others = (setting(trial).get("choice") for other, trial in self.running.items() if other < number)
        return choice in self._taken or choice in others

    def free(self) -> list[Mapping[str, Any]]:
        """What nobody scores and nobody has scored, though somebody began."""
        running = {setting(trial).get("choice") for trial in self.running.values()}
        return [about for choice, about in self._free.items() if choice not in running and choice not in self._taken]
