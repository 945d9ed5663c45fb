"""What a setting may cost: parameters, and by the measures of `cost_report` a training step's FLOPs and saved bytes.

Parameters are counted in microseconds; a step is counted by watching one, which takes tenths of a second, so it is
asked only of settings that have few enough parameters, and once of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from glora_lab.arguments import check_positive_int, refuse
from glora_lab.data import Task
from glora_lab.ideas.cost.measure import cost_report

from .engines import batch_of
from .space import Choice, SearchSpace

PARAMETERS = "parameters"
OF_A_STEP = ("flops", "saved_bytes")  # as `Cost` has them, of a step as the engines take it


class Limits:
    """`most` maps what is limited to the most that a setting may have of it.

    Raises:
        ValueError: for a limit that is none, or that no setting meets: it names what the smallest has.
    """

    def __init__(self, model: nn.Module, task: Task, space: SearchSpace, limit: int | Mapping[str, int] | None) -> None:
        self.most = _named(limit)
        self._model, self._task, self._space = model, task, space
        self._counted: dict[Choice, Any] = {}
        space.check_limit(self.parameters)
        if any(kind in self.most for kind in OF_A_STEP):
            self._check()

    @property
    def parameters(self) -> int | None:
        return self.most.get(PARAMETERS)

    def over(self, choice: Choice) -> dict[str, float]:
        """By how much a setting is above each limit that it is above, as a share of it."""
        params = self.parameters
        if params is not None and (too_many := self._space.params(choice) - params) > 0:
            return {PARAMETERS: too_many / params}
        above = {kind: self.cost(choice, kind) / self.most[kind] - 1 for kind in OF_A_STEP if kind in self.most}
        return {kind: share for kind, share in above.items() if share > 0}

    def cost(self, choice: Choice, kind: str) -> int:
        """What a step of training costs with this setting, of `OF_A_STEP`."""
        if choice not in self._counted:
            batch = self._task.train.rows(slice(0, batch_of(self._task)))
            report = cost_report(self._model, batch, {"setting": self._space.config(choice)}, repeats=1)
            self._counted[choice] = report.row("setting")
        return int(getattr(self._counted[choice], kind))

    def _check(self) -> None:
        simplest = sorted(self._space.simplest, key=self._space.params)
        if not any(not self.over(choice) for choice in simplest):
            kind = next(kind for kind in OF_A_STEP if kind in self.over(simplest[0]))
            least = min(self.cost(choice, kind) for choice in simplest)
            rule = f"must be at least {least:,}: so much has the smallest setting"
            if least <= self.most[kind]:
                rule = "is met by no setting that meets the other limits as well"
            raise refuse(f"limit[{kind!r}]", self.most[kind], rule)


def _named(limit: Any) -> dict[str, int]:
    if limit is None:
        return {}
    if not isinstance(limit, Mapping):
        check_positive_int("limit", limit)
        return {PARAMETERS: limit}
    known = (PARAMETERS, *OF_A_STEP)
    if not set(limit) <= set(known):
        raise refuse("limit", dict(limit), f"must be of: {', '.join(known)}")
    for kind, most in limit.items():
        check_positive_int(f"limit[{kind!r}]", most)
    return dict(limit)
