"""The trials of a study in a storage, shared by workers that know of each other by nothing else.

Each trial is two short texts: which choice it is and whose, written as the trial begins, and what came of it. Optuna
gives trials numbers in one order for everybody, and lets a trial end once. All else follows from these two:

- a choice belongs to the lowest number that has it and has not failed; whoever comes second withdraws;
- a place among the trials that a search has belongs to the lowest numbers, so there are never too many;
- who has given no sign of life for a while is taken for dead: the trial is ended as failed and its choice is free for
  whoever claims it. Should its worker live after all, its result comes to a trial that has ended, and is not counted.

A sign is a number that rises, not a time of day: each worker measures by its own clock how long it has stood still.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .known import FAILED, RESULT, SETTING, SIGN, VAIN, Known, setting
from .storage import Storage

MOST_ATTEMPTS = 5  # at a choice: one that kills its worker is not to kill them all
SIGNS = 4  # of life within the time after which a worker is taken for dead


@dataclass(frozen=True)
class Claim:
    """A choice that this worker has to itself; `attempt` counts from 1."""

    number: int
    trial_id: int
    choice: str
    name: str = ""
    attempt: int = 1


@dataclass(frozen=True)
class Finished:
    """What came of a choice, as it is stored."""

    number: int
    choice: str
    name: str
    result: Mapping[str, Any]


class StoredTrials:
    """The trials of the study `study_id`, of which `most` are wanted; after `grace` seconds a worker is dead.

    `begun`, `running` and `finished` count them as they were when last asked for `news`, or at the last claim.
    """

    def __init__(self, storage: Storage, study_id: int, *, most: int, grace: float) -> None:
        self.storage, self.study_id, self.most, self.grace = storage, study_id, most, grace
        self.worker = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex[:8]}"
        self._draw = random.Random(self.worker)
        self._known = Known()
        self._told: set[int] = set()
        self._seen: dict[int, tuple[Any, float]] = {}  # trial → its last sign, and when that was first seen
        self._watching = threading.Lock()

    @property
    def begun(self) -> int:
        return self._known.begun

    @property
    def running(self) -> int:
        return len(self._known.running)

    @property
    def finished(self) -> int:
        return len(self._known.complete)

    @property
    def waiting(self) -> int:
        """Choices whose worker died or gave them back: each keeps its place, which no new choice takes."""
        return len(self._again())

    def _again(self) -> list[Mapping[str, Any]]:
        return [about for about in self._known.free() if about["attempt"] < MOST_ATTEMPTS]

    def news(self) -> list[Finished]:
        """The finished trials that were no news before, in order."""
        self._read()
        new = [trial for trial in self._known.finished() if trial.number not in self._told]
        self._told.update(trial.number for trial in new)
        return [
            Finished(trial.number, about["choice"], about["name"], trial.user_attrs[RESULT])
            for trial in new
            if (about := setting(trial)) and RESULT in trial.user_attrs
        ]

    def claim(self, choice: str, name: str = "", attempt: int = 1) -> Claim | int:
        """Begin a trial; where somebody has the choice already, or there is no place, the number that was in vain."""
        from optuna.trial import TrialState, create_trial

        about = {"choice": choice, "name": name, "attempt": attempt, "worker": self.worker}
        begun = create_trial(state=TrialState.RUNNING, user_attrs={SETTING: about})
        trial_id: int = self._do("create_new_trial", self.study_id, begun)
        self._read()
        number: int = self._known.number(trial_id)
        claim = Claim(number, trial_id, choice, name, attempt)
        if self._has_room(number, attempt) and not self._known.has(choice, number):
            return claim
        if self._note(claim, VAIN, True):
            self._end(trial_id, "FAIL")
        return number

    def _has_room(self, number: int, attempt: int) -> bool:
        """A choice that is tried again has the place of the attempt before, which no new one takes meanwhile."""
        again = [other for other, trial in self._known.running.items() if setting(trial).get("attempt", 1) > 1]
        if attempt > 1:
            return self.finished + sum(other < number for other in again) < self.most
        later = sum(other > number for other in again)
        return self._known.before(number) + later + self.waiting < self.most

    def retry(self) -> Claim | None:
        """A choice whose worker died or gave it back, claimed; None where there is none."""
        dead = self._dead()
        for trial_id in dead:
            self._end(trial_id, "FAIL")
        if dead:
            self._read()
        free = self._again()
        for about in self._draw.sample(free, len(free)):  # in an order of this worker's own
            if self.running + self.finished < self.most:
                claim = self.claim(about["choice"], about["name"], about["attempt"] + 1)
                if isinstance(claim, Claim):
                    return claim
        return None

    @contextmanager
    def alive(self, claim: Claim) -> Iterator[None]:
        """Give signs of life while the block runs, and look for those of others."""
        if not self.storage.shared:
            yield
            return
        over = threading.Event()
        signs = threading.Thread(target=self._give_signs, args=(claim, over), name="signs of life", daemon=True)
        signs.start()
        try:
            yield
        finally:
            over.set()
            signs.join()

    def finish(self, claim: Claim, result: Mapping[str, Any], values: Sequence[float]) -> bool:
        """Store what came of it; False where it was taken for dead meanwhile, and is not counted."""
        self._told.add(claim.number)
        return self._note(claim, RESULT, dict(result)) and self._end(claim.trial_id, "COMPLETE", values)

    def fail(self, claim: Claim, why: str) -> None:
        """It cannot be scored, and nobody is to try again."""
        if self._note(claim, FAILED, why):
            self._end(claim.trial_id, "FAIL")

    def give_back(self, claim: Claim) -> None:
        """Somebody else is to try."""
        self._end(claim.trial_id, "FAIL")

    def _give_signs(self, claim: Claim, over: threading.Event) -> None:
        sign = 0
        while not over.wait(self.grace / SIGNS):
            sign += 1
            try:
                if not self._note(claim, SIGN, sign):
                    return
                self._watch([t for t in self._all() if t.state.name == "RUNNING"])
            except Exception:  # whoever scores meets it too, and says it
                return

    def _watch(self, running: Sequence[Any]) -> None:
        now = time.monotonic()
        with self._watching:
            seen = {trial._trial_id: trial.user_attrs.get(SIGN) for trial in running}
            self._seen = {
                one: self._seen[one] if one in self._seen and self._seen[one][0] == sign else (sign, now)
                for one, sign in seen.items()
            }

    def _dead(self) -> list[int]:
        """Two signs that did not come: seen at once, and looked for as often, that is within `grace`."""
        with self._watching:
            long_ago = time.monotonic() - self.grace * 2 / SIGNS
            return [trial_id for trial_id, (_, since) in self._seen.items() if since < long_ago]

    def _read(self) -> None:
        self._known.take(self._all())
        if self.storage.shared:
            self._watch(list(self._known.running.values()))

    def _all(self) -> list[Any]:
        trials: list[Any] = self._do("get_all_trials", self.study_id, False)
        return trials

    def _note(self, claim: Claim, name: str, text: Any) -> bool:
        """Write into a running trial; False where it has ended."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            self._do("set_trial_user_attr", claim.trial_id, name, text)
        except UpdateFinishedTrialError:
            return False
        return True

    def _end(self, trial_id: int, state: str, values: Sequence[float] | None = None) -> bool:
        """End a trial; False where somebody else has ended it."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            self._do("set_trial_state_values", trial_id, TrialState[state], values)
        except UpdateFinishedTrialError:
            ended = self._do("get_trial", trial_id)
            return state == "COMPLETE" == ended.state.name and setting(ended).get("worker") == self.worker
        return True

    def _do(self, action: str, *given: Any) -> Any:
        return self.storage.do(getattr(self.storage.inner, action), *given)
